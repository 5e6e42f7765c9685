"""Pure: what a plot shows of a study's searched fields, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.plots.labels import axis_label, by_rank, counted, evenly, listed, sentence, wide, with_value
from sweeps.analysis.comparison import named, shown
from sweeps.analysis.importance import NEEDED, Importance, importance
from sweeps.analysis.ranking import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, PRUNED, TrialResult, Value

MOST_LINES = {COMPLETE: 150, PRUNED: 50}  # of parallel coordinates: more of them are one smear


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


def importance_alt(info: ImportanceInfo) -> str:
    """The shares in falling order."""
    found = info.importance
    parts = [", ".join(f"{s.key} {percent(s.share)}" for s in found.shares)] if found.shares else [found.note or ""]
    own = [f"{s.key} {s.note or percent(s.share)}" for s in found.conditional]
    apart = f"conditional, among only the trials that have it: {listed(own)}" if own and found.trials >= NEEDED else ""
    return sentence(f"Importance among {counted(found.trials, 'trial')}: {parts[0]}", apart)


def percent(share: float | None) -> str:
    """A share as text."""
    return "" if share is None else f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"


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
    best: str  # its trial in words


def parallel_info(record: StudyRecord) -> ParallelInfo | None:
    """Lay out the trials that have a value; None where there are none or nothing was searched.

    Of many trials an even selection over their ranks is taken, the best and the worst among them.
    """
    valued = with_value(record)
    if not valued or not record.searched:
        return None
    valued.sort(key=lambda pair: pair[0], reverse=not record.maximize)
    scales = [_scale(record, name, [r for _, r in valued]) for name in record.searched]
    values = [value for value, _ in valued]
    scales.append(_Scale.numeric(axis_label(record), values, log=wide(values)))
    chosen: list[TrialResult] = []
    for state, most in MOST_LINES.items():
        chosen += evenly([r for _, r in valued if r.state == state], most)
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
    return ParallelInfo(
        study=record.name, axes=axes, lines=lines, trials=len(valued), best=_in_words(record, by_rank(record)[0])
    )


def _in_words(record: StudyRecord, best: TrialResult) -> str:
    return f"best: trial {best.number} with {named(best, record.searched)}: {best.value:.4g}"


def parallel_alt(info: ParallelInfo) -> str:
    """What is shown, and the best trial's values."""
    return sentence(f"{counted(info.trials, 'trial')} across {listed([a.name for a in info.axes], 20)}", info.best)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The objective against one field's value, of the trials that have the field."""

    field: str
    log: bool
    whole: bool  # only whole numbers
    ticks: list[tuple[float, str]]  # of fields with a place for each value; empty for an axis of numbers
    points: dict[str, list[tuple[float, float]]]  # by state: place and value
    best: tuple[float, float] | None  # the best trial's


@dataclass(frozen=True, kw_only=True)
class SlicesInfo:
    """A panel for each searched field."""

    study: str
    label: str
    log: bool
    panels: list[Slice]
    best: str  # its trial in words


def slices_info(record: StudyRecord) -> SlicesInfo | None:
    """Lay the trials that have a value out over each searched field; None where there are none."""
    valued = with_value(record)
    if not valued or not record.searched:
        return None
    winner = by_rank(record)[0]
    panels = [_slice(record, name, valued, winner.number) for name in record.searched]
    return SlicesInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for value, _ in valued),
        panels=[panel for panel in panels if panel.points],
        best=_in_words(record, winner),
    )


def _slice(record: StudyRecord, name: str, valued: Sequence[tuple[float, TrialResult]], winner: int) -> Slice:
    scale = _scale(record, name, [result for _, result in valued])
    points: dict[str, list[tuple[float, float]]] = {}
    best = None
    for value, result in valued:
        given: Value | None = getattr(result.config, name)
        if given is None:
            continue
        place = _beside(scale.categories.index(given), result.number) if scale.categories else float(given)
        points.setdefault(result.state, []).append((place, value))
        if result.number == winner:
            best = (place, value)
    return Slice(
        field=name,
        log=scale.log,
        whole=scale.integer,
        ticks=[(float(place), shown(category)) for place, category in enumerate(scale.categories)],
        points=points,
        best=best,
    )


def _beside(place: int, number: int) -> float:
    """A place beside the category's, so that trials with the same value are told apart: the same each time."""
    return place + 0.5 * (number * 0.618034 % 1 - 0.5)


def slices_alt(info: SlicesInfo) -> str:
    """What is shown, and the best trial's values."""
    return sentence(f"{info.label} by {listed([panel.field for panel in info.panels], 20)}", info.best)


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
