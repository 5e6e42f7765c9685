"""Training one configuration: the same every time, interrupted or not, and every way in which it can end."""

import dataclasses
import hashlib
import itertools
import json
import math
import signal
import statistics
import time
from typing import ClassVar

import numpy as np
import pytest
import torch
from support.trainings import LARGE, SMALL, Breaker, Linear, outcome, run, settled, suited
from torch import nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

import pipeline.training.batches
import pipeline.training.epochs
import pipeline.training.train
from pipeline.checkpoints import BEST, Folder, load, load_model
from pipeline.data.datasets import DATASETS
from pipeline.data.search_data import Split, trial_data
from pipeline.system.errors import Interrupted, StorageFailure, TimedOut
from pipeline.training.epochs import Hooks, epoch_seed
from pipeline.training.metrics import score
from pipeline.training.prepare import Prepare
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.analysis import optimism
from sweeps.analysis.bits import correct_images
from sweeps.analysis.optimism import optimism_of_best
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    TrialResult,
    applies,
    config_fields,
    configure,
    parse_augmentation,
)

OPTIMIZERS, SCHEDULES = (config_fields()[name].choices for name in ("optimizer", "schedule"))
# Schedules that come to something within four epochs.
QUICK = {"plateau": {"lr_patience": 0}, "step": {"lr_step": 2}}


def contrary(data):
    """The data with each validation image under the next class's name: training makes its loss ever higher."""
    return dataclasses.replace(data, val=Split(data.val.images, (data.val.labels + 1) % 10))


def rescored(path, split, batch_size=1000):
    """What the weights in a file, by what their card says, make of a split."""
    network, card = load_model(path)
    prepare = Prepare(card.mean, card.std, torch.device("cpu"), "fp32")
    return score(network, split, len(card.classes), batch_size=batch_size, prepare=prepare), card


