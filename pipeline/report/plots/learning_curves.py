"""Draws the learning curves of the best trials: training and validation, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    OBJECTIVE_LABELS,
    counted,
    in_words,
    labelled_value,
    listed,
    loss_label,
    needs_log_scale,
    objective_key,
    objective_label,
    ranked_trials,
    sentence,
    trial_names,
)
from pipeline.report.plots.style import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    SKY,
    add_inner_legend,
    drawable_text,
    label_axes,
    mark_trial,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial's metrics by epoch; NaN where an epoch lacks one."""

    name: str
    trial: int  # number
    epochs: list[int]
    validation: list[float]
    train: list[float]
    best_epoch: int | None

    @property
    def at_best(self) -> tuple[float, float] | None:
        """Validation and training at the best epoch; None unless both are known."""
        if self.best_epoch not in self.epochs:
            return None
        index = self.epochs.index(self.best_epoch)
        validation = self.validation[index]
        train = self.train[index]
        if math.isfinite(validation) and math.isfinite(train):
            return validation, train
        return None


@dataclass(frozen=True, kw_only=True)
class GapPanel:
    """One metric of one trial on training and on validation images."""

    label: str
    log: bool
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class CurvesInfo:
    """The learning curves of the first-ranked trials, and the first trial's gap to training."""

    label: str
    log: bool
    curves: list[Curve]
    gaps: list[GapPanel]  # the objective, and then the loss; accuracy where the objective is a loss


def curves_info(record: StudyRecord, top: int = 6) -> CurvesInfo | None:
    """Collect the ``top`` first-ranked trials that have a history; None without any."""
    trials = [trial for trial in ranked_trials(record) if trial.history][:top]
    if not trials:
        return None
    key = objective_key(record)
    names = trial_names(record, trials)
    curves = [_curve(trial, name, key) for trial, name in zip(trials, names, strict=True)]
    label = objective_label(record)
    if key.endswith("loss"):
        second_key = "val/acc"
        second_label = OBJECTIVE_LABELS["val_acc"]
    else:
        second_key = "val/loss"
        second_label = loss_label(record)
    gaps = [
        _gap_panel(label, curves[0]),
        _gap_panel(second_label, _curve(trials[0], names[0], second_key)),
    ]
    return CurvesInfo(
        label=label,
        log=needs_log_scale(value for curve in curves for value in curve.validation),
        curves=curves,
        gaps=gaps,
    )


def _curve(trial: TrialResult, name: str, key: str) -> Curve:
    # A loss beside a loss, anything else beside accuracy, which has the same range.
    train_key = "train/loss" if key.endswith("loss") else "train/acc"
    return Curve(
        name=name,
        trial=trial.number,
        epochs=[epoch.epoch for epoch in trial.history],
        validation=[epoch.metrics.get(key, math.nan) for epoch in trial.history],
        train=[epoch.metrics.get(train_key, math.nan) for epoch in trial.history],
        best_epoch=trial.best_epoch,
    )


def _gap_panel(label: str, curve: Curve) -> GapPanel:
    log = needs_log_scale(curve.validation + curve.train)
    return GapPanel(label=label.removeprefix("validation "), log=log, curve=curve)


def curves_alt(info: CurvesInfo) -> str:
    """Tell the best values, and training beside validation in the first trial."""
    bests = [
        f"{curve.name} {labelled_value(info.label, curve.at_best[0])} at epoch {curve.best_epoch}"
        for curve in info.curves
        if curve.at_best
    ]
    gaps = []
    for panel in info.gaps:
        if panel.curve.at_best:
            validation, train = panel.curve.at_best
            values = (
                f"validation {labelled_value(panel.label, validation)}, "
                f"training {labelled_value(panel.label, train)}"
            )
            gaps.append(f"{in_words(panel.label)} of {panel.curve.name} there: {values}")
    subject = f"{in_words(info.label)} of {counted(len(info.curves), 'trial')}"
    return sentence(subject, listed(bests), *gaps)


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw the trials' validation above, and the first trial's gap to training below."""
    figure = titled_figure("Learning curves, best trials first", (8, 6.6))
    mosaic = figure.subplot_mosaic([[0, 0], [1, 2]], height_ratios=(1.1, 1))
    upper, *lower = mosaic.values()
    _draw_validation(upper, info)
    for axes, panel in zip(lower, info.gaps, strict=True):
        _draw_gap(axes, panel)
    return figure


def _draw_validation(axes: Axes, info: CurvesInfo) -> None:
    label_axes(axes, "epoch", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        name = drawable_text(curve.name, 36)
        marker = _point_marker(curve.epochs)
        axes.plot(curve.epochs, curve.validation, color=colour, lw=1.6, marker=marker, label=name)
        for epoch, value in zip(curve.epochs, curve.validation, strict=True):
            mark_trial(axes, epoch, value, curve.trial)
        if curve.at_best and curve.best_epoch:
            best = curve.at_best[0]
            axes.plot([curve.best_epoch], [best], "o", color=colour, ms=7, mec="white", zorder=4)
    axes.plot([], [], "o", color=GREY, ms=7, mec="white", label="best epoch")
    if info.log:
        use_log_scale(axes, "y")
    add_inner_legend(axes)


def _point_marker(epochs: Sequence[int]) -> str | None:
    """The marker of a curve's points: a dot for a single one, which no line would show."""
    return "." if len(epochs) == 1 else None


def _draw_gap(axes: Axes, panel: GapPanel) -> None:
    """Draw training beside validation, and shade the gap between them."""
    label_axes(axes, "epoch", panel.label)
    curve = panel.curve
    epochs = curve.epochs
    validation_label = "validation"
    train_label = "training"
    if curve.at_best:
        best_validation, best_train = curve.at_best
        validation_label += f" (best epoch: {labelled_value(panel.label, best_validation)})"
        train_label += f" (best epoch: {labelled_value(panel.label, best_train)})"
    style: dict[str, Any] = {"color": BLUE, "marker": _point_marker(epochs)}
    axes.plot(epochs, curve.validation, lw=1.6, label=validation_label, **style)
    axes.plot(epochs, curve.train, lw=1.2, ls=DASHES, label=train_label, **style)
    axes.fill_between(
        epochs, curve.validation, curve.train, color=SKY, alpha=0.35, lw=0, label="gap"
    )
    if curve.at_best and curve.best_epoch:
        style = {"color": "black", "ms": 4, "lw": 1, "zorder": 4, "label": "best epoch"}
        axes.plot([curve.best_epoch] * 2, curve.at_best, "o-", **style)
    if panel.log:
        use_log_scale(axes, "y")
    title = drawable_text(curve.name, 36)
    axes.set_title(title, loc="left", fontsize=9, parse_math=False)
    add_inner_legend(axes)


PLOT = Plot(
    title="Learning curves",
    about="A gap that widens while validation gets no better is overfitting; training is measured "
    "with dropout and augmentation, and may lie below validation; the trials are those of the "
    "search.",
    info=curves_info,
    alt=curves_alt,
    draw=draw_curves,
)
