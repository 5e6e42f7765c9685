"""Pure: what a plot shows of the costs of a study's trials, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import (
    axis_label,
    counted,
    evenly,
    history_key,
    listed,
    rounded,
    sentence,
    wide,
    with_value,
)
from sweeps.analysis.comparison import complete
from sweeps.analysis.ranking import Ranked, StudyRecord, rank
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult

COSTS = {
    "parameters": "parameters of the network",
    "mflops": "MFLOPs of one image's forward pass",
    "seconds": "training time (s)",
}
MOST_COURSES = {COMPLETE: 100, PRUNED: 100, FAILED: 30}  # more of them are one smear
_LOG = 20  # how many times the smallest cost the largest is where an axis turns logarithmic


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One configuration: what it cost and what it reached."""

    cost: float
    value: float
    name: str


@dataclass(frozen=True, kw_only=True)
class CostPanel:
    """The objective against one cost."""

    cost: str
    log: bool
    front: list[Spot]  # complete ones that no other beats at the same cost or less; the cheapest first
    complete: list[Spot]  # the others
    pruned: list[Spot]


@dataclass(frozen=True, kw_only=True)
class ParetoInfo:
    """What accuracy costs, a panel for each cost in which configurations differ."""

    study: str
    label: str
    log: bool
    shown: tuple[float, float]  # the part of the objective's axis where half of the complete ones and the fronts lie
    outside: int  # complete configurations worse than that
    panels: list[CostPanel]

    @property
    def range(self) -> tuple[float, float]:
        """What of the axis to show: that part, with room around it."""
        low, high = self.shown
        room = 0.15 * (high - low) or 0.01
        return (low / 1.2, high * 1.2) if self.log else (low - room, high + room)

    @property
    def pruned(self) -> bool:
        """Whether a pruned one is seen."""
        low, high = self.range
        return any(low <= spot.value <= high for panel in self.panels for spot in panel.pruned)


def pareto_info(record: StudyRecord) -> ParetoInfo | None:
    """Collect configurations (repeats over seeds by their means) by cost; None unless two complete ones differ."""
    entries = [e for e in rank(record.results, maximize=record.maximize) if e.value is not None]
    panels = [panel for name in COSTS if (panel := _cost_panel(record, name, entries))]
    if not panels:
        return None
    sign = 1 if record.maximize else -1
    goods = [sign * e.value for e in entries if e.state == COMPLETE and e.value is not None]
    lowest = min(statistics.median(goods), *(sign * panel.front[0].value for panel in panels))
    kept = [sign * good for good in goods if good >= 2 * lowest - max(goods)]
    return ParetoInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(kept),
        shown=(min(kept), max(kept)),
        outside=len(goods) - len(kept),
        panels=panels,
    )


def _cost_panel(record: StudyRecord, name: str, entries: Sequence[Ranked]) -> CostPanel | None:
    """One cost's panel; None where it is unknown or the same for all."""
    found = [
        (entry, Spot(cost=cost, value=entry.value, name=f"#{entry.trials[0].number} {entry.trials[0].config.family}"))
        for entry in entries
        if entry.value is not None and math.isfinite(entry.value) and (cost := _cost(entry, name)) is not None
    ]
    spots = sorted((s for e, s in found if e.state == COMPLETE), key=lambda s: s.cost)
    costs = [spot.cost for spot in spots]
    if len(set(costs)) < 2:
        return None
    front = _front(spots, record.maximize)
    return CostPanel(
        cost=COSTS[name],
        log=costs[0] > 0 and costs[-1] > _LOG * costs[0],
        front=front,
        complete=[spot for spot in spots if spot not in front],
        pruned=[spot for entry, spot in found if entry.state == PRUNED],
    )


def _cost(entry: Ranked, name: str) -> float | None:
    costs = [c for t in complete(entry) or entry.trials[:1] if (c := getattr(t, name)) is not None]
    return statistics.fmean(costs) if costs else None


