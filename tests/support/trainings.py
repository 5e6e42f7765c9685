"""Trains one small configuration in this process, and has networks that misbehave."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import ClassVar

import torch
from torch import nn

from pipeline.checkpoints import load_model
from pipeline.data.search_data import Split
from pipeline.engines.base import Task
from pipeline.system.errors import Interrupted
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.analysis.facts import SELECTION
from sweeps.trial import configure


def settled(family="mlp", **values):
    """A small configuration with nothing left to settle."""
    return configure({**BASE, "family": family, **SMALL.get(family, {}), **values})


def run(
    folder,
    data,
    objective="val_acc",
    number=0,
    hooks=None,
    limits=None,
    every_epoch=False,
    time_limit=None,
    selection=SELECTION,
    **values,
):
    """Train a small configuration, on images that its family takes."""
    config = settled(**values)
    rest = {"hooks": hooks, "limits": limits, "every_epoch": every_epoch, "time_limit": time_limit}
    rest["selection"] = selection
    return train(number, config, suited(config.family, data), folder, objective=objective, **rest)


def outcome(result, folder):
    """All that must be the same: the result without its times and place, and the weights' bytes."""
    history = [
        (
            *(row.epoch, row.per_class, row.train_per_class, row.predicted, row.step_losses),
            {k: v for k, v in row.metrics.items() if not k.startswith("time/")},
        )
        for row in result.history
    ]
    facts = (
        result.config,
        result.state,
        result.end,
        result.value,
        result.best_epoch,
        result.confusion,
    )
    facts += (result.mistakes, result.correct, result.confidences, result.optimism)
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


def task(folder, number=0, *, time_limit=None, limits=None, **values):
    """A trial to train, in a folder of its own."""
    return Task(
        number=number,
        config=settled(**values),
        folder=folder / str(number),
        objective="val_acc",
        limits=limits or {},
        time_limit=time_limit,
    )


SMALL = {
    "mlp": {"width": 16, "depth": 1, "dropout": 0.3},
    "cnn": {"width": 4, "depth": 2, "dropout": 0.3},
    "resnet": {"width": 8, "depth": 2, "dropout": 0.3},
    "lenet_resnet": {"width": 4, "dropout": 0.3},
}


BASE = {
    "device": "cpu",
    "precision": "fp32",
    "augment": "none",
    "batch_size": 40,
    "epochs": 4,
    "lr": 0.01,
}


def suited(family, data):
    """The data in images of twice the side, where the family needs them."""
    if family not in LARGE:
        return data
    splits = {
        name: Split(
            split.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), split.labels
        )
        for name, split in (("train", data.train), ("val", data.val))
    }
    return dataclasses.replace(data, **splits)


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


LARGE = ("lenet_resnet",)  # families that need images of more than 8x8 pixels
