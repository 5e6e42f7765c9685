"""Draws what `info_scores` computes of scores set beside each other. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.info_scores import FinalistsInfo, PublishedInfo
from pipeline.report.plots.style import BLUE, GREY, LIGHT, ORANGE, add_legend, grid_of_axes, light, plain, titled_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_published(info: PublishedInfo) -> Figure:
    """Draw variants down, ours as dots with their spread, published figures as crosses; twice if a few lie far off."""
    panels = 2 if info.close else 1
    size = (10.0 if info.close else 8.0, 1.9 + 0.5 * len(info.rows))
    figure = titled_figure("Published accuracy and ours", info.study, size)
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in grid:
        light(axes)
        _variants(axes, info)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("accuracy (fraction)")
    grid[0].set_ylim(len(info.rows) - 0.5, -0.5)
    grid[0].set_yticks(range(len(info.rows)), [plain(r.name, 36) for r in info.rows], fontsize=9, parse_math=False)
    if info.close:
        low, high = info.close
        margin = max(0.08 * (high - low), 0.001)
        grid[1].set_xlim(low - margin, high + margin)
        grid[0].set_title("all", loc="left", fontsize=9)
        grid[1].set_title("those that lie close together, larger", loc="left", fontsize=9)
    handles = [Line2D([], [], color=c, ls="", marker=m, ms=6, mew=1.8, label=t) for c, m, t in _PUBLISHED.values()]
    seen = {("published", split) for row in info.rows for split in row.published}
    seen |= {("ours", split) for row in info.rows for split in row.ours}
    shown = [handle for key, handle in zip(_PUBLISHED, handles, strict=True) if key in seen]
    if not all(row.comparable for row in info.rows):
        shown.append(Line2D([], [], color=GREY, ls="", marker="x", ms=6, mew=1.8, label="published, not comparable"))
    add_legend(figure, "outside lower center", ncols=min(len(shown), 4), handles=shown)
    return figure


def draw_finalists(info: FinalistsInfo) -> Figure:
    """Draw finalists down: each seed as a small dot, the mean with its interval, test beside validation."""
    title = "Finalists, a tie" if info.tied else "Finalists, the winner first"
    figure = titled_figure(title, info.study, (8, 1.7 + 0.6 * len(info.rows)))
    grid = grid_of_axes(figure, len(info.panels), len(info.panels), sharey=True)
    for axes, panel in zip(grid, info.panels, strict=True):
        for mark in panel.marks:
            y = mark.row + _LANES[mark.split]
            colour, marker, _ = _SEEDS[mark.split]
            # Whole also at the edge of the axis, which all of them are within.
            seeds: dict[str, Any] = {"s": 22, "color": colour, "alpha": 0.9, "lw": 0, "zorder": 3, "clip_on": False}
            axes.scatter(mark.values, [y] * len(mark.values), **seeds)
            axes.plot([mark.mean], [y], marker, color=colour, ms=8, mec="black", mew=0.6, zorder=4, clip_on=False)
            if mark.low is not None and mark.high is not None:
                axes.plot([mark.low, mark.high], [y, y], color=colour, lw=1.8, zorder=2)
        axes.grid(False, axis="y")
        axes.set_xlim(*panel.range)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(plain(panel.label, 60), parse_math=False)
    if info.ended < info.planned:
        grid[0].set_title(f"{info.ended} of {info.planned} runs have ended", loc="left", fontsize=9)
    for y in range(1, len(info.rows)):
        for axes in grid:
            axes.axhline(y - 0.5, color=LIGHT, lw=0.8, zorder=0)
    grid[0].set_ylim(len(info.rows) - 0.5, -0.5)
    grid[0].set_yticks(range(len(info.rows)), [plain(name, 36) for name in info.rows], fontsize=9, parse_math=False)
    splits = [split for split in _SEEDS if any(mark.split == split for panel in info.panels for mark in panel.marks)]
    handles = [
        Line2D([], [], color=_SEEDS[s][0], marker=_SEEDS[s][1], ms=7, lw=1.8, label=f"{_SEEDS[s][2]}: mean, 95 %")
        for s in splits
    ]
    handles.append(Line2D([], [], color=GREY, marker="o", ms=5, alpha=0.9, ls="", label="one seed"))
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


_SEEDS = {"val": (BLUE, "o", "validation"), "test": (ORANGE, "D", "test")}
_PUBLISHED = {
    ("published", "test"): ("black", "x", "published, test"),
    ("published", "val"): ("black", "+", "published, validation"),
    ("ours", "test"): (ORANGE, "o", "ours, test (mean, spread)"),
    ("ours", "val"): (BLUE, "o", "ours, validation (mean, spread)"),
}


_LANES = {"test": -0.14, "val": 0.14}


def _variants(axes: Axes, info: PublishedInfo) -> None:
    for y, row in enumerate(info.rows):
        for split, lane in _LANES.items():
            if split in row.ours:
                score, (colour, marker, _) = row.ours[split], _PUBLISHED["ours", split]
                style: dict[str, Any] = {"color": colour, "ms": 6, "capsize": 3, "elinewidth": 1.4}
                axes.errorbar(score.mean, y + lane, xerr=score.spread, fmt=marker, **style)
            if split in row.published:
                colour, marker, _ = _PUBLISHED["published", split]
                colour = colour if row.comparable else GREY
                axes.plot([row.published[split]], [y + lane], marker, color=colour, ms=8, mew=1.8, zorder=4)
        if y:
            axes.axhline(y - 0.5, color=LIGHT, lw=0.8, zorder=0)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)
