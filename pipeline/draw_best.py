"""Draws what `info_best` computes of the best trials of a study. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from pipeline.drawing import COLOURS, DASHES, GREY, add_legend, class_ticks, heat, labelled_axes, plain, titled_figure
from pipeline.info_best import ConfusionInfo, CurvesInfo, PerClassInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw validation solid with a dot at the best epoch, training thin and dashed in the same colour."""
    figure = titled_figure("Learning curves, best trials first", info.study, (9, 4.6))
    axes = labelled_axes(figure, "epoch", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        dot = "." if len(curve.epochs) == 1 else None  # a line through one point is invisible
        axes.plot(curve.epochs, curve.validation, color=colour, lw=1.8, marker=dot, label=plain(curve.name, 36))
        axes.plot(curve.epochs, curve.train, color=colour, lw=0.9, ls=DASHES, marker=dot, alpha=0.8)
        if curve.best_epoch in curve.epochs:
            best = curve.validation[curve.epochs.index(curve.best_epoch)]
            axes.plot([curve.best_epoch], [best], "o", color=colour, ms=7, mec="white", zorder=4)
    axes.plot([], [], color=GREY, lw=0.9, ls=DASHES, label=info.train_label)
    axes.plot([], [], "o", color=GREY, ms=7, mec="white", label="best epoch")
    if info.log:
        axes.set_yscale("log")
    add_legend(figure, "outside right upper")
    return figure


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
