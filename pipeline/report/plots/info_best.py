"""Pure: what a plot shows of the best trials of a study, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.report.plots.labels import (
    LABELS,
    axis_label,
    by_rank,
    class_names,
    counted,
    history_key,
    listed,
    sentence,
    trial_name,
    trial_names,
    unless_complete,
    wide,
)
from sweeps.analysis.finalists import decided
from sweeps.analysis.ranking import StudyRecord
from sweeps.trial import TrialResult


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial's metrics by epoch; NaN where an epoch lacks one."""

    name: str
    epochs: list[int]
    validation: list[float]
    train: list[float]
    best_epoch: int | None

    @property
    def at_best(self) -> tuple[float, float] | None:
        """Validation and training at the best epoch, where both are known."""
        if self.best_epoch not in self.epochs:
            return None
        place = self.epochs.index(self.best_epoch)
        pair = self.validation[place], self.train[place]
        return pair if all(map(math.isfinite, pair)) else None


@dataclass(frozen=True, kw_only=True)
class GapPanel:
    """One trial on training and on validation images."""

    label: str
    log: bool
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class CurvesInfo:
    """The learning curves of the first-ranked trials, and how far training and validation lie apart in the first."""

    study: str
    label: str
    log: bool
    curves: list[Curve]
    gaps: list[GapPanel]  # of the first curve: the objective, then loss beside it, or accuracy beside loss


def curves_info(record: StudyRecord, top: int = 6) -> CurvesInfo | None:
    """Collect the ``top`` first-ranked trials that have a history; None where none has."""
    key = history_key(record)
    other = "val/acc" if key.endswith("loss") else "val/loss"
    trials = [trial for trial in by_rank(record) if trial.history][:top]
    if not trials:
        return None
    names = trial_names(record, trials)
    curves = [_curve(trial, name, key) for trial, name in zip(trials, names, strict=True)]
    labels = {key: axis_label(record), other: LABELS[f"val_{other[4:]}"]}
    gaps = []
    for own, label in labels.items():
        curve = _curve(trials[0], names[0], own)
        log = wide(curve.validation + curve.train)
        gaps.append(GapPanel(label=label.removeprefix("validation "), log=log, curve=curve))
    return CurvesInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for curve in curves for value in curve.validation),
        curves=curves,
        gaps=gaps,
    )


def _curve(trial: TrialResult, name: str, key: str) -> Curve:
    # A loss beside a loss, anything else beside accuracy, which has the same range.
    train = "train/loss" if key.endswith("loss") else "train/acc"
    return Curve(
        name=name,
        epochs=[row.epoch for row in trial.history],
        validation=[row.metrics.get(key, math.nan) for row in trial.history],
        train=[row.metrics.get(train, math.nan) for row in trial.history],
        best_epoch=trial.best_epoch,
    )


def curves_alt(info: CurvesInfo) -> str:
    """The best values, and training beside validation in the first trial."""
    parts = [f"{c.name} {c.at_best[0]:.4g} at epoch {c.best_epoch}" for c in info.curves if c.at_best]
    apart = [
        f"{panel.label} of {panel.curve.name} there: validation {at[0]:.4g}, training {at[1]:.4g}"
        for panel in info.gaps
        if (at := panel.curve.at_best)
    ]
    return sentence(f"{info.label} of {counted(len(info.curves), 'trial')}", listed(parts), *apart)


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


def per_class_alt(info: PerClassInfo) -> str:
    """The best trial's range, and the classes that are hardest over all trials shown."""
    rows = [row[np.isfinite(row)] for row in info.accuracy]
    means = sorted((float(row.mean()), name) for name, row in zip(info.classes, rows, strict=True) if row.size)
    first = sorted((v, name) for name, v in zip(info.classes, info.accuracy[:, 0], strict=True) if np.isfinite(v))
    span = f"from {first[0][0]:.3f} ({first[0][1]}) to {first[-1][0]:.3f}" if first else "unknown"
    return sentence(
        f"{counted(len(info.classes), 'class')} in {counted(len(info.trials), 'trial')}",
        f"{' '.join(info.trials[0])}: {span}",
        f"lowest on average: {', '.join(f'{name} {mean:.3f}' for mean, name in means[:3])}" if means else "",
    )


@dataclass(frozen=True, kw_only=True)
class ConfusionInfo:
    """Validation counts of one trial at its best epoch."""

    study: str
    trial: str
    classes: list[str]
    counts: np.ndarray  # (classes, classes): [true][predicted]


def confusion_info(record: StudyRecord) -> ConfusionInfo | None:
    """Take the winner's confusion matrix, of its finalists once they have decided; None where it has none."""
    source = decided(record) or record
    first = next(iter(by_rank(source)), None)
    if first is None or not first.confusion:
        return None
    counts = np.array(first.confusion)
    classes = class_names(record, len(counts))
    return ConfusionInfo(study=source.name, trial=trial_name(first), classes=classes, counts=counts)


def confusion_alt(info: ConfusionInfo) -> str:
    """How many images were taken for what they are, and the most frequent mistakes."""
    right, total = int(np.trace(info.counts)), int(info.counts.sum())
    wrong = info.counts * ~np.eye(len(info.counts), dtype=bool)
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:5], wrong.shape)
    pairs = [
        f"{info.classes[i]} taken for {info.classes[j]} ({counted(int(wrong[i, j]), 'time')})"
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]
    return sentence(
        f"Trial {info.trial} of {info.study}: {right:,} of {counted(total, 'image')} right", ", ".join(pairs)
    )
