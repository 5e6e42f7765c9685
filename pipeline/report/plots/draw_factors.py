"""Draws what `info_factors` computes: each searched field on its own. Decides nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from pipeline.report.plots.info_factors import FactorsInfo, Panel
from pipeline.report.plots.style import (
    COLOURS,
    GREY,
    MARKERS,
    UPRIGHT,
    add_legend,
    light,
    log_scale,
    plain,
    titled_figure,
)
from sweeps.trial import FAILED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_factors(info: FactorsInfo) -> Figure:
    """Draw a panel for each field: means with their spread, single seeds faintly, the centre ringed."""
    columns = min(3, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    long = any(len(label) > UPRIGHT for panel in info.panels for _, label in panel.ticks)
    size = (1.2 + max(3.6 * columns, 5.6), 1.3 + (4.2 if long else 3.0) * rows)
    figure = titled_figure("Effect of each factor", info.study, size)
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for i, (axes, panel) in enumerate(zip(grid, info.panels, strict=False)):
        light(axes)
        _panel(axes, panel)
        if i % columns == 0:
            axes.set_ylabel(plain(info.label, 60), fontsize=9, parse_math=False)
        if info.log:
            log_scale(axes, "y")
    for axes in grid[len(info.panels) :]:
        axes.set_visible(False)
    _factor_legend(figure, info)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    width = 0.08 * (len(panel.lines) > 1) * bool(panel.ticks) * (not panel.log)  # lines beside each other
    join = "o-" if panel.ordered or len(panel.lines) > 1 else "o"
    for i, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        shift = width * (i - (len(panel.lines) - 1) / 2)
        places = [point.place + shift for point in line.points]
        means, spreads = [point.mean for point in line.points], [point.spread for point in line.points]
        style: dict[str, Any] = {"fmt": join, "color": colour, "ms": 5, "lw": 1.2, "capsize": 3, "zorder": 3}
        axes.errorbar(places, means, yerr=spreads if any(spreads) else None, **style)
        for place, point in zip(places, line.points, strict=True):
            if len(point.values) > 1:
                axes.scatter([place] * len(point.values), point.values, s=14, color=colour, alpha=0.3, lw=0, zorder=2)
            if panel.centre == point.place:
                axes.plot([place], [point.mean], "o", ms=12, mfc="none", mec="black", mew=1.1, zorder=4)
    marker, colour = MARKERS[FAILED]
    edge = axes.get_xaxis_transform()
    style = {"ls": "", "marker": marker, "ms": 6, "color": colour, "transform": edge, "zorder": 3}
    axes.plot(panel.failed, [0.03] * len(panel.failed), **style)
    if panel.log:
        log_scale(axes, "x")
    if panel.ticks:
        labels = [plain(label, 24) for _, label in panel.ticks]
        crowded = sum(map(len, labels)) > 30 or (panel.log and len(labels) > 4)
        turn: dict[str, Any] = {"rotation": 90 if max(map(len, labels)) > UPRIGHT else 30} if crowded else {}
        axes.set_xticks([place for place, _ in panel.ticks], labels, fontsize=8, parse_math=False, **turn)
        axes.minorticks_off()
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(panel.field)


def _factor_legend(figure: Figure, info: FactorsInfo) -> None:
    names = [line.name for line in info.panels[0].lines if line.name]
    handles = [Line2D([], [], color=c, marker="o", label=plain(n, 48)) for n, c in zip(names, COLOURS, strict=False)]
    points = [point for panel in info.panels for line in panel.lines for point in line.points]
    if any(len(point.values) > 1 for point in points):
        handles += [
            Line2D([], [], color=GREY, marker="o", ls="", label="mean over seeds, with its spread"),
            Line2D([], [], color=GREY, marker="o", ls="", ms=4, alpha=0.4, label="one seed"),
        ]
    if any(panel.centre is not None for panel in info.panels):
        handles.append(Line2D([], [], color="black", marker="o", ls="", ms=11, mfc="none", label="centre"))
    if any(panel.failed for panel in info.panels):
        marker, colour = MARKERS[FAILED]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", label="failed, no value"))
    if handles:
        add_legend(figure, "outside lower center", ncols=2 if len(names) > 1 else 4, handles=handles)
