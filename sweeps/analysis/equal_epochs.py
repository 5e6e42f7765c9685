"""Scores trials of different numbers of epochs by comparisons at equal epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, PAUSED, PRUNED, TrialResult


def has_value(result: TrialResult) -> bool:
    """Whether a trial can be scored: it is complete, pruned or paused, with a finite value."""
    is_scored = result.state in (COMPLETE, PRUNED, PAUSED)
    return is_scored and result.value is not None and math.isfinite(result.value)


def scores_at_equal_epochs(
    results: Sequence[TrialResult], objective: str, *, maximize: bool
) -> np.ndarray:
    """Score each trial by comparing it with all others.

    Two trials are compared at the last epoch that both have reached, by the best value until then.
    A complete trial has its last value at every later epoch, too: it ended because its training was
    over. The score is the mean over the comparisons, which count 1 if won, -1 if lost, and 0 if
    equal, each with the number of its epoch for a weight: late values tell more about how a
    training ends. If all trials are complete, scores have the order of the values.

    On recorded learning curves, shares of importance from these scores agree best with those of the
    same trials trained to their ends: see docs/statistics.md.

    Args:
        results: trials with a value. Of a trial without a history, only the value is known.
        objective: what the values are, such as val_acc.
        maximize: whether more is better.

    Returns:
        The scores, from -1 to 1: (trials,). Higher is better.
    """
    curves = [_best_so_far(result, objective, maximize=maximize) for result in results]
    last = max((len(curve) for curve in curves), default=1)
    reached = np.array(
        [
            last if result.state == COMPLETE else len(curve)
            for result, curve in zip(results, curves, strict=True)
        ]
    )

    values = np.array([curve + [curve[-1]] * (last - len(curve)) for curve in curves])
    won = np.zeros(len(results))
    weight = -reached.astype(float)  # a trial is not compared with itself
    for epoch in np.unique(reached):
        at_epoch = values[:, epoch - 1]
        further = reached > epoch
        ends_here = reached == epoch
        for these, others in ((ends_here, further | ends_here), (further, ends_here)):
            rivals = np.sort(at_epoch[others])
            worse = np.searchsorted(rivals, at_epoch[these], side="left")
            better = len(rivals) - np.searchsorted(rivals, at_epoch[these], side="right")
            won[these] += epoch * (worse - better)
            weight[these] += epoch * len(rivals)
    return np.asarray(won / np.maximum(1, weight))


def _best_so_far(result: TrialResult, objective: str, *, maximize: bool) -> list[float]:
    """A trial's best value by epoch, so that more is better; its last is the trial's value."""
    sign = 1 if maximize else -1
    final = sign * (result.value or 0.0)
    key = OBJECTIVES[objective].metric if objective in OBJECTIVES else f"val/{objective}"
    by_epoch = [sign * row.metrics.get(key, math.nan) for row in result.history]
    known = [value if math.isfinite(value) else -math.inf for value in by_epoch]
    best = list(accumulate(known, max))
    return [*best[:-1], final]
