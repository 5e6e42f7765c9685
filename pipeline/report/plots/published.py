"""Draws published accuracies beside ours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import sentence
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    SPLIT_OFFSETS,
    add_legend,
    label_axis,
    label_rows,
    titled_figure,
    use_light_frame,
)
from sweeps.analysis.published import Variant, compare
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colour, the marker and the meaning of a mark, by source and split.
_MARKS = {
    ("published", "test"): ("black", "x", "published, test"),
    ("published", "val"): ("black", "+", "published, validation"),
    ("ours", "test"): (ORANGE, "o", "ours, test (mean, spread)"),
    ("ours", "val"): (BLUE, "o", "ours, validation (mean, spread)"),
}
_MAX_ROWS = 12  # in words


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """The accuracies of one reference, by split."""

    name: str
    published: dict[str, float]
    comparable: bool
    ours: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class PublishedInfo:
    """Published accuracies beside ours on validation and test."""

    rows: list[PublishedRow]
    close: tuple[float, float] | None  # the range of most values, where a few lie far below


def published_info(record: StudyRecord) -> PublishedInfo | None:
    """Collect the references that have an accuracy on validation or test; None without any."""
    comparison = compare(record, record.ranked)
    if comparison is None:
        return None
    rows = []
    for variant in comparison.variants:
        row = _row(variant)
        if row is not None:
            rows.append(row)
    if not rows:
        return None
    return PublishedInfo(rows=rows, close=_close_range(rows))


def _row(variant: Variant) -> PublishedRow | None:
    """One reference's accuracies; None without any."""
    published = {}
    accuracies = []
    for figure in variant.figures:
        if figure.name in ("val_acc", "test_acc") and figure.published is not None:
            published[figure.split] = figure.published
            accuracies.append(figure)
    if not accuracies:
        return None
    return PublishedRow(
        name=variant.reference.label,
        published=published,
        comparable=all(figure.comparable for figure in accuracies),
        ours=dict(accuracies[0].ours),
    )


def _close_range(rows: Sequence[PublishedRow]) -> tuple[float, float] | None:
    """The range above the widest gap between values.

    None unless the gap is most of the whole range and at least half of the values lie above it.
    """
    if len(rows) < 3:
        return None
    values: list[float] = []
    for row in rows:
        values += row.published.values()
        for score in row.ours.values():
            spread = score.spread or 0
            values += [score.mean - spread, score.mean + spread]
    values.sort()
    gaps = [high - low for low, high in itertools.pairwise(values)]
    widest = max(gaps)
    if widest < 0.1 or widest < 0.5 * (values[-1] - values[0]):
        return None
    # Of equally wide gaps the highest.
    first_above = max(index for index, gap in enumerate(gaps, start=1) if gap == widest)
    above = values[first_above:]
    if 2 * len(above) < len(values):
        return None
    # An interval whose mean is shown is shown whole.
    ends = [
        score.mean - (score.spread or 0)
        for row in rows
        for score in row.ours.values()
        if score.mean >= above[0]
    ]
    return min([above[0], *ends]), above[-1]


def published_alt(info: PublishedInfo) -> str:
    """Tell each reference's figures beside ours."""
    rows = []
    for row in info.rows:
        figures = [
            f"published {100 * value:.4g} % ({split})" for split, value in row.published.items()
        ]
        figures += [f"ours {100 * score.mean:.4g} % ({split})" for split, score in row.ours.items()]
        rows.append(f"{row.name}: {', '.join(figures)}")
    texts = rows[:_MAX_ROWS]
    if len(rows) > _MAX_ROWS:
        texts.append(f"and {len(rows) - _MAX_ROWS} more")
    return sentence("Accuracy", *texts)


def draw_published(info: PublishedInfo) -> Figure:
    """Draw references down: published figures as crosses, ours as dots with their spread.

    If a few values lie far off, a second panel shows the others larger.
    """
    panels = 2 if info.close else 1
    width = 10.0 if info.close else 8.0
    height = 1.9 + 0.5 * len(info.rows)
    figure = titled_figure("Published accuracy and ours", (width, height))
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in grid:
        use_light_frame(axes)
        _draw_rows(axes, info)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        label_axis(axes.xaxis, "accuracy (%)")
    label_rows(grid[0], [row.name for row in info.rows])
    if info.close:
        low, high = info.close
        margin = max(0.08 * (high - low), 0.001)
        grid[1].set_xlim(low - margin, high + margin)
        grid[0].set_title("all", loc="left", fontsize=9)
        grid[1].set_title("those that lie close together, larger", loc="left", fontsize=9)
    handles = _legend_handles(info)
    add_legend(figure, ncols=min(len(handles), 4), handles=handles)
    return figure


def _draw_rows(axes: Axes, info: PublishedInfo) -> None:
    for number, row in enumerate(info.rows):
        for split, offset in SPLIT_OFFSETS.items():
            height = number + offset
            if split in row.ours:
                score = row.ours[split]
                colour, marker, _ = _MARKS["ours", split]
                style: dict[str, Any] = {"color": colour, "ms": 6, "capsize": 3, "elinewidth": 1.4}
                axes.errorbar(score.mean, height, xerr=score.spread, fmt=marker, **style)
            if split in row.published:
                accuracy = row.published[split]
                colour, marker, _ = _MARKS["published", split]
                if not row.comparable:
                    colour = GREY
                axes.plot([accuracy], [height], marker, color=colour, ms=8, mew=1.8, zorder=4)
        if number:
            axes.axhline(number - 0.5, color=LIGHT, lw=0.8, zorder=0)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)


def _legend_handles(info: PublishedInfo) -> list[Line2D]:
    """The legend's entries for the marks that the plot has."""
    drawn = {("published", split) for row in info.rows for split in row.published}
    drawn |= {("ours", split) for row in info.rows for split in row.ours}
    marks = [mark for key, mark in _MARKS.items() if key in drawn]
    if not all(row.comparable for row in info.rows):
        marks.append((GREY, "x", "published, not comparable"))
    return [
        Line2D([], [], color=colour, ls="", marker=marker, ms=6, mew=1.8, label=label)
        for colour, marker, label in marks
    ]


PLOT = Plot(
    title="Published accuracy and ours",
    about="A cross is a published figure, a dot the mean of our seeds with their spread; where "
    "the cross lies inside the spread, the two agree.",
    info=published_info,
    alt=published_alt,
    draw=draw_published,
)
