"""Draws when each trial was trained, and so how many at a time."""

from __future__ import annotations

import heapq
import itertools
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import counted, sentence, trial_names
from pipeline.report.plots.style import (
    GREY,
    LIGHT,
    MARKERS,
    add_legend,
    drawable_text,
    titled_figure,
    use_light_frame,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import FAILED, TrialResult, began_at

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 30  # trials up to which each has a row of its own
_MAX_BREAKS_IN_WORDS = 5
_MAX_LABELLED_BREAKS = 12
_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("days", 86400))  # with their seconds

# Seconds without training that can be a break. They must also be long beside the trial's epochs, or
# beside the whole work.
_MIN_BREAK = 30.0
# In a study whose trials are paused, seconds between two epochs that are a pause. They must also be
# more than half an epoch.
_MIN_PAUSE = 0.1

Span = tuple[float, float]  # begin and end


@dataclass(frozen=True, kw_only=True)
class Bar:
    """When one trial was trained, in the unit of the axis."""

    row: int
    state: str
    pieces: list[Span]  # more than one if the trial was paused or interrupted


@dataclass(frozen=True, kw_only=True)
class TimelineInfo:
    """Trials over the time since the first began, without the breaks, when none was trained."""

    unit: str
    rows: list[str]  # the trials' names; empty if there are many, which share the rows as lanes
    lanes: int  # number of rows
    bars: list[Bar]  # one for each trial; if trials share lanes, one for each piece
    states: dict[str, int]  # number of trials, by state
    paused: str  # how often trials were paused and went on, in words; empty without promotion
    breaks: list[tuple[float, float, str]]  # begin and end on the axis, and the duration
    worked: str  # the duration of training
    most: int  # largest number of trials at the same time
    untimed: int  # number of trials that failed without an epoch


def timeline_info(record: StudyRecord) -> TimelineInfo | None:
    """Lay trials out over time; None before an epoch has been trained.

    Each of a few trials has a row. Many trials share lanes: as few as hold those at the same time.
    """
    results = [result for result in record.results if result.duplicate_of is None]
    timed = _in_order(results)
    if not timed:
        return None
    pauses = record.promoted is not None
    pieces_by_trial = [training_spans(result, pauses=pauses) for result in timed]
    pieces = [piece for trial_pieces in pieces_by_trial for piece in trial_pieces]
    axis = _TimeAxis(_merged(pieces))
    states = [result.state for result in timed]
    if len(timed) <= ROWS:
        names = trial_names(record, timed)
        spans = list(zip(states, pieces_by_trial, strict=True))
        rows = list(range(len(timed)))
    else:
        names = []
        spans = _shared_lanes(states, pieces_by_trial, pauses=pauses)
        rows = lanes_of([(pieces[0][0], pieces[-1][1]) for _, pieces in spans])
    bars = []
    for (state, trial_pieces), row in zip(spans, rows, strict=True):
        placed = [(axis.place(begin), axis.place(end)) for begin, end in trial_pieces]
        bars.append(Bar(row=row, state=state, pieces=placed))
    breaks = [
        (axis.place(begin), axis.place(end), duration(end - begin)) for begin, end in axis.breaks
    ]
    failed = [result for result in results if result.state == FAILED]
    return TimelineInfo(
        unit=axis.unit,
        rows=names,
        lanes=max(rows) + 1,
        bars=bars,
        states=dict(Counter(states)),
        paused=_paused_text(record),
        breaks=breaks,
        worked=duration(axis.worked),
        most=_most_at_once(pieces),
        untimed=sum(1 for result in failed if not result.history),
    )


