"""Decides which configuration of a study goes on, and when a new one is drawn instead.

A configuration is trained until a rung (an epoch at which configurations are compared), and paused
there. It goes on if its place at the rung allows, at once or much later. Nothing is thrown away
while a search lasts, so a configuration that begins slowly can still win.

Everything here is a pure function of what is known of the configurations, so that a resumed search
decides alike. There are two rules:

- `decide_within_total`, if the number of configurations is given: fewer and fewer go on from epoch
  to epoch, at an even rate, until three are left.
- `decide_within_budget`, if only a budget is given, or too small a one for the number:
  asynchronous successive halving with promotion (Li et al. 2020, arXiv 1810.05934), with enough
  kept to finish the best one. Configurations that are given to begin with have a head start: one
  epoch is not enough to drop what is known to be good elsewhere, because it may only begin slowly.

Equal values are decided by number: the configuration that was drawn first is the better one.

In a study with two objectives, configurations have a size, and a larger one is no rival of a
smaller one. They are ordered by layers: the first is the front, those than which no other of the
same size or less is better; the second is the front of the others, and so on; within a layer by
value (non-dominated sorting, Deb et al. 2002; for promotion Schmucker et al. 2021, arXiv
2106.12639). ``benchmarks/fronts.py`` compares this with a search by value alone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sweeps.analysis.front import layers

SHARE = 0.468  # of the epochs that training every configuration to its end would take
LEADERS = 3  # configurations with the best values so far, which are trained to their end
FRONT_LEADERS = 5  # as many if configurations have sizes: a front of three shows no knee
MOST_RUNGS = 12  # of a training, evenly spaced
GOES_ON = 1 / 3  # while configurations are left to draw, the best third of a rung may go on
GAIN = 0.5  # how much of its recent gain a configuration is expected to gain again
RECENT = 1 / 4  # of the epochs: the part of a training in which a gain is recent

BUDGET_REDUCTION = 2  # with a budget alone, one in so many goes on to the next rung
BUDGET_SPACING = 1.5  # with a budget alone, each rung is at so many times the epochs of the last
HEAD_START = 1 / 4  # of a training, before a configuration that is given is compared
# After so many draws in a row that took no epoch, a budget draws no more: it would never be used.
MAX_DRAWS_IN_VAIN = 50


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A drawn configuration, and what a decision may know of it."""

    number: int  # in the order of drawing, from 0
    epochs: int  # of its whole training
    until: int  # the epoch until which it was told to train
    values: Sequence[float]  # best value so far by epoch, from epoch 1; finite, higher is better
    size: float | None = None  # of its network; less is better. None if the value alone counts
    ended: bool = False  # it is complete, perhaps before its last epoch, or it is out
    out: bool = False  # it failed, or may not be trained

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.ended or self.out or len(self.values) >= self.epochs

    @property
    def is_paused(self) -> bool:
        """Whether it can go on now."""
        return not self.has_ended and len(self.values) >= self.until

    @property
    def is_training(self) -> bool:
        """Whether it was told to train and has not reached its epoch, as far as is known."""
        return not self.has_ended and len(self.values) < self.until

    @property
    def cost(self) -> int:
        """The epochs that it has taken, or will have taken at its next pause."""
        return len(self.values) if self.has_ended else min(self.until, self.epochs)

    @property
    def rest(self) -> int:
        """The epochs that are left until the end of its training, after its next pause."""
        return 0 if self.has_ended else max(0, self.epochs - self.until)

    def value_at(self, epoch: int) -> float | None:
        """The best value so far after an epoch; None if it is not known, or never will be."""
        if self.out or not self.values:
            return None
        if len(self.values) >= epoch:
            return self.values[epoch - 1]
        return self.values[-1] if self.has_ended else None


_Valued = tuple[float, Contender]  # a contender, and the value by which it is placed


@dataclass(frozen=True)
class Draw:
    """Draw a new configuration, and train it until an epoch, or to its end if that is sooner."""

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


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs at which configurations are compared: evenly spaced, up to the last.

    Args:
        epochs: the most epochs of a configuration. Up to `MOST_RUNGS`, each epoch is a rung.
    """
    steps = range(1, MOST_RUNGS + 1)
    return tuple(sorted({max(1, round(epochs * step / MOST_RUNGS)) for step in steps}))


def budget_rungs(epochs: int) -> tuple[int, ...]:
    """Return the rungs of a study that has a budget alone: close at first, then wider and wider.

    Args:
        epochs: the most epochs of a configuration.
    """
    result = []
    rung = 1
    while rung < epochs:
        result.append(rung)
        rung = max(rung + 1, round(rung * BUDGET_SPACING))
    return (*result, epochs)


def head_start(epochs: int) -> int:
    """Return the rung of a budget at which the configurations given to begin with first pause.

    Args:
        epochs: the most epochs of a configuration.
    """
    return next(rung for rung in budget_rungs(epochs) if rung >= HEAD_START * epochs)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The place of a configuration among those that a decision compares with it."""

    place: int  # from 1; equal configurations share the better place
    rivals: int  # the configurations compared, this one included
    # So many of these go on. If all are drawn, it is a plan, and others may be better placed.
    going_on: int
    all_drawn: bool
    value: float  # by which they are placed; higher is better


