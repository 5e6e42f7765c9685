"""Pure: which searched dimension decided the value, by PED-ANOVA. Knows nothing of stores, terminals or plots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
from sweeps.trial import COMPLETE, PRUNED, TrialConfig, TrialResult, Value

MIN_TRIALS = 20  # trials; with fewer, fewer than seven make up the best third and the shares are mostly noise
QUANTILE = 1 / 3  # what counts as a good trial


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much one dimension had to do with a trial being among the best third."""

    key: str  # of the `Dimension`
    share: float | None  # from 0 to 1; None where too little is known, and then there is a note
    trials: int  # how many trials it was computed from
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The shares of a study's dimensions, the largest first."""

    trials: int  # complete and pruned ones
    shares: tuple[
        Share, ...
    ] = ()  # of the dimensions that every trial has; they sum to 1, or there are none
    conditional: tuple[Share, ...] = ()  # of the others, each among the trials that have it
    note: str | None = None  # why there are no shares


def importance(record: StudyRecord) -> Importance:
    """Estimate how much each searched dimension decided which trials are among the best third.

    Complete and pruned trials count, each with its best value. The dimensions that every trial has share 1 among
    them. A conditional dimension's share is its own among the trials that have it, beside the dimensions that all of
    those have. A dimension with a single value is left out.

    Source: PED-ANOVA, https://arxiv.org/abs/2304.10255, as in `optuna.importance.PedAnovaImportanceEvaluator`.
    Optuna would weigh a conditional dimension by how often its condition holds among the best, which mixes the
    condition's importance into the dimension's own: hence conditional ones are computed apart.
    """
    ended = [r for r in record.results if r.state in (COMPLETE, PRUNED) and _finite(r.value)]
    trials = [
        r for r in ended if r.duplicate_of is None
    ]  # what reused another's result is no evidence of its own
    dimensions = [d for d in record.dimensions if not _distribution(d).single()]
    having = {d.key: [t for t in trials if _point(d, t.config) is not None] for d in dimensions}
    common = [d for d in dimensions if len(having[d.key]) == len(trials)]
    if common:
        note = _why_not(trials, record.maximize)
    else:
        note = "no searched dimension is common to all trials"
    shares = {} if note else _shares(common, trials, record.maximize)
    conditional = [
        _conditional(d, having, dimensions, record.maximize) for d in dimensions if d not in common
    ]
    return Importance(
        trials=len(trials),
        shares=_sorted(
            [Share(key=key, share=share, trials=len(trials)) for key, share in shares.items()]
        ),
        conditional=_sorted(conditional),
        note=note,
    )


def _conditional(
    dimension: Dimension,
    having: dict[str, list[TrialResult]],
    dimensions: Sequence[Dimension],
    maximize: bool,
) -> Share:
    trials = having[dimension.key]
    note = _why_not(trials, maximize)
    if note:
        return Share(key=dimension.key, share=None, trials=len(trials), note=note)
    numbers = {t.number for t in trials}
    beside = [d for d in dimensions if numbers <= {t.number for t in having[d.key]}]
    share = _shares(beside, trials, maximize)[dimension.key]
    alone = "the only dimension these trials have" if len(beside) == 1 else None
    return Share(key=dimension.key, share=share, trials=len(trials), note=alone)


def _why_not(trials: Sequence[TrialResult], maximize: bool) -> str | None:
    """Say why no share can be computed; None where it can."""
    if len(trials) < MIN_TRIALS:
        return f"too few to say ({len(trials)} of the {MIN_TRIALS} trials needed)"
    values = sorted((t.value for t in trials if t.value is not None), reverse=maximize)
    if values[math.ceil(QUANTILE * len(values)) - 1] == values[-1]:
        return "too alike to say (the best third and the rest have the same value)"
    return None


def _shares(
    dimensions: Sequence[Dimension], trials: Sequence[TrialResult], maximize: bool
) -> dict[str, float]:
    """Each dimension's share among trials that have them all, by key; they sum to 1."""
    distributions = {d.key: _distribution(d) for d in dimensions}
    with _quiet():
        study = optuna.create_study(direction="maximize" if maximize else "minimize")
        for trial in trials:
            point = {d.key: _point(d, trial.config) for d in dimensions}
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
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing the study in memory."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Its range for Optuna, a stepped one as the numbers of its steps: then no rounding leaves the grid.

    Raises:
        ValueError: for a dimension with neither choices nor bounds.
    """
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    low = dimension.low
    high = dimension.high
    step = dimension.step
    if low is None or high is None:
        raise ValueError(
            f"{dimension.key} needs choices, or low and high: got low {low}, high {high}"
        )
    if step is not None and not dimension.log:
        return IntDistribution(0, math.floor((high - low) / step + 1e-9))
    if dimension.integer:
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


def _point(dimension: Dimension, config: TrialConfig) -> Value | None:
    """A trial's value of a dimension, as `_distribution` counts it; None where the trial does not have it."""
    value: Value | None = getattr(config, dimension.field)
    if value is None or any(
        getattr(config, name) not in allowed for name, allowed in dimension.when.items()
    ):
        return None
    distribution = _distribution(dimension)
    if isinstance(distribution, (IntDistribution, FloatDistribution)):
        if dimension.step is not None and not dimension.log:
            value = round((float(value) - float(dimension.low or 0)) / dimension.step)
        # A searched float was rounded to 4 significant digits, maybe to just outside.
        return min(max(cast("float", value), distribution.low), distribution.high)
    return next((choice for choice in dimension.choices if choice == value), None)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _sorted(shares: list[Share]) -> tuple[Share, ...]:
    return tuple(sorted(shares, key=lambda s: -1.0 if s.share is None else s.share, reverse=True))
