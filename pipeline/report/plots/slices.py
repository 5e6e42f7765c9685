"""Slices: every trial at its value of one searched field, one panel per field."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    GREEN,
    MANY,
    MARKERS,
    add_legend,
    grid_of_axes,
    log_scale,
    plain,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, by_rank, listed, sentence, wide, with_value
from pipeline.report.plots.parallel_coordinates import trial_in_words
from pipeline.report.plots.scales import scale_of
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The objective against one field's value, of the trials that have the field."""

    field: str
    log: bool
    whole: bool  # only whole numbers
    ticks: list[
        tuple[float, str]
    ]  # of fields with a place for each value; empty for an axis of numbers
    points: dict[str, list[tuple[float, float]]]  # by state: place and value
    best: tuple[float, float] | None  # the best trial's


@dataclass(frozen=True, kw_only=True)
class SlicesInfo:
    """A panel for each searched field."""

    study: str
    label: str
    log: bool
    panels: list[Slice]
    best: str  # its trial in words


def slices_info(record: StudyRecord) -> SlicesInfo | None:
    """Lay the trials that have a value out over each searched field; None where there are none."""
    valued = with_value(record)
    if not valued or not record.searched:
        return None
    winner = by_rank(record)[0]
    panels = [_slice(record, name, valued, winner.number) for name in record.searched]
    return SlicesInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for value, _ in valued),
        panels=[panel for panel in panels if panel.points],
        best=trial_in_words(record, winner),
    )


def _slice(
    record: StudyRecord, name: str, valued: Sequence[tuple[float, TrialResult]], winner: int
) -> Slice:
    scale = scale_of(record, name, [result for _, result in valued])
    points: dict[str, list[tuple[float, float]]] = {}
    best = None
    for value, result in valued:
        given: Value | None = getattr(result.config, name)
        if given is None:
            continue
        if scale.categories:
            place = _beside(scale.categories.index(given), result.number)
        else:
            place = float(given)
        points.setdefault(result.state, []).append((place, value))
        if result.number == winner:
            best = (place, value)
    return Slice(
        field=name,
        log=scale.log,
        whole=scale.integer,
        ticks=[
            (float(place), value_text(category)) for place, category in enumerate(scale.categories)
        ],
        points=points,
        best=best,
    )


def _beside(place: int, number: int) -> float:
    """A place beside the category's, so that trials with the same value are told apart: the same each time."""
    return place + 0.5 * (number * 0.618034 % 1 - 0.5)


def slices_alt(info: SlicesInfo) -> str:
    """What is shown, and the best trial's values."""
    return sentence(
        f"{info.label} by {listed([panel.field for panel in info.panels], 20)}", info.best
    )


def draw_slices(info: SlicesInfo) -> Figure:
    """Draw a panel for each field: a marker per trial, the best one's as a star."""
    columns = min(3, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    size = (max(6.0, 0.8 + 2.5 * columns), 1.0 + 2.5 * rows)
    figure = titled_figure("Slices, the objective by each field", info.study, size)
    grid = grid_of_axes(figure, len(info.panels), columns, sharey=True)
    most = max(len(points) for panel in info.panels for points in panel.points.values())
    for i, (axes, panel) in enumerate(zip(grid, info.panels, strict=True)):
        _draw_slice(axes, panel, size=16 if most <= MANY else 5)
        axes.set_xlabel(plain(panel.field))
        if i % columns == 0:
            axes.set_ylabel(
                plain(info.label, 60).replace(" (", "\n("), fontsize=9, parse_math=False
            )
    if info.log:
        log_scale(grid[0], "y")
    states = [state for state in MARKERS if any(state in panel.points for panel in info.panels)]
    handles = [
        Line2D([], [], ls="", marker=MARKERS[s][0], color=MARKERS[s][1], ms=5, label=s)
        for s in states
    ]
    handles.append(
        Line2D([], [], ls="", marker="*", ms=12, mfc=GREEN, mec="black", label="best trial")
    )
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


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


def _draw_slice(axes: Axes, panel: Slice, size: int) -> None:
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


PLOT = Plot(
    title="Slices",
    about="Each dot is one trial at its value of one field: where the upper edge of the dots peaks, that field's "
    "good values lie, unless they lie at an end of the axis, beyond which better ones may be.",
    info=slices_info,
    alt=slices_alt,
    draw=draw_slices,
)
