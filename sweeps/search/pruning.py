"""When a trial is not worth another epoch: pure functions of reported values, so that a resumed sweep decides alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

REDUCTION_FACTOR = 4  # of the trials that reach a rung, one in this many goes on
# the first rung, as a share of the epochs; each later one is at so many times the last
FIRST_RUNG = 1 / 9
RUNG_SPACING = 2
PROTECTED_TRIALS = 8  # the first trials are never pruned: there is too little to compare with

ValuesByEpoch = Mapping[int, float]  # best value so far, by epoch (from 1)


def rungs(epochs: int) -> tuple[int, ...]:
    """The epochs at which trials of at most ``epochs`` are compared: a ninth of them, then twice as many, ..."""
    rung = max(1, round(epochs * FIRST_RUNG))
    result = []
    while rung < epochs:
        result.append(rung)
        rung *= RUNG_SPACING
    return tuple(result)


def should_prune(
    rule: str,
    reports: ValuesByEpoch,
    others: Iterable[ValuesByEpoch],
    *,
    epochs: int,
    maximize: bool,
) -> bool:
    """Whether the trial whose last report is the newest of ``reports`` should stop now.

    Args:
        rule: ``asha`` (asynchronous successive halving, Li et al. 2020), ``median`` or ``none``.
        reports: the trial's best value so far by epoch.
        others: the same of the trials to compare with.
        epochs: the epochs that the trial would train at most.
        maximize: whether more is better.
    """
    epoch = max(reports)
    if rule == "none" or epoch >= epochs:
        return False
    sign = 1 if maximize else -1
    value = sign * reports[epoch]
    rivals = sorted((sign * other[epoch] for other in others if epoch in other), reverse=True)
    if not rivals:
        return False
    if rule == "median":
        return epoch >= rungs(epochs)[0] and value < statistics.median(rivals)
    if epoch not in rungs(epochs):
        return False
    better = sum(rival > value for rival in rivals)
    return better >= max(1, (len(rivals) + 1) // REDUCTION_FACTOR)
