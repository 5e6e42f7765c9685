"""Training one configuration: the same every time, interrupted or not, and every way in which it can end."""

import dataclasses
import hashlib
import itertools
import json
import math
from typing import ClassVar

import pytest
import torch
from torch import nn

import pipeline.train
from pipeline.checkpoints import load_model
from pipeline.data import Split
from pipeline.errors import Interrupted, StorageFailure, TimedOut
from pipeline.metrics import Prepare, score
from pipeline.train import Hooks, epoch_seed, resolve, train
from sweeps.space import OBJECTIVES
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult, applies, configure

OPTIMIZERS, SCHEDULES = ("sgd", "adam", "adamw"), ("none", "cosine", "plateau")
SMALL = {
    "mlp": {"width": 16, "depth": 1, "dropout": 0.3},
    "cnn": {"width": 4, "depth": 2, "dropout": 0.3},
    "resnet": {"width": 8, "depth": 2, "dropout": 0.3},
}
BASE = {"device": "cpu", "precision": "fp32", "batch_size": 40, "epochs": 4, "lr": 0.01}


def settled(family="mlp", **values):
    """A small configuration with nothing left to settle."""
    return configure({**BASE, "family": family, **SMALL.get(family, {}), **values})


def run(folder, data, objective="val_acc", hooks=None, number=0, **values):
    """Train a small configuration."""
    return train(number, settled(**values), data, folder, objective=objective, hooks=hooks)


def outcome(result, folder):
    """All that must be the same: the result without its times and place, and the weights' bytes."""
    history = [
        (row.epoch, row.per_class, {k: v for k, v in row.metrics.items() if not k.startswith("time/")})
        for row in result.history
    ]
    facts = (result.config, result.state, result.end, result.value, result.best_epoch, result.confusion)
    weights = load_model(folder)[0].state_dict()
    digest = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights)))
    return facts, history, digest.hexdigest()


class Breaker:
    """Interrupts a training at a step, and counts its steps."""

    def __init__(self, step=math.inf):
        self.step, self.steps, self.saved = step, 0, []
        self.hooks = Hooks(stop=self.stop, saved=self.saved.append)

    def stop(self):
        self.steps += 1
        if self.steps > self.step:
            raise Interrupted(15)


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every epoch."""
    monkeypatch.setattr(pipeline.train, "SAVE_EVERY", 0)


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


class Linear(nn.Module):
    """A network of the user's own; it breaks after two epochs if told to."""

    error: ClassVar[BaseException | None] = None

    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), classes)
        self.register_buffer("passes", torch.tensor(0))

    def forward(self, images):
        if self.training:
            self.passes += 1
            if self.error is not None and int(self.passes) > 8:
                raise self.error
        return self.layer(images.flatten(1))


class Unsound(Linear):
    """It has no answers, except while it is trained."""

    def forward(self, images):
        return super().forward(images) * (1 if self.training else math.nan)


@pytest.fixture
def scripted(tiny, tmp_path, monkeypatch):
    """Runs a script on ten validation images: five of class 2, three of class 3, two of class 4."""
    labels = torch.tensor([2] * 5 + [3] * 3 + [4] * 2)
    data = dataclasses.replace(tiny, val=Split(tiny.val.images[:10], labels))

    def go(*script, **values):
        monkeypatch.setattr(
            Scripted, "script", [entry if isinstance(entry, tuple) else (entry, 1.0) for entry in script]
        )
        return run(
            tmp_path, data, **{"family": f"{__name__}:Scripted", "batch_size": 1000, "epochs": len(script), **values}
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
    *(({"optimizer": o, "schedule": s}, 9) for o, s in itertools.product(OPTIMIZERS, SCHEDULES)),
    *(({"family": f, "optimizer": o, "schedule": "cosine"}, 9) for f in ("cnn", "resnet") for o in OPTIMIZERS),
    *(({"lr": 0.1}, step) for step in (0, 3, 4, 5, 8, 12, 15)),
]


@pytest.mark.parametrize(("values", "step"), CASES, ids=str)
def test_resumed_is_unbroken(values, step, tiny, tmp_path, often, monkeypatch):
    """Broken off anywhere and begun again, a training ends bit for bit as one that was not, and repeats no epoch."""
    monkeypatch.setattr(pipeline.train, "PLATEAU_PATIENCE", 0)
    unbroken = run(tmp_path / "a", tiny, **values)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", tiny, hooks=Breaker(step).hooks, **values)
    again = Breaker()
    resumed = run(tmp_path / "b", tiny, hooks=again.hooks, **values)
    assert outcome(resumed, tmp_path / "b") == outcome(unbroken, tmp_path / "a")
    assert again.steps == 16 - step // 4 * 4  # 4 epochs of 4 steps: only the partial epoch is lost
    if step >= 4:
        assert len(again.saved[0]) == step // 4  # what the checkpoint holds is told first, for the record


