"""Pure: what a plot shows of the best trials of a study, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.plotinfo import axis_label, by_rank, class_names, trial_name, unless_complete, wide
from sweeps.ranking import StudyRecord
from sweeps.space import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial's metrics by epoch; NaN where an epoch lacks one."""

    name: str
    epochs: list[int]
    validation: list[float]
    train: list[float]
    best_epoch: int | None


@dataclass(frozen=True, kw_only=True)
class CurvesInfo:
    """The learning curves of the first-ranked trials."""

    study: str
    label: str
    train_label: str
    log: bool
    curves: list[Curve]


def curves_info(record: StudyRecord, top: int = 6) -> CurvesInfo | None:
    """Collect the ``top`` first-ranked trials that have a history; None where none has."""
    key = OBJECTIVES[record.objective][0] if record.objective in OBJECTIVES else f"val/{record.objective}"
    # A loss beside a loss, anything else beside accuracy, which has the same range.
    train = "train/loss" if key.endswith("loss") else "train/acc"
    curves = [
        Curve(
            name=trial_name(result),
            epochs=[row.epoch for row in result.history],
            validation=[row.metrics.get(key, math.nan) for row in result.history],
            train=[row.metrics.get(train, math.nan) for row in result.history],
            best_epoch=result.best_epoch,
        )
        for result in [trial for trial in by_rank(record) if trial.history][:top]
    ]
    if not curves:
        return None
    return CurvesInfo(
        study=record.name,
        label=axis_label(record),
        train_label="training loss" if key.endswith("loss") else "training accuracy",
        log=wide(value for curve in curves for value in curve.validation + curve.train),
        curves=curves,
    )


@dataclass(frozen=True, kw_only=True)
class PerClassInfo:
    """Validation accuracy of each class at each trial's best epoch."""

    study: str
    trials: list[list[str]]  # number, family and, unless complete, state
    classes: list[str]
    accuracy: np.ndarray  # (classes, trials), from 0 to 1; NaN where a class has no images


def per_class_info(record: StudyRecord, top: int = 10) -> PerClassInfo | None:
    """Collect the ``top`` first-ranked trials that have accuracies per class; None where none has."""
    rows = [(trial, trial.best.per_class) for trial in by_rank(record) if trial.best and trial.best.per_class]
    rows = [(trial, row) for trial, row in rows if len(row) == len(rows[0][1])][:top]
    if not rows:
        return None
    accuracy = np.array([row for _, row in rows], dtype=float).T
    return PerClassInfo(
        study=record.name,
        trials=[[f"#{t.number}", t.config.family, *unless_complete(t)] for t, _ in rows],
        classes=class_names(record, len(accuracy)),
        accuracy=accuracy,
    )


@dataclass(frozen=True, kw_only=True)
class ConfusionInfo:
    """Validation counts of one trial at its best epoch."""

    study: str
    trial: str
    classes: list[str]
    counts: np.ndarray  # (classes, classes): [true][predicted]


def confusion_info(record: StudyRecord) -> ConfusionInfo | None:
    """Take the first-ranked trial's confusion matrix; None where it has none."""
    first = next(iter(by_rank(record)), None)
    if first is None or not first.confusion:
        return None
    counts = np.array(first.confusion)
    classes = class_names(record, len(counts))
    return ConfusionInfo(study=record.name, trial=trial_name(first), classes=classes, counts=counts)
