"""Finds out in seconds whether a configuration can be trained, and whether it learns at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.data.search_data import SearchData, Split, trial_data
from pipeline.training.epochs import Hooks
from pipeline.training.process import thread_count
from pipeline.training.train import train
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult, config_fields

_BATCHES = 2  # of training and of validation images
_STEPS = 200  # steps on one batch, at most
_TIME_LIMIT = 30.0  # seconds for each of the two trainings
_RIGHT = 0.95  # share of the batch that is classified correctly when it is learned
# What keeps a network from learning single images by heart.
_REGULARISATION = (
    "augment",
    "rotate",
    "zoom",
    "color_jitter",
    "mixup",
    "cutmix",
    "ema",
    "class_weights",
    "label_smoothing",
    "weight_decay",
    "schedule",
    "patience",
    "log_every",
    "gpus_per_trial",
)


@dataclass(frozen=True)
class Probe:
    """What a short training of a configuration has shown.

    Attributes:
        short: the result of an epoch of two batches.
        images: the number of images in the batch that was trained again and again.
        overfitted: the result of this; None if the first training has failed.
    """

    short: TrialResult
    images: int
    overfitted: TrialResult | None

    @property
    def failure(self) -> TrialResult | None:
        """The training that failed, if one did."""
        for result in (self.short, self.overfitted):
            if result is not None and result.state == FAILED:
                return result
        return None

    @property
    def learns(self) -> bool:
        """Whether the network has learned the images of one batch by heart."""
        if self.failure is not None or self.overfitted is None:
            return False
        return self.overfitted.history[-1].metrics["val/acc"] >= _RIGHT


def probe(config: TrialConfig, data: SearchData, folder: Path, stop: Callable[[], None]) -> Probe:
    """Train and score two batches, then train one batch until it is known by heart.

    For the second training everything is switched off that makes this harder: augmentation, mixing,
    dropout, weight decay and the schedule of the learning rate.

    Args:
        config: settled by `pipeline.training.resolve.resolve`.
        data: the training and validation splits of the study.
        folder: for checkpoints.
        stop: called before every step; raises to stop.
    """
    data = trial_data(data, config)
    few = dataclasses.replace(
        data,
        train=_spread(data.train, _BATCHES * config.batch_size),
        val=_spread(data.val, _BATCHES * config.eval_batch_size),
        groups=None,
    )
    one = _spread(data.train, config.batch_size)
    same = dataclasses.replace(data, train=one, val=one, groups=None)

    def is_learned(row: Epoch, _best: float) -> bool:
        return row.metrics["val/acc"] == 1.0

    with thread_count(config.cpu_threads):
        short = train(
            0,
            dataclasses.replace(_without(config, ("gpus_per_trial",)), epochs=1),
            few,
            folder / "short",
            objective="val_loss",
            hooks=Hooks(stop=stop),
            time_limit=_TIME_LIMIT,
        )
        if short.state == FAILED:
            return Probe(short, len(one), None)
        plain = _without(config, _REGULARISATION)
        if plain.dropout is not None:
            plain = dataclasses.replace(plain, dropout=0.0)
        overfitted = train(
            0,
            dataclasses.replace(plain, epochs=_STEPS, augment="none"),
            same,
            folder / "one",
            objective="val_acc",
            hooks=Hooks(stop=stop, epoch=is_learned),
            time_limit=_TIME_LIMIT,
        )
    if overfitted.end == "timeout" and overfitted.history:
        overfitted = dataclasses.replace(overfitted, state="pruned")  # slow, but not broken
    return Probe(short, len(one), overfitted)


def _without(config: TrialConfig, names: tuple[str, ...]) -> TrialConfig:
    """Return a configuration with some fields at their defaults."""
    defaults: dict[str, Any] = {name: config_fields()[name].default for name in names}
    return dataclasses.replace(config, **defaults)


def _spread(split: Split, count: int) -> Split:
    """Return some images of a split, evenly spaced: they may be sorted by class."""
    number = min(count, len(split))
    indices = torch.linspace(0, max(len(split) - 1, 0), number).round().long()
    return Split(split.take(indices).clone(), split.labels[indices].clone())
