"""Draws what `info_fields` computes of a study's searched fields. Decides nothing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.info_fields import ImportanceInfo, ParallelInfo, Slice, SlicesInfo, percent
from pipeline.report.plots.style import (
    BLUE,
    GREEN,
    GREY,
    MANY,
    MARKERS,
    add_legend,
    grid_of_axes,
    light,
    log_scale,
    plain,
    titled_figure,
)
from sweeps.analysis.importance import Share
from sweeps.trial import COMPLETE, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WRAP = 12  # characters of a line of a label between parallel coordinates


def draw_slices(info: SlicesInfo) -> Figure:
    """Draw a panel for each field: a marker per trial, the best one's as a star."""
    columns = min(3, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    size = (max(6.0, 0.8 + 2.5 * columns), 1.0 + 2.5 * rows)
    figure = titled_figure("Slices, the objective by each field", info.study, size)
    grid = grid_of_axes(figure, len(info.panels), columns, sharey=True)
    most = max(len(points) for panel in info.panels for points in panel.points.values())
    for i, (axes, panel) in enumerate(zip(grid, info.panels, strict=True)):
        _slice(axes, panel, size=16 if most <= MANY else 5)
        axes.set_xlabel(plain(panel.field))
        if i % columns == 0:
            axes.set_ylabel(plain(info.label, 60).replace(" (", "\n("), fontsize=9, parse_math=False)
    if info.log:
        log_scale(grid[0], "y")
    states = [state for state in MARKERS if any(state in panel.points for panel in info.panels)]
    handles = [Line2D([], [], ls="", marker=MARKERS[s][0], color=MARKERS[s][1], ms=5, label=s) for s in states]
    handles.append(Line2D([], [], ls="", marker="*", ms=12, mfc=GREEN, mec="black", label="best trial"))
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


def _slice(axes: Axes, panel: Slice, size: int) -> None:
    for state, points in sorted(panel.points.items(), reverse=True):  # pruned ones lie below
        marker, colour = MARKERS[state]
        places, values = zip(*points, strict=True)
        axes.scatter(places, values, s=size, marker=marker, color=colour, alpha=0.7, lw=0, zorder=2)
    if panel.best:
        axes.plot(*panel.best, "*", ms=12, mfc=GREEN, mec="black", mew=0.8, zorder=4)
    if panel.log:
        log_scale(axes, "x")
    if panel.ticks:
        _categories(axes, panel)
    elif not panel.log:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=panel.whole, min_n_ticks=1))
    axes.tick_params(labelsize=8)
    axes.margins(y=0.08)