def _front(spots: Sequence[Spot], maximize: bool) -> list[Spot]:
    """Those that no other equals or beats at the same cost or less; of equal ones the first."""
    sign, best, front = 1 if maximize else -1, -math.inf, []
    for spot in sorted(spots, key=lambda s: (s.cost, -sign * s.value)):
        if sign * spot.value > best:
            front.append(spot)
            best = sign * spot.value
    return front


def pareto_alt(info: ParetoInfo) -> str:
    """The front of each panel."""
    fronts = (
        f"{panel.cost}: {listed([f'{s.name} {s.value:.4g} at {rounded(s.cost)}' for s in panel.front])}"
        for panel in info.panels
    )
    return sentence(f"{info.label}, the best at each cost", *fronts)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The objective of one trial after each epoch; NaN where an epoch lacks it."""

    state: str
    epochs: list[int]
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class PruningInfo:
    """How the objective went in each trial, and how many of the planned epochs were trained."""

    study: str
    label: str
    log: bool
    courses: list[Course]  # the worst first, so that the best are drawn on top
    trials: int  # how many the courses are chosen from
    trained: list[int]  # by epoch, from the first: the complete and pruned trials that trained it
    pruned: list[int]  # by epoch: those that pruning spared it
    stopped: list[int]  # by epoch: those that early stopping spared it

    @property
    def spared(self) -> bool:
        """Whether any epoch was."""
        return any(self.pruned) or any(self.stopped)

    @property
    def saved(self) -> str:
        """What was saved, in words: ``pruning and early stopping saved 120 of 288 epochs (42 %)``."""
        saved = sum(self.pruned) + sum(self.stopped)
        total = sum(self.trained) + saved
        if not self.spared:
            return f"no epoch was saved: all {total:,} were trained"
        by = [name for name, count in (("pruning", self.pruned), ("early stopping", self.stopped)) if any(count)]
        return f"{' and '.join(by)} saved {saved:,} of {counted(total, 'epoch')} ({100 * saved / total:.0f} %)"


def pruning_info(record: StudyRecord) -> PruningInfo | None:
    """Collect the epochs that trials trained and were spared; None before two trials have ended.

    Failed trials are drawn but not counted: what they did not train was not saved.
    """
    key = history_key(record)
    ended = [result for _, result in sorted(with_value(record), key=lambda p: p[0], reverse=not record.maximize)]
    ended = [result for result in ended if result.history]
    failed = [r for r in record.results if r.state == FAILED and r.history and r.duplicate_of is None]
    if len(ended) < 2:
        return None
    chosen = [
        result
        for state, most in reversed(MOST_COURSES.items())
        for result in evenly([r for r in (*failed, *ended) if r.state == state], most)
    ]
    courses = [
        Course(
            state=result.state,
            epochs=[row.epoch for row in result.history],
            values=[row.metrics.get(key, math.nan) for row in result.history],
        )
        for result in chosen
    ]
    trained = _reaching([len(result.history) for result in ended])
    return PruningInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for course in courses for value in course.values),
        courses=courses,
        trials=len(ended) + len(failed),
        trained=trained,
        pruned=_spared(ended, PRUNED),
        stopped=_spared(ended, COMPLETE),
    )


def _reaching(lengths: Sequence[int]) -> list[int]:
    """How many of the lengths reach to each epoch, from the first."""
    ends = Counter(lengths)
    return list(itertools.accumulate(range(1, max(ends)), lambda left, e: left - ends[e], initial=len(lengths)))


def _spared(ended: Sequence[TrialResult], state: str) -> list[int]:
    """By epoch, from the first: how many trials that ended so planned it and did not train it."""
    own = [result for result in ended if result.state == state]
    last = max(max(r.config.epochs, len(r.history)) for r in ended)
    changes = [0] * (last + 1)
    for result in own:
        changes[min(len(result.history), result.config.epochs)] += 1
        changes[result.config.epochs] -= 1
    return list(itertools.accumulate(changes))[:last]


def pruning_alt(info: PruningInfo) -> str:
    """What was saved, and how far the trials came."""
    first, last = info.trained[0], info.trained[-1]
    reached = f"of {counted(first, 'trial')} {last:,} trained epoch {len(info.trained)}, the last"
    return sentence(info.saved, reached)
