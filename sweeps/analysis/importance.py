"""Estimates which searched dimensions decided the trials' values, by PED-ANOVA."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, PAUSED, PRUNED, TrialConfig, TrialResult, Value

# With fewer trials, the best third has fewer than seven, and the shares are mostly noise.
MIN_TRIALS = 20
QUANTILE = 1 / 3  # the share of the trials that count as good


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much one dimension decided whether a trial is among the best third."""

    key: str  # of the `Dimension`
    share: float | None  # from 0 to 1; None if there is too little data, which the note explains
    trials: int  # how many trials it was computed from
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The shares of a study's dimensions, the largest first."""

    trials: int  # complete, pruned and paused ones
    # Of the dimensions that every trial has: they sum to 1, or there are none.
    shares: tuple[Share, ...] = ()
    # Of the other dimensions, each among the trials that have it.
    conditional: tuple[Share, ...] = ()
    note: str | None = None  # why there are no shares


def importance(record: StudyRecord) -> Importance:
    """Estimate how much each searched dimension decided which trials are among the best third.

    Complete, pruned and paused trials count, each with its best value. The dimensions that every
    trial has share 1 among them. The share of a conditional dimension is computed among the trials
    that have it, together with the dimensions that all those trials have. A dimension with a single
    value is left out.

    Optuna would weigh a conditional dimension by how often its condition holds among the best
    trials, which mixes the condition's importance into the dimension's own. Conditional dimensions
    are therefore computed separately.

    Source: PED-ANOVA, https://arxiv.org/abs/2304.10255, as implemented in
    `optuna.importance.PedAnovaImportanceEvaluator`.
    """
    trials = [result for result in record.results if _counts(result)]
    dimensions = [d for d in record.dimensions if not _distribution(d).single()]
    trials_with = {
        dimension.key: [t for t in trials if _point(dimension, t.config) is not None]
        for dimension in dimensions
    }
    common = [d for d in dimensions if len(trials_with[d.key]) == len(trials)]
    if common:
        note = _why_no_share(trials, record.maximize)
    else:
        note = "no searched dimension is common to all trials"
    values = {} if note else _shares(common, trials, record.maximize)
    shares = [Share(key=key, share=value, trials=len(trials)) for key, value in values.items()]
    conditional = [
        _conditional_share(dimension, trials_with, dimensions, record.maximize)
        for dimension in dimensions
        if dimension not in common
    ]
    return Importance(
        trials=len(trials),
        shares=_largest_first(shares),
        conditional=_largest_first(conditional),
        note=note,
    )


def _counts(result: TrialResult) -> bool:
    """Whether a trial is evidence of its own: it has a value, and reused no other trial's."""
    has_value = result.value is not None and math.isfinite(result.value)
    is_shown = result.state in (COMPLETE, PRUNED, PAUSED)
    return has_value and is_shown and result.duplicate_of is None


def _conditional_share(
    dimension: Dimension,
    trials_with: Mapping[str, Sequence[TrialResult]],
    dimensions: Sequence[Dimension],
    maximize: bool,
) -> Share:
    trials = trials_with[dimension.key]
    note = _why_no_share(trials, maximize)
    if note:
        return Share(key=dimension.key, share=None, trials=len(trials), note=note)
    numbers = {trial.number for trial in trials}
    shared_dimensions = [
        d for d in dimensions if numbers <= {trial.number for trial in trials_with[d.key]}
    ]
    if len(shared_dimensions) == 1:
        note = "the only dimension these trials have"
    share = _shares(shared_dimensions, trials, maximize)[dimension.key]
    return Share(key=dimension.key, share=share, trials=len(trials), note=note)


def _why_no_share(trials: Sequence[TrialResult], maximize: bool) -> str | None:
    """Explain why no share can be computed; None if it can."""
    if len(trials) < MIN_TRIALS:
        return f"too few to say ({len(trials)} of the {MIN_TRIALS} trials needed)"
    values = sorted((t.value for t in trials if t.value is not None), reverse=maximize)
    last_good = values[math.ceil(QUANTILE * len(values)) - 1]
    if last_good == values[-1]:
        return "too alike to say (the best third and the rest have the same value)"
    return None


def _shares(
    dimensions: Sequence[Dimension], trials: Sequence[TrialResult], maximize: bool
) -> dict[str, float]:
    """Compute the share of each dimension, by key, among trials that have them all.

    The shares sum to 1.
    """
    distributions = {dimension.key: _distribution(dimension) for dimension in dimensions}
    with _quiet_optuna():
        study = optuna.create_study(direction="maximize" if maximize else "minimize")
        for trial in trials:
            point = {dimension.key: _point(dimension, trial.config) for dimension in dimensions}
            study.add_trial(
                optuna.trial.create_trial(
                    value=trial.value, params=point, distributions=distributions
                )
            )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, params=list(distributions)
    )


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing the study that is made in memory."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Convert a dimension to Optuna's distribution.

    A stepped range becomes the indices of its steps, so that no rounding leaves the grid.

    Raises:
        ValueError: for a dimension with neither choices nor bounds.
    """
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    low = dimension.low
    high = dimension.high
    if low is None or high is None:
        raise ValueError(
            f"{dimension.key} needs choices, or low and high: got low {low}, high {high}"
        )
    if dimension.step is not None and not dimension.log:
        return IntDistribution(0, math.floor((high - low) / dimension.step + 1e-9))
    if dimension.integer:
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


def _point(dimension: Dimension, config: TrialConfig) -> Value | None:
    """Return a trial's value of a dimension, as a value of its `_distribution`.

    None if the dimension does not apply to the trial.
    """
    value: Value | None = getattr(config, dimension.field)
    if value is None:
        return None
    if any(getattr(config, name) not in allowed for name, allowed in dimension.when.items()):
        return None
    distribution = _distribution(dimension)
    if isinstance(distribution, (IntDistribution, FloatDistribution)):
        if dimension.step is not None and not dimension.log:
            value = round((float(value) - float(dimension.low or 0)) / dimension.step)
        # A sampled float is rounded to 4 significant digits, which may put it outside the range.
        return min(max(cast("float", value), distribution.low), distribution.high)
    return next((choice for choice in dimension.choices if choice == value), None)


def _largest_first(shares: Sequence[Share]) -> tuple[Share, ...]:
    """Sort shares; unknown ones come last."""
    return tuple(sorted(shares, key=_known_share, reverse=True))


def _known_share(share: Share) -> float:
    return -1.0 if share.share is None else share.share