def rates(result):
    return [row.metrics["train/lr"] for row in result.history]


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every epoch."""
    monkeypatch.setattr(pipeline.training.epochs, "SAVE_EVERY", 0)


class Scripted(nn.Module):
    """Predicts one class for all images, in each epoch the next of its script, as surely as that says.

    It counts the batches it was trained on, so an epoch must be one batch. A script without an end learns nothing.
    """

    script: ClassVar[list[tuple[int, float]]] = []

    def __init__(self, shape, classes):
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("passes", torch.tensor(0))

    def forward(self, images):
        if self.training:
            self.passes += 1
        chosen, sureness = self.script[min(int(self.passes), len(self.script)) - 1]
        logits = torch.zeros(len(images), self.classes)
        logits[:, chosen] = sureness
        return logits + self.weight


class Watchful(Linear):
    """It notes what it is given: whether to train, and the images."""

    given: ClassVar[list[tuple[bool, torch.Tensor]]] = []

    def forward(self, images):
        self.given.append((self.training, images.detach().clone()))
        return super().forward(images)


@pytest.fixture
def scripted(tiny, tmp_path, monkeypatch):
    """Runs a script on ten validation images: five of class 2, three of class 3, two of class 4."""
    labels = torch.tensor([2] * 5 + [3] * 3 + [4] * 2)
    data = dataclasses.replace(tiny, val=Split(tiny.val.images[:10], labels))

    def go(*script, **values):
        monkeypatch.setattr(
            Scripted,
            "script",
            [entry if isinstance(entry, tuple) else (entry, 1.0) for entry in script],
        )
        return run(
            tmp_path,
            data,
            **{
                "family": f"{__name__}:Scripted",
                "batch_size": 1000,
                "epochs": len(script),
                **values,
            },
        )

    return go


# The same every time


@pytest.mark.parametrize("family", SMALL)
def test_same_configuration_same_result(family, tiny, tmp_path):
    """The same configuration gives the same weights and history, whatever was random before and whatever its number."""
    torch.manual_seed(1)
    first = run(tmp_path / "a", tiny, family=family, epochs=2)
    torch.manual_seed(2)
    second = run(tmp_path / "b", tiny, family=family, epochs=2, number=5)
    assert outcome(first, tmp_path / "a") == outcome(second, tmp_path / "b")
    assert (first.number, second.number) == (0, 5)


@pytest.mark.parametrize("text", ["draw-0", "fold-2-of-3"])
def test_redraw_trains_as_its_splits_do(text, tiny, tmp_path):
    """A trial with a redraw is that of its splits alone: the same history and weights; its card has their moments."""
    config = settled(family="cnn", redraw=text, augment="crop")
    result = train(0, config, tiny, tmp_path / "redrawn", objective="val_acc")
    splits = trial_data(tiny, config)
    copied = dataclasses.replace(
        splits,
        train=Split(splits.train.images, splits.train.labels),
        val=Split(splits.val.images, splits.val.labels),
        redraw=None,
    )
    same = dataclasses.replace(config, redraw=None)
    expected = train(0, same, copied, tmp_path / "copied", objective="val_acc")
    facts, *rest = outcome(result, tmp_path / "redrawn")
    expected_facts, *expected_rest = outcome(expected, tmp_path / "copied")
    assert rest == expected_rest
    assert (facts[0], facts[1:]) == (config, expected_facts[1:])
    scores, card = rescored(tmp_path / "redrawn" / BEST, splits.val)
    assert scores.accuracy == result.value
    assert (card.mean, card.std, card.digest) == (splits.mean, splits.std, tiny.digest)
    assert card.mean != tiny.mean


def test_seed_decides(tiny, tmp_path):
    """Another seed gives other weights."""
    first, second = (run(tmp_path / str(seed), tiny, epochs=1, seed=seed) for seed in (0, 1))
    assert outcome(first, tmp_path / "0")[2] != outcome(second, tmp_path / "1")[2]


def test_epoch_seed():
    """Every epoch of every seed has a seed of its own, which torch takes, and which stays for ever."""
    seeds = {epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert epoch_seed(0, 1) == int(hashlib.sha256(b"0:1").hexdigest()[:16], 16) // 2


# Interrupted and resumed

CASES = [
    *(
        ({"optimizer": o, "schedule": s, **QUICK.get(s, {})}, 9)
        for o, s in itertools.product(OPTIMIZERS, SCHEDULES)
    ),
    *(
        ({"family": f, "optimizer": o, "schedule": "cosine"}, 9)
        for f in ("cnn", "resnet")
        for o in OPTIMIZERS
    ),
    *(({"lr": 0.1}, step) for step in (0, 3, 4, 5, 8, 12, 15)),
    *(({"lr": 0.1, "schedule": "onecycle"}, step) for step in (3, 4, 7, 15)),
    *(({"family": f, "augment": "crop-flip-cutout"}, 9) for f in SMALL),
    (
        {
            "augment": "cutout",
            "normalize": False,
            "label_smoothing": 0.1,
            "grad_clip": 0.5,
            "schedule": "onecycle",
        },
        9,
    ),
    ({"family": "cnn", "precision": "bf16", "augment": "crop", "grad_clip": 0.5}, 9),
    ({"family": "cnn", "ema": 0.9}, 9),
    ({"precision": "fp16", "grad_clip": 0.5}, 9),
    ({"mixup": 0.4, "cutmix": 1.0, "rotate": 15, "zoom": 0.1, "color_jitter": 0.2}, 9),
]


COMPILED = pytest.param({"compile": True}, 9, marks=pytest.mark.slow)


@pytest.mark.parametrize(("values", "step"), [*CASES, COMPILED], ids=str)
def test_resumed_is_unbroken(values, step, tiny, tmp_path, often):
    """Broken off anywhere and begun again, a training ends bit for bit as one that was not, and repeats no epoch."""
    schedule = values.get("schedule", "none")
    data = contrary(tiny) if schedule == "plateau" else tiny
    unbroken = run(tmp_path / "a", data, **values)
    assert (len(set(rates(unbroken))) > 1) == (schedule != "none")
    with pytest.raises(Interrupted):
        run(tmp_path / "b", data, hooks=Breaker(step).hooks, **values)
    again = Breaker()
    resumed = run(tmp_path / "b", data, hooks=again.hooks, **values)
    assert outcome(resumed, tmp_path / "b") == outcome(unbroken, tmp_path / "a")
    assert again.steps == 16 - step // 4 * 4  # 4 epochs of 4 steps: only the partial epoch is lost
    if step >= 4:
        assert (
            len(again.saved[0]) == step // 4
        )  # what the checkpoint holds is told first, for the record


def test_the_moving_average_is_what_is_scored_and_kept(tiny, tmp_path):
    """With `ema`, the kept weights are an average over the steps, and give the values of the record."""
    result = run(tmp_path, tiny, family="cnn", ema=0.9)
    plain = run(tmp_path / "plain", tiny, family="cnn")
    assert [row.metrics["train/loss"] for row in result.history] == [
        row.metrics["train/loss"] for row in plain.history
    ]
    assert [row.metrics["val/loss"] for row in result.history] != [
        row.metrics["val/loss"] for row in plain.history
    ]
    scores, _ = rescored(Folder(tmp_path).best, tiny.val)
    assert scores.loss == result.best.metrics["val/loss"]


def test_broken_twice(tiny, tmp_path, often):
    """A training broken off twice is the same too, and its time is that of all its parts."""
    unbroken = run(tmp_path / "a", tiny)
    for step in (6, 5):
        with pytest.raises(Interrupted):
            run(tmp_path / "b", tiny, hooks=Breaker(step).hooks)
    resumed = run(tmp_path / "b", tiny)
    assert outcome(resumed, tmp_path / "b") == outcome(unbroken, tmp_path / "a")
    assert resumed.seconds == pytest.approx(
        sum(row.metrics["time/epoch_seconds"] for row in resumed.history), abs=1e-3
    )


def test_interrupted(tiny, tmp_path, often):
    """A request to stop passes through, leaving the last two states and no best weights."""
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, tiny, hooks=Breaker(9).hooks)
    assert stopped.value.code == 143
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "epoch-00001.safetensors",
        "epoch-00002.safetensors",
    ]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 5000])
@pytest.mark.parametrize(("damaged", "steps"), [(1, 12), (2, 16)])
def test_damaged_checkpoint(damage, damaged, steps, tiny, tmp_path, often):
    """With its newest checkpoint damaged a training goes on from the one before, with both anew; it ends the same."""
    unbroken = run(tmp_path / "a", tiny)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(9).hooks)
    for path in sorted((tmp_path / "b").glob("*.safetensors"))[-damaged:]:
        path.write_bytes(damage)
    again = Breaker()
    assert outcome(run(tmp_path / "b", tiny, hooks=again.hooks), tmp_path / "b") == outcome(
        unbroken, tmp_path / "a"
    )
    assert again.steps == steps


def test_checkpoint_of_another_configuration(tiny, tmp_path, often):
    """A checkpoint of another configuration is not gone on from."""
    unbroken = run(tmp_path / "a", tiny)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(9).hooks, lr=0.02)
    assert outcome(run(tmp_path / "b", tiny), tmp_path / "b") == outcome(unbroken, tmp_path / "a")


def test_patience_and_pruning_go_on(scripted, tmp_path, often):
    """Early stopping counts on over an interruption."""
    script, step = (3, 2, 4, 4, 4, 4), Breaker(3)
    with pytest.raises(Interrupted):
        scripted(*script, patience=3, hooks=step.hooks)
    assert len(scripted(*script, patience=3).history) == 5


def test_saved(tiny, tmp_path, often):
    """After each checkpoint the history in it is told; the newest state stays until the result is kept elsewhere."""
    again = Breaker()
    result = run(tmp_path, tiny, hooks=again.hooks)
    assert again.saved == [result.history[:n] for n in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "best.safetensors",
        "epoch-00002.safetensors",
        "epoch-00003.safetensors",
    ]


def test_saved_seldom(tiny, tmp_path):
    """Checkpoints are seconds apart, however quick the epochs."""
    hurried = Breaker()
    run(tmp_path, tiny, hooks=hurried.hooks)
    assert hurried.saved == []


# What is best


@pytest.mark.parametrize(
    ("objective", "family", "values"),
    [
        *((objective, "mlp", {}) for objective in OBJECTIVES),
        *(("val_loss", family, {}) for family in ("cnn", "resnet", "lenet_resnet")),
        ("val_loss", "lenet_resnet", {"softmax_output": True}),
        ("val_acc", "cnn", {"normalize": False}),
        ("val_acc", "mlp", {"augment": "crop-flip-cutout"}),
        ("val_loss", "mlp", {"label_smoothing": 0.3}),
    ],
)
def test_best_weights_score_what_was_recorded(objective, family, values, tiny, tmp_path):
    """Scoring the weights that are left gives exactly the value and figures recorded, for every objective."""
    result = run(
        tmp_path,
        tiny,
        objective,
        family=family,
        **{"lr": 0.1, "optimizer": "sgd", "epochs": 6, **values},
    )
    scores, card = rescored(
        result.checkpoint, suited(family, tiny).val, result.config.eval_batch_size
    )
    figures = {
        "val_acc": scores.accuracy,
        "val_loss": scores.loss,
        "balanced_acc": scores.balanced_accuracy,
        "macro_f1": scores.macro_f1,
    }
    assert result.value == figures[objective]
    assert result.confusion == tuple(map(tuple, scores.confusion.tolist()))
    assert correct_images(result).tolist() == scores.correct.tolist()
    assert (result.best.per_class, result.best.predicted) == (scores.per_class, scores.predicted)
    assert card.metrics == result.best.metrics
    assert (card.config, card.epoch, card.classes) == (
        result.config,
        result.best_epoch,
        tiny.classes,
    )
    choose = min if objective == "val_loss" else max
    assert result.value == choose(row.metrics[OBJECTIVES[objective][0]] for row in result.history)


def test_best_epoch_is_kept(scripted, tmp_path):
    """The weights left are the best epoch's, not the last's, and the first of equals counts."""
    result = scripted(4, 2, 3, 2, 4)
    assert [row.metrics["val/acc"] for row in result.history] == [0.2, 0.5, 0.3, 0.5, 0.2]
    assert (result.state, result.best_epoch, result.value) == (COMPLETE, 2, 0.5)
    assert int(load_model(tmp_path)[0].passes) == 2
    assert result.confusion[3][2] == 3
    assert correct_images(result).tolist() == [True] * 5 + [False] * 5


@pytest.mark.parametrize(("selection", "best"), [(1, 1), (2, 3)])
def test_ties_of_epochs(selection, best, scripted, tmp_path):
    """Of epochs with equal values, the first with the lowest loss is best; by the rules of 0.1.0 just the first."""
    result = scripted((2, 4.0), 3, (2, 2.0), (2, 1.0), (2, 2.0), selection=selection)
    values = [row.metrics["val/acc"] for row in result.history]
    losses = [row.metrics["val/loss"] for row in result.history]
    assert values == [0.5, 0.3, 0.5, 0.5, 0.5]
    assert losses[2] == losses[4] == min(losses)
    assert (result.best_epoch, result.value) == (best, 0.5)
    assert int(load_model(tmp_path)[0].passes) == best


@pytest.mark.parametrize("objective", ["balanced_acc", "macro_f1", "val_loss"])
def test_ties_by_other_objectives(objective, scripted):
    """The rule holds for every objective; equal losses are no reason to change."""
    result = scripted((2, 4.0), (2, 1.0), (2, 1.0), objective=objective)
    assert result.best_epoch == 2


def test_optimism_of_the_best_epoch(scripted, monkeypatch):
    """It is that of all epochs, or of the best ones if there are very many, and of an accuracy only."""
    labels = np.array([2] * 5 + [3] * 3 + [4] * 2)
    script = (4, 2, 3, 2, 3)
    expected = {}
    for chosen in (script, (2, 2)):
        correct = np.array([labels == predicted for predicted in chosen])
        expected[len(chosen)] = round(optimism_of_best(correct, np.full(10, 0.1)), 6)
    assert expected[5] > 0
    assert expected[2] == 0
    assert scripted(*script).optimism == expected[5]
    assert scripted(*script, objective="val_loss").optimism is None
    assert scripted(*script, objective="macro_f1").optimism is None
    monkeypatch.setattr(optimism, "MOST_EPOCHS", 2)
    assert scripted(*script).optimism == expected[2]


def test_begun_by_0_1_0(tiny, tmp_path, often):
    """A training whose first epochs kept no images goes on: its optimism is unknown, its best epoch's images too."""
    values = {"lr": 1e-7, "batch_norm": False}  # every epoch is as the first
    with pytest.raises(Interrupted):
        run(tmp_path / "a", tiny, hooks=Breaker(9).hooks, selection=1, **values)
    folder = Folder(tmp_path / "a")
    tensors, facts = folder.latest()
    for key in ("correct", "epochs_correct"):
        del facts[key]
    folder.save_state(len(facts["history"]), tensors, facts)
    result = run(tmp_path / "a", tiny, selection=1, **values)
    assert (result.state, len(result.history), result.best_epoch) == (COMPLETE, 4, 1)
    assert (result.correct, result.optimism) == (None, None)
    whole = run(tmp_path / "b", tiny, selection=1, **values)
    assert None not in (whole.correct, whole.optimism)


