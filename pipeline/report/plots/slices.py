"""Draws every trial at its value of a searched field, one panel per field."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    best_trial_text,
    in_words,
    listed,
    needs_log_scale,
    objective_label,
    ranked_trials,
    sentence,
    valued_trials,
)
from pipeline.report.plots.scales import scale_of
from pipeline.report.plots.style import (
    GREEN,
    MANY_TRIALS,
    MARKERS,
    add_legend,
    drawable_text,
    grid_of_axes,
    is_for_paper,
    label_low_panel,
    mark_trial,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 3
_MAX_NAMED_CATEGORIES = 12
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The objective against one field's value, for the trials that have the field."""

    field: str
    log: bool
    whole: bool  # whether the field has only whole numbers
    ticks: list[tuple[float, str]]  # place and label of each category; empty for numbers
    points: dict[str, list[tuple[float, float]]]  # by state: place and value
    numbers: dict[str, list[int]]  # of the trials of the points
    best: tuple[float, float] | None  # place and value of the best trial


@dataclass(frozen=True, kw_only=True)
class SlicesInfo:
    """A panel for each searched field."""

    label: str
    log: bool
    panels: list[Slice]
    best: str  # the best trial in words


def slices_info(record: StudyRecord) -> SlicesInfo | None:
    """Lay the trials that have a value out over each searched field; None without any."""
    valued = valued_trials(record)
    if not valued or not record.searched:
        return None
    best = ranked_trials(record)[0]
    panels = [_slice(record, name, valued, best) for name in record.searched]
    return SlicesInfo(
        label=objective_label(record),
        log=needs_log_scale(value for value, _ in valued),
        panels=[panel for panel in panels if panel.points],
        best=best_trial_text(record, best),
    )


def _slice(
    record: StudyRecord, name: str, valued: Sequence[tuple[float, TrialResult]], best: TrialResult
) -> Slice:
    scale = scale_of(record, name, [result for _, result in valued])
    points: dict[str, list[tuple[float, float]]] = {}
    numbers: dict[str, list[int]] = {}
    best_point = None
    for value, result in valued:
        setting: Value | None = result.config.value(name)
        if setting is None:
            continue
        if scale.categories:
            place = _place_near(scale.categories.index(setting), result.number)
        else:
            place = float(setting)
        points.setdefault(result.state, []).append((place, value))
        numbers.setdefault(result.state, []).append(result.number)
        if result.number == best.number:
            best_point = (place, value)
    categories = [value_text(category) for category in scale.categories]
    return Slice(
        field=name,
        log=scale.log,
        whole=scale.integer,
        ticks=[(float(place), category) for place, category in enumerate(categories)],
        points=points,
        numbers=numbers,
        best=best_point,
    )


def _place_near(category: int, number: int) -> float:
    """A place beside a category's own, so that its trials do not cover each other.

    The place depends on the trial's number alone: it is the same in every report.
    """
    return category + 0.5 * (number * _GOLDEN_RATIO % 1 - 0.5)


def slices_alt(info: SlicesInfo) -> str:
    """Tell the fields, and the best trial's values."""
    fields = listed([panel.field for panel in info.panels], 20)
    return sentence(f"{in_words(info.label)} by {fields}", info.best)


def draw_slices(info: SlicesInfo) -> Figure:
    """Draw a panel for each field, with a marker per trial and a star for the best."""
    columns = min(2 if is_for_paper() else _MAX_COLUMNS, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    size = (max(6.0, 0.8 + 2.5 * columns), 1.0 + 2.5 * rows)
    figure = titled_figure("Slices, the objective by each field", size)
    grid = grid_of_axes(figure, len(info.panels), columns, sharey=True)
    most_points = max(len(points) for panel in info.panels for points in panel.points.values())
    marker_size = 16 if most_points <= MANY_TRIALS else 5
    for index, (axes, panel) in enumerate(zip(grid, info.panels, strict=True)):
        _draw_slice(axes, panel, marker_size)
        axes.set_xlabel(drawable_text(panel.field))
        if index % columns == 0:
            label_low_panel(axes, info.label)
    if info.log:
        use_log_scale(grid[0], "y")
    add_legend(figure, ncols=3, handles=_legend_handles(info))
    return figure


def _draw_slice(axes: Axes, panel: Slice, size: int) -> None:
    for state, points in sorted(panel.points.items(), reverse=True):  # pruned ones lie below
        marker, colour = MARKERS[state]
        places, values = zip(*points, strict=True)
        axes.scatter(places, values, s=size, marker=marker, color=colour, alpha=0.7, lw=0, zorder=2)
        for place, value, number in zip(places, values, panel.numbers[state], strict=True):
            mark_trial(axes, place, value, number)
    if panel.best:
        axes.plot(*panel.best, "*", ms=12, mfc=GREEN, mec="black", mew=0.8, zorder=4)
    if panel.log:
        use_log_scale(axes, "x")
    if panel.ticks:
        _label_categories(axes, panel)
    elif not panel.log:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=panel.whole, min_n_ticks=1))
    axes.tick_params(labelsize=8)
    axes.margins(y=0.08)


def _label_categories(axes: Axes, panel: Slice) -> None:
    """Name the categories: on several lines, or slanting, where they would touch."""
    step = math.ceil(len(panel.ticks) / _MAX_NAMED_CATEGORIES)
    ticks = panel.ticks[::step]
    places = [place for place, _ in ticks]
    names = [drawable_text(label, 24) for _, label in ticks]
    lengths = [len(name) for name in names]
    room = 30 // len(ticks)  # characters
    style: dict[str, Any] = {}
    if max(lengths) > room >= 8:
        names = [textwrap.fill(name, room) for name in names]
    elif sum(lengths) > 20:
        names = [drawable_text(name, 14) for name in names]
        style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, names, parse_math=False, **style)
    axes.set_xlim(-0.5, len(panel.ticks) - 0.5)


def _legend_handles(info: SlicesInfo) -> list[Line2D]:
    handles = []
    for state, (marker, colour) in MARKERS.items():
        if any(state in panel.points for panel in info.panels):
            handles.append(Line2D([], [], ls="", marker=marker, color=colour, ms=5, label=state))
    best = Line2D([], [], ls="", marker="*", ms=12, mfc=GREEN, mec="black", label="best trial")
    return [*handles, best]


PLOT = Plot(
    title="Slices",
    about="Each dot is one trial at its value of one field: where the upper edge of the dots "
    "peaks, that field's good values lie, unless they lie at an end of the axis, beyond which "
    "better ones may be.",
    info=slices_info,
    alt=slices_alt,
    draw=draw_slices,
)
