"""Published accuracy beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    add_legend,
    light,
    plain,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.labels import sentence
from sweeps.analysis.published import compare
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One reference's accuracies, by split."""

    name: str
    published: dict[str, float]
    comparable: bool
    ours: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class PublishedInfo:
    """Published accuracies beside ours on validation and test."""

    study: str
    rows: list[PublishedRow]
    close: tuple[float, float] | None  # the range of most of them, where a few lie far below


def published_info(record: StudyRecord) -> PublishedInfo | None:
    """Collect the references that have an accuracy on validation or test; None where none has."""
    found = compare(record, record.ranked)
    rows = []
    for variant in found.variants if found else ():
        figures = [
            c
            for c in variant.figures
            if c.name in ("val_acc", "test_acc") and c.published is not None
        ]
        if figures:
            rows.append(
                PublishedRow(
                    name=variant.reference.label,
                    published={c.split: c.published for c in figures if c.published is not None},
                    comparable=all(c.comparable for c in figures),
                    ours=dict(figures[0].ours),
                )
            )
    if rows:
        return PublishedInfo(study=record.name, rows=rows, close=_close(rows))
    return None


def published_alt(info: PublishedInfo) -> str:
    """Each variant's figures."""
    rows = []
    for row in info.rows:
        figures = [f"published {value:.4g} ({split})" for split, value in row.published.items()]
        figures += [f"ours {score.mean:.4g} ({split})" for split, score in row.ours.items()]
        rows.append(f"{row.name}: {', '.join(figures)}")
    return sentence("Accuracy", *rows[:12], f"and {len(rows) - 12} more" if len(rows) > 12 else "")


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
    grid[0].set_yticks(
        range(len(info.rows)), [plain(r.name, 36) for r in info.rows], fontsize=9, parse_math=False
    )
    if info.close:
        low, high = info.close
        margin = max(0.08 * (high - low), 0.001)
        grid[1].set_xlim(low - margin, high + margin)
        grid[0].set_title("all", loc="left", fontsize=9)
        grid[1].set_title("those that lie close together, larger", loc="left", fontsize=9)
    handles = [
        Line2D([], [], color=c, ls="", marker=m, ms=6, mew=1.8, label=t)
        for c, m, t in _PUBLISHED.values()
    ]
    seen = {("published", split) for row in info.rows for split in row.published}
    seen |= {("ours", split) for row in info.rows for split in row.ours}
    shown = [handle for key, handle in zip(_PUBLISHED, handles, strict=True) if key in seen]
    if not all(row.comparable for row in info.rows):
        shown.append(
            Line2D(
                [],
                [],
                color=GREY,
                ls="",
                marker="x",
                ms=6,
                mew=1.8,
                label="published, not comparable",
            )
        )
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
                score = row.ours[split]
                (colour, marker, _) = _PUBLISHED["ours", split]
                style: dict[str, Any] = {"color": colour, "ms": 6, "capsize": 3, "elinewidth": 1.4}
                axes.errorbar(score.mean, y + lane, xerr=score.spread, fmt=marker, **style)
            if split in row.published:
                colour, marker, _ = _PUBLISHED["published", split]
                colour = colour if row.comparable else GREY
                axes.plot(
                    [row.published[split]],
                    [y + lane],
                    marker,
                    color=colour,
                    ms=8,
                    mew=1.8,
                    zorder=4,
                )
        if y:
            axes.axhline(y - 0.5, color=LIGHT, lw=0.8, zorder=0)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)


def _close(rows: Sequence[PublishedRow]) -> tuple[float, float] | None:
    """The range above the widest gap, if that is most of the whole range and at least half of the values lie there."""
    ours = [
        score.mean + s * (score.spread or 0)
        for row in rows
        for score in row.ours.values()
        for s in (-1, 1)
    ]
    values = sorted(ours + [value for row in rows for value in row.published.values()])
    gaps = [(high - low, i) for i, (low, high) in enumerate(itertools.pairwise(values), start=1)]
    widest, cut = max(gaps, default=(0.0, 0))
    if (
        len(rows) < 3
        or widest < 0.5 * (values[-1] - values[0])
        or widest < 0.1
        or 2 * (len(values) - cut) < len(values)
    ):
        return None
    return values[cut], values[-1]


PLOT = Plot(
    title="Published accuracy and ours",
    about="A cross is a published figure, a dot the mean of our seeds with their spread; where the cross lies "
    "inside the spread, the two agree.",
    info=published_info,
    alt=published_alt,
    draw=draw_published,
)
