"""Pure: what each plot of a study shows, as frozen values that tests can read. Knows nothing of matplotlib."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.comparison import Score, compare
from sweeps.dimension import Dimension
from sweeps.importance import Importance, importance
from sweeps.ranking import StudyRecord, rank
from sweeps.space import OBJECTIVES
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult, Value

LABELS = {
    "val_acc": "validation accuracy (fraction)",
    "val_loss": "validation loss (nats)",
    "balanced_acc": "validation balanced accuracy (fraction)",
    "macro_f1": "validation macro F1 (0 to 1)",
}
MOST_LINES = {COMPLETE: 150, PRUNED: 50}  # of parallel coordinates: more of them are one smear


@dataclass(frozen=True, kw_only=True)
class HistoryInfo:
    """The value of each ended trial, in the order of their numbers."""

    study: str
    label: str
    log: bool
    points: dict[str, list[tuple[int, float]]]  # by state: number and value
    failed: list[int]  # numbers; they have no value
    best: list[tuple[int, float]]  # best value so far over complete trials


def history_info(record: StudyRecord) -> HistoryInfo | None:
    """Collect values by trial number; None before the first trial has ended."""
    points: dict[str, list[tuple[int, float]]] = {}
    best: list[tuple[int, float]] = []
    results = sorted(record.results, key=lambda r: r.number)
    for result in results:
        if result.value is None or result.state not in (COMPLETE, PRUNED):
            continue
        points.setdefault(result.state, []).append((result.number, result.value))
        if result.state == COMPLETE:
            values = [value for _, value in best[-1:]] + [result.value]
            best.append((result.number, max(values) if record.maximize else min(values)))
    failed = [result.number for result in results if result.state == FAILED]
    if not points and not failed:
        return None
    log = wide(value for state in points.values() for _, value in state)
    return HistoryInfo(study=record.name, label=axis_label(record), log=log, points=points, failed=failed, best=best)


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
            name=_name(result),
            epochs=[row.epoch for row in result.history],
            validation=[row.metrics.get(key, math.nan) for row in result.history],
            train=[row.metrics.get(train, math.nan) for row in result.history],
            best_epoch=result.best_epoch,
        )
        for result in [trial for trial in _ranked(record) if trial.history][:top]
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
    rows = [(trial, trial.best.per_class) for trial in _ranked(record) if trial.best and trial.best.per_class]
    rows = [(trial, row) for trial, row in rows if len(row) == len(rows[0][1])][:top]
    if not rows:
        return None
    accuracy = np.array([row for _, row in rows], dtype=float).T
    return PerClassInfo(
        study=record.name,
        trials=[[f"#{t.number}", t.config.family, *_unless_complete(t)] for t, _ in rows],
        classes=_classes(record, len(accuracy)),
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
    first = next(iter(_ranked(record)), None)
    if first is None or not first.confusion:
        return None
    counts = np.array(first.confusion)
    classes = _classes(record, len(counts))
    return ConfusionInfo(study=record.name, trial=_name(first), classes=classes, counts=counts)


@dataclass(frozen=True, kw_only=True)
class ImportanceInfo:
    """Which searched dimension decided the value."""

    study: str
    importance: Importance


def importance_info(record: StudyRecord) -> ImportanceInfo | None:
    """Estimate the importance; None where nothing was searched or no trial has a value."""
    found = importance(record)
    if not record.dimensions or not found.trials:
        return None
    return ImportanceInfo(study=record.name, importance=found)


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One reference's accuracies, by split."""

    name: str
    published: dict[str, float]
    comparable: bool
    ours: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class PublishedInfo:
    """Published accuracies beside ours on validation and test."""

    study: str
    rows: list[PublishedRow]
    close: tuple[float, float] | None  # the range of most of them, where a few lie far below


def published_info(record: StudyRecord) -> PublishedInfo | None:
    """Collect the references that have an accuracy on validation or test; None where none has."""
    found = compare(record, rank(record.results, maximize=record.maximize))
    rows = []
    for variant in found.variants if found else ():
        figures = [c for c in variant.figures if c.name in ("val_acc", "test_acc") and c.published is not None]
        if figures:
            rows.append(
                PublishedRow(
                    name=variant.reference.label,
                    published={c.split: c.published for c in figures if c.published is not None},
                    comparable=all(c.comparable for c in figures),
                    ours=dict(figures[0].ours),
                )
            )
    return PublishedInfo(study=record.name, rows=rows, close=_close(rows)) if rows else None


