"""Finds the front of a study: the configurations than which none is both better and cheaper.

A configuration is on the front if no other of the same cost or less has as good a value of the
objective. The knee is the member after which more cost buys least: of the straight line from the
cheapest member to the most accurate one, drawn with both axes from 0 to 1 and a logarithmic axis of
costs, it is the farthest above (the chord of Das, Structural Optimization 18, 1999; Satopaa et al.,
SIMPLEX 2011, call it Kneedle).

Costs are counts, or the median of a measurement. Values are those of the seeds and images at hand.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeps.analysis.difference import Difference
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.scores import complete_trials

# A front of two has no knee: both are ends of the line.
_LEAST_WITH_KNEE = 3

Compare = Callable[[Ranked, Ranked], Difference | None]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A configuration of a front."""

    entry: Ranked
    cost: float
    # Over the next cheaper member; None for the cheapest, or if it cannot be compared.
    gain: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Front:
    """The front of a study, for one cost."""

    cost: str  # parameters, mflops, latency_ms
    members: tuple[Member, ...]  # the cheapest first, so the most accurate last
    knee: Member | None  # None if there are fewer than three members, or none is above the line
    compared: int  # the configurations among which it was found

    @property
    def near_top(self) -> tuple[Member, ...]:
        """The members from the most accurate one down to the knee; all if there is no knee."""
        best_first = self.members[::-1]
        if self.knee is None:
            return best_first
        return best_first[: best_first.index(self.knee) + 1]

    def mark(self, entry: Ranked) -> str:
        """Return ``knee`` or ``front`` for a member; empty for any other configuration."""
        numbers = [trial.number for trial in entry.trials]
        for member in self.members:
            if member.entry.trials[0].number in numbers:
                return "knee" if member is self.knee else "front"
        return ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The configuration that is taken as the best of a study."""

    entry: Ranked
    best: Ranked  # the first of the ranking; the same if it is taken itself
    within: float | None  # by how much the taken one's value may be worse; None if it may not
    cost: str  # by which it is the cheapest of those
    candidates: int  # that are no worse than that, the best included
    difference: Difference | None  # of the best and the taken one; None if they are the same


def mean_cost(entry: Ranked, name: str) -> float | None:
    """Return a cost of a configuration: the mean over its complete trials.

    The best trial's if none is complete; None if it is not known.

    Args:
        entry: the configuration.
        name: of a number of `sweeps.trial.TrialResult`: parameters, mflops, latency_ms, seconds.
    """
    trials = complete_trials(entry) or entry.trials[:1]
    measured = [getattr(trial, name) for trial in trials]
    costs = [cost for cost in measured if cost is not None]
    return statistics.fmean(costs) if costs else None


def layers(goodness: Sequence[float], costs: Sequence[float]) -> list[int]:
    """Sort points into layers: the front is layer 0, the front of the others is layer 1, ...

    Points that are equal in both have the same layer (non-dominated sorting, Deb et al. 2002).

    Args:
        goodness: of each point; more is better.
        costs: of each point; less is better.

    Returns:
        The layer of each point.
    """
    cheapest_first = sorted(range(len(costs)), key=lambda index: (costs[index], -goodness[index]))
    result = [0] * len(costs)
    # The best goodness of each layer so far, negative, so that it ascends: a point belongs to the
    # first layer in which no cheaper one is as good.
    tops: list[float] = []
    previous = None
    layer = 0
    for index in cheapest_first:
        point = (goodness[index], costs[index])
        if point != previous:
            layer = bisect_right(tops, -goodness[index])
            tops[layer : layer + 1] = [-goodness[index]]
        previous = point
        result[index] = layer
    return result


def find_front(
    ranked: Sequence[Ranked], name: str, compare: Compare, *, maximize: bool
) -> Front | None:
    """Find the front of the complete configurations of a study.

    Args:
        ranked: complete configurations with a value, ranked.
        name: of the cost, as for `mean_cost`.
        compare: compares two of them.
        maximize: whether a higher value is better.

    Returns:
        The front, with one of each set of equal configurations; None if no cost is known.
    """
    known = [(mean_cost(entry, name), entry) for entry in ranked]
    costed = [
        (cost, entry)
        for cost, entry in known
        if cost is not None and math.isfinite(_goodness(entry, maximize=maximize))
    ]
    if not costed:
        return None
    costed.sort(key=lambda item: (item[0], -_goodness(item[1], maximize=maximize)))
    members: list[Member] = []
    best = -math.inf
    for cost, entry in costed:
        goodness = _goodness(entry, maximize=maximize)
        if goodness <= best:
            continue
        gain = compare(entry, members[-1].entry) if members else None
        members.append(Member(entry=entry, cost=cost, gain=gain))
        best = goodness
    heights = [_goodness(member.entry, maximize=maximize) for member in members]
    knee = knee_of(heights, [member.cost for member in members])
    return Front(
        cost=name,
        members=tuple(members),
        knee=None if knee is None else members[knee],
        compared=len(costed),
    )


def knee_of(goodness: Sequence[float], costs: Sequence[float]) -> int | None:
    """Return which member of a front is its knee.

    Args:
        goodness: of each member, ascending.
        costs: of each member, ascending, above 0.

    Returns:
        Its index; None for fewer than three members, or if all others lie below the line from the
        first to the last.
    """
    if len(costs) < _LEAST_WITH_KNEE or costs[0] <= 0:
        return None
    height = goodness[-1] - goodness[0]
    length = math.log(costs[-1] / costs[0])
    above = [
        (value - goodness[0]) / height - math.log(cost / costs[0]) / length
        for value, cost in zip(goodness, costs, strict=True)
    ]
    index = max(range(len(above)), key=above.__getitem__)
    is_above = above[index] > 0 and 0 < index < len(above) - 1
    return index if is_above else None


def choose(
    ranked: Sequence[Ranked],
    cost: str,
    compare: Compare,
    *,
    maximize: bool,
    within: float | None = None,
) -> Choice | None:
    """Choose the best configuration, or the cheapest that is hardly worse.

    Args:
        ranked: complete configurations with a value, ranked.
        cost: as for `mean_cost`. The best is taken if its cost is not known.
        compare: compares two of them.
        maximize: whether a higher value is better.
        within: take the cheapest whose value is worse by no more, in units of the objective; None
            to take the best. Of equally cheap ones, the first of the ranking is taken.

    Returns:
        The choice; None if there is no configuration.
    """
    if not ranked:
        return None
    best = ranked[0]
    taken = best
    candidates = [best]
    if within is not None:
        least = _goodness(best, maximize=maximize) - within
        candidates = [
            entry
            for entry in ranked
            # Values are rounded for the sake of sums such as .97 - .005.
            if round(_goodness(entry, maximize=maximize) - least, 12) >= 0
            and mean_cost(entry, cost) is not None
        ]
        if mean_cost(best, cost) is not None:
            taken = min(candidates, key=lambda entry: mean_cost(entry, cost) or 0.0)
    return Choice(
        entry=taken,
        best=best,
        within=within,
        cost=cost,
        candidates=len(candidates),
        difference=None if taken is best else compare(best, taken),
    )


def _goodness(entry: Ranked, *, maximize: bool) -> float:
    """The value of a configuration; more is better."""
    value = -math.inf if entry.value is None else entry.value
    if entry.value is None or maximize:
        return value
    return -value