def _categories(axes: Axes, panel: Slice) -> None:
    """Name the categories: on several lines, or slanting, where they would touch."""
    every = math.ceil(len(panel.ticks) / 12)
    shown = panel.ticks[::every]
    room = 30 // len(shown)  # characters
    names = [plain(label, 24) for _, label in shown]
    style: dict[str, Any] = {}
    if max(map(len, names)) > room >= 8:
        names = [textwrap.fill(name, room) for name in names]
    elif sum(map(len, names)) > 20:
        names = [plain(name, 14) for name in names]
        style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks([place for place, _ in shown], names, parse_math=False, **style)
    axes.set_xlim(-0.5, len(panel.ticks) - 0.5)


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw a bar for each dimension, conditional ones below in a group of their own; a note where there is no bar."""
    found = info.importance
    groups = [(f"Searched in every trial ({found.trials}), adding up to 100 %", found.shares)] if found.shares else []
    if groups or any(share.share is not None for share in found.conditional):
        groups += [("Conditional: each among only the trials that have it", found.conditional)]
    groups = [(title, shares) for title, shares in groups if shares]
    rows = [len(shares) for _, shares in groups]
    title = "Importance for being among the best third of trials"
    figure = titled_figure(title, info.study, (8, (1.1 if rows else 0.7) + 0.4 * sum(rows) + 0.4 * len(rows)))
    if found.note:
        figure.supxlabel(found.note, x=0.01, ha="left", fontsize=10)
    if groups:
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=[n + 0.6 for n in rows])
        for axes, (title, shares) in zip(panels[:, 0], groups, strict=True):
            _bars(axes, shares)
            axes.set_title(title, loc="left", fontsize=9)
        panels[-1, 0].set_xlabel("share of importance (%), PED-ANOVA")
    return figure


def _bars(axes: Axes, shares: Sequence[Share]) -> None:
    light(axes)
    axes.grid(False, axis="y")
    for row, share in enumerate(shares):
        width = 100 * (share.share or 0)
        axes.barh(row, width, height=0.62, color=BLUE, zorder=2)
        note = ", ".join(filter(None, [percent(share.share), share.note]))
        axes.text(width + 0.8, row, note, va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks(range(len(shares)), [plain(s.key, 40) for s in shares], fontsize=9, parse_math=False)


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw a line per trial, stronger for a better value; it drops to "n/a", dotted, where a field does not apply."""
    names = [plain(axis.name, 44).replace(" (", "\n(").replace("validation ", "validation\n") for axis in info.axes]
    labels = [[(y, textwrap.fill(plain(label), _WRAP)) for y, label in axis.ticks] for axis in info.axes]
    texts = ["\n".join([name, *(label for _, label in own)]) for name, own in zip(names, labels, strict=True)]
    widths = [max(0.75, 0.3 + 0.068 * max(map(len, text.split("\n")))) for text in texts]
    places = np.cumsum(widths)
    figure = titled_figure("Parallel coordinates", info.study, (places[-1] + 0.9, 5))
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, places[-1] + 0.5), ylim=(-0.2, 1.17))
    for x, axis, name, own in zip(places, info.axes, names, labels, strict=True):
        axes.plot([x, x], [0, 1], color="black", lw=0.8, zorder=3)
        axes.text(x, 1.08, name, ha="center", va="bottom", fontsize=9, fontweight="bold", parse_math=False)
        for y, label in [*own, *([(-0.13, "n/a")] if axis.gaps else [])]:
            axes.plot([x - 0.04, x + 0.04], [y, y], color="black", lw=0.8, zorder=3)
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "parse_math": False, "bbox": box}
            axes.text(x - 0.07, y, label, zorder=4, **style)
    _lines(axes, info, places)
    legend = [
        Line2D([], [], color=_shade(1.0), lw=2, label="complete: the better, the stronger"),
        Line2D([], [], color=GREY, lw=0.7, label="pruned"),
        Line2D([], [], color=GREY, lw=1, ls=":", label="field does not apply (n/a)"),
    ]
    add_legend(figure, "outside lower center", ncols=3, handles=legend)
    if len(info.lines) < info.trials:
        axes.set_title(f"{len(info.lines)} of {info.trials} trials, evenly over their ranks", fontsize=9, loc="left")
    return figure


def _lines(axes: Axes, info: ParallelInfo, places: np.ndarray) -> None:
    width = 1.8 if len(info.lines) <= 60 else 0.9
    pieces: dict[str, list[tuple[Any, Any, float]]] = {"-": [], ":": []}  # points, colour, line width
    for line in sorted(info.lines, key=lambda line: line.state == COMPLETE):  # pruned ones lie below
        corners = [(x, -0.13 if y is None else y) for x, y in zip(places, line.places, strict=True)]
        colour, lw = (GREY, 0.5) if line.state == PRUNED else (_shade(line.goodness), width)
        for i in range(len(corners) - 1):
            style = ":" if None in line.places[i : i + 2] else "-"
            pieces[style].append((corners[i : i + 2], colour, lw if style == "-" else 0.6 * lw))
    for style, drawn in pieces.items():
        if drawn:
            points, colours, widths = zip(*drawn, strict=True)
            axes.add_collection(LineCollection(points, colors=colours, linewidths=widths, linestyles=style, zorder=2))


def _shade(goodness: float) -> Any:
    """Yellow for the worst, dark violet for the best: told apart by the colour-blind, from grey, and when inverted."""
    return mpl.colormaps["viridis"](0.93 * (1 - goodness))
