"""Pure: what a plot shows of all trials of a study in their order, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import heapq
import itertools
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, counted, sentence, trial_names, wide
from pipeline.tracking.contents import began_at
from sweeps.analysis.ranking import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult

ROWS = 30  # trials up to which each has a row of its own on the time line
_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("days", 86400))
_PAUSE = 30.0  # seconds without training from which on it is a pause, if it is also long beside the epochs and the work


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


def history_alt(info: HistoryInfo) -> str:
    """How many ended how, and how the best so far moved."""
    counts = {**{state: len(points) for state, points in info.points.items()}, "failed": len(info.failed)}
    total = counted(sum(counts.values()), "trial")
    ends = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    if not info.best:
        return sentence(f"{total}: {ends}", "none is complete")
    first, last = info.best[0][1], info.best[-1][1]
    number = next(number for number, value in info.best if value == last)
    moved = f"the best so far {'rose' if last > first else 'fell'} from {first:.4g} to {last:.4g}"
    return sentence(
        f"{total}: {ends}",
        f"{info.label}: best {last:.4g} at trial {number}",
        moved if first != last else "the first complete one was not surpassed",
    )


@dataclass(frozen=True, kw_only=True)
class Bar:
    """When one trial was trained, in the unit of the axis."""

    row: int
    state: str
    pieces: list[tuple[float, float]]  # begin and end; more than one where it was interrupted


@dataclass(frozen=True, kw_only=True)
class TimelineInfo:
    """Trials over wall-clock time since the first began, without the pauses in which nothing was trained."""

    study: str
    unit: str
    rows: list[str]  # the trials' names; empty where there are many and rows are lanes that they share
    lanes: int  # how many rows there are
    bars: list[Bar]
    pauses: list[tuple[float, float, str]]  # where they were cut out, and how long they were
    worked: str  # how long training went on
    most: int  # trials at the same time
    untimed: int  # ended without an epoch


def timeline_info(record: StudyRecord) -> TimelineInfo | None:
    """Lay trials out over time: a row for each of few, of many as few lanes as hold those at the same time."""
    own = [result for result in record.results if result.duplicate_of is None]
    timed = sorted(((began, r) for r in own if (began := began_at(r)) is not None), key=lambda p: (p[0], p[1].number))
    if not timed:
        return None
    pieces = [_pieces(result) for _, result in timed]
    work = _merged(piece for own_pieces in pieces for piece in own_pieces)
    axis = _Axis(work)
    lanes = _lanes([(row[0][0], row[-1][1]) for row in pieces])
    few = len(timed) <= ROWS
    bars = [
        Bar(row=i if few else lane, state=r.state, pieces=[(axis.place(a), axis.place(b)) for a, b in own_pieces])
        for i, ((_, r), lane, own_pieces) in enumerate(zip(timed, lanes, pieces, strict=True))
    ]
    return TimelineInfo(
        study=record.name,
        unit=axis.unit,
        rows=trial_names(record, [result for _, result in timed]) if few else [],
        lanes=len(timed) if few else max(lanes) + 1,
        bars=bars,
        pauses=[(axis.place(a), axis.place(b), duration(b - a)) for a, b in axis.pauses],
        worked=duration(axis.worked),
        most=_at_once(piece for own_pieces in pieces for piece in own_pieces),
        untimed=sum(1 for result in own if not result.history and result.state == FAILED),
    )


def timeline_alt(info: TimelineInfo) -> str:
    """How long it took, how many trained at once, and how long nothing did."""
    states = Counter(bar.state for bar in info.bars)
    ends = ", ".join(f"{count:,} {state}" for state, count in states.items())
    pauses = [f"{text} without training" for _, _, text in info.pauses]
    shown = f"{counted(len(pauses), 'pause')}: {', '.join(pauses[:5])}" if pauses else "no pause"
    untimed = f"{info.untimed} failed before the end of an epoch" if info.untimed else ""
    return sentence(f"{ends} in {info.worked} of training", f"{info.most} at the same time at most", shown, untimed)


def duration(seconds: float) -> str:
    """A time in its unit: ``25 s``, ``3.5 min``."""
    unit, size = _unit(seconds)
    return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"


def _unit(seconds: float) -> tuple[str, int]:
    """The largest unit of which there are two."""
    return next(((name, size) for name, size in reversed(_UNITS) if seconds >= 2 * size), _UNITS[0])


def _pieces(result: TrialResult) -> list[tuple[float, float]]:
    """When a trial was trained, in seconds since 1970: its epochs, those joined that follow each other."""
    epochs = [(e.time / 1000 - e.metrics.get("time/epoch_seconds", 0.0), e.time / 1000) for e in result.history]
    usual = statistics.median(end - begin for begin, end in epochs)
    return _merged(epochs, max(_PAUSE, 2 * usual))


def _merged(pieces: Iterable[tuple[float, float]], apart: float = 0.0) -> list[tuple[float, float]]:
    """The pieces in order, joined where they overlap or are at most ``apart``."""
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(pieces):
        if merged and begin - merged[-1][1] <= apart:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


class _Axis:
    """Maps seconds since 1970 to places in a unit since the start; long pauses are cut to a sliver."""

    def __init__(self, work: Sequence[tuple[float, float]]) -> None:
        gaps = [(end, begin) for (_, end), (begin, _) in itertools.pairwise(work)]
        busy = sum(end - begin for begin, end in work)
        self.pauses = [(a, b) for a, b in gaps if b - a > max(_PAUSE, 0.05 * busy)]
        self._start = work[0][0]
        self._ends = [end for _, end in self.pauses]
        self._sliver = 0.02 * busy
        self._cut = [0.0, *itertools.accumulate(b - a - self._sliver for a, b in self.pauses)]
        self.worked = work[-1][1] - self._start - sum(b - a for a, b in self.pauses)
        self.unit, self._size = _unit(self.worked)

    def place(self, time: float) -> float:
        return (time - self._start - self._cut[bisect_right(self._ends, time)]) / self._size


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """The lowest free lane of each span, in the order of their beginnings."""
    busy: list[tuple[float, int]] = []  # when it will be free
    free: list[int] = []
    lanes = []
    for begin, end in spans:
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lanes.append(heapq.heappop(free) if free else len(busy))
        heapq.heappush(busy, (end, lanes[-1]))
    return lanes


def _at_once(pieces: Iterable[tuple[float, float]]) -> int:
    """How many pieces lie over each other at most."""
    events = sorted(event for begin, end in pieces for event in ((begin, 1), (end, -1)))
    return max(itertools.accumulate(change for _, change in events))