@pytest.mark.parametrize(
    ("objective", "best"), [("val_acc", 1), ("val_loss", 3), ("balanced_acc", 3), ("macro_f1", 1)]
)
def test_objective_chooses(objective, best, scripted):
    """A loss is best where lowest, another figure where highest; the balanced accuracies are equal here."""
    result = scripted((2, 10.0), (3, 5.0), (3, 0.1), objective=objective)
    assert result.best_epoch == best
    assert result.value == result.best.metrics[OBJECTIVES[objective][0]]


# How it ends


@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (1, 3), (2, 4), (3, 5)])
def test_early_stopping(patience, epochs, scripted):
    """Training stops after so many epochs without a better one, 0 meaning never; that is a complete trial."""
    result = scripted(3, 2, 4, (2, 9.0), 4, 2, patience=patience, epochs=6)
    assert result.state == COMPLETE
    assert len(result.history) == epochs


def test_pruned(scripted, tmp_path):
    """The hook is told each epoch and the best value so far, and ends the trial where it says so, with its best."""
    told = []

    def prune(row, best):
        told.append((row.epoch, best))
        return row.epoch == 3

    result = scripted(3, 2, 4, 4, hooks=Hooks(epoch=prune))
    assert told == [(1, 0.3), (2, 0.5), (3, 0.5)]
    assert (result.state, result.end, result.value, result.best_epoch) == (PRUNED, "pruned", 0.5, 2)
    assert int(load_model(tmp_path)[0].passes) == 2


def test_nothing_is_pruned_at_its_end(scripted):
    """A trial that has done all its epochs is complete, whatever the hook says."""
    result = scripted(3, 2, hooks=Hooks(epoch=lambda row, _: row.epoch == 2))
    assert result.state == COMPLETE


def failed(result, end, folder):
    """Assert that a trial failed so, and left nothing behind that could be taken for a result."""
    assert (result.state, result.end) == (FAILED, end)
    assert (result.value, result.best_epoch, result.confusion, result.checkpoint) == (
        None,
        None,
        None,
        None,
    )
    assert list(folder.glob("best*")) == []
    assert "\n" not in result.error
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


