"""Draws what `info_trials` computes of all trials of a study. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.drawing import GREY, MARKERS, add_legend, labelled_axes, titled_figure
from pipeline.info_trials import HistoryInfo
from sweeps.trial import FAILED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_history(info: HistoryInfo) -> Figure:
    """Draw a marker per trial, failed ones along the lower edge, and a line of the best so far."""
    figure = titled_figure("Optimisation history", info.study, (8, 4.6))
    axes = labelled_axes(figure, "trial number", info.label)
    size = 36 if len(info.failed) + sum(map(len, info.points.values())) <= 200 else 12
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
        axes.set_yscale("log")
    if not info.points:
        axes.set_yticks([])
    axes.margins(y=0.12)
    add_legend(figure, "outside lower center", ncols=4)
    return figure