def decide_within_total(
    contenders: Sequence[Contender],
    *,
    total: int,
    epochs: int,
    share: float = SHARE,
    leaders: int = LEADERS,
) -> Decision:
    """Decide what is next in a study of a given number of configurations.

    The plan is that the number that goes on falls at an even rate, from all after no epoch to the
    leaders after the last: of 24 in 12 epochs, 20 go on after the first, 8 after the sixth. A
    configuration's rank is its place at its rung over the number that the plan lets go on there.

    While configurations are left to draw, the best paused one of the highest rung goes on, if it is
    in the best third there and the epochs so far are within their pace; otherwise the next
    configuration is drawn. When all are drawn, the one with the lowest rank goes on by one rung, as
    long as enough epochs are left to finish the leaders. In the end, the leaders are finished.

    Places are by projected value, see `projected`; leaders are those with the best values so far.

    Args:
        contenders: the configurations drawn so far.
        total: how many are drawn in the end.
        epochs: the most epochs of a configuration.
        share: the epochs to use, as a share of those of training all to their end. With few
            configurations, the leaders alone take more.
        leaders: how many are trained to their end.
    """
    levels = rungs(epochs)
    if len(contenders) < total:
        # A larger total must not decide otherwise, so that a study can be extended to it.
        allowed = share * sum(one.epochs for one in contenders)
        promoted = _promotable(contenders, levels, allowed - _cost(contenders))
        return promoted or Draw(levels[0])
    leading = _leaders(contenders, leaders)
    best = next(iter(by_rank(contenders, epochs=epochs, leaders=leaders)), None)
    if best is not None:
        until = next_rung(best, levels)
        needed = until - best.until + sum(one.rest for one in leading if one is not best)
        if best in leading:
            needed += best.epochs - until
        if _cost(contenders) + needed <= share * sum(one.epochs for one in contenders):
            return Promote(best.number, until)
    return _finish(contenders, [one for one in leading if one.is_paused])


def decide_within_budget(
    contenders: Sequence[Contender],
    *,
    budget: float,
    epochs: int,
    given: int = 0,
    may_draw: bool = True,
) -> Decision:
    """Decide what is next in a study of a given number of epochs.

    What is given to begin with is drawn first, with a head start. Then the better half of those
    that have reached a rung goes on; if there is none to go on, a new configuration is drawn.
    Enough is kept to finish the configuration with the best value so far, even if it is one in
    training. In the end it is finished, and then the next best, as long as the budget lasts. It is
    also finished if too many draws in a row took no epoch: duplicates, and configurations that fail
    at once.

    Args:
        contenders: the configurations drawn so far.
        budget: the epochs to use. If they are fewer than one whole training, nothing is kept.
        epochs: the most epochs of a configuration.
        given: so many configurations are drawn before any goes on.
        may_draw: whether a new configuration may be drawn.
    """
    levels = budget_rungs(epochs)
    left = budget - _cost(contenders)
    may_lead = [*_leaders(contenders, 1), *(one for one in contenders if one.is_training)]

    def is_within(step: int, rest: int, promoted: Contender | None = None) -> bool:
        """Whether so many epochs are left, and then enough to finish whichever leads."""
        rests = [rest, *(one.rest for one in may_lead if one is not promoted)]
        kept = max(rests) if budget >= epochs else 0
        return step + kept <= left

    may_draw = may_draw and not _draws_in_vain(contenders)
    going_on = []
    if not may_draw or len(contenders) >= given:
        going_on = list(_better_half(contenders, levels))
    for one in going_on:
        until = next_rung(one, levels)
        if is_within(until - one.until, one.epochs - until, one):
            return Promote(one.number, until)
    first = head_start(epochs) if len(contenders) < given else levels[0]
    if may_draw and not going_on and is_within(first, epochs - first):
        return Draw(first)
    paused = [one for one in _leaders(contenders, len(contenders)) if one.is_paused]
    return _finish(contenders, [one for one in paused if one.rest <= left])