@pytest.mark.parametrize("family", SMALL)
def test_diverged(family, tiny, tmp_path):
    """A loss that is no finite number ends the trial at once as diverged."""
    config = dataclasses.replace(
        settled(family, optimizer="sgd", batch_norm=False, epochs=50), lr=100.0, weight_decay=10.0
    )
    result = train(0, config, suited(family, tiny), tmp_path, objective="val_acc")
    failed(result, "diverged", tmp_path)
    assert len(result.history) < 50
    assert "loss is" in result.error


def test_diverged_after_a_checkpoint(scripted, tmp_path, often):
    """A trial that diverges later leaves no checkpoint either, and its history up to there."""
    result = scripted(2, 3, (2, math.nan), 2)
    failed(result, "diverged", tmp_path)
    assert [row.epoch for row in result.history] == [1, 2]
    assert result.error == "training loss is nan at step 1 of epoch 3"


def test_diverged_in_validation(tiny, tmp_path):
    """A validation loss that is no number is no result, however finite the training loss."""
    result = run(tmp_path, tiny, family="support.trainings:Unsound")
    failed(result, "diverged", tmp_path)
    assert result.error == "validation loss is nan after epoch 1"


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ZeroDivisionError("two\nlines"), "error:ZeroDivisionError"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError(), "oom"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
            ),
            "oom",
        ),
        (
            RuntimeError(
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"
            ),
            "oom",
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.40 GB)"), "oom"),
        (RuntimeError("x" * 9000), "error:RuntimeError"),
        (FileNotFoundError(2, "No such file", "weights.bin"), "error:FileNotFoundError"),
        (TimeoutError("the network's own"), "error:TimeoutError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exception_in_the_network(error, end, tiny, tmp_path, monkeypatch, often):
    """An exception in the network fails the trial by its class, want of memory as such, with a short line."""
    monkeypatch.setattr(Linear, "error", error)
    result = run(tmp_path, tiny, family="support.trainings:Linear")
    failed(result, end, tmp_path)
    assert len(result.history) == 2
    assert len(result.error) <= 500


def test_network_that_cannot_be(tiny, tmp_path):
    """A network that cannot take the images fails the trial, saying why."""
    result = run(tmp_path, tiny, family="cnn", depth=4)
    failed(result, "error:ValueError", tmp_path)
    assert "use a depth of at most 3" in result.error


def test_timeout(tiny, tmp_path, often):
    """A trial over its time ends as such."""

    def stop():
        breaker.steps += 1
        if breaker.steps > 5:
            raise TimedOut(1)

    breaker = Breaker()
    result = run(tmp_path, tiny, hooks=Hooks(stop=stop))
    failed(result, "timeout", tmp_path)
    assert result.error == "it took longer than 1 s"
    assert len(result.history) == 1


class Hanging(Linear):
    """Stays in its first training step for a minute; notes whether it came back from there."""

    came_back: ClassVar[bool] = False

    def forward(self, x):
        if self.training:
            time.sleep(60)
            type(self).came_back = True
        return super().forward(x)


def test_time_limit(tiny, tmp_path):
    """A trial over its limit ends between two steps, with what it had done until then."""
    result = run(
        tmp_path, tiny, epochs=1000, hooks=Hooks(stop=lambda: time.sleep(0.01)), time_limit=0.3
    )
    failed(result, "timeout", tmp_path)
    assert result.error == "it took longer than 0.3 s"


def test_hang(tiny, tmp_path, monkeypatch):
    """A trial that hangs inside a step is broken off there, before the step ends by itself."""
    monkeypatch.setattr(pipeline.training.train, "HANG_GRACE", 0.1)
    failed(run(tmp_path, tiny, family=f"{__name__}:Hanging", time_limit=0.1), "timeout", tmp_path)
    assert not Hanging.came_back
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.parametrize("at", ["state", "best"])
def test_full_disk(at, tiny, tmp_path, full_disk, often):
    """A full disk is no fault of the trial: it ends the command with exit code 5 and its folder; nothing is lost."""
    unbroken = run(tmp_path / "a", tiny)
    last = Hooks(epoch=lambda row, _: at == "best" and row.epoch == 3)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(9).hooks)
    with full_disk(2000), pytest.raises(StorageFailure, match=str(tmp_path / "b")) as failure:
        run(tmp_path / "b", tiny, hooks=last)
    assert failure.value.code == 5
    assert "File too large" in str(failure.value)
    assert list(tmp_path.rglob("*.tmp")) == []
    again = Breaker()
    assert outcome(run(tmp_path / "b", tiny, hooks=again.hooks), tmp_path / "b") == outcome(
        unbroken, tmp_path / "a"
    )
    assert again.steps == 8


# What is recorded