def _in_order(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials with a known beginning, in the order of their beginnings."""
    beginnings = []
    for result in results:
        began = began_at(result)
        if began is not None:
            beginnings.append((began, result.number, result))
    beginnings.sort(key=lambda beginning: beginning[:2])
    return [result for _, _, result in beginnings]


def _paused_text(record: StudyRecord) -> str:
    """Count how often trials were paused, and went on."""
    if record.promoted is None:
        return ""
    promotions = counted(record.promoted.promotions, "promotion")
    return f"{counted(record.promoted.pauses, 'pause')} and {promotions} of trials"


def _shared_lanes(
    states: Sequence[str], pieces_by_trial: Sequence[list[Span]], *, pauses: bool
) -> list[tuple[str, list[Span]]]:
    """The spans that take a lane each, with the state of their trial, in order of their begin.

    A trial that is paused leaves its lane to others.
    """
    spans = list(zip(states, pieces_by_trial, strict=True))
    if pauses:
        spans = [(state, [piece]) for state, pieces in spans for piece in pieces]
        spans.sort(key=lambda span: span[1])
    return spans


def training_spans(result: TrialResult, *, pauses: bool) -> list[Span]:
    """When a trial was trained, in seconds since 1970.

    Epochs are joined unless the trial was paused or interrupted between them.

    Args:
        result: of the trial.
        pauses: whether trials of the study are paused and go on.
    """
    epochs = []
    for epoch in result.history:
        end = epoch.time / 1000
        epochs.append((end - epoch.metrics.get("time/epoch_seconds", 0.0), end))
    usual = statistics.median(end - begin for begin, end in epochs)
    gap = max(_MIN_PAUSE, usual / 2) if pauses else max(_MIN_BREAK, 2 * usual)
    return _merged(epochs, gap)


def _merged(spans: Iterable[Span], max_gap: float = 0.0) -> list[Span]:
    """The spans in order, joined where they overlap or are at most ``max_gap`` apart."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin - merged[-1][1] <= max_gap:
            last_begin, last_end = merged[-1]
            merged[-1] = (last_begin, max(end, last_end))
        else:
            merged.append((begin, end))
    return merged


class _TimeAxis:
    """Maps seconds since 1970 to places in a unit since the start; long breaks become slivers.

    Args:
        work: when at least one trial was trained, in order and without overlaps.
    """

    def __init__(self, work: Sequence[Span]) -> None:
        busy = sum(end - begin for begin, end in work)
        gaps = [(end, next_begin) for (_, end), (next_begin, _) in itertools.pairwise(work)]
        min_break = max(_MIN_BREAK, 0.05 * busy)
        self.breaks = [(begin, end) for begin, end in gaps if end - begin > min_break]
        self._start = work[0][0]
        self._ends = [end for _, end in self.breaks]
        sliver = 0.02 * busy
        cuts = [end - begin - sliver for begin, end in self.breaks]
        self._cut_before = [0.0, *itertools.accumulate(cuts)]
        idle = sum(end - begin for begin, end in self.breaks)
        self.worked = work[-1][1] - self._start - idle
        self.unit, self._unit_seconds = _unit(self.worked)

    def place(self, time: float) -> float:
        breaks_before = bisect_right(self._ends, time)
        return (time - self._start - self._cut_before[breaks_before]) / self._unit_seconds


def _unit(seconds: float) -> tuple[str, int]:
    """The largest unit of which there are at least two, or else the smallest, with its seconds."""
    for name, size in reversed(_UNITS):
        if seconds >= 2 * size:
            return name, size
    return _UNITS[0]


def duration(seconds: float) -> str:
    """A duration in its unit: ``25 s``, ``3.5 min``."""
    unit, size = _unit(seconds)
    if seconds < 100 * size:
        return f"{seconds / size:.3g} {unit}"
    return f"{seconds / size:.0f} {unit}"


def lanes_of(spans: Sequence[Span]) -> list[int]:
    """The lowest free lane for each span, in the order of their beginnings."""
    busy: list[tuple[float, int]] = []  # when a lane will be free, and its number
    free: list[int] = []
    lanes = []
    for begin, end in spans:
        while busy and busy[0][0] <= begin:
            _, freed = heapq.heappop(busy)
            heapq.heappush(free, freed)
        lane = heapq.heappop(free) if free else len(busy)
        lanes.append(lane)
        heapq.heappush(busy, (end, lane))
    return lanes


def _most_at_once(spans: Iterable[Span]) -> int:
    """The largest number of spans that overlap."""
    changes = []
    for begin, end in spans:
        changes += [(begin, 1), (end, -1)]
    changes.sort()
    return max(itertools.accumulate(change for _, change in changes))


def timeline_alt(info: TimelineInfo) -> str:
    """Tell how long training went on, how many trials at once, and how long the breaks were."""
    ends = ", ".join(f"{count:,} {state}" for state, count in info.states.items())
    breaks = "no break"
    if info.breaks:
        texts = [f"{text} without training" for _, _, text in info.breaks[:_MAX_BREAKS_IN_WORDS]]
        breaks = f"{counted(len(info.breaks), 'break')}: {', '.join(texts)}"
    untimed = ""
    if info.untimed:
        untimed = f"{info.untimed} failed before the end of an epoch"
    return sentence(
        f"{ends} in {info.worked} of training",
        f"{info.most} at the same time at most",
        info.paused,
        breaks,
        untimed,
    )


def draw_timeline(info: TimelineInfo) -> Figure:
    """Draw each trial's bars over a thin line, which shows its pauses, and hatch the breaks."""
    height = 0.22 * info.lanes if info.rows else min(0.4 * info.lanes, 4.0)
    figure = titled_figure("Time line", (8, 1.7 + height))
    axes = figure.subplots()
    use_light_frame(axes)
    axes.grid(False, axis="y")
    _draw_bars(axes, info)
    _draw_breaks(axes, info)
    axes.autoscale_view()
    axes.set_xlim(left=0)
    axes.set_ylim(info.lanes - 0.5, -0.5)
    names = [drawable_text(name) for name in info.rows]
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_xlabel(_time_label(info))
    if info.rows:
        axes.set_ylabel("trial")
    handles: list[Artist] = [
        Patch(color=colour, label=f"{state} ({info.states[state]:,})")
        for state, (_, colour) in MARKERS.items()
        if state in info.states
    ]
    if info.paused and info.rows:
        handles.append(Line2D([], [], color=GREY, lw=0.8, label="paused in between"))
    add_legend(figure, ncols=4, handles=handles)
    return figure


def _draw_bars(axes: Axes, info: TimelineInfo) -> None:
    if info.paused:
        lines = [
            [(bar.pieces[0][0], bar.row), (bar.pieces[-1][1], bar.row)]
            for bar in info.bars
            if len(bar.pieces) > 1
        ]
        axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, zorder=1.5))
    for state, (_, colour) in MARKERS.items():
        boxes = []
        for bar in info.bars:
            if bar.state == state:
                top = bar.row - 0.4
                bottom = bar.row + 0.4
                for begin, end in bar.pieces:
                    boxes.append([(begin, top), (end, top), (end, bottom), (begin, bottom)])
        # The edge keeps a short trial visible.
        axes.add_collection(
            PolyCollection(boxes, facecolor=colour, edgecolor=colour, lw=0.4, zorder=2)
        )


