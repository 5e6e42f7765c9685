"""Draws how many of the trials reach which value: the empirical distribution function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import AutoLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    counted,
    in_words,
    labelled_value,
    needs_log_scale,
    objective_label,
    sentence,
    valued_trials,
)
from pipeline.report.plots.style import (
    COLOURS,
    add_legend,
    drawable_text,
    label_axis,
    labelled_axes,
    mark_trial,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_TRIALS = 8  # with fewer, the steps are single trials
_MIN_GROUP = 3  # trials of a family with a curve of its own


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The values of a group of trials, in rising order."""

    name: str
    values: tuple[float, ...]
    trials: tuple[int, ...]  # numbers, in the order of the values

    @property
    def shares(self) -> list[float]:
        """For each value: the share of the trials whose value is at most as high, in per cent."""
        return [100 * (place + 1) / len(self.values) for place in range(len(self.values))]

    @property
    def median(self) -> float:
        """The value that half of the trials do not exceed."""
        return float(np.median(self.values))


@dataclass(frozen=True, kw_only=True)
class EdfInfo:
    """The distributions of a study: of all trials, and of groups of them."""

    label: str
    log: bool
    distributions: list[Distribution]  # all trials first


def edf_info(record: StudyRecord) -> EdfInfo | None:
    """Sort the values of all trials, and of each family or half; None with fewer than `MIN_TRIALS`.

    A value is the best that a trial has reached, however many epochs it was trained.
    """
    results = [result for value, result in valued_trials(record) if math.isfinite(value)]
    if len(results) < MIN_TRIALS:
        return None
    distributions = [_distribution("all trials", results)]
    distributions += [
        _distribution(name, group) for name, group in _groups(results) if len(group) >= _MIN_GROUP
    ]
    values = distributions[0].values
    return EdfInfo(
        label=objective_label(record), log=needs_log_scale(values), distributions=distributions
    )


def _groups(results: Sequence[TrialResult]) -> list[tuple[str, list[TrialResult]]]:
    """The trials by family, if there are several; else the earlier and the later half."""
    families: dict[str, list[TrialResult]] = {}
    for result in results:
        families.setdefault(result.config.family, []).append(result)
    if 1 < len(families) < len(COLOURS):
        return sorted(families.items())
    middle = len(results) // 2
    return [
        ("the earlier half of the trials", list(results[:middle])),
        ("the later half", list(results[middle:])),
    ]


def _distribution(name: str, results: Sequence[TrialResult]) -> Distribution:
    pairs = sorted((result.value or 0.0, result.number) for result in results)
    return Distribution(
        name=name,
        values=tuple(value for value, _ in pairs),
        trials=tuple(number for _, number in pairs),
    )


def edf_alt(info: EdfInfo) -> str:
    """Tell the median of each group."""
    medians = [
        f"{one.name} ({counted(len(one.values), 'trial')}) {labelled_value(info.label, one.median)}"
        for one in info.distributions
    ]
    return sentence(f"median {in_words(info.label)}: {', '.join(medians)}")


def draw_edf(info: EdfInfo) -> Figure:
    """Draw a rising step for each group, black for all trials."""
    figure = titled_figure("Distribution of the values", (8, 4.6))
    axes = labelled_axes(figure, "", "trials with at most this value (%)")
    axes.yaxis.set_major_formatter("{x:.0f}")  # they are per cent already
    for one, colour in zip(info.distributions, ("black", *COLOURS), strict=False):
        name = f"{drawable_text(one.name, 36)} ({len(one.values)})"
        values = [one.values[0], *one.values]
        axes.step(values, [0, *one.shares], where="post", color=colour, lw=1.6, label=name)
    everything = info.distributions[0]
    for value, share, trial in zip(
        everything.values, everything.shares, everything.trials, strict=True
    ):
        mark_trial(axes, value, share, trial)
    axes.xaxis.set_major_locator(AutoLocator())
    label_axis(axes.xaxis, info.label)
    if info.log:
        use_log_scale(axes, "x")
    axes.set_ylim(0, 103)
    add_legend(figure, ncols=3)
    return figure


PLOT = Plot(
    title="Distribution of the values",
    about="At a value, the height is the share of the trials that reach no more: the further right "
    "a curve runs (left, for a loss), the better its trials; a value is the best that a trial "
    "reached in the epochs that it was trained.",
    info=edf_info,
    alt=edf_alt,
    draw=draw_edf,
)
