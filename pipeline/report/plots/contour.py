"""Draws the objective over two searched numbers at a time, as a map with the trials on it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    best_trial_text,
    counted,
    in_words,
    objective_label,
    ranked_trials,
    sentence,
)
from pipeline.report.plots.scales import Scale, scale_of
from pipeline.report.plots.style import (
    GREEN,
    add_colour_bar,
    add_legend,
    drawable_text,
    grid_of_axes,
    is_for_paper,
    mark_trial,
    titled_figure,
)
from sweeps.analysis.importance import importance
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, TrialResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MIN_TRIALS = 10  # with fewer, a map would be guessed
_MAX_FIELDS = 3  # in all pairs
_CELLS = 40  # of a map, in each direction
_LEVELS = 12  # colours, about
_REACH = 1.2  # bandwidths from the nearest trial, beyond which nothing is drawn
_SHOWN = 0.9  # of the values, from the best, that have a colour of their own


@dataclass(frozen=True, kw_only=True)
class MapPoint:
    """One trial on a map."""

    trial: int
    across: float  # places, from 0 to 1
    up: float
    value: float
    complete: bool


@dataclass(frozen=True, kw_only=True)
class ContourMap:
    """The objective over two fields."""

    across: Scale
    up: Scale
    points: tuple[MapPoint, ...]
    # (up, across): the mean of the trials nearby, NaN where there is none.
    surface: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ContourInfo:
    """The maps of the most important pairs of searched numbers."""

    label: str
    maps: list[ContourMap]
    low: float  # the ends of the colours
    high: float
    best: int  # number of the best trial
    best_text: str
    maximize: bool


def contour_info(record: StudyRecord) -> ContourInfo | None:
    """Map the pairs of the most important numbers that every trial has; None without a pair."""
    results = [
        result
        for entry in record.ranked
        for result in entry.trials
        if result.value is not None and math.isfinite(result.value) and result.history
    ]
    scales = _scales(record, results)[:_MAX_FIELDS]
    if len(results) < MIN_TRIALS or len(scales) < 2:
        return None
    values = sorted((result.value or 0.0 for result in results), reverse=record.maximize)
    worst = values[max(1, round(_SHOWN * len(values)) - 1)]
    best = ranked_trials(record)[0]
    maps = [_map(results, across, up) for across, up in itertools.combinations(scales, 2)]
    return ContourInfo(
        label=objective_label(record),
        maps=maps,
        low=min(values[0], worst),
        high=max(values[0], worst),
        best=best.number,
        best_text=best_trial_text(record, best),
        maximize=record.maximize,
    )


def _scales(record: StudyRecord, results: Sequence[TrialResult]) -> list[Scale]:
    """The scales of the numbers with several values that all trials have, the important first."""
    shares = {share.key: share.share or 0.0 for share in importance(record).shares}
    scales = []
    for name in sorted(record.searched, key=lambda name: -shares.get(name, 0.0)):
        values = {result.config.value(name) for result in results}
        if len(values) < 2 or any(isinstance(value, (bool, str)) for value in values):
            continue
        if None not in values:
            scales.append(scale_of(record, name, results))
    return scales


def _map(results: Sequence[TrialResult], across: Scale, up: Scale) -> ContourMap:
    points = tuple(
        MapPoint(
            trial=result.number,
            across=_place(across, result),
            up=_place(up, result),
            value=result.value or 0.0,
            complete=result.state == COMPLETE,
        )
        for result in results
    )
    return ContourMap(across=across, up=up, points=points, surface=smooth(points))


def _place(scale: Scale, result: TrialResult) -> float:
    value = result.config.value(scale.name)
    return 0.5 if value is None else scale.place(value)


def smooth(points: Sequence[MapPoint]) -> NDArray[np.float64]:
    """The mean of the trials around each cell of a map, the nearer the heavier.

    The kernel is a Gaussian whose bandwidth falls with the number of trials (Scott's rule, for two
    dimensions). Cells far from any trial are NaN.

    Returns:
        (up, across): of the map's cells, from 0 to 1 on both axes.
    """
    bandwidth = max(0.06, 0.3 * len(points) ** (-1 / 6))
    cells = np.linspace(0, 1, _CELLS)
    across, up = np.meshgrid(cells, cells)
    total = np.zeros_like(across)
    weight = np.zeros_like(across)
    nearest = np.full_like(across, np.inf)
    for point in points:
        squares = ((across - point.across) ** 2 + (up - point.up) ** 2) / bandwidth**2
        kernel = np.exp(-squares / 2)
        total += kernel * point.value
        weight += kernel
        nearest = np.minimum(nearest, squares)
    return np.where(nearest <= _REACH**2, total / np.maximum(weight, 1e-12), np.nan)


def contour_alt(info: ContourInfo) -> str:
    """Tell the pairs of fields, and the best trial's values."""
    pairs = [f"{one.across.name} and {one.up.name}" for one in info.maps]
    points = counted(len(info.maps[0].points), "trial")
    subject = f"{in_words(info.label)} of {points} over {', over '.join(pairs)}"
    return sentence(subject, info.best_text)