def _draw_breaks(axes: Axes, info: TimelineInfo) -> None:
    top_edge = axes.get_xaxis_transform()
    for begin, end, text in info.breaks:
        axes.axvspan(begin, end, facecolor=LIGHT, edgecolor=GREY, hatch="////", lw=0, zorder=1)
        if len(info.breaks) <= _MAX_LABELLED_BREAKS:
            middle = (begin + end) / 2
            style: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "bottom"}
            axes.annotate(f"break {text}", (middle, 1), xycoords=top_edge, **style)


def _time_label(info: TimelineInfo) -> str:
    """The label of the time axis.

    Many trials share a low panel without room for a label of the y axis: this label tells how many
    trained side by side.
    """
    parts = [f"time since the start ({info.unit})"]
    if info.breaks:
        parts.append("breaks cut out")
    if not info.rows and info.most == 1:
        parts.append("one trial at a time")
    elif not info.rows:
        parts.append(f"up to {info.most} trials side by side")
    return ", ".join(parts)


PLOT = Plot(
    title="Time line",
    about="Bars are trials in training: where bars lie above each other trials were trained side "
    "by side, a thin line is a trial that was paused, and a hatched strip is a break, in which "
    "none was trained, that was cut out.",
    info=timeline_info,
    alt=timeline_alt,
    draw=draw_timeline,
)