def test_broken_twice(tiny, tmp_path, often):
    """A training broken off twice is the same too, and its time is that of all its parts."""
    unbroken = run(tmp_path / "a", tiny)
    for step in (6, 5):
        with pytest.raises(Interrupted):
            run(tmp_path / "b", tiny, hooks=Breaker(step).hooks)
    resumed = run(tmp_path / "b", tiny)
    assert outcome(resumed, tmp_path / "b") == outcome(unbroken, tmp_path / "a")
    assert resumed.seconds == pytest.approx(sum(row.metrics["time/epoch_seconds"] for row in resumed.history), abs=1e-3)


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
    assert outcome(run(tmp_path / "b", tiny, hooks=again.hooks), tmp_path / "b") == outcome(unbroken, tmp_path / "a")
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
    ("objective", "family"), [*((o, "mlp") for o in OBJECTIVES), ("val_loss", "cnn"), ("val_loss", "resnet")]
)
def test_best_weights_score_what_was_recorded(objective, family, tiny, tmp_path):
    """Scoring the weights that are left gives exactly the value and figures recorded, for every objective."""
    result = run(tmp_path, tiny, objective, family=family, lr=0.1, optimizer="sgd", epochs=6)
    network, card = load_model(result.checkpoint)
    prepare = Prepare(card.mean, card.std, torch.device("cpu"), "fp32")
    scores = score(network, tiny.val, 10, batch_size=result.config.eval_batch_size, prepare=prepare)
    figures = {
        "val_acc": scores.accuracy,
        "val_loss": scores.loss,
        "balanced_acc": scores.balanced_accuracy,
        "macro_f1": scores.macro_f1,
    }
    assert result.value == figures[objective]
    assert result.confusion == tuple(map(tuple, scores.confusion.tolist()))
    assert result.best.per_class == scores.per_class
    assert card.metrics == result.best.metrics
    assert (card.config, card.epoch, card.classes) == (result.config, result.best_epoch, tiny.classes)
    choose = min if objective == "val_loss" else max
    assert result.value == choose(row.metrics[OBJECTIVES[objective][0]] for row in result.history)


def test_best_epoch_is_kept(scripted, tmp_path):
    """The weights left are the best epoch's, not the last's, and the first of equals counts."""
    result = scripted(4, 2, 3, 2, 4)
    assert [row.metrics["val/acc"] for row in result.history] == [0.2, 0.5, 0.3, 0.5, 0.2]
    assert (result.state, result.best_epoch, result.value) == (COMPLETE, 2, 0.5)
    assert int(load_model(tmp_path)[0].passes) == 2
    assert result.confusion[3][2] == 3


@pytest.mark.parametrize(("objective", "best"), [("val_acc", 1), ("val_loss", 3), ("balanced_acc", 1), ("macro_f1", 1)])
def test_objective_chooses(objective, best, scripted):
    """A loss is best where lowest, another figure where highest."""
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
    assert (result.value, result.best_epoch, result.confusion, result.checkpoint) == (None, None, None, None)
    assert list(folder.glob("best*")) == []
    assert "\n" not in result.error
    assert TrialResult.from_dict(json.loads(result.to_json())) == result