def draw_contour(info: ContourInfo) -> Figure:
    """Draw a map for each pair, its trials on it, and one colour bar for all."""
    count = len(info.maps)
    columns = min(count, 2) if is_for_paper() else count
    width = 6.4 if count == 1 else 10.4
    height = 4.4 * math.ceil(count / columns)
    figure = titled_figure("The objective by two fields at a time", (width, height))
    grid = grid_of_axes(figure, count, columns)
    round_values = MaxNLocator(_LEVELS).tick_values(info.low, info.high)
    levels = [value for value in round_values if info.low <= value <= info.high]
    if len(levels) < 2:
        levels = [info.low, info.high if info.high > info.low else info.low + 1e-9]
    cmap = "viridis" if info.maximize else "viridis_r"
    colours = None
    for axes, one in zip(grid, info.maps, strict=True):
        axes.grid(False)
        cells = np.linspace(0, 1, _CELLS)
        colours = axes.contourf(
            cells, cells, one.surface, levels=levels, cmap=cmap, extend="both", alpha=0.85
        )
        _draw_points(axes, info, one)
        for axis, scale in ((axes.xaxis, one.across), (axes.yaxis, one.up)):
            places = [place for place, _ in scale.ticks]
            labels = [text for _, text in scale.ticks]
            axis.set_ticks(places, labels=labels, fontsize=8)
            axis.set_label_text(drawable_text(scale.name), parse_math=False)
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    if colours is not None:
        bar = add_colour_bar(grid[-1], colours, info.label, pad=0.02)
        bar.ax.tick_params(labelsize=8)
    style: dict[str, Any] = {"color": "black", "ls": "", "marker": "o"}
    handles = [Line2D([], [], ms=5, label="complete", **style)]
    if any(not point.complete for point in info.maps[0].points):
        handles.append(Line2D([], [], ms=4, mfc="none", label="trained for fewer epochs", **style))
    handles.append(
        Line2D([], [], ls="", marker="*", ms=12, mfc=GREEN, mec="black", label="best trial")
    )
    add_legend(figure, ncols=3, handles=handles)
    return figure


def _draw_points(axes: Axes, info: ContourInfo, one: ContourMap) -> None:
    for point in one.points:
        fill = "black" if point.complete else "none"
        style: dict[str, Any] = {"ms": 4, "mfc": fill, "mec": "black", "mew": 0.7, "zorder": 3}
        axes.plot([point.across], [point.up], "o", **style)
        mark_trial(axes, point.across, point.up, point.trial)
        if point.trial == info.best:
            axes.plot(
                [point.across], [point.up], "*", ms=12, mfc=GREEN, mec="black", mew=0.8, zorder=4
            )


PLOT = Plot(
    title="The objective by two fields at a time",
    about="The colour is the mean of the trials nearby, the nearer the heavier, and white is where "
    "none was tried: a ridge that runs aslant means that the two fields must be chosen together.",
    info=contour_info,
    alt=contour_alt,
    draw=draw_contour,
)
