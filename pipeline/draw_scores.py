"""Draws what `info_scores` computes of scores set beside each other. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.drawing import BLUE, GREY, LIGHT, ORANGE, add_legend, light, plain, titled_figure
from pipeline.info_scores import PublishedInfo

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
