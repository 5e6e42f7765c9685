"""Draws what `info_fields` computes of a study's searched fields. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from pipeline.drawing import BLUE, GREY, add_legend, light, plain, titled_figure
from pipeline.info_fields import ImportanceInfo, ParallelInfo
from sweeps.importance import Share
from sweeps.trial import COMPLETE, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        percent = 100 * (share.share or 0)
        axes.barh(row, percent, height=0.62, color=BLUE, zorder=2)
        notes = [] if share.share is None else [f"{percent:.0f} %" if percent >= 0.5 else "<1 %"]
        axes.text(percent + 0.8, row, ", ".join([*notes, *filter(None, [share.note])]), va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks(range(len(shares)), [plain(s.key, 40) for s in shares], fontsize=9, parse_math=False)


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw a line per trial, darker for a better value; it drops to "n/a", dotted, where a field does not apply."""
    widths = [max(0.9, 0.3 + 0.068 * max(len(plain(t)) for _, t in [*a.ticks, (0, a.name[:14])])) for a in info.axes]
    places = np.cumsum(widths)
    figure = titled_figure("Parallel coordinates", info.study, (places[-1] + 0.9, 5))
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, places[-1] + 0.5), ylim=(-0.2, 1.14))
    for x, axis in zip(places, info.axes, strict=True):
        axes.plot([x, x], [0, 1], color="black", lw=0.8, zorder=3)
        name = plain(axis.name, 44).replace(" (", "\n(").replace("validation ", "validation\n")
        axes.text(x, 1.05, name, ha="center", va="bottom", fontsize=9, fontweight="bold", parse_math=False)
        for y, label in [*axis.ticks, *([(-0.13, "n/a")] if axis.gaps else [])]:
            axes.plot([x - 0.04, x + 0.04], [y, y], color="black", lw=0.8, zorder=3)
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "parse_math": False, "bbox": box}
            axes.text(x - 0.07, y, plain(label), zorder=4, **style)
    _lines(axes, info, places)
    legend = [
        Line2D([], [], color=_shade(1.0), lw=2, label="complete: the better, the darker"),
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
    """Yellow for the worst, dark violet for the best: told apart by the colour-blind, and from grey."""
    return mpl.colormaps["viridis"](0.93 * (1 - goodness))
