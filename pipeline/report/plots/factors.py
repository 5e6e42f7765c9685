"""Draws the effect of each factor: along each panel only one searched field changes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    in_words,
    labelled_value,
    listed,
    needs_log_scale,
    objective_label,
    sentence,
)
from pipeline.report.plots.style import (
    COLOURS,
    GREY,
    MARKERS,
    add_legend,
    drawable_text,
    grid_of_axes,
    label_axis,
    mark_failed,
    titled_figure,
    use_log_scale,
)
from pipeline.report.plots.varied import VariedField, are_numbers, value_of, varied_fields
from sweeps.analysis.naming import config_text, value_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.trial import FAILED, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 3
_MAX_LINES = 6  # beside each other in one panel; as many as there are colours
_MAX_TICKED_VALUES = 8  # above this number, an axis of numbers has no tick for each value
_LOG_RATIO = 30  # largest value to smallest, above which an axis is logarithmic
_UPRIGHT_LENGTH = 12  # characters; a longer label of a tick stands upright
_MAX_MEANS_IN_WORDS = 12


@dataclass(frozen=True, kw_only=True)
class Point:
    """The objective at one value of a field: the mean over seeds, and each seed's value."""

    place: float  # on the axis
    mean: float
    spread: float  # sample standard deviation; 0 for one seed
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that differ only in the panel's field."""

    name: str  # the values of the other fields; empty for the only line
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The objective along one searched field."""

    field: str
    log: bool
    ordered: bool  # whether the values are numbers, which a line may join
    ticks: tuple[tuple[float, str], ...]  # places and labels; empty for an axis of numbers
    lines: tuple[Line, ...]
    failed: tuple[float, ...]  # places of configurations without a complete trial
    centre: float | None  # place of the centre, for methods that have one


@dataclass(frozen=True, kw_only=True)
class FactorsInfo:
    """One panel for each searched field that was varied on its own."""

    label: str
    log: bool
    panels: list[Panel]


def factors_info(record: StudyRecord) -> FactorsInfo | None:
    """Lay out a study that varied one factor at a time, one factor, or few in all combinations.

    None for any other study, and if nothing varies or is complete.
    """
    panels = [_panel(varied) for varied in varied_fields(record)]
    panels = [panel for panel in panels if any(line.points for line in panel.lines)]
    if not panels or max(len(panel.lines) for panel in panels) > _MAX_LINES:
        return None
    means = [point.mean for point in _points(panels)]
    return FactorsInfo(label=objective_label(record), log=needs_log_scale(means), panels=panels)


def _points(panels: Iterable[Panel]) -> list[Point]:
    return [point for panel in panels for line in panel.lines for point in line.points]


# A panel


def _panel(varied: VariedField) -> Panel:
    """Lay out configurations along a field. The field may not apply to some, which are left out."""
    field = varied.field
    entries = varied.in_order
    values = varied.values
    ordered = are_numbers(values)
    log = ordered and _is_wide(values)
    has_ticks = not ordered or len(values) <= _MAX_TICKED_VALUES
    if has_ticks and not log:  # evenly spaced
        places = {value: float(index) for index, value in enumerate(values)}
    else:
        places = {value: float(value) for value in values}
    ticks = []
    if has_ticks:
        ticks = [(place, value_text(value)) for value, place in places.items()]
    centre_place = None
    if varied.centre is not None:
        centre_place = places.get(varied.centre)
    failed = {places[value_of(entry, field)] for entry in entries if not complete_trials(entry)}
    return Panel(
        field=field,
        log=log,
        ordered=ordered,
        ticks=tuple(ticks),
        lines=_lines(field, entries, varied.others, places),
        failed=tuple(sorted(failed)),
        centre=centre_place,
    )


def _is_wide(numbers: Sequence[Value]) -> bool:
    """Whether sorted numbers are positive and span more than `_LOG_RATIO`."""
    if not numbers:
        return False
    lowest = float(numbers[0])
    return lowest > 0 and float(numbers[-1]) > _LOG_RATIO * lowest


def _lines(
    field: str,
    entries: Sequence[Ranked],
    other_fields: tuple[str, ...],
    places: dict[Value, float],
) -> tuple[Line, ...]:
    groups: dict[str, list[Ranked]] = {}
    for entry in entries:
        name = ""
        if other_fields:
            name = config_text(entry.trials[0], other_fields)
        groups.setdefault(name, []).append(entry)
    lines = []
    for name, group in groups.items():
        points = []
        for entry in group:
            point = _point(entry, places[value_of(entry, field)])
            if point is not None:
                points.append(point)
        points.sort(key=lambda point: point.place)
        lines.append(Line(name=name, points=tuple(points)))
    return tuple(lines)


def _point(entry: Ranked, place: float) -> Point | None:
    """A configuration at its place; None if it has no finite value."""
    measured = [trial.value for trial in complete_trials(entry)]
    values = [value for value in measured if value is not None and math.isfinite(value)]
    if not values or entry.value is None:
        return None
    spread = entry.spread or 0.0
    return Point(place=place, mean=entry.value, spread=spread, values=tuple(values))


# Words and drawing


def factors_alt(info: FactorsInfo) -> str:
    """Tell the means of each panel."""
    lines = [_line_text(info.label, panel, line) for panel in info.panels for line in panel.lines]
    return sentence(in_words(info.label), *lines)


def _line_text(axis_label: str, panel: Panel, line: Line) -> str:
    labels = dict(panel.ticks)
    means = []
    for point in line.points:
        label = labels.get(point.place, f"{point.place:.4g}")
        means.append(f"{label} {labelled_value(axis_label, point.mean)}")
    subject = f"by {panel.field}"
    if line.name:
        subject += f" with {line.name}"
    return f"{subject}: {listed(means, _MAX_MEANS_IN_WORDS)}"


def draw_factors(info: FactorsInfo) -> Figure:
    """Draw a panel for each field: means with their spread, single seeds faintly.

    A ring marks the centre.
    """
    columns = min(_MAX_COLUMNS, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    labels = [label for panel in info.panels for _, label in panel.ticks]
    any_upright = any(len(label) > _UPRIGHT_LENGTH for label in labels)
    row_height = 4.2 if any_upright else 3.0
    size = (1.2 + max(3.6 * columns, 5.6), 1.3 + row_height * rows)
    figure = titled_figure("Effect of each factor", size)
    grid = grid_of_axes(figure, len(info.panels), columns, sharey=True)
    for index, (axes, panel) in enumerate(zip(grid, info.panels, strict=True)):
        _draw_panel(axes, panel)
        if index % columns == 0:
            label_axis(axes.yaxis, info.label, fontsize=9)
        if info.log:
            use_log_scale(axes, "y")
    _add_factors_legend(figure, info)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    several = len(panel.lines) > 1
    # Where values have ticks, lines stand beside each other.
    distance = 0.08 if several and panel.ticks and not panel.log else 0.0
    join = "o-" if panel.ordered or several else "o"
    for index, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        shift = distance * (index - (len(panel.lines) - 1) / 2)
        places = [point.place + shift for point in line.points]
        means = [point.mean for point in line.points]
        spreads = [point.spread for point in line.points]
        errors = spreads if any(spreads) else None
        style: dict[str, Any] = {"color": colour, "ms": 5, "lw": 1.2, "capsize": 3, "zorder": 3}
        axes.errorbar(places, means, yerr=errors, fmt=join, **style)
        for place, point in zip(places, line.points, strict=True):
            if len(point.values) > 1:
                seeds = [place] * len(point.values)
                axes.scatter(seeds, point.values, s=14, color=colour, alpha=0.3, lw=0, zorder=2)
            if panel.centre == point.place:
                ring: dict[str, Any] = {"ms": 12, "mfc": "none", "mec": "black", "mew": 1.1}
                axes.plot([place], [point.mean], "o", zorder=4, **ring)
    mark_failed(axes, panel.failed, ms=6)
    if panel.log:
        use_log_scale(axes, "x")
    if panel.ticks:
        _label_ticks(axes, panel)
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(panel.field)


def _label_ticks(axes: Axes, panel: Panel) -> None:
    """Label the values of the field: slanting or upright, where the labels would touch."""
    places = [place for place, _ in panel.ticks]
    labels = [drawable_text(label, 24) for _, label in panel.ticks]
    lengths = [len(label) for label in labels]
    style: dict[str, Any] = {}
    if sum(lengths) > 30 or (panel.log and len(labels) > 4):
        style["rotation"] = 90 if max(lengths) > _UPRIGHT_LENGTH else 30
    axes.set_xticks(places, labels, fontsize=8, parse_math=False, **style)
    axes.minorticks_off()


def _add_factors_legend(figure: Figure, info: FactorsInfo) -> None:
    handles = []
    names = [line.name for line in info.panels[0].lines if line.name]
    for name, colour in zip(names, COLOURS, strict=False):
        handles.append(Line2D([], [], color=colour, marker="o", label=drawable_text(name, 48)))
    if any(len(point.values) > 1 for point in _points(info.panels)):
        style: dict[str, Any] = {"color": GREY, "marker": "o", "ls": ""}
        handles.append(Line2D([], [], label="mean over seeds, with its spread", **style))
        handles.append(Line2D([], [], ms=4, alpha=0.4, label="one seed", **style))
    if any(panel.centre is not None for panel in info.panels):
        ring: dict[str, Any] = {"marker": "o", "ls": "", "ms": 11, "mfc": "none"}
        handles.append(Line2D([], [], color="black", label="centre", **ring))
    if any(panel.failed for panel in info.panels):
        marker, colour = MARKERS[FAILED]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", label="failed, no value"))
    if handles:
        columns = 2 if len(names) > 1 else 4
        add_legend(figure, ncols=columns, handles=handles)


PLOT = Plot(
    title="Effect of each factor",
    about="Along each panel only that field changes, so that a rise or fall wider than the spread "
    "of the seeds is the field's own effect.",
    info=factors_info,
    alt=factors_alt,
    draw=draw_factors,
)
