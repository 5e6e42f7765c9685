"""Decides when a trial is not worth another epoch.

The rules are pure functions of reported values, so that a resumed sweep decides alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

REDUCTION_FACTOR = 4  # of the trials that reach a rung, a quarter goes on
FIRST_RUNG = 1 / 9  # as a share of the epochs
RUNG_SPACING = 2  # each later rung is at so many times the epochs of the rung before
PROTECTED_TRIALS = 8  # the first trials are never pruned: there is too little to compare with

ValuesByEpoch = Mapping[int, float]  # best value so far, by epoch (from 1)


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs at which trials are compared: a ninth of them, then twice as many, ...

    Args:
        epochs: the most epochs of a trial.
    """
    rung = max(1, round(epochs * FIRST_RUNG))
    result = []
    while rung < epochs:
        result.append(rung)
        rung *= RUNG_SPACING
    return tuple(result)


def should_prune(
    rule: str,
    reports: ValuesByEpoch,
    rivals: Iterable[ValuesByEpoch],
    *,
    epochs: int,
    maximize: bool,
) -> bool:
    """Whether a trial should stop now, after the newest of its reports.

    Args:
        rule: ``asha`` (asynchronous successive halving, Li et al. 2020), ``median`` or ``none``.
        reports: the trial's best value so far, by epoch.
        rivals: the same of each trial to compare with.
        epochs: the trial's most epochs.
        maximize: whether more is better.
    """
    epoch = max(reports)
    if rule == "none" or epoch >= epochs:
        return False
    sign = 1 if maximize else -1  # below, more is better
    value = sign * reports[epoch]
    rival_values = [sign * rival[epoch] for rival in rivals if epoch in rival]
    if not rival_values:
        return False
    if rule == "median":
        return epoch >= rungs(epochs)[0] and value < statistics.median(rival_values)
    if epoch not in rungs(epochs):
        return False
    better = sum(rival_value > value for rival_value in rival_values)
    promoted = max(1, (len(rival_values) + 1) // REDUCTION_FACTOR)
    return better >= promoted