def promising(contenders: Sequence[Contender], *, top: int) -> list[int]:
    """Return the paused configurations to finish before the best are chosen as finalists.

    These are the ones with a value at least as good as the last of the best complete ones had after
    the same epoch: both values are the best so far. They are ordered by how much better it is, and
    are at most as many as finalists. If fewer configurations than that are complete, the next best
    paused ones are added to make up their number.

    If they have sizes, one that some complete one of its size or less beats is not promising.

    Args:
        contenders: the configurations of a search that has come to its end.
        top: how many finalists are chosen.

    Returns:
        The numbers of configurations, the most promising first.
    """
    complete = [one for one in contenders if one.has_ended]
    chosen = _leaders(complete, top)
    leads = []
    for one in contenders:
        if not one.is_paused or not one.values or _is_beaten(one, complete):
            continue
        lead = one.values[-1]
        if chosen:
            lead -= chosen[-1].value_at(len(one.values)) or 0.0
        leads.append((-lead, one.number))
    leads.sort()
    leading = sum(negative_lead <= 0 for negative_lead, _ in leads) if chosen else 0
    count = max(min(top, leading), top - len(chosen))
    return [number for _, number in leads[:count]]


def _is_beaten(one: Contender, others: Iterable[Contender]) -> bool:
    """Whether one of its size or less had as good a value; never where there are no sizes."""
    if one.size is None:
        return False
    values = [
        other.value_at(len(one.values))
        for other in others
        if other.size is not None and other.size <= one.size
    ]
    return any(value is not None and value >= one.values[-1] for value in values)


def standing_within_total(
    contenders: Sequence[Contender],
    number: int,
    *,
    total: int,
    epochs: int,
    leaders: int = LEADERS,
) -> Standing | None:
    """Return the place of a paused configuration, as `decide_within_total` sees it.

    Args:
        contenders: the configurations drawn so far.
        number: of the configuration among them.
        total: how many are drawn in the end.
        epochs: the most epochs of a configuration.
        leaders: how many are trained to their end.

    Returns:
        The standing; None if the configuration is not paused.
    """
    one = contenders[number]
    if not one.is_paused:
        return None
    levels = rungs(epochs)
    recent = recent_epochs(levels[-1])
    places = _standings(contenders, {one.until}, recent)[one.until]
    all_drawn = len(contenders) >= total
    going_on = GOES_ON * len(places)
    if all_drawn:
        going_on = _planned(contenders, one.until, epochs, leaders)
    return Standing(
        place=places[one.number],
        rivals=len(places),
        going_on=int(going_on),
        all_drawn=all_drawn,
        value=projected(one, one.until, recent),
    )


def standing_within_budget(contenders: Sequence[Contender], number: int) -> Standing | None:
    """Return the place of a paused configuration, as `decide_within_budget` sees it.

    Args:
        contenders: the configurations drawn so far.
        number: of the configuration among them.

    Returns:
        The standing; None if the configuration is not paused.
    """
    one = contenders[number]
    value = one.value_at(one.until)
    if not one.is_paused or value is None:
        return None
    places = _places(_known_at(contenders, one.until))
    return Standing(
        place=places[number],
        rivals=len(places),
        going_on=len(places) // BUDGET_REDUCTION,
        all_drawn=False,
        value=value,
    )


def expected_epochs(
    *, total: int, epochs: int, share: float = SHARE, leaders: int = LEADERS
) -> float:
    """Return the epochs that a study of a given number of configurations will take.

    Args:
        total: how many are drawn in the end.
        epochs: of a configuration.
        share: as for `decide_within_total`.
        leaders: how many are trained to their end.
    """
    leaders = min(leaders, total)
    least = leaders * epochs + (total - leaders) * rungs(epochs)[0]
    return max(share * total * epochs, least)


def by_rank(contenders: Sequence[Contender], *, epochs: int, leaders: int) -> list[Contender]:
    """Return the paused contenders, the lowest rank first, as `decide_within_total` has it.

    Args:
        contenders: the configurations, all of which are drawn.
        epochs: the most epochs of a configuration.
        leaders: how many are trained to their end.
    """
    paused = [one for one in contenders if one.is_paused]
    recent = recent_epochs(epochs)
    standings = _standings(contenders, {one.until for one in paused}, recent)
    planned = {level: _planned(contenders, level, epochs, leaders) for level in standings}

    def rank(one: Contender) -> tuple[float, int]:
        return standings[one.until][one.number] / planned[one.until], one.number

    return sorted(paused, key=rank)


def next_rung(contender: Contender, levels: Sequence[int]) -> int:
    """Return the first level after the contender's, or its last epoch."""
    following = levels[bisect_right(levels, contender.until) :]
    return min(contender.epochs, *following)