def _close(rows: Sequence[PublishedRow]) -> tuple[float, float] | None:
    """The range above the widest gap, if that is most of the whole range and at least half of the values lie there."""
    ours = [score.mean + s * (score.spread or 0) for row in rows for score in row.ours.values() for s in (-1, 1)]
    values = sorted(ours + [value for row in rows for value in row.published.values()])
    gaps = [(high - low, i) for i, (low, high) in enumerate(itertools.pairwise(values), start=1)]
    widest, cut = max(gaps, default=(0.0, 0))
    if (
        len(rows) < 3
        or widest < 0.5 * (values[-1] - values[0])
        or widest < 0.1
        or 2 * (len(values) - cut) < len(values)
    ):
        return None
    return values[cut], values[-1]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of parallel coordinates, from 0 at its lower to 1 at its upper end."""

    name: str
    ticks: list[tuple[float, str]]
    gaps: bool = False  # whether some line lacks it


@dataclass(frozen=True, kw_only=True)
class Line:
    """One trial across the axes."""

    places: list[float | None]  # per axis, from 0 to 1; None where the field does not apply
    state: str
    goodness: float  # 1 for the best value, 0 for the worst


@dataclass(frozen=True, kw_only=True)
class ParallelInfo:
    """One axis for each searched field and one for the value."""

    study: str
    axes: list[Axis]
    lines: list[Line]  # the worst first, so that the best are drawn on top
    trials: int  # how many the lines are chosen from


def parallel_info(record: StudyRecord) -> ParallelInfo | None:
    """Lay out the trials that have a value; None where there are none or nothing was searched.

    Of many trials an even selection over their ranks is taken, the best and the worst among them.
    """
    valued = [(r.value, r) for r in record.results if r.value is not None and r.state in (COMPLETE, PRUNED)]
    if not valued or not record.searched:
        return None
    valued.sort(key=lambda pair: pair[0], reverse=not record.maximize)
    scales = [_scale(record, name, [r for _, r in valued]) for name in record.searched]
    values = [value for value, _ in valued]
    scales.append(_Scale.numeric(axis_label(record), values, log=wide(values)))
    chosen: list[TrialResult] = []
    for state, most in MOST_LINES.items():
        chosen += _spread([r for _, r in valued if r.state == state], most)
    order = {r.number: i for i, (_, r) in enumerate(valued)}
    lines = []
    for result in sorted(chosen, key=lambda r: order[r.number]):
        row = [getattr(result.config, name) for name in record.searched] + [result.value]
        places = [None if v is None else scale.place(v) for scale, v in zip(scales, row, strict=True)]
        height = places[-1] or 0.0
        lines.append(Line(places=places, state=result.state, goodness=height if record.maximize else 1 - height))
    axes = [
        Axis(name=scale.name, ticks=scale.ticks, gaps=any(line.places[i] is None for line in lines))
        for i, scale in enumerate(scales)
    ]
    return ParallelInfo(study=record.name, axes=axes, lines=lines, trials=len(valued))


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Maps a field's values to places from 0 to 1."""

    name: str
    categories: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False

    @staticmethod
    def numeric(name: str, values: Sequence[float], *, log: bool, integer: bool = False) -> _Scale:
        return _Scale(name=name, low=min(values), high=max(values), log=log and min(values) > 0, integer=integer)

    def place(self, value: Value) -> float:
        if self.categories:
            return _share(self.categories.index(value), 0, len(self.categories) - 1)
        number = float(value)
        if self.log:
            return _share(math.log(number), math.log(self.low), math.log(self.high))
        return _share(number, self.low, self.high)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        if self.categories:
            shown = self.categories[:: math.ceil(len(self.categories) / 20)]
            return [(self.place(c), str(c).lower() if isinstance(c, bool) else str(c)) for c in shown]
        nice = _nice(self.low, self.high, log=self.log)
        return [(self.place(v), f"{v:.4g}") for v in nice if not self.integer or v == round(v)]


def _scale(record: StudyRecord, name: str, results: Sequence[TrialResult]) -> _Scale:
    dimensions: list[Dimension] = [d for d in record.dimensions if d.field == name]
    used = [value for r in results if (value := getattr(r.config, name)) is not None]
    choices = [choice for d in dimensions for choice in d.choices]
    if choices and not any(d.low is not None for d in dimensions):
        categories = list(dict.fromkeys(choices + used))
        if not any(isinstance(c, (str, bool)) for c in categories):
            categories.sort()
        return _Scale(name=name, categories=tuple(categories))
    bounds = [bound for d in dimensions for bound in (d.low, d.high) if bound is not None]
    values, integer = [*bounds, *map(float, choices + used)], all(d.integer for d in dimensions)
    return _Scale.numeric(name, values, log=any(d.log for d in dimensions), integer=integer)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _nice(low: float, high: float, *, log: bool) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    if low == high:
        return [low]
    if log:
        powers = [10.0**k for k in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]
        if len(powers) >= 3:
            return [min(max(p, low), high) for p in powers[:: math.ceil(len(powers) / 6)]]
        return [low, *(float(f"{v:.2g}") for v in np.geomspace(low, high, 4)[1:-1]), high]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _spread(results: Sequence[TrialResult], most: int) -> list[TrialResult]:
    """At most ``most`` of the results, evenly over their order, the first and the last among them."""
    if len(results) <= most:
        return list(results)
    return [results[round(i * (len(results) - 1) / (most - 1))] for i in range(most)]


def _ranked(record: StudyRecord) -> list[TrialResult]:
    """The best trial of each configuration, in ranked order."""
    return [entry.trials[0] for entry in rank(record.results, maximize=record.maximize)]


def _name(result: TrialResult) -> str:
    state = [f"({word})" for word in _unless_complete(result)]
    return " ".join([f"#{result.number}", *filter(None, [result.config.family, result.config.activation]), *state])


def _unless_complete(result: TrialResult) -> list[str]:
    """How it ended or stands; nothing for a complete one."""
    return [] if result.state == COMPLETE else [result.end if result.state == FAILED else result.state]


def axis_label(record: StudyRecord) -> str:
    """What the objective's axis is called."""
    return LABELS.get(record.objective, record.objective)


def _classes(record: StudyRecord, count: int) -> list[str]:
    return list(record.classes) if len(record.classes) == count else [str(index) for index in range(count)]


def wide(values: Iterable[float]) -> bool:
    """Whether only a logarithmic scale shows them all: positive, over more than a hundredfold."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 100 * min(known)
