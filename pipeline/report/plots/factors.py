"""The effect of each factor: one panel per searched field along which only that field changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
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

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, listed, sentence, wide
from sweeps.analysis.naming import config_text, differing_fields, value_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.spec.study_spec import CENTRED_METHODS
from sweeps.trial import Value

MOST_LINES = 6  # beside each other in one panel; as many as there are colours


MOST_WORDS = 8  # values up to which an axis has a place of its own for each


_LOG = 30  # how many times the smallest value the largest is where an axis turns logarithmic


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a field: the objective's mean over seeds, and each seed's."""

    place: float  # on the axis
    mean: float
    spread: float  # sample standard deviation; 0 for one seed
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """The points that differ in the panel's field alone."""

    name: str  # the other fields' values; empty where there is one line
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One searched field across."""

    field: str
    log: bool
    ordered: bool  # numbers, which a line may join
    ticks: tuple[tuple[float, str], ...]  # places and their labels; empty for an axis of numbers
    lines: tuple[Line, ...]
    failed: tuple[float, ...]  # places of configurations without a complete trial
    centre: float | None  # the place of the centre, of methods that have one


@dataclass(frozen=True, kw_only=True)
class FactorsInfo:
    """One panel for each searched field that was varied on its own."""

    study: str
    label: str
    log: bool
    panels: list[Panel]


def factors_info(record: StudyRecord) -> FactorsInfo | None:
    """Lay out a study that varied one factor at a time, one factor, or few in all combinations; else None."""
    entries = [e for e in record.ranked if complete_trials(e) or e.state == "failed"]
    fields = differing_fields(record.searched, [entry.trials[0] for entry in entries])
    if record.method in CENTRED_METHODS:
        panels = [_centred(record, name, entries) for name in fields]
    elif len(record.searched) == 1 or record.method == "zip":
        panels = [_panel(_identifying(fields, entries), (), entries)] if fields else []
    elif record.method == "grid" and fields:
        across = max(fields, key=lambda name: _rank_of_axis(name, entries))
        panels = [_panel(across, tuple(name for name in fields if name != across), entries)]
    else:
        panels = []
    panels = [panel for panel in panels if any(line.points for line in panel.lines)]
    if not panels or max(len(panel.lines) for panel in panels) > MOST_LINES:
        return None
    means = [point.mean for panel in panels for line in panel.lines for point in line.points]
    return FactorsInfo(study=record.name, label=axis_label(record), log=wide(means), panels=panels)


def factors_alt(info: FactorsInfo) -> str:
    """The means of each panel."""
    return sentence(
        info.label, *(_in_words(panel, line) for panel in info.panels for line in panel.lines)
    )


def _in_words(panel: Panel, line: Line) -> str:
    names = dict(panel.ticks)
    means = [f"{names.get(p.place, f'{p.place:.4g}')} {p.mean:.4g}" for p in line.points]
    return f"by {panel.field}{' with ' * bool(line.name)}{line.name}: {listed(means, 12)}"


def _identifying(fields: Sequence[str], entries: Sequence[Ranked]) -> str:
    """A field whose value alone tells the configurations apart, if there is one; else the first."""
    counts = {name: len({getattr(e.trials[0].config, name) for e in entries}) for name in fields}
    return next((name for name in fields if counts[name] == len(entries)), fields[0])


def _rank_of_axis(name: str, entries: Sequence[Ranked]) -> tuple[bool, int]:
    """How well a field serves as the axis across: numbers before words, many values before few."""
    values = {getattr(e.trials[0].config, name) for e in entries} - {None}
    return _numeric(values), len(values)


def _numeric(values: Sequence[Value] | set[Value]) -> bool:
    return not any(isinstance(value, bool | str) for value in values)


def _centred(record: StudyRecord, name: str, entries: Sequence[Ranked]) -> Panel:
    own = [entry for entry in entries if record.at_centre(entry.trials[0].config, ignoring=name)]
    return _panel(name, (), own, record.centre[name])


def _panel(
    name: str, others: tuple[str, ...], entries: Sequence[Ranked], middle: Value | None = None
) -> Panel:
    entries = [entry for entry in entries if getattr(entry.trials[0].config, name) is not None]
    values: list[Value] = list(
        dict.fromkeys(getattr(e.trials[0].config, name) for e in sorted(entries, key=_number))
    )
    numeric = _numeric(values)
    numbers = sorted(float(value) for value in values) if numeric else []
    if numeric:
        values.sort()
    log = bool(numbers) and numbers[0] > 0 and numbers[-1] > _LOG * numbers[0]
    words = not numeric or (not log and len(values) <= MOST_WORDS)
    places = {value: float(i) if words else float(value) for i, value in enumerate(values)}
    if words or len(values) <= MOST_WORDS:
        ticks = [(place, value_text(value)) for value, place in places.items()]
    else:
        ticks = []
    groups: dict[str, list[Ranked]] = {}
    for entry in sorted(entries, key=_number):
        groups.setdefault(config_text(entry.trials[0], others) if others else "", []).append(entry)
    return Panel(
        field=name,
        log=log,
        ordered=numeric,
        ticks=tuple(ticks),
        lines=tuple(
            Line(name=label, points=_points(name, group, places)) for label, group in groups.items()
        ),
        failed=tuple(
            sorted(
                {
                    places[getattr(e.trials[0].config, name)]
                    for e in entries
                    if not complete_trials(e)
                }
            )
        ),
        centre=None if middle is None else places.get(middle),
    )


def _number(entry: Ranked) -> int:
    return min(trial.number for trial in entry.trials)


def _points(name: str, entries: Sequence[Ranked], places: dict[Value, float]) -> tuple[Point, ...]:
    points = []
    for entry in entries:
        values = [
            t.value
            for t in complete_trials(entry)
            if t.value is not None and math.isfinite(t.value)
        ]
        if values and entry.value is not None:
            place = places[getattr(entry.trials[0].config, name)]
            points.append(
                Point(
                    place=place, mean=entry.value, spread=entry.spread or 0.0, values=tuple(values)
                )
            )
    return tuple(sorted(points, key=lambda point: point.place))


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
        _draw_panel(axes, panel)
        if i % columns == 0:
            axes.set_ylabel(plain(info.label, 60), fontsize=9, parse_math=False)
        if info.log:
            log_scale(axes, "y")
    for axes in grid[len(info.panels) :]:
        axes.set_visible(False)
    _factor_legend(figure, info)
    return figure


def _factor_legend(figure: Figure, info: FactorsInfo) -> None:
    names = [line.name for line in info.panels[0].lines if line.name]
    handles = [
        Line2D([], [], color=c, marker="o", label=plain(n, 48))
        for n, c in zip(names, COLOURS, strict=False)
    ]
    points = [point for panel in info.panels for line in panel.lines for point in line.points]
    if any(len(point.values) > 1 for point in points):
        handles += [
            Line2D([], [], color=GREY, marker="o", ls="", label="mean over seeds, with its spread"),
            Line2D([], [], color=GREY, marker="o", ls="", ms=4, alpha=0.4, label="one seed"),
        ]
    if any(panel.centre is not None for panel in info.panels):
        handles.append(
            Line2D([], [], color="black", marker="o", ls="", ms=11, mfc="none", label="centre")
        )
    if any(panel.failed for panel in info.panels):
        marker, colour = MARKERS[FAILED]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", label="failed, no value"))
    if handles:
        add_legend(
            figure, "outside lower center", ncols=2 if len(names) > 1 else 4, handles=handles
        )


def _draw_panel(axes: Axes, panel: Panel) -> None:
    width = (
        0.08 * (len(panel.lines) > 1) * bool(panel.ticks) * (not panel.log)
    )  # lines beside each other
    join = "o-" if panel.ordered or len(panel.lines) > 1 else "o"
    for i, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        shift = width * (i - (len(panel.lines) - 1) / 2)
        places = [point.place + shift for point in line.points]
        means = [point.mean for point in line.points]
        spreads = [point.spread for point in line.points]
        style: dict[str, Any] = {
            "fmt": join,
            "color": colour,
            "ms": 5,
            "lw": 1.2,
            "capsize": 3,
            "zorder": 3,
        }
        axes.errorbar(places, means, yerr=spreads if any(spreads) else None, **style)
        for place, point in zip(places, line.points, strict=True):
            if len(point.values) > 1:
                axes.scatter(
                    [place] * len(point.values),
                    point.values,
                    s=14,
                    color=colour,
                    alpha=0.3,
                    lw=0,
                    zorder=2,
                )
            if panel.centre == point.place:
                axes.plot(
                    [place], [point.mean], "o", ms=12, mfc="none", mec="black", mew=1.1, zorder=4
                )
    marker, colour = MARKERS[FAILED]
    edge = axes.get_xaxis_transform()
    style = {"ls": "", "marker": marker, "ms": 6, "color": colour, "transform": edge, "zorder": 3}
    axes.plot(panel.failed, [0.03] * len(panel.failed), **style)
    if panel.log:
        log_scale(axes, "x")
    if panel.ticks:
        labels = [plain(label, 24) for _, label in panel.ticks]
        crowded = sum(map(len, labels)) > 30 or (panel.log and len(labels) > 4)
        turn: dict[str, Any] = (
            {"rotation": 90 if max(map(len, labels)) > UPRIGHT else 30} if crowded else {}
        )
        axes.set_xticks(
            [place for place, _ in panel.ticks], labels, fontsize=8, parse_math=False, **turn
        )
        axes.minorticks_off()
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(panel.field)


PLOT = Plot(
    title="Effect of each factor",
    about="Along each panel only that field changes, so that a rise or fall wider than the spread of the seeds is "
    "the field's own effect.",
    info=factors_info,
    alt=factors_alt,
    draw=draw_factors,
)
