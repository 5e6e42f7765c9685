"""Decides which configuration of a study goes on, and when a new one is drawn instead.

A configuration is trained until a rung (an epoch at which configurations are compared), and paused
there. It goes on if its place at the rung allows, at once or much later. Nothing is thrown away
while a search lasts, so a configuration that begins slowly can still win.

Everything here is a pure function of what is known of the configurations, so that a resumed search
decides alike. There are two rules:

- `decide_within_total`, if the number of configurations is given: see there.
- `decide_within_budget`, if only a budget is given: asynchronous successive halving with promotion
  (Li et al. 2020, arXiv 1810.05934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 0.46  # of the epochs that training every configuration to its end would take
LEADERS = 3  # configurations with the best values so far, which are trained to their end
GOES_ON = 0.5  # while configurations are left to draw, the better half of a rung may go on
RUNG_SPACING = 1.5  # each rung is at so many times the epochs of the rung before

BUDGET_REDUCTION = 4  # with a budget alone, one in so many goes on to the next rung
BUDGET_SPACING = (
    3  # with a budget alone, each rung is at so many times the epochs of the one before
)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A drawn configuration, and what a decision may know of it."""

    number: int  # in the order of drawing, from 0
    epochs: int  # of its whole training
    until: int  # the epoch until which it was told to train
    values: Sequence[float]  # best value so far by epoch, from epoch 1; higher is better
    ended: bool = False  # it is complete, perhaps before its last epoch, or it is out
    out: bool = False  # it failed, or may not be trained

    @property
    def is_paused(self) -> bool:
        """Whether it can go on now."""
        return not self.ended and len(self.values) >= self.until

    @property
    def is_training(self) -> bool:
        """Whether it was told to train and has not reached its epoch, as far as is known."""
        return not self.ended and len(self.values) < self.until

    @property
    def cost(self) -> int:
        """The epochs that it has taken, or will have taken at its next pause."""
        return len(self.values) if self.ended else self.until

    @property
    def rest(self) -> int:
        """The epochs that are left until the end of its training, after its next pause."""
        return 0 if self.ended else self.epochs - self.until

    def value_at(self, epoch: int) -> float | None:
        """The best value so far after an epoch; None if it is not known, or never will be."""
        if self.out or not self.values:
            return None
        if len(self.values) >= epoch:
            return self.values[epoch - 1]
        return self.values[-1] if self.ended else None


@dataclass(frozen=True)
class Draw:
    """Draw a new configuration, and train it until an epoch."""

    until: int


@dataclass(frozen=True)
class Promote:
    """Go on with a paused configuration, until an epoch."""

    number: int
    until: int


@dataclass(frozen=True)
class Wait:
    """Nothing can be decided before a training reaches its next pause."""


@dataclass(frozen=True)
class End:
    """Nothing is left to do."""


Decision = Draw | Promote | Wait | End


def rungs(epochs: int, spacing: float = RUNG_SPACING) -> tuple[int, ...]:
    """Return the epochs at which configurations are compared: the first, ..., the last.

    Args:
        epochs: the most epochs of a configuration.
        spacing: each rung is at so many times the epochs of the rung before, rounded.
    """
    result = []
    rung = 1
    while rung < epochs:
        result.append(rung)
        rung = max(rung + 1, round(rung * spacing))
    return (*result, epochs)


def decide_within_total(
    contenders: Sequence[Contender], *, total: int, epochs: int, share: float = SHARE
) -> Decision:
    """Decide what is next in a study of a given number of configurations.

    While configurations are left to draw, the best paused one of the highest rung goes on, if it is
    in the better half there and the epochs so far are within their pace; otherwise the next
    configuration is drawn. When all are drawn, the one with the best relative place at its rung
    goes on by one rung, as long as enough epochs are left to finish the leaders. In the end, the
    leaders are finished.

    Args:
        contenders: the configurations drawn so far.
        total: how many are drawn in the end.
        epochs: the most epochs of a configuration.
        share: the epochs to use, as a share of those of training all to their end.
    """
    levels = rungs(epochs)
    if len(contenders) < total:
        pace = share * sum(contender.epochs for contender in contenders)
        promoted = None
        if _cost(contenders) <= pace:
            promoted = _promotable(contenders, levels)
        return promoted or Draw(levels[0])
    budget = share * sum(contender.epochs for contender in contenders)
    paused = [contender for contender in contenders if contender.is_paused]
    leaders = _leaders(contenders)
    if paused:
        best = min(paused, key=lambda one: (_relative_place(one, contenders), -one.until))
        until = _next_rung(best, levels)
        others = [leader for leader in leaders if leader is not best]
        needed = until - best.until + sum(leader.rest for leader in others)
        if best in leaders:
            needed += best.epochs - until
        if _cost(contenders) + needed <= budget:
            return Promote(best.number, until)
    for leader in leaders:
        if leader.is_paused:
            return Promote(leader.number, leader.epochs)
    return _wait_or_end(contenders)


def decide_within_budget(
    contenders: Sequence[Contender], *, budget: float, epochs: int
) -> Decision:
    """Decide what is next in a study of a given number of epochs.

    The best quarter of those that have reached a rung goes on; if there is none to go on, a new
    configuration is drawn.

    Args:
        contenders: the configurations drawn so far.
        budget: the epochs to use.
        epochs: the most epochs of a configuration.
    """
    levels = rungs(epochs, BUDGET_SPACING)
    cost = _cost(contenders)
    for level in reversed(levels[:-1]):
        values = {one.number: one.value_at(level) for one in contenders}
        known = {number: value for number, value in values.items() if value is not None}
        best = sorted(known, key=lambda number: -known[number])[: len(known) // BUDGET_REDUCTION]
        for number in best:
            one = contenders[number]
            until = _next_rung(one, levels)
            if one.is_paused and one.until == level and cost + until - level <= budget:
                return Promote(number, until)
    if cost + levels[0] <= budget:
        return Draw(levels[0])
    return _wait_or_end(contenders)


def _wait_or_end(contenders: Sequence[Contender]) -> Decision:
    if any(contender.is_training for contender in contenders):
        return Wait()
    return End()


def _cost(contenders: Sequence[Contender]) -> int:
    return sum(contender.cost for contender in contenders)


def _next_rung(contender: Contender, levels: Sequence[int]) -> int:
    """The first level after the contender's, or its last epoch."""
    following = next(level for level in levels if level > contender.until)
    return min(following, contender.epochs)


def _relative_place(contender: Contender, contenders: Sequence[Contender]) -> float:
    """The contender's place at its rung, over the number there: 1 is the last."""
    value = contender.values[contender.until - 1]
    rivals = [one.value_at(contender.until) for one in contenders]
    known = [rival for rival in rivals if rival is not None]
    return (1 + sum(rival > value for rival in known)) / len(known)


def _promotable(contenders: Sequence[Contender], levels: Sequence[int]) -> Promote | None:
    """The best paused contender of the highest rung, if it is in the better half there."""
    for level in reversed(levels[:-1]):
        paused = [one for one in contenders if one.is_paused and one.until == level]
        if paused:
            best = max(paused, key=lambda one: one.values[level - 1])
            if _relative_place(best, contenders) <= GOES_ON:
                return Promote(best.number, _next_rung(best, levels))
    return None


def _leaders(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders with the best values so far."""
    known = [one for one in contenders if one.values and not one.out]
    return sorted(known, key=lambda one: -one.values[-1])[:LEADERS]
