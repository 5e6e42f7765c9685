"""Processes that train one network together come to what one process comes to with the whole batch."""

import pytest
import torch
from support import forks
from support.trainings import outcome, settled

import pipeline.training.epochs
from pipeline.checkpoints import load_model
from pipeline.engines import local
from pipeline.engines.base import Task
from pipeline.system.errors import Interrupted
from pipeline.training.distributed import Group, check_processes
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.trial import COMPLETE, configure

# What each image has to itself: no moments over a batch, and nothing drawn. The last batch is of 7 images.
PLAIN = {"dropout": 0.0, "batch_norm": False, "batch_size": 51}


@pytest.fixture(scope="module", autouse=True)
def _server():
    forks.serve()


def trained(data, folder, **values):
    """The result of a trial in as many processes as it asks for, and its folder."""
    config = settled(**values)
    task = Task(number=0, config=config, folder=folder, objective="val_acc")
    return local.train_one(task, data, Hooks()), folder


def check_close(one, other):
    """Both have the same history and weights, but for the last digits."""
    (first, of_first), (second, of_second) = one, other
    assert (first.state, first.error) == (second.state, second.error) == (COMPLETE, None)
    assert len(first.history) == len(second.history)
    for row, twin in zip(first.history, second.history, strict=True):
        figures, its = (
            {k: v for k, v in r.metrics.items() if not k.startswith("time/")} for r in (row, twin)
        )
        assert figures == pytest.approx(its, rel=1e-3)
        assert (row.train_per_class, row.per_class, row.predicted) == (
            *(twin.train_per_class, twin.per_class),
            twin.predicted,
        )
    weights, its = (load_model(folder)[0].state_dict() for folder in (of_first, of_second))
    assert weights.keys() == its.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, its[name], rtol=1e-3, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {
            "family": "mlp",
            "optimizer": "sgd",
            "lr": 0.05,
            "schedule": "cosine",
            "redraw": "fold-2-of-3",
        },
        {
            "family": "mlp",
            "optimizer": "adam",
            "grad_clip": 0.5,
            "schedule": "plateau",
            "lr_patience": 0,
        },
        {
            "family": "cnn",
            "optimizer": "adamw",
            "weight_decay": 0.1,
            "schedule": "onecycle",
            "label_smoothing": 0.1,
        },
        {"family": "cnn", "optimizer": "sgd", "lr": 0.05, "schedule": "step", "lr_step": 2},
    ],
    ids=lambda values: f"{values['family']}-{values['optimizer']}-{values['schedule']}",
)
def test_two_processes_equal_one_with_the_whole_batch(values, tiny, tmp_path):
    """Weights and history are those of one process, whatever the optimiser, and where batches cannot be divided."""
    alone = trained(tiny, tmp_path / "alone", **PLAIN, **values)
    check_close(trained(tiny, tmp_path / "both", **PLAIN, **values, gpus_per_trial=2), alone)


@pytest.mark.slow
def test_three_processes_equal_one(tiny, tmp_path):
    """Shares of 17, 17 and 16 images count as their images do."""
    values = {"family": "mlp", "dropout": 0.0, "batch_norm": False, "batch_size": 50}
    alone = trained(tiny, tmp_path / "alone", **values)
    check_close(trained(tiny, tmp_path / "three", **values, gpus_per_trial=3), alone)


@pytest.mark.slow
def test_going_on_equals_never_having_stopped(tiny, tmp_path, monkeypatch):
    """From a checkpoint every process has the weights, the optimiser's moments and the schedule's place."""
    values = {
        **PLAIN,
        "family": "mlp",
        "optimizer": "adam",
        "schedule": "onecycle",
        "gpus_per_trial": 2,
    }
    whole = trained(tiny, tmp_path / "whole", **values)
    monkeypatch.setattr(pipeline.training.epochs, "SAVE_EVERY", 0)

    def stop(row, best):
        if row.epoch == 3:
            raise Interrupted(15)
        return False

    with pytest.raises(Interrupted):  # in one process, whose checkpoints are the same
        train(
            0,
            settled(**values),
            tiny,
            tmp_path / "parts",
            objective="val_acc",
            hooks=Hooks(epoch=stop),
        )
    check_close(trained(tiny, tmp_path / "parts", **values), whole)


@pytest.mark.slow
def test_the_same_again(tiny, tmp_path):
    """With dropout, batch normalisation and augmentation two trainings are equal to the bit; no two draw alike."""
    values = {"family": "resnet", "augment": "crop-flip-cutout", "gpus_per_trial": 2, "epochs": 2}
    first, second = (outcome(*trained(tiny, tmp_path / str(n), **values)) for n in range(2))
    assert first == second
    drawn = pipeline.training.epochs.epoch_seed(3, 4, 1)
    assert drawn not in (
        pipeline.training.epochs.epoch_seed(3, 4),
        pipeline.training.epochs.epoch_seed(3, 4, 2),
    )


def test_one_process_is_a_group_of_one():
    """Alone nothing is divided, scaled, wrapped or exchanged: every tensor and the network stay the very same."""
    group, network = Group(None, torch.device("cpu")), torch.nn.Flatten()
    batch, loss = torch.arange(7), torch.tensor(0.3)
    assert (group.rank, group.size) == (0, 1)
    assert group.share(batch) is batch
    assert group.weigh(loss, 7, 7) is group.mean(loss) is group.total(loss) is loss
    assert group.wrap(network) is group.convert(network) is network
    assert group.agree(3, 0.1) == (3, 0.1)


@pytest.mark.parametrize(("size", "images"), [(2, 7), (3, 50), (4, 4), (5, 64)])
def test_shares_make_the_batch(size, images):
    """Each image is in one share; the weighed means of the shares average to the mean of the batch."""
    batch = torch.rand(images, dtype=torch.float64)
    groups = [Group(None, torch.device("cpu")) for _ in range(size)]
    for rank, group in enumerate(groups):
        group.rank, group.size = rank, size
    shares = [group.share(batch) for group in groups]
    assert torch.equal(torch.cat(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    weighed = [
        g.weigh(share.mean(), len(share), images) for g, share in zip(groups, shares, strict=True)
    ]
    torch.testing.assert_close(torch.stack(weighed).mean(), batch.mean())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"device": "cpu", "batch_size": 3},
            "gpus_per_trial must be at most batch_size 3, of which each takes a share: got 4",
        ),
        ({"device": "mps"}, "gpus_per_trial must be at most 1, the mps devices here: got 4"),
        ({"device": "cuda"}, "gpus_per_trial must be at most 2, the cuda devices here: got 4"),
    ],
)
def test_what_cannot_be_divided_is_refused(values, message, monkeypatch):
    """More processes than GPUs, or than images in a batch, are refused; on the CPU there may be any number."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=message):
        check_processes(configure({**values, "gpus_per_trial": 4}))
    check_processes(configure({"device": "cpu", "gpus_per_trial": 64}))
    check_processes(configure({"device": "cuda", "gpus_per_trial": 2}))
