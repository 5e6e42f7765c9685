"""The learning curves of the best trials: training and validation, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    SKY,
    label_axes,
    log_scale,
    plain,
    small_legend,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

import math
from dataclasses import dataclass

from pipeline.report.plots.labels import (
    LABELS,
    axis_label,
    by_rank,
    counted,
    history_key,
    listed,
    sentence,
    trial_names,
    wide,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial's metrics by epoch; NaN where an epoch lacks one."""

    name: str
    epochs: list[int]
    validation: list[float]
    train: list[float]
    best_epoch: int | None

    @property
    def at_best(self) -> tuple[float, float] | None:
        """Validation and training at the best epoch, where both are known."""
        if self.best_epoch not in self.epochs:
            return None
        place = self.epochs.index(self.best_epoch)
        pair = self.validation[place], self.train[place]
        if all(map(math.isfinite, pair)):
            return pair
        return None


@dataclass(frozen=True, kw_only=True)
class GapPanel:
    """One trial on training and on validation images."""

    label: str
    log: bool
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class CurvesInfo:
    """The learning curves of the first-ranked trials, and how far training and validation lie apart in the first."""

    study: str
    label: str
    log: bool
    curves: list[Curve]
    gaps: list[
        GapPanel
    ]  # of the first curve: the objective, then loss beside it, or accuracy beside loss


def curves_info(record: StudyRecord, top: int = 6) -> CurvesInfo | None:
    """Collect the ``top`` first-ranked trials that have a history; None where none has."""
    key = history_key(record)
    other = "val/acc" if key.endswith("loss") else "val/loss"
    trials = [trial for trial in by_rank(record) if trial.history][:top]
    if not trials:
        return None
    names = trial_names(record, trials)
    curves = [_curve(trial, name, key) for trial, name in zip(trials, names, strict=True)]
    labels = {key: axis_label(record), other: LABELS[f"val_{other[4:]}"]}
    gaps = []
    for own, label in labels.items():
        curve = _curve(trials[0], names[0], own)
        log = wide(curve.validation + curve.train)
        gaps.append(GapPanel(label=label.removeprefix("validation "), log=log, curve=curve))
    return CurvesInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for curve in curves for value in curve.validation),
        curves=curves,
        gaps=gaps,
    )


def _curve(trial: TrialResult, name: str, key: str) -> Curve:
    # A loss beside a loss, anything else beside accuracy, which has the same range.
    train = "train/loss" if key.endswith("loss") else "train/acc"
    return Curve(
        name=name,
        epochs=[row.epoch for row in trial.history],
        validation=[row.metrics.get(key, math.nan) for row in trial.history],
        train=[row.metrics.get(train, math.nan) for row in trial.history],
        best_epoch=trial.best_epoch,
    )


def curves_alt(info: CurvesInfo) -> str:
    """The best values, and training beside validation in the first trial."""
    parts = [
        f"{c.name} {c.at_best[0]:.4g} at epoch {c.best_epoch}" for c in info.curves if c.at_best
    ]
    apart = [
        f"{panel.label} of {panel.curve.name} there: validation {at[0]:.4g}, training {at[1]:.4g}"
        for panel in info.gaps
        if (at := panel.curve.at_best)
    ]
    return sentence(f"{info.label} of {counted(len(info.curves), 'trial')}", listed(parts), *apart)


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw the trials' validation above, and below the first trial's training beside its validation, shaded between."""
    figure = titled_figure("Learning curves, best trials first", info.study, (8, 6.6))
    upper, *lower = figure.subplot_mosaic([[0, 0], [1, 2]], height_ratios=(1.1, 1)).values()
    label_axes(upper, "epoch", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        # a line through one point is invisible
        if len(curve.epochs) == 1:
            dot = "."
        else:
            dot = None
        upper.plot(
            curve.epochs,
            curve.validation,
            color=colour,
            lw=1.6,
            marker=dot,
            label=plain(curve.name, 36),
        )
        if curve.at_best and curve.best_epoch:
            upper.plot(
                [curve.best_epoch],
                curve.at_best[:1],
                "o",
                color=colour,
                ms=7,
                mec="white",
                zorder=4,
            )
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
    axes.plot(
        curve.epochs,
        curve.validation,
        color=BLUE,
        lw=1.6,
        marker=dot,
        label=f"validation{notes[0]}",
    )
    axes.plot(
        curve.epochs,
        curve.train,
        color=BLUE,
        lw=1.2,
        ls=DASHES,
        marker=dot,
        label=f"training{notes[1]}",
    )
    axes.fill_between(
        curve.epochs, curve.validation, curve.train, color=SKY, alpha=0.35, lw=0, label="gap"
    )
    if curve.at_best and curve.best_epoch:
        axes.plot(
            [curve.best_epoch] * 2,
            curve.at_best,
            "o-",
            color="black",
            ms=4,
            lw=1,
            zorder=4,
            label="best epoch",
        )
    if panel.log:
        log_scale(axes, "y")
    axes.set_title(plain(curve.name, 36), loc="left", fontsize=9, parse_math=False)
    small_legend(axes)


PLOT = Plot(
    title="Learning curves",
    about="A gap that widens while validation gets no better is overfitting; training is measured with dropout and "
    "augmentation, and may lie below validation; the trials are those of the search.",
    info=curves_info,
    alt=curves_alt,
    draw=draw_curves,
)
