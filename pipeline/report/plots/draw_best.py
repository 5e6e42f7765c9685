"""Draws what `info_best` computes of the best trials of a study. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from pipeline.report.plots.info_best import ConfusionInfo, CurvesInfo, GapPanel, PerClassInfo
from pipeline.report.plots.style import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    SKY,
    class_ticks,
    heat,
    label_axes,
    labelled_axes,
    log_scale,
    plain,
    small_legend,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw the trials' validation above, and below the first trial's training beside its validation, shaded between."""
    figure = titled_figure("Learning curves, best trials first", info.study, (8, 6.6))
    upper, *lower = figure.subplot_mosaic([[0, 0], [1, 2]], height_ratios=(1.1, 1)).values()
    label_axes(upper, "epoch", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        dot = "." if len(curve.epochs) == 1 else None  # a line through one point is invisible
        upper.plot(curve.epochs, curve.validation, color=colour, lw=1.6, marker=dot, label=plain(curve.name, 36))
        if curve.at_best and curve.best_epoch:
            upper.plot([curve.best_epoch], curve.at_best[:1], "o", color=colour, ms=7, mec="white", zorder=4)
    upper.plot([], [], "o", color=GREY, ms=7, mec="white", label="best epoch")
    if info.log:
        log_scale(upper, "y")
    small_legend(upper)
    for axes, panel in zip(lower, info.gaps, strict=True):
        _gap(axes, panel)
    return figure


def _gap(axes: Axes, panel: GapPanel) -> None:
    label_axes(axes, "epoch", panel.label)
    curve = panel.curve
    dot = "." if len(curve.epochs) == 1 else None
    notes = [f" (best epoch: {value:.4g})" for value in curve.at_best or ()] or ["", ""]
    axes.plot(curve.epochs, curve.validation, color=BLUE, lw=1.6, marker=dot, label=f"validation{notes[0]}")
    axes.plot(curve.epochs, curve.train, color=BLUE, lw=1.2, ls=DASHES, marker=dot, label=f"training{notes[1]}")
    axes.fill_between(curve.epochs, curve.validation, curve.train, color=SKY, alpha=0.35, lw=0, label="gap")
    if curve.at_best and curve.best_epoch:
        axes.plot([curve.best_epoch] * 2, curve.at_best, "o-", color="black", ms=4, lw=1, zorder=4, label="best epoch")
    if panel.log:
        log_scale(axes, "y")
    axes.set_title(plain(curve.name, 36), loc="left", fontsize=9, parse_math=False)
    small_legend(axes)


def draw_per_class(info: PerClassInfo) -> Figure:
    """Draw classes down and trials across, the first-ranked trial leftmost."""
    classes, trials = info.accuracy.shape
    size = (max(6.0, 3.4 + 0.62 * trials), min(11.0, max(3.0, 1.8 + 0.3 * classes)))
    figure = titled_figure("Accuracy per class, best trials first", info.study, size)
    axes = labelled_axes(figure, "trial", "true class")
    known = info.accuracy[np.isfinite(info.accuracy)]
    low = float(known.min()) if known.size else 0.0
    texts = [[f"{value:.2f}" for value in row] for row in info.accuracy]
    heat(axes, info.accuracy, Normalize(min(low, 0.99), 1), "validation accuracy (fraction)", texts)
    axes.set_xticks(
        range(trials),
        ["\n".join(plain(word, 9) for word in words) for words in info.trials],
        fontsize=8,
        parse_math=False,
    )
    class_ticks(axes.set_yticks, info.classes)
    return figure


def draw_confusion(info: ConfusionInfo) -> Figure:
    """Draw each row as shares of the true class's images."""
    side = min(10.0, max(4.4, 2.4 + 0.4 * len(info.counts)))
    figure = titled_figure(f"Confusion on validation, trial {plain(info.trial, 36)}", info.study, (side + 1.6, side))
    axes = labelled_axes(figure, "predicted class", "true class")
    with np.errstate(invalid="ignore"):  # a class without images: 0 / 0
        shares = info.counts / info.counts.sum(axis=1, keepdims=True)
    heat(axes, shares, Normalize(0, 1), "share of the true class's images", info.counts.astype(str).tolist())
    axes.set_aspect("equal")
    class_ticks(axes.set_xticks, info.classes, rotation=90 if max(map(len, info.classes)) > 3 else 0)
    class_ticks(axes.set_yticks, info.classes)
    return figure
