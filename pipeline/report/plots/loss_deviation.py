"""Draws how much the losses of an epoch's batches differ: their standard deviation by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    counted,
    listed,
    needs_log_scale,
    ranked_trials,
    sentence,
    trial_names,
)
from pipeline.report.plots.style import (
    COLOURS,
    add_legend,
    drawable_text,
    grid_of_axes,
    label_axes,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLITS = {"training": "train/loss_std", "validation": "val/loss_std"}


@dataclass(frozen=True, kw_only=True)
class DeviationCurve:
    """A trial's deviations by epoch; NaN where an epoch lacks one."""

    name: str
    epochs: list[int]
    deviations: dict[str, list[float]]  # by split: training and validation


@dataclass(frozen=True, kw_only=True)
class DeviationInfo:
    """The standard deviations of the batches' mean losses of the first-ranked trials."""

    splits: list[str]  # those with several batches, which alone can differ
    curves: list[DeviationCurve]


def deviation_info(record: StudyRecord, top: int = 6) -> DeviationInfo | None:
    """Collect the ``top`` first-ranked trials with at least two epochs; None without any."""
    trials = [trial for trial in ranked_trials(record) if len(trial.history) > 1][:top]
    names = trial_names(record, trials)
    curves = [_curve(trial, name) for trial, name in zip(trials, names, strict=True)]
    splits = [
        split for split in _SPLITS if any(_differs(curve.deviations[split]) for curve in curves)
    ]
    if not splits:
        return None
    return DeviationInfo(splits=splits, curves=curves)


def _curve(trial: TrialResult, name: str) -> DeviationCurve:
    deviations = {
        split: [epoch.metrics.get(key, math.nan) for epoch in trial.history]
        for split, key in _SPLITS.items()
    }
    epochs = [epoch.epoch for epoch in trial.history]
    return DeviationCurve(name=name, epochs=epochs, deviations=deviations)


def _differs(deviations: list[float]) -> bool:
    """Whether the batches of a split differ; a single batch does not."""
    return any(math.isfinite(value) and value > 0 for value in deviations)


def deviation_alt(info: DeviationInfo) -> str:
    """Tell the deviations after the last epoch."""
    lasts = []
    for curve in info.curves:
        texts = [f"{curve.deviations[split][-1]:.3g} in {split}" for split in info.splits]
        lasts.append(f"{curve.name} {' and '.join(texts)}")
    subject = f"deviation of the batches' losses of {counted(len(info.curves), 'trial')}"
    return sentence(f"{subject} after the last epoch", listed(lasts))


def draw_deviation(info: DeviationInfo) -> Figure:
    """Draw training on the left and validation on the right, on one scale."""
    figure = titled_figure("Deviation of the batches' losses", (8, 3.8))
    panels = grid_of_axes(figure, len(info.splits), len(info.splits), sharey=True)
    values = []
    for axes, split in zip(panels, info.splits, strict=True):
        label_axes(axes, "epoch", f"{split}: standard deviation")
        for curve, colour in zip(info.curves, COLOURS, strict=False):
            name = drawable_text(curve.name, 36)
            axes.plot(curve.epochs, curve.deviations[split], color=colour, lw=1.4, label=name)
            values += curve.deviations[split]
    if needs_log_scale(values):
        use_log_scale(panels[0], "y")
    handles, _ = panels[0].get_legend_handles_labels()
    add_legend(figure, ncols=2, handles=handles)
    return figure


PLOT = Plot(
    title="Deviation of the batches' losses",
    about="The standard deviation of the mean losses of an epoch's batches: in training it also "
    "holds what the network learns during the epoch, in validation only how the batches differ; "
    "a split of a single batch has none, and some laboratory reports call it the variance curve.",
    info=deviation_info,
    alt=deviation_alt,
    draw=draw_deviation,
)
