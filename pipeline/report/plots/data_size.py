"""Draws the objective over the number of training images, for studies that search it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import in_words, labelled_value, objective_label, sentence
from pipeline.report.plots.size_curves import SizeCurve, size_curves
from pipeline.report.plots.style import (
    COLOURS,
    add_legend,
    drawable_text,
    labelled_axes,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_CURVES = 6  # as many as there are colours


@dataclass(frozen=True, kw_only=True)
class DataSizeInfo:
    """The curves of a study, the best first."""

    label: str
    curves: tuple[SizeCurve, ...]


def data_size_info(record: StudyRecord) -> DataSizeInfo | None:
    """Collect the curves; None without one, or with so many that no one could read them."""
    curves = size_curves(record)
    if not 1 <= len(curves) <= _MAX_CURVES:
        return None
    return DataSizeInfo(label=objective_label(record), curves=tuple(curves))


def data_size_alt(info: DataSizeInfo) -> str:
    """Tell the means of each curve."""
    return sentence(
        in_words(info.label), *(_curve_text(info.label, curve) for curve in info.curves)
    )


def _curve_text(label: str, curve: SizeCurve) -> str:
    means = [f"{point.images:,}: {labelled_value(label, point.mean)}" for point in curve.points]
    subject = "by training images"
    if curve.name:
        subject += f" with {curve.name}"
    return f"{subject} {', '.join(means)}"


def draw_data_size(info: DataSizeInfo) -> Figure:
    """Draw the means with their intervals over a logarithmic axis, and the repeats faintly."""
    figure = titled_figure("Training images", (8, 4.6))
    axes = labelled_axes(figure, "training images", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        images = [point.images for point in curve.points]
        means = [point.mean for point in curve.points]
        intervals = [point.interval or (point.mean, point.mean) for point in curve.points]
        below = [mean - low for mean, (low, _) in zip(means, intervals, strict=True)]
        above = [high - mean for mean, (_, high) in zip(means, intervals, strict=True)]
        style: dict[str, Any] = {"color": colour, "ms": 5, "lw": 1.2, "capsize": 3, "zorder": 3}
        label = drawable_text(curve.name, 48) or None
        axes.errorbar(images, means, yerr=[below, above], fmt="o-", label=label, **style)
        for point in curve.points:
            if len(point.values) > 1:
                places = [point.images] * len(point.values)
                axes.scatter(places, point.values, s=14, color=colour, alpha=0.3, lw=0, zorder=2)
    use_log_scale(axes, "x")
    ticks = sorted({point.images for curve in info.curves for point in curve.points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.margins(x=0.06, y=0.12)
    if any(curve.name for curve in info.curves):
        add_legend(figure, ncols=2)
    return figure


PLOT = Plot(
    title="Training images",
    about="The mean over the repeats with its 95 % interval, by the number of training images, and "
    "each repeat as a faint dot: where the curve is flat at its right end, more images bring "
    "little, and nothing is said beyond it.",
    info=data_size_info,
    alt=data_size_alt,
    draw=draw_data_size,
)
