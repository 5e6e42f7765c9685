"""Draws the learning curves of all values of a field over one another: training and validation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import is_percent, listed, needs_log_scale, sentence
from pipeline.report.plots.style import (
    COLOURS,
    drawable_text,
    titled_figure,
    use_light_frame,
    use_log_scale,
    write_out_numbers,
)
from pipeline.report.plots.varied import VariedField, are_numbers, value_of, varied_fields
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {
    "train/acc": "training accuracy (%)",
    "val/acc": "validation accuracy (%)",
    "train/loss": "training loss",
    "val/loss": "validation loss",
}
_MAX_FIELDS = 6  # rows of panels
_MAX_VALUES = 12  # curves in a panel


@dataclass(frozen=True, kw_only=True)
class ValueCurves:
    """The curves of one value of a field, each the mean over the value's trials."""

    value: str
    trials: int
    curves: dict[str, list[float]]  # by the keys of `METRICS`: the mean after each epoch


@dataclass(frozen=True, kw_only=True)
class FieldCurves:
    """All values of one field."""

    field: str
    ordered: bool  # whether the values are numbers, by size
    values: list[ValueCurves]


@dataclass(frozen=True, kw_only=True)
class FactorCurvesInfo:
    """The fields that changed alone, with the curves of their values."""

    fields: list[FieldCurves]


def factor_curves_info(record: StudyRecord) -> FactorCurvesInfo | None:
    """Collect the curves of fields that changed alone; None if there are none with two values."""
    fields = []
    for varied in varied_fields(record):
        if not varied.others:
            curves = _field_curves(varied)
            if len(curves.values) > 1:
                fields.append(curves)
    if not fields:
        return None
    return FactorCurvesInfo(fields=fields[:_MAX_FIELDS])


def _field_curves(varied: VariedField) -> FieldCurves:
    values = varied.values
    by_value = []
    for value in values[:_MAX_VALUES]:
        trials: list[TrialResult] = []
        for entry in varied.in_order:
            if value_of(entry, varied.field) == value:
                # A value that always failed has curves until then.
                trials += complete_trials(entry) or entry.trials
        trials = [trial for trial in trials if len(trial.history) > 1]
        if trials:
            curves = {key: _mean_curve(trials, key) for key in METRICS}
            text = value_text(value)
            by_value.append(ValueCurves(value=text, trials=len(trials), curves=curves))
    return FieldCurves(field=varied.field, ordered=are_numbers(values), values=by_value)


def _mean_curve(trials: Sequence[TrialResult], key: str) -> list[float]:
    """The mean after each epoch, over the trials that came to it."""
    longest = max(len(trial.history) for trial in trials)
    curve = []
    for index in range(longest):
        values = [
            trial.history[index].metrics.get(key, math.nan)
            for trial in trials
            if index < len(trial.history)
        ]
        curve.append(statistics.fmean(values))
    return curve


def factor_curves_alt(info: FactorCurvesInfo) -> str:
    """Tell the last accuracies of each value."""
    parts = []
    for field in info.fields:
        lasts = []
        for one in field.values:
            train = one.curves["train/acc"][-1]
            validation = one.curves["val/acc"][-1]
            lasts.append(f"{one.value} {100 * train:.4g} and {100 * validation:.4g} %")
        parts.append(f"by {field.field}: {listed(lasts, _MAX_VALUES)}")
    return sentence("training and validation accuracy after the last epoch", *parts)


def draw_factor_curves(info: FactorCurvesInfo) -> Figure:
    """Draw a row for each field: accuracies of both splits, then losses of both."""
    rows = len(info.fields)
    figure = titled_figure("Learning curves by factor", (12.5, 0.9 + 2.9 * rows))
    grid = figure.subplots(rows, len(METRICS), squeeze=False)
    for panels, field in zip(grid, info.fields, strict=True):
        for axes, (key, label) in zip(panels, METRICS.items(), strict=True):
            _draw_metric(axes, field, key, label)
        _share_scale(panels[:2])
        _share_scale(panels[2:])
        for axes, label in zip(panels, METRICS.values(), strict=True):
            if is_percent(label):
                write_out_numbers(axes.yaxis, percent=True)
        panels[0].set_ylabel(f"by {drawable_text(field.field, 30)}", parse_math=False)
        legend = panels[1].legend(loc="best", framealpha=0.7, prop={"size": 7})
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _draw_metric(axes: Axes, field: FieldCurves, key: str, label: str) -> None:
    use_light_frame(axes)
    axes.set_title(label, loc="left", fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    for index, one in enumerate(field.values):
        curve = one.curves[key]
        style: dict[str, Any] = {"color": _colour(field, index), "lw": 1.4}
        axes.plot(range(1, len(curve) + 1), curve, label=drawable_text(one.value, 24), **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _colour(field: FieldCurves, index: int) -> Any:
    """The colour of a value: along a scale for numbers, else as different as possible."""
    if not field.ordered and len(field.values) <= len(COLOURS):
        return COLOURS[index]
    share = index / max(1, len(field.values) - 1)
    return colormaps["viridis"](0.92 * share)


def _share_scale(panels: Sequence[Axes]) -> None:
    """Give panels the same limits, and a logarithmic axis if the values need it."""
    values = [
        float(value)
        for axes in panels
        for line in axes.lines
        for value in np.ravel(line.get_ydata())
    ]
    is_log = needs_log_scale(values)
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        if is_log:
            use_log_scale(axes, "y")
        else:
            axes.set_ylim(low, high)


PLOT = Plot(
    title="Learning curves by factor",
    about="All values of a field over one another, the other fields unchanged: each curve is the "
    "mean over the seeds, and training is measured while the weights change, with dropout and "
    "augmentation.",
    info=factor_curves_info,
    alt=factor_curves_alt,
    draw=draw_factor_curves,
)