def projected(contender: Contender, epoch: int, recent: int) -> float:
    """A configuration's value as it was after an epoch, with what it may be expected to gain.

    That is half of its gain over the recent epochs, times the share of its epochs that was left
    then. So one that begins slowly and rises fast is not compared with those that are done rising.
    One that is still in training until the epoch, or has ended before, has its last known value.

    Args:
        contender: a configuration that has values.
        epoch: counts from 1.
        recent: the number of epochs in which a gain is recent.
    """
    known = len(contender.values)
    if epoch > known:
        if contender.has_ended:
            return contender.values[-1]
        epoch = known
    value = contender.values[epoch - 1]
    gain = value - contender.values[max(0, epoch - 1 - recent)]
    return value + GAIN * gain * (1 - epoch / contender.epochs)


def recent_epochs(epochs: int) -> int:
    """Return the number of epochs in which a gain is recent, of a training of so many."""
    return max(1, round(RECENT * epochs))


def _cost(contenders: Iterable[Contender]) -> int:
    return sum(contender.cost for contender in contenders)


def _leaders(contenders: Iterable[Contender], count: int) -> list[Contender]:
    """The contenders with the best values so far, the best first."""
    known = [(one.values[-1], one) for one in contenders if one.values and not one.out]
    return [one for _, one in _best_first(known)][:count]


def _standings(
    contenders: Iterable[Contender], at: Iterable[int], recent: int
) -> dict[int, dict[int, int]]:
    """The places of all that were told to reach an epoch, by projected value, for each epoch."""
    result = {}
    reached = [one for one in contenders if one.values and not one.out]
    for epoch in sorted(at):
        reached = [one for one in reached if one.until >= epoch or one.has_ended]
        result[epoch] = _places([(projected(one, epoch, recent), one) for one in reached])
    return result


def _known_at(contenders: Iterable[Contender], epoch: int) -> list[_Valued]:
    """The contenders with a known value after an epoch."""
    values = [(one.value_at(epoch), one) for one in contenders]
    return [(value, one) for value, one in values if value is not None]


def _places(valued: Sequence[_Valued]) -> dict[int, int]:
    """The place of each contender, from 1, by its number: equal ones share the better place."""
    places: dict[int, int] = {}
    previous = None
    place = 0
    for position, (value, one) in enumerate(_best_first(valued), start=1):
        if (value, one.size) != previous:
            place = position
        previous = (value, one.size)
        places[one.number] = place
    return places


def _best_first(valued: Iterable[_Valued]) -> list[_Valued]:
    """Order contenders by value or, if they have sizes, by the layers of their front."""
    by_value = sorted(valued, key=lambda item: (-item[0], item[1].number))
    if not by_value or by_value[0][1].size is None:
        return by_value
    sizes = [math.inf if one.size is None else one.size for _, one in by_value]
    layer_of = layers([value for value, _ in by_value], sizes)
    order = sorted(range(len(by_value)), key=lambda index: layer_of[index])
    return [by_value[index] for index in order]


def _planned(contenders: Sequence[Contender], epoch: int, epochs: int, leaders: int) -> float:
    """How many of the contenders the plan lets go on after an epoch."""
    count = sum(not one.out for one in contenders)
    rate = min(1, leaders / max(1, count))
    return float(count * rate ** (epoch / epochs))


def _promotable(
    contenders: Sequence[Contender], levels: Sequence[int], left: float
) -> Promote | None:
    """The best paused contender of the highest rung at which it is in the best third, if any."""
    paused = [one for one in contenders if one.is_paused]
    recent = recent_epochs(levels[-1])
    standings = _standings(contenders, {one.until for one in paused}, recent)

    def highest_first(one: Contender) -> tuple[int, int, int]:
        return -one.until, standings[one.until][one.number], one.number

    for level, there in groupby(sorted(paused, key=highest_first), key=lambda one: one.until):
        best = next(there)
        place = standings[level][best.number]
        until = next_rung(best, levels)
        if place <= GOES_ON * len(standings[level]) and until - level <= left:
            return Promote(best.number, until)
    return None


def _draws_in_vain(contenders: Iterable[Contender]) -> bool:
    """Whether the last configurations with a known result all took no epoch."""
    known = [one for one in contenders if not one.is_training][-MAX_DRAWS_IN_VAIN:]
    return len(known) == MAX_DRAWS_IN_VAIN and not any(one.cost for one in known)


def _better_half(contenders: Sequence[Contender], levels: Sequence[int]) -> Iterator[Contender]:
    """The paused contenders in the better half of their rung: the highest rung, the best first."""
    for level in reversed(levels[:-1]):
        known = _best_first(_known_at(contenders, level))
        for _, one in known[: len(known) // BUDGET_REDUCTION]:
            if one.is_paused and one.until == level:
                yield one


def _finish(contenders: Sequence[Contender], paused: Sequence[Contender]) -> Decision:
    """Finish the first of these, once nothing that is in training can still overtake it."""
    if any(one.is_training and one.rest for one in contenders):
        return Wait()
    if paused:
        return Promote(paused[0].number, paused[0].epochs)
    if any(one.is_training for one in contenders):
        return Wait()
    return End()
