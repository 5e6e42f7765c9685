"""Draws what `info_costs` computes of what a study's trials cost. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from pipeline.report.plots.info_costs import CostPanel, ParetoInfo, PruningInfo, Spot
from pipeline.report.plots.style import (
    BLUE,
    GREEN,
    MANY,
    MARKERS,
    ORANGE,
    SKY,
    add_legend,
    grid_of_axes,
    label_axes,
    log_scale,
    plain,
    titled_figure,
    write_out,
)
from sweeps.trial import COMPLETE, FAILED, PRUNED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = 30  # lines from which on they are fainter, so that a dense bundle shows


def draw_pareto(info: ParetoInfo) -> Figure:
    """Draw a panel for each cost: the front as steps, its trials named above and left, where nothing can lie."""
    count = len(info.panels)
    figure = titled_figure("What accuracy costs", info.study, (8, 1.1 + 2.1 * count))
    for axes, panel in zip(grid_of_axes(figure, count, 1), info.panels, strict=True):
        _costs(axes, panel)
        if panel.log:
            log_scale(axes, "x")
        else:
            write_out(axes.xaxis)
        if info.log:
            log_scale(axes, "y")
        axes.set_ylim(*info.range)
        axes.margins(x=0.14)  # room for a name
        axes.set_xlabel(panel.cost)
        axes.set_ylabel(plain(info.label, 60).replace(" (", "\n("), fontsize=9, parse_math=False)
        _names(axes, panel.front)
    handles = [
        Line2D([], [], color=GREEN, marker="o", ms=6, label="best at that cost or less"),
        Line2D([], [], color=BLUE, marker="o", ms=5, ls="", alpha=0.6, label="other complete ones"),
    ]
    if info.pruned:
        handles.append(Line2D([], [], color=ORANGE, marker="v", ms=5, ls="", alpha=0.9, label="pruned"))
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    if info.outside:
        figure.axes[0].set_title(
            f"{info.outside:,} more complete ones are worse, and not shown", loc="left", fontsize=9
        )
    return figure


def _costs(axes: Axes, panel: CostPanel) -> None:
    size = 22 if len(panel.complete) <= MANY else 6
    for state, spots, alpha in ((PRUNED, panel.pruned, 0.9), (COMPLETE, panel.complete, 0.6)):
        marker, colour = MARKERS[state]
        style: dict[str, Any] = {"s": size, "marker": marker, "color": colour, "alpha": alpha, "lw": 0, "zorder": 2}
        axes.scatter([spot.cost for spot in spots], [spot.value for spot in spots], **style)
    costs, values = [spot.cost for spot in panel.front], [spot.value for spot in panel.front]
    axes.step(costs, values, where="post", color=GREEN, lw=1.2, zorder=3)
    axes.plot(costs, values, "o", color=GREEN, ms=6, mec="black", mew=0.6, zorder=4)


def _names(axes: Axes, front: Sequence[Spot]) -> None:
    """Name the trials of the front, the best first, those left out that would lie on another's name."""
    taken: list[tuple[float, float, float]] = []  # from where to where, and how high, in points
    for spot in reversed(front):
        name = plain(spot.name, 12)
        x, y = axes.transData.transform((spot.cost, spot.value)) * 72 / axes.figure.dpi
        left = x - 5 * len(name)
        if all(abs(y - other) > 10 or x < start or left > end for start, end, other in taken):
            taken.append((left, x, y))
            axes.annotate(
                name,
                (spot.cost, spot.value),
                (-3, 3),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=8,
                parse_math=False,
                zorder=5,
            )


def draw_pruning(info: PruningInfo) -> Figure:
    """Draw each trial's course, ending where it was pruned, and under it the epochs trained and spared, if any was."""
    figure = titled_figure("Every trial by epoch, and the epochs spared", info.study, (8, 6 if info.spared else 4.4))
    panels = figure.subplots(1 + info.spared, 1, sharex=True, squeeze=False, height_ratios=[1.6, 1][: 1 + info.spared])
    upper, lower = panels[0, 0], panels[-1, 0]
    label_axes(upper, "", info.label)
    handles = _courses(upper, info)
    if len(info.courses) < info.trials:
        note = f"{len(info.courses)} of {info.trials:,} trials, evenly over their ranks"
        upper.set_title(note, fontsize=9, loc="left")
    if info.spared:
        label_axes(lower, "epoch", "trials")
        handles += _epochs(lower, info)
        lower.set_title(f"{info.saved[:1].upper()}{info.saved[1:]}", fontsize=9, loc="left")
    lower.set_xlabel("epoch")
    lower.set_xlim(0.5, len(info.pruned) + 0.5)
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


def _courses(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Draw a line for each trial, and a marker where one ends that is not complete."""
    handles: list[Artist] = []
    for state in (COMPLETE, PRUNED, FAILED):
        marker, colour = MARKERS[state]
        courses = [course for course in info.courses if course.state == state]
        lines = [list(zip(course.epochs, course.values, strict=True)) for course in courses]
        alpha = 0.6 if len(courses) <= FAINT else 0.35
        lowest = 3 if state == COMPLETE else 2
        axes.add_collection(LineCollection(lines, colors=colour, alpha=alpha, linewidths=1.0, zorder=lowest))
        ends = [line[-1] for line in lines if state != COMPLETE or len(line) == 1]
        if ends:
            epochs, values = zip(*ends, strict=True)
            axes.scatter(epochs, values, s=22, marker=marker, color=colour, zorder=4)
        if courses:
            end = "" if state == COMPLETE else marker
            handles.append(Line2D([], [], color=colour, marker=end, lw=1.6, label=state))
    if info.log:
        log_scale(axes, "y")
    axes.autoscale_view()
    return handles


def _epochs(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Stack by epoch the trials that trained it, and those that were spared it."""
    length = len(info.pruned)
    edges = [epoch + 0.5 for epoch in range(length + 1)]
    trained = [*info.trained, *[0] * (length - len(info.trained))]
    base = [0] * length
    areas: list[Artist] = []
    for counts, colour, hatch, label in (
        (trained, BLUE, None, "epochs trained"),
        (info.pruned, ORANGE, "////", "epochs spared by pruning"),
        (info.stopped, SKY, "....", "epochs spared by early stopping"),
    ):
        top = [a + b for a, b in zip(base, counts, strict=True)]
        if any(counts):
            style: dict[str, Any] = {"fill": True, "facecolor": colour, "hatch": hatch, "edgecolor": "white", "lw": 0}
            areas.append(axes.stairs(top, edges, baseline=base, label=label, **style))
        base = top
    axes.set_ylim(bottom=0)
    return areas