@pytest.mark.parametrize("family", SMALL)
def test_diverged(family, tiny, tmp_path):
    """A loss that is no finite number ends the trial at once as diverged."""
    config = dataclasses.replace(settled(family, optimizer="sgd", batch_norm=False, epochs=50), lr=1e8)
    result = train(0, config, tiny, tmp_path, objective="val_acc")
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
    result = run(tmp_path, tiny, family=f"{__name__}:Unsound")
    failed(result, "diverged", tmp_path)
    assert result.error == "validation loss is nan after epoch 1"


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ZeroDivisionError("two\nlines"), "error:ZeroDivisionError"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), "oom"),
        (RuntimeError("x" * 9000), "error:RuntimeError"),
        (FileNotFoundError(2, "No such file", "weights.bin"), "error:FileNotFoundError"),
        (TimeoutError("the network's own"), "error:TimeoutError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exception_in_the_network(error, end, tiny, tmp_path, monkeypatch, often):
    """An exception in the network fails the trial by its class, want of memory as such, with a short line."""
    monkeypatch.setattr(Linear, "error", error)
    result = run(tmp_path, tiny, family=f"{__name__}:Linear")
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
            raise TimedOut("it took longer than 1 s")

    breaker = Breaker()
    result = run(tmp_path, tiny, hooks=Hooks(stop=stop))
    failed(result, "timeout", tmp_path)
    assert result.error == "it took longer than 1 s"
    assert len(result.history) == 1


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
    assert outcome(run(tmp_path / "b", tiny, hooks=again.hooks), tmp_path / "b") == outcome(unbroken, tmp_path / "a")
    assert again.steps == 8


# What is recorded


def test_history(tiny, tmp_path):
    """Each epoch has its number, its time, these figures and an accuracy for each class."""
    result = run(tmp_path, tiny, epochs=2)
    keys = {
        "train/loss",
        "train/acc",
        "train/lr",
        "val/loss",
        "val/acc",
        "time/epoch_seconds",
        "time/images_per_second",
    }
    assert [row.epoch for row in result.history] == [1, 2]
    assert all(row.metrics.keys() == keys for row in result.history)
    assert all(len(row.per_class) == 10 for row in result.history)
    assert result.history[0].time <= result.history[1].time
    assert all(0 <= row.metrics[key] <= 1 for row in result.history for key in ("train/acc", "val/acc"))
    assert result.history[1].metrics["train/loss"] < result.history[0].metrics["train/loss"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_is_recorded(objective, tiny, tmp_path):
    """The figure that ranks is in the history, in addition to loss and accuracy."""
    (row,) = run(tmp_path, tiny, objective, epochs=1).history
    assert {key for key in row.metrics if key.startswith("val/")} == {"val/loss", "val/acc", OBJECTIVES[objective][0]}


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


def rates(result):
    return [row.metrics["train/lr"] for row in result.history]


def test_no_schedule(scripted):
    """Without a schedule the rate stays."""
    assert rates(scripted(2, 2, 2, lr=0.5)) == [0.5] * 3


def test_cosine(scripted):
    """The cosine schedule falls from the full rate by half a cosine over the epochs."""
    expected = [0.25 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates(scripted(2, 2, 2, 2, lr=0.5, schedule="cosine")) == pytest.approx(expected)


def test_plateau(scripted):
    """The plateau schedule falls to 0.3 of the rate after four epochs without a lower validation loss."""
    result = scripted((2, 1.0), (2, 0.1), *[(4, 5.0)] * 5, (2, 1.0), lr=0.5, schedule="plateau")
    assert rates(result) == pytest.approx([0.5] * 5 + [0.15] * 3)


@pytest.mark.parametrize("values", [{"optimizer": o} for o in OPTIMIZERS] + [{"optimizer": "sgd", "momentum": 0.0}])
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
            outcome(run(folder, tiny, epochs=1, optimizer=folder.name.split()[0], weight_decay=decay), folder)[2]
            for folder in folders
        ]
        assert (weights[0] == weights[1]) is same


@pytest.mark.parametrize("family", SMALL)
def test_last_batch_of_one(family, tiny, tmp_path):
    """A last batch of one image, which batch normalisation cannot take, is left out."""
    heard = []
    one_more = dataclasses.replace(tiny, train=Split(tiny.train.images[:121], tiny.train.labels[:121]))
    result = run(tmp_path, one_more, family=family, epochs=1, hooks=Hooks(step=lambda *facts: heard.append(facts)))
    assert result.state == COMPLETE
    assert [facts[:2] for facts in heard] == [(1, 3), (2, 3), (3, 3)]


def test_whole_split_in_one_batch(tiny, tmp_path):
    """A batch may be larger than the split."""
    assert run(tmp_path, tiny, batch_size=1000, epochs=1).state == COMPLETE


def test_bf16(tiny, tmp_path):
    """In bf16 the figures differ a little and the weights are kept in full."""
    full, half = (run(tmp_path / p, tiny, family="cnn", epochs=1, precision=p) for p in ("fp32", "bf16"))
    assert half.state == COMPLETE
    loss, other = (result.history[0].metrics["train/loss"] for result in (full, half))
    assert loss != other
    assert loss == pytest.approx(other, rel=0.05)
    assert {tensor.dtype for tensor in load_model(tmp_path / "bf16")[0].parameters()} == {torch.float32}


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
        assert load_model(tmp_path / family)[1].shape == (3, 8, 13)


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
    for supported, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert (resolve(auto).device, resolve(auto).precision) == ("cuda", precision)
    assert resolve(configure({"device": "cpu"})).precision == "fp32"


def test_small_configurations_are_of_their_family():
    """The options that these tests give apply to the family they give them to."""
    assert all(applies(name, {"family": family}) for family, values in SMALL.items() for name in values)