def test_history(tiny, tmp_path):
    """Each epoch has its number, its time, these figures and an accuracy for each class."""
    result = run(tmp_path, tiny, epochs=2)
    keys = {
        "train/loss",
        "train/loss_std",
        "train/acc",
        "train/lr",
        "val/loss",
        "val/loss_std",
        "val/acc",
        "time/epoch_seconds",
        "time/images_per_second",
    }
    assert [row.epoch for row in result.history] == [1, 2]
    assert all(row.metrics.keys() == keys for row in result.history)
    assert all(
        len(row.per_class) == len(row.train_per_class) == len(row.predicted) == 10
        for row in result.history
    )
    assert all(sum(row.predicted) == len(tiny.val) for row in result.history)
    assert result.history[0].time <= result.history[1].time
    assert all(
        0 <= row.metrics[key] <= 1 for row in result.history for key in ("train/acc", "val/acc")
    )
    assert result.history[1].metrics["train/loss"] < result.history[0].metrics["train/loss"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_is_recorded(objective, tiny, tmp_path):
    """The figure that ranks is in the history, in addition to loss and accuracy."""
    (row,) = run(tmp_path, tiny, objective, epochs=1).history
    always = {"val/loss", "val/loss_std", "val/acc"}
    assert {key for key in row.metrics if key.startswith("val/")} == always | {
        OBJECTIVES[objective][0]
    }


def test_absent_class(scripted):
    """A class without validation images has no accuracy."""
    (row,) = scripted(2).history
    assert row.per_class == (None, None, 1.0, 0.0, 0.0, *[None] * 5)


def test_training_figures(scripted, tiny):
    """Training loss and accuracy are means over the images seen."""
    (row,) = scripted((7, 2.0)).history
    share = int((tiny.train.labels == 7).sum()) / 160
    assert row.metrics["train/acc"] == pytest.approx(share)
    assert row.metrics["train/loss"] == pytest.approx(math.log(9 + math.exp(2)) - 2 * share)
    assert row.metrics["train/loss_std"] == 0  # of one batch
    assert row.train_per_class == (*[0.0] * 7, 1.0, 0.0, 0.0)


def test_predictions(scripted):
    """What the validation images were taken for is counted by class, right or wrong."""
    assert [row.predicted for row in scripted(2, 9).history] == [
        (0, 0, 10, *[0] * 7),
        (*[0] * 9, 10),
    ]


def test_training_accuracy_of_each_class(tiny, tmp_path):
    """Each class's training accuracy is its share of images classified rightly while training."""
    labels = tiny.train.labels.clone()
    labels[labels == 3] = 4
    data = dataclasses.replace(tiny, train=Split(tiny.train.images, labels))
    (row,) = run(
        tmp_path, data, family="support.trainings:Linear", optimizer="sgd", lr=1e-8, epochs=1
    ).history
    torch.manual_seed(epoch_seed(0, 0))
    network = Linear(tiny.shape, 10)  # at that rate it stays as it is
    guesses = network(
        Prepare(tiny.mean, tiny.std, torch.device("cpu"), "fp32")(tiny.train.images)
    ).argmax(dim=1)
    for index, accuracy in enumerate(row.train_per_class):
        answers = [
            int(guess) == index
            for guess, label in zip(guesses, labels, strict=True)
            if label == index
        ]
        assert accuracy == (sum(answers) / len(answers) if index != 3 else None)
    assert row.metrics["train/acc"] == int((guesses == labels).sum()) / 160


@pytest.mark.parametrize("batch_size", [40, 64, 1000])
def test_spread_of_the_loss(batch_size, tiny, tmp_path):
    """The losses' deviations are those of the mean losses of the batches, in training and in validation."""
    heard = [(0, 0, 0.0)]
    steps = Hooks(step=lambda *facts: heard.append(facts))
    (row,) = run(
        tmp_path, tiny, hooks=steps, batch_size=batch_size, eval_batch_size=15, epochs=1
    ).history
    seen = [min(step * batch_size, 160) for step, *_ in heard]
    totals = [count * mean for count, (*_, mean) in zip(seen, heard, strict=True)]
    sums, counts = ([b - a for a, b in itertools.pairwise(values)] for values in (totals, seen))
    losses = [total / count for total, count in zip(sums, counts, strict=True)]
    assert row.metrics["train/loss_std"] == pytest.approx(
        statistics.pstdev(losses), rel=1e-3, abs=1e-9
    )

    network, card = load_model(tmp_path)
    logits = (
        network(Prepare(card.mean, card.std, torch.device("cpu"), "fp32")(tiny.val.images))
        .detach()
        .double()
    )
    of_each = functional.cross_entropy(logits, tiny.val.labels, reduction="none")
    means = [of_each[start : start + 15].mean().item() for start in (0, 15, 30)]
    assert row.metrics["val/loss_std"] == pytest.approx(statistics.pstdev(means), rel=1e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_size(batch_norm, tiny, tmp_path):
    """Parameters and multiply-adds, two operations each, are those counted by hand for an MLP 64-12-12-10."""
    result = run(tmp_path, tiny, width=12, depth=2, batch_norm=batch_norm, epochs=1)
    weights = 64 * 12 + 12 * 12 + 12 * 10
    shifts = 2 * 2 * 12 if batch_norm else 2 * 12
    assert result.parameters == weights + shifts + 10
    assert result.mflops == 2 * weights / 1e6


def test_steps(tiny, tmp_path):
    """The step hook hears of each step, of how many, and the mean loss of the epoch so far."""
    heard = []
    result = run(tmp_path, tiny, epochs=2, hooks=Hooks(step=lambda *facts: heard.append(facts)))
    assert [facts[:2] for facts in heard] == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    assert [heard[3][2], heard[7][2]] == [row.metrics["train/loss"] for row in result.history]


# What is decided by the configuration


def test_no_schedule(scripted):
    """Without a schedule the rate stays."""
    assert rates(scripted(2, 2, 2, lr=0.5)) == [0.5] * 3


def test_cosine(scripted):
    """The cosine schedule falls from the full rate by half a cosine over the epochs."""
    expected = [0.25 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates(scripted(2, 2, 2, 2, lr=0.5, schedule="cosine")) == pytest.approx(expected)


# Each schedule with options of its own, and torch's, of 6 epochs of 4 steps.
TORCHS = {
    "cosine": ({"min_lr": 0.1}, lambda o: CosineAnnealingLR(o, T_max=6, eta_min=0.1)),
    "onecycle": ({}, lambda o: OneCycleLR(o, max_lr=0.5, total_steps=24, cycle_momentum=False)),
    "plateau": (
        {"lr_patience": 0, "lr_factor": 0.4, "min_lr": 0.05},
        lambda o: ReduceLROnPlateau(o, patience=0, factor=0.4, min_lr=0.05),
    ),
    "step": ({"lr_step": 2, "lr_factor": 0.2}, lambda o: StepLR(o, step_size=2, gamma=0.2)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", TORCHS)
def test_schedule(schedule, optimizer, tiny, tmp_path):
    """The rate at each epoch's start is that of torch's own schedule, which one cycle steps once a batch."""
    options, make = TORCHS[schedule]
    result = run(
        tmp_path,
        contrary(tiny),
        schedule=schedule,
        optimizer=optimizer,
        lr=0.5,
        epochs=6,
        **options,
    )
    reference = SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    by_torch, expected = make(reference), []
    for row in result.history:
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        for _ in range(4 if schedule == "onecycle" else 1):
            by_torch.step(*([row.metrics["val/loss"]] if schedule == "plateau" else []))
    assert rates(result) == expected
    assert len(set(expected)) > 2


def test_every_schedule_is_compared():
    """Every schedule is compared with torch's, but for none."""
    assert {"none", *TORCHS} == {*SCHEDULES}


def test_onecycle(tiny, tmp_path):
    """One cycle rises from a 25th of the rate to the rate and falls below both, step by step, however few there are."""
    result = run(tmp_path / "long", tiny, schedule="onecycle", lr=0.5, epochs=10)
    assert rates(result)[0] == pytest.approx(0.5 / 25)
    assert max(rates(result)) == pytest.approx(0.5, rel=0.02)
    assert rates(result)[-1] < 0.5 / 25
    assert (
        run(tmp_path / "short", tiny, schedule="onecycle", epochs=1, batch_size=1000).state
        == COMPLETE
    )


def test_plateau(scripted):
    """The plateau schedule falls to 0.3 of the rate after four epochs without a lower validation loss."""
    result = scripted((2, 1.0), (2, 0.1), *[(4, 5.0)] * 5, (2, 1.0), lr=0.5, schedule="plateau")
    assert rates(result) == pytest.approx([0.5] * 5 + [0.15] * 3)


def test_plateau_options(scripted):
    """Its patience, its factor and its lowest rate can be chosen."""
    options = {"lr_patience": 1, "lr_factor": 0.1, "min_lr": 0.01}
    result = scripted((2, 1.0), *[(4, 5.0)] * 7, lr=0.5, schedule="plateau", **options)
    assert rates(result) == pytest.approx([0.5] * 3 + [0.05] * 2 + [0.01] * 3)


def by_hand(tiny, smoothing, clip, rate):
    """One step of gradient descent over all images, and its loss, by the formulas alone."""
    torch.manual_seed(epoch_seed(0, 0))
    layer = Linear(tiny.shape, 10).layer
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (tiny.mean, tiny.std))
    logs = layer(((tiny.train.images / 255 - mean) / std).flatten(1)).log_softmax(dim=1)
    targets = (1 - smoothing) * functional.one_hot(tiny.train.labels, 10) + smoothing / 10
    loss = -(targets * logs).sum(dim=1).mean()
    gradients = torch.autograd.grad(loss, [layer.weight, layer.bias])
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    shrink = min(1.0, clip / norm) if clip else 1.0
    return (
        [layer.weight - rate * shrink * gradients[0], layer.bias - rate * shrink * gradients[1]],
        loss,
        norm,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("clip", [0.0, 0.05, 1e6])
def test_one_step(smoothing, clip, tiny, tmp_path):
    """A step follows the gradient of the loss of smoothed labels, shortened to the norm allowed."""
    values = {
        "label_smoothing": smoothing,
        "grad_clip": clip,
        "optimizer": "sgd",
        "momentum": 0.0,
        "lr": 0.1,
    }
    (row,) = run(
        tmp_path, tiny, family="support.trainings:Linear", epochs=1, batch_size=1000, **values
    ).history
    weights, loss, norm = by_hand(tiny, smoothing, clip, 0.1)
    found = load_model(tmp_path)[0].layer
    assert torch.allclose(found.weight, weights[0], rtol=0, atol=1e-6)
    assert torch.allclose(found.bias, weights[1], rtol=0, atol=1e-6)
    assert row.metrics["train/loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert norm > 0.1  # a norm of 0.05 is less


def test_losses_of_steps(tiny, tmp_path, often):
    """Every so many steps their mean loss is kept, under the number of the last, also of a resumed training."""
    values = {"epochs": 3, "log_every": 2}
    result = run(tmp_path / "a", tiny, **values)
    steps = math.ceil(len(tiny.train) / result.config.batch_size)
    every = run(tmp_path / "c", tiny, epochs=3, log_every=1)
    assert [step for row in every.history for step, _ in row.step_losses] == [
        *range(1, 3 * steps + 1)
    ]
    singles = [loss for row in every.history for _, loss in row.step_losses]
    for row in result.history:
        first = (row.epoch - 1) * steps
        for step, loss in row.step_losses:
            assert loss == pytest.approx(statistics.fmean(singles[first:step]), rel=1e-4)
            first = step
        assert first == row.epoch * steps
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(steps + 1).hooks, **values)
    again = run(tmp_path / "b", tiny, **values)
    assert outcome(again, tmp_path / "b") == outcome(result, tmp_path / "a")
    assert run(tmp_path / "d", tiny, epochs=1).history[0].step_losses == ()


def test_a_checkpoint_of_version_0_1_0_goes_on(tiny, tmp_path, often):
    """A checkpoint without the fields of later versions is of a configuration in which these change nothing."""
    whole = run(tmp_path / "a", tiny)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(9).hooks)
    folder = Folder(tmp_path / "b")
    tensors, facts = folder.latest()
    later = [name for name, field in config_fields().items() if field.is_later]
    config = {name: value for name, value in facts["config"].items() if name not in later}
    facts = {key: value for key, value in facts.items() if key != "confidences"}
    folder.save_state(len(facts["history"]), tensors, {**facts, "config": config})
    again = Breaker()
    result = run(tmp_path / "b", tiny, hooks=again.hooks)
    assert len(later) >= 3
    assert outcome(result, tmp_path / "b")[1:] == outcome(whole, tmp_path / "a")[1:]
    alone = Breaker()
    run(tmp_path / "c", tiny, hooks=alone.hooks)
    assert again.steps < alone.steps


def test_validation_loss_is_of_plain_labels(tiny, tmp_path):
    """Labels are smoothed in training alone: the validation loss is comparable, whatever the smoothing."""
    (row,) = run(tmp_path, tiny, label_smoothing=0.5, epochs=1).history
    assert row.metrics["val/loss"] == rescored(tmp_path, tiny.val)[0].loss


@pytest.fixture
def watched(tiny, tmp_path, monkeypatch):
    """Trains for an epoch; what the network was given to train on, and to be scored on."""

    def go(**values):
        monkeypatch.setattr(Watchful, "given", [])
        run(tmp_path, tiny, family=f"{__name__}:Watchful", epochs=1, **values)
        given = Watchful.given[1:]  # the first is to count its operations
        return [
            torch.cat([images for training, images in given if training is wanted])
            for wanted in (True, False)
        ]

    return go


def test_normalize(watched, tiny, tmp_path):
    """A network is given images of mean 0 and deviation 1 or, without that, of numbers from 0 to 1; its card tells."""
    for images in watched():
        assert images.mean() == pytest.approx(0, abs=0.05)
        assert images.std() == pytest.approx(1, abs=0.05)
    assert (load_model(tmp_path)[1].mean, load_model(tmp_path)[1].std) == (tiny.mean, tiny.std)
    for images in watched(normalize=False):
        assert (images.min(), images.max()) == (0, 1)
    assert (load_model(tmp_path)[1].mean, load_model(tmp_path)[1].std) == ((0.0,), (1.0,))


def test_augment(watched, tiny, tmp_path):
    """Training images are changed, with the training split's mean colour where they are cut out; others are not."""
    trained, scored = watched(augment="cutout")
    level = 0.5 / 255 / tiny.std[0]  # half a grey; no grey of a digit is that close to the mean
    assert 0.1 < (trained.abs() <= level).double().mean() < 0.3
    assert (scored.abs() <= level).sum() == 0
    plain, same = watched(seed=1)
    assert (plain.abs() <= level).sum() == 0
    assert same.equal(scored)


def test_augment_anew_in_every_epoch(tiny, tmp_path, monkeypatch):
    """The same image is changed differently from epoch to epoch, and the same again by the same seed."""
    seen = []
    for folder in ("a", "b"):
        monkeypatch.setattr(Watchful, "given", [])
        values = {
            "family": f"{__name__}:Watchful",
            "augment": "crop",
            "epochs": 2,
            "batch_size": 1000,
        }
        run(tmp_path / folder, dataclasses.replace(tiny, train=tiny_of_one(tiny)), **values)
        seen.append([images for training, images in Watchful.given if training])
    assert not seen[0][0].sort(dim=0)[0].equal(seen[0][1].sort(dim=0)[0])
    assert [images.equal(other) for images, other in zip(*seen, strict=True)] == [True, True]


def tiny_of_one(tiny):
    """One image, many times."""
    return Split(tiny.train.images[:1].expand(50, -1, -1, -1), tiny.train.labels[:1].expand(50))


@pytest.mark.parametrize(
    "values", [{"optimizer": o} for o in OPTIMIZERS] + [{"optimizer": "sgd", "momentum": 0.0}]
)
def test_optimizer(values, tiny, tmp_path):
    """Each optimiser, decay and momentum makes a difference to the weights."""
    kept = set()
    for decay in (0.0, 0.1):
        folder = tmp_path / str(decay)
        kept.add(outcome(run(folder, tiny, epochs=1, weight_decay=decay, **values), folder)[2])
    reference = run(tmp_path / "sgd", tiny, epochs=1, optimizer="sgd", momentum=0.5)
    assert len(kept | {outcome(reference, tmp_path / "sgd")[2]}) == 3


def test_decay_of_adamw_is_its_own(tiny, tmp_path):
    """Adam and AdamW are the same without weight decay, and not with it."""
    for decay, same in ((0.0, True), (0.1, False)):
        folders = [tmp_path / f"{name} {decay}" for name in ("adam", "adamw")]
        weights = [
            outcome(
                run(folder, tiny, epochs=1, optimizer=folder.name.split()[0], weight_decay=decay),
                folder,
            )[2]
            for folder in folders
        ]
        assert (weights[0] == weights[1]) is same


@pytest.mark.parametrize("family", SMALL)
def test_last_batch_of_one(family, tiny, tmp_path):
    """A last batch of one image, which batch normalisation cannot take, is left out."""
    heard = []
    one_more = dataclasses.replace(
        tiny, train=Split(tiny.train.images[:121], tiny.train.labels[:121])
    )
    steps = Hooks(step=lambda *facts: heard.append(facts))
    result = run(tmp_path, one_more, family=family, epochs=1, hooks=steps, schedule="onecycle")
    assert result.state == COMPLETE
    assert [facts[:2] for facts in heard] == [(1, 3), (2, 3), (3, 3)]


def test_whole_split_in_one_batch(tiny, tmp_path):
    """A batch may be larger than the split."""
    assert run(tmp_path, tiny, batch_size=1000, epochs=1).state == COMPLETE


def test_bf16(tiny, tmp_path):
    """In bf16 the figures differ a little and the weights are kept in full."""
    full, half = (
        run(tmp_path / p, tiny, family="cnn", epochs=1, precision=p) for p in ("fp32", "bf16")
    )
    assert half.state == COMPLETE
    loss, other = (result.history[0].metrics["train/loss"] for result in (full, half))
    assert loss != other
    assert loss == pytest.approx(other, rel=0.05)
    assert {tensor.dtype for tensor in load_model(tmp_path / "bf16")[0].parameters()} == {
        torch.float32
    }


def test_channels(tiny, tmp_path):
    """Images in colour and of unequal sides are trained on too."""
    images = [split.images.repeat(1, 3, 1, 2)[..., :13] for split in (tiny.train, tiny.val)]
    data = dataclasses.replace(
        tiny,
        train=Split(images[0], tiny.train.labels),
        val=Split(images[1], tiny.val.labels),
        mean=tiny.mean * 3,
        std=tiny.std * 3,
    )
    for family in SMALL:
        result = run(tmp_path / family, data, family=family, epochs=1)
        assert result.state == COMPLETE
        assert load_model(tmp_path / family)[1].shape == (
            (3, 16, 26) if family in LARGE else (3, 8, 13)
        )


def test_resolve(monkeypatch):
    """What is left to the machine is settled by a fixed rule: a GPU first, and bf16 where that has it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    auto = configure({})
    assert (auto.device, auto.precision) == ("auto", "auto")
    assert (resolve(auto).device, resolve(auto).precision) == ("cpu", "fp32")
    assert resolve(configure({"precision": "bf16"})).precision == "bf16"
    with pytest.raises(ValueError, match="device cuda is not there: cpu"):
        resolve(configure({"device": "cuda"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # An H100 computes in bf16, a T4 would emulate it, and a GTX 1080 has neither.
    for native, capability, precision in (
        (True, (9, 0), "bf16"),
        (False, (7, 5), "fp16"),
        (False, (6, 1), "fp32"),
    ):
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, native=native: including_emulation or native,
        )
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda capability=capability: capability
        )
        assert (resolve(auto).device, resolve(auto).precision) == ("cuda", precision)


@pytest.mark.parametrize("ready", [1, 40 * 64 * 4 * 2, 2**30])
def test_batches_made_ready_together(ready, tiny, tmp_path, monkeypatch):
    """How many steps' images are made ready at a time changes nothing of the result."""
    usual = outcome(run(tmp_path / "usual", tiny, epochs=1), tmp_path / "usual")
    monkeypatch.setattr(pipeline.training.batches, "_PREPARED_BYTES", ready)
    assert outcome(run(tmp_path / "other", tiny, epochs=1), tmp_path / "other") == usual


@pytest.mark.parametrize("dataset", DATASETS)
def test_resolve_augmentation(dataset):
    """The augmentation is settled by the data set, unless one is asked for."""
    chosen = resolve(configure({"dataset": dataset, "device": "cpu"})).augment
    assert chosen == DATASETS[dataset].augment
    assert "auto" not in parse_augmentation(chosen)
    for asked in ("none", "flip-crop"):
        assert (
            resolve(configure({"dataset": dataset, "device": "cpu", "augment": asked})).augment
            == asked
        )


# What a network may have


def infeasible(result, folder):
    """Assert that a trial was left out: not trained, and nothing of it on disk."""
    assert (result.state, result.end) == (PRUNED, "infeasible")
    assert (result.history, result.value, result.best_epoch, result.checkpoint) == (
        (),
        None,
        None,
        None,
    )
    assert (result.confusion, result.seconds) == (None, 0)
    assert list(folder.rglob("*")) == []
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


PARAMETERS, MFLOPS = 64 * 16 + 2 * 16 + 16 * 10 + 10, 2 * (64 * 16 + 16 * 10) / 1e6


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"parameters": PARAMETERS - 1}, "parameters 1,226, allowed 1,225"),
        ({"mflops": MFLOPS * 0.99}, "mflops 0.002368, allowed 0.00234432"),
        ({"parameters": 1e3, "mflops": 1e9, "latency_ms": 1e9}, "parameters 1,226, allowed 1,000"),
        (
            {"parameters": 1, "mflops": 1e-3},
            "parameters 1,226, allowed 1; mflops 0.002368, allowed 0.001",
        ),
        ({"latency_ms": 1e-9}, None),
    ],
)
def test_limits(limits, error, tiny, tmp_path):
    """A network that has more than it may is not trained for a single step, and the result says of what."""
    breaker, epochs = Breaker(), []
    hooks = dataclasses.replace(breaker.hooks, epoch=lambda row, _: epochs.append(row))
    result = run(tmp_path, tiny, limits=limits, hooks=hooks, every_epoch=True)
    infeasible(result, tmp_path)
    assert (breaker.steps, epochs) == (0, [])
    assert (result.parameters, result.mflops) == (PARAMETERS, MFLOPS)
    assert result.error == error or (error is None and result.error.startswith("latency_ms "))


