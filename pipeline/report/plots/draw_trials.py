"""Draws what `info_trials` computes of all trials of a study in their order. Decides nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from pipeline.report.plots.info_trials import HistoryInfo, TimelineInfo
from pipeline.report.plots.style import (
    GREY,
    LIGHT,
    MANY,
    MARKERS,
    add_legend,
    labelled_axes,
    light,
    log_scale,
    plain,
    titled_figure,
)
from sweeps.trial import FAILED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_history(info: HistoryInfo) -> Figure:
    """Draw a marker per trial, failed ones along the lower edge, and a line of the best so far."""
    figure = titled_figure("Optimisation history", info.study, (8, 4.6))
    axes = labelled_axes(figure, "trial number", info.label)
    size = 36 if len(info.failed) + sum(map(len, info.points.values())) <= MANY else 12
    if info.best:
        axes.step(*zip(*info.best, strict=True), where="post", color=GREY, lw=1.2, label="best complete so far")
    for state, points in info.points.items():
        marker, colour = MARKERS[state]
        label = f"{state} ({len(points)})"
        numbers, values = zip(*points, strict=True)
        axes.scatter(numbers, values, s=size, marker=marker, color=colour, label=label, zorder=3)
    if info.failed:
        marker, colour = MARKERS[FAILED]
        label, low = f"failed, no value ({len(info.failed)})", [0.03] * len(info.failed)
        edge = axes.get_xaxis_transform()  # across by trial number, up by share of the axis
        # Not scatter: what that draws by such a transform does not widen the axis.
        axes.plot(info.failed, low, marker, ms=size**0.5, color=colour, label=label, transform=edge, zorder=3)
    if info.log:
        log_scale(axes, "y")
    if not info.points:
        axes.set_yticks([])
    axes.margins(y=0.12)
    add_legend(figure, "outside lower center", ncols=4)
    return figure


def draw_timeline(info: TimelineInfo) -> Figure:
    """Draw a bar from the beginning of each trial to its end, and where long pauses were cut out."""
    height = 1.7 + (0.22 * info.lanes if info.rows else min(0.4 * info.lanes, 4.0))
    figure = titled_figure("Time line", info.study, (8, height))
    axes = figure.subplots()
    light(axes)
    axes.grid(False, axis="y")
    for state, (_, colour) in MARKERS.items():
        boxes = [
            [(begin, bar.row - 0.4), (end, bar.row - 0.4), (end, bar.row + 0.4), (begin, bar.row + 0.4)]
            for bar in info.bars
            if bar.state == state
            for begin, end in bar.pieces
        ]
        # The edge keeps a short trial visible.
        axes.add_collection(PolyCollection(boxes, facecolor=colour, edgecolor=colour, lw=0.4, zorder=2))
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
    axes.set_yticks(range(len(info.rows)), [plain(name) for name in info.rows], fontsize=8, parse_math=False)
    axes.set_ylabel("trial" if info.rows else "")
    # Of many trials the axis may be lower than a label beside it is long.
    said = ["pauses cut out"] * bool(info.pauses) + [_at_a_time(info.most)] * (not info.rows)
    axes.set_xlabel(", ".join([f"time since the start ({info.unit})", *said]))
    counts = Counter(bar.state for bar in info.bars)
    handles = [
        Patch(color=MARKERS[state][1], label=f"{state} ({counts[state]:,})") for state in MARKERS if counts[state]
    ]
    add_legend(figure, "outside lower center", ncols=4, handles=handles)
    return figure


def _at_a_time(most: int) -> str:
    return "one trial at a time" if most == 1 else f"up to {most} trials side by side"
