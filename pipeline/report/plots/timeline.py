"""The time line: when each trial was trained, and how many at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    GREY,
    LIGHT,
    MARKERS,
    add_legend,
    light,
    plain,
    titled_figure,
)
from sweeps.trial import FAILED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

import heapq
import itertools
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import counted, sentence, trial_names
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult, began_at

ROWS = 30  # trials up to which each has a row of its own on the time line


_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("days", 86400))


_PAUSE = 30.0  # seconds without training from which on it is a pause, if it is also long beside the epochs and the work


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
    rows: list[
        str
    ]  # the trials' names; empty where there are many and rows are lanes that they share
    lanes: int  # how many rows there are
    bars: list[Bar]
    pauses: list[tuple[float, float, str]]  # where they were cut out, and how long they were
    worked: str  # how long training went on
    most: int  # trials at the same time
    untimed: int  # ended without an epoch


def timeline_info(record: StudyRecord) -> TimelineInfo | None:
    """Lay trials out over time: a row for each of few, of many as few lanes as hold those at the same time."""
    own = [result for result in record.results if result.duplicate_of is None]
    timed = sorted(
        ((began, r) for r in own if (began := began_at(r)) is not None),
        key=lambda p: (p[0], p[1].number),
    )
    if not timed:
        return None
    pieces = [_pieces(result) for _, result in timed]
    work = _merged(piece for own_pieces in pieces for piece in own_pieces)
    axis = _Axis(work)
    lanes = _lanes([(row[0][0], row[-1][1]) for row in pieces])
    few = len(timed) <= ROWS
    bars = [
        Bar(
            row=i if few else lane,
            state=r.state,
            pieces=[(axis.place(a), axis.place(b)) for a, b in own_pieces],
        )
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
    if pauses:
        shown = f"{counted(len(pauses), 'pause')}: {', '.join(pauses[:5])}"
    else:
        shown = "no pause"
    if info.untimed:
        untimed = f"{info.untimed} failed before the end of an epoch"
    else:
        untimed = ""
    return sentence(
        f"{ends} in {info.worked} of training",
        f"{info.most} at the same time at most",
        shown,
        untimed,
    )


def duration(seconds: float) -> str:
    """A time in its unit: ``25 s``, ``3.5 min``."""
    unit, size = _unit(seconds)
    if seconds < 100 * size:
        return f"{seconds / size:.3g} {unit}"
    return f"{seconds / size:.0f} {unit}"


def _unit(seconds: float) -> tuple[str, int]:
    """The largest unit of which there are two."""
    return next(((name, size) for name, size in reversed(_UNITS) if seconds >= 2 * size), _UNITS[0])


def _pieces(result: TrialResult) -> list[tuple[float, float]]:
    """When a trial was trained, in seconds since 1970: its epochs, those joined that follow each other."""
    epochs = [
        (e.time / 1000 - e.metrics.get("time/epoch_seconds", 0.0), e.time / 1000)
        for e in result.history
    ]
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


def draw_timeline(info: TimelineInfo) -> Figure:
    """Draw a bar from the beginning of each trial to its end, and where long pauses were cut out."""
    height = 1.7 + (0.22 * info.lanes if info.rows else min(0.4 * info.lanes, 4.0))
    figure = titled_figure("Time line", info.study, (8, height))
    axes = figure.subplots()
    light(axes)
    axes.grid(False, axis="y")
    for state, (_, colour) in MARKERS.items():
        boxes = [
            [
                (begin, bar.row - 0.4),
                (end, bar.row - 0.4),
                (end, bar.row + 0.4),
                (begin, bar.row + 0.4),
            ]
            for bar in info.bars
            if bar.state == state
            for begin, end in bar.pieces
        ]
        # The edge keeps a short trial visible.
        axes.add_collection(
            PolyCollection(boxes, facecolor=colour, edgecolor=colour, lw=0.4, zorder=2)
        )
    for begin, end, text in info.pauses:
        axes.axvspan(begin, end, facecolor=LIGHT, edgecolor=GREY, hatch="////", lw=0, zorder=1)
        if len(info.pauses) <= 12:
            axes.annotate(
                f"paused {text}",
                ((begin + end) / 2, 1),
                xycoords=axes.get_xaxis_transform(),
                fontsize=8,
                ha="center",
                va="bottom",
            )
    axes.autoscale_view()
    axes.set_xlim(left=0)
    axes.set_ylim(info.lanes - 0.5, -0.5)
    axes.set_yticks(
        range(len(info.rows)), [plain(name) for name in info.rows], fontsize=8, parse_math=False
    )
    axes.set_ylabel("trial" if info.rows else "")
    # Of many trials the axis may be lower than a label beside it is long.
    said = ["pauses cut out"] * bool(info.pauses) + [_at_a_time(info.most)] * (not info.rows)
    axes.set_xlabel(", ".join([f"time since the start ({info.unit})", *said]))
    counts = Counter(bar.state for bar in info.bars)
    handles = [
        Patch(color=MARKERS[state][1], label=f"{state} ({counts[state]:,})")
        for state in MARKERS
        if counts[state]
    ]
    add_legend(figure, "outside lower center", ncols=4, handles=handles)
    return figure


def _at_a_time(most: int) -> str:
    if most == 1:
        return "one trial at a time"
    return f"up to {most} trials side by side"


PLOT = Plot(
    title="Time line",
    about="Each bar is one trial from its beginning to its end: where bars lie above each other trials were "
    "trained side by side, and a hatched strip is a pause that was cut out.",
    info=timeline_info,
    alt=timeline_alt,
    draw=draw_timeline,
)