def test_within_limits(tiny, tmp_path):
    """A network that has exactly what it may is trained as without limits."""
    free = run(tmp_path / "a", tiny, epochs=2)
    bound = run(
        tmp_path / "b",
        tiny,
        epochs=2,
        limits={"parameters": PARAMETERS, "mflops": MFLOPS, "latency_ms": 1e6},
    )
    assert outcome(bound, tmp_path / "b") == outcome(free, tmp_path / "a")
    assert 0 < free.latency_ms < 1000  # a record
    assert 0 < bound.latency_ms < 1000


def test_latency_is_measured_once(tiny, tmp_path, often):
    """Of a training broken off the first measurement counts, so that going on cannot end otherwise."""
    with pytest.raises(Interrupted):
        run(tmp_path, tiny, hooks=Breaker(9).hooks, limits={"latency_ms": 1e6})
    measured = load(tmp_path / "epoch-00002.safetensors")[1]["latency_ms"]
    result = run(
        tmp_path, tiny, limits={"latency_ms": measured}
    )  # a second one would be above it half of the time
    assert (result.state, result.latency_ms) == (COMPLETE, measured)


# Weights of every epoch


@pytest.mark.parametrize(
    "values", [{}, {"family": "cnn", "normalize": False}, {"augment": "crop-flip"}], ids=str
)
def test_every_epoch(values, tiny, tmp_path):
    """On demand each epoch's weights are kept with a sum and a card, and score exactly what was recorded then."""
    result = run(tmp_path, tiny, every_epoch=True, **{"lr": 0.05, **values})
    names = [f"{epoch:04d}.safetensors" for epoch in (1, 2, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == sorted(
        [*names, *(f"{name}.sha256" for name in names)]
    )
    digests = set()
    for name, row in zip(names, result.history, strict=True):
        path = tmp_path / "epochs" / name
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        assert path.with_name(f"{name}.sha256").read_text().split()[0] in digests
        scores, card = rescored(path, tiny.val)
        assert (scores.accuracy, scores.loss) == (row.metrics["val/acc"], row.metrics["val/loss"])
        assert (scores.per_class, scores.predicted) == (row.per_class, row.predicted)
        assert (card.epoch, card.metrics, card.config) == (row.epoch, row.metrics, result.config)
    assert len(digests) == 4
    best, kept = (
        load(path)[0]
        for path in (tmp_path / BEST, tmp_path / "epochs" / names[result.best_epoch - 1])
    )
    assert best.keys() == kept.keys()
    assert all(tensor.equal(kept[name]) for name, tensor in best.items())


def test_not_every_epoch(tiny, tmp_path):
    """Nobody asking, no epoch's weights are kept but the best."""
    run(tmp_path, tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, f"{BEST}.sha256"]


def test_every_epoch_changes_nothing(tiny, tmp_path, often):
    """Keeping each epoch's weights changes no result, and a training broken off leaves the same ones in the end."""
    run(tmp_path / "a", tiny, every_epoch=True)
    free = run(tmp_path / "b", tiny)
    with pytest.raises(Interrupted):
        run(tmp_path / "c", tiny, hooks=Breaker(9).hooks, every_epoch=True)
    resumed = run(tmp_path / "c", tiny, every_epoch=True)
    assert outcome(resumed, tmp_path / "c") == outcome(free, tmp_path / "b")
    for epoch in (1, 2, 3, 4):
        unbroken, other = (
            load(tmp_path / name / "epochs" / f"{epoch:04d}.safetensors")[0] for name in "ac"
        )
        assert all(tensor.equal(other[name]) for name, tensor in unbroken.items())


def test_every_epoch_until_pruned(scripted, tmp_path):
    """A pruned trial keeps the weights of the epochs that it had."""
    scripted(3, 2, 4, 4, every_epoch=True, hooks=Hooks(epoch=lambda row, _: row.epoch == 2))
    assert [
        int(load_model(path)[0].passes)
        for path in sorted((tmp_path / "epochs").glob("*.safetensors"))
    ] == [1, 2]


def test_every_epoch_on_a_full_disk(tiny, tmp_path, full_disk):
    """Where an epoch's weights find no space, the command ends, not the trial."""
    with (
        full_disk(2000),
        pytest.raises(
            StorageFailure, match="cannot write a checkpoint in .*epochs: File too large"
        ),
    ):
        run(tmp_path, tiny, every_epoch=True)


def test_small_configurations_are_of_their_family():
    """The options that these tests give apply to the family they give them to."""
    assert all(
        applies(name, {"family": family}) for family, values in SMALL.items() for name in values
    )
