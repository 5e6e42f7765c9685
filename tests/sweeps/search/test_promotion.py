"""Which configuration goes on, and when a new one is drawn."""

import json
import random
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.search.promotion import (
    LEADERS,
    SHARE,
    Contender,
    Draw,
    End,
    Promote,
    Wait,
    budget_rungs,
    decide_within_budget,
    decide_within_total,
    expected_epochs,
    head_start,
    projected,
    rungs,
    standing_within_budget,
    standing_within_total,
)

CURVES = Path(__file__).parents[3] / "benchmarks/curves/mnist_1000.jsonl"


@dataclass(frozen=True)
class Configuration:
    """What training a configuration would show."""

    values: tuple[float, ...]  # best so far, by epoch; it ends after them
    epochs: int  # of its whole training
    fails: bool = False  # at its end


def search(decide, configurations, *, workers=1, seed=0):
    """Do as is decided until the end, with so many trainings at a time; return the contenders.

    Trainings end in a random order. Each decision is checked against what is known at the time.
    """
    rng = random.Random(seed)
    contenders = []
    while True:
        training = [one for one in contenders if one.is_training]
        decision = decide(contenders) if len(training) < workers else Wait()
        if isinstance(decision, End):
            assert not training
            return contenders
        if isinstance(decision, Wait):
            one = rng.choice(training)  # fails if nothing trains
            contenders[one.number] = trained(one, configurations[one.number])
            continue
        if isinstance(decision, Draw):
            number = len(contenders)
            epochs = configurations[number].epochs
            until = min(decision.until, epochs)
            contenders.append(Contender(number=number, epochs=epochs, until=until, values=()))
        else:
            one = contenders[decision.number]
            assert one.is_paused
            assert not one.out
            assert one.until < decision.until <= one.epochs
            contenders[one.number] = replace(one, until=decision.until)


def trained(one, configuration):
    """The contender once its training has reached its epoch, or has ended before."""
    values = configuration.values[: one.until]
    ended = len(values) == len(configuration.values)
    return replace(one, values=values, ended=ended, out=ended and configuration.fails)


def within_total(total, epochs, share=SHARE):
    return lambda contenders: decide_within_total(
        contenders, total=total, epochs=epochs, share=share
    )


def within_budget(budget, epochs):
    return lambda contenders: decide_within_budget(contenders, budget=budget, epochs=epochs)


def cost(contenders):
    return sum(one.cost for one in contenders)


@st.composite
def configurations_of(draw, count, epochs, *, even=False):
    """Configurations with few different values, so that many are equal; some end early or fail."""
    result = []
    for _ in range(count):
        own = epochs if even else draw(st.integers(1, epochs))
        length = own if even else draw(st.integers(1, own))
        values = draw(st.lists(st.integers(0, 9), min_size=length, max_size=length))
        fails = not even and draw(st.integers(0, 5)) == 0
        result.append(Configuration(tuple(accumulate(map(float, values), max)), own, fails))
    return result


@st.composite
def studies(draw, *, least=1, even=False):
    """The configurations of a study, and its most epochs."""
    epochs = draw(st.integers(1, 15))
    count = draw(st.integers(least, 20))
    return draw(configurations_of(count, epochs, even=even)), epochs


def contender(number, *values, epochs=12, until=None, ended=False, out=False):
    until = len(values) if until is None else until
    return Contender(number=number, epochs=epochs, until=until, values=values, ended=ended, out=out)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (5, (1, 2, 3, 4, 5)),
        (12, tuple(range(1, 13))),
        (20, (2, 3, 5, 7, 8, 10, 12, 13, 15, 17, 18, 20)),
        (120, tuple(range(10, 121, 10))),
    ],
)
def test_rungs(epochs, expected):
    """Configurations are compared at every epoch, or at twelve evenly spaced ones of many."""
    assert rungs(epochs) == expected


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, (1,)), (2, (1, 2)), (12, (1, 2, 3, 4, 6, 9, 12)), (13, (1, 2, 3, 4, 6, 9, 13))],
)
def test_rungs_of_a_budget(epochs, expected):
    """With a budget alone, each rung is at 1.5 times the epochs of the last."""
    assert budget_rungs(epochs) == expected


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (2, 1), (9, 3), (12, 3), (24, 6)])
def test_head_start(epochs, expected):
    """With a budget alone, what is given to begin with pauses after a quarter of its training."""
    assert head_start(epochs) == expected


def test_what_is_known_of_a_contender():
    """It is paused, in training, or has ended; its value is known at the epochs that it reached."""
    paused = contender(0, 0.1, 0.2)
    training = contender(1, 0.1, until=2)
    early = contender(2, 0.1, 0.2, until=5, ended=True)
    failed = contender(3, 0.1, until=5, ended=True, out=True)
    assert [one.is_paused for one in (paused, training, early, failed)] == [True, *[False] * 3]
    assert [one.is_training for one in (paused, training, early, failed)] == [
        False,
        True,
        *[False] * 2,
    ]
    assert [one.cost for one in (paused, training, early, failed)] == [2, 2, 2, 1]
    assert [one.rest for one in (paused, training, early, failed)] == [10, 10, 0, 0]
    assert [one.value_at(1) for one in (paused, training, early, failed)] == [0.1, 0.1, 0.1, None]
    assert [one.value_at(3) for one in (paused, training, early, failed)] == [None, None, 0.2, None]


def test_a_contender_that_has_all_its_epochs_has_ended():
    """Nothing is left to train, whether or not it is said to have ended."""
    one = contender(0, 0.1, 0.2, epochs=2)
    assert one.has_ended
    assert not one.is_paused
    assert decide_within_total([one], total=1, epochs=12) == End()


def test_projected_value():
    """Half of the gain over the last quarter of the epochs, times the share that is left."""
    one = contender(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5)
    assert projected(one, 1, 3) == 0.1
    assert projected(one, 4, 3) == pytest.approx(0.4 + 0.5 * 0.3 * 8 / 12)
    assert projected(one, 6, 3) == pytest.approx(0.5 + 0.5 * 0.2 * 6 / 12)
    early = contender(0, 0.1, 0.2, until=5, ended=True)
    assert projected(early, 4, 3) == 0.2


def test_draws_come_first():
    """As long as nothing is in the best third of a rung, configurations are drawn."""
    decide = within_total(24, 12)
    assert decide([]) == Draw(1)
    assert decide([contender(0, 0.9)]) == Draw(1)
    assert decide([contender(0, 0.9), contender(1, 0.8)]) == Draw(1)
    assert decide([contender(0, 0.8), contender(1, 0.9), contender(2, 0.7)]) == Promote(1, 2)


def test_draws_are_not_held_up():
    """While configurations are left to draw, the epochs are spent evenly over the draws."""
    # The pace of three is their share of 36 epochs, thus 16; a larger total changes nothing.
    for total in (4, 24, 1000):
        decide = within_total(total, 12)
        assert decide([contender(number, *[0.5] * 5) for number in range(3)]) == Promote(0, 6)
        assert decide([contender(number, *[0.5] * 6) for number in range(3)]) == Draw(1)


def test_nothing_is_drawn_where_it_may_not_be():
    """When a larger budget would have decided otherwise, what is left finishes the leader."""
    begun = [contender(0, 0.9), contender(1, 0.5)]
    assert decide_within_budget(begun[:1], budget=99, epochs=12) == Draw(1)
    assert decide_within_budget(begun[:1], budget=99, epochs=12, may_draw=False) == Promote(0, 12)
    assert decide_within_budget([], budget=99, epochs=12, may_draw=False) == End()


def test_the_best_third_of_the_highest_rung_goes_on_first():
    """A place is that among all that have reached the rung, those that have gone on included."""
    low = [contender(number, 0.5 - number / 100) for number in range(5)]
    high = [contender(5, 0.6, 0.7), contender(6, 0.6, 0.6), contender(7, 0.6, 0.5)]
    decide = within_total(40, 12)
    assert decide([*low, *high]) == Promote(5, 3)
    gone = [contender(5, 0.6, 0.7, 0.7), *high[1:]]
    assert decide([*low, *gone]) == Draw(1)  # neither the second of three nor the fourth of eight
    lower = [contender(number, 0.1) for number in range(8, 12)]
    assert decide([*low, *gone, *lower]) == Promote(0, 2)  # the fourth of twelve


def test_the_lowest_rank_goes_on_when_all_are_drawn():
    """A place counts for more at an early rung, at which more may go on."""
    at_first = [contender(number, 0.5 - number / 100) for number in range(1, 23)]
    ahead = contender(0, 0.6, 0.6)
    far_ahead = contender(23, 0.55, 0.55, 0.56)
    decide = within_total(24, 12)
    # Places, over the numbers that the plan lets go on: 1 of 17, 1 of 14.3, 3 of 20.2.
    assert decide([ahead, far_ahead, *at_first]) == Promote(0, 3)
    ahead = replace(ahead, until=3)
    assert decide([ahead, far_ahead, *at_first]) == Promote(23, 4)
    far_ahead = replace(far_ahead, until=4)
    assert decide([ahead, far_ahead, *at_first]) == Promote(1, 2)


def test_a_late_riser_overtakes_at_its_rung():
    """What rises fast stands before what stands still at a slightly better value."""
    still = contender(0, 0.60, 0.60, 0.60)
    riser = contender(1, 0.10, 0.40, 0.59)
    others = [contender(number, 0.05) for number in range(2, 24)]
    assert decide_within_total([still, riser, *others], total=24, epochs=12) == Promote(1, 4)


def test_one_in_training_is_a_rival_at_its_next_rung():
    """Its last known value counts there, so that it need not be waited for."""
    rivals = [contender(number, 0.5, 0.5, 0.6, until=4) for number in range(3)]
    late = contender(3, *[0.4] * 4)
    first = contender(4, 0.7)
    others = [contender(number, 0.1) for number in range(5, 24)]
    assert decide_within_total([*rivals, late, first, *others], total=24, epochs=12) == Promote(
        4, 2
    )
    slower = [replace(rival, values=(0.1, 0.1, 0.1)) for rival in rivals]
    ahead = replace(first, until=2)
    assert decide_within_total([*slower, late, ahead, *others], total=24, epochs=12) == Promote(
        3, 5
    )
    assert decide_within_total([*rivals, late, ahead, *others], total=24, epochs=12) == Promote(
        5, 2
    )


def test_leaders_are_finished():
    """When the epochs are used, the three with the best values so far are trained to their end."""
    contenders = [contender(number, *[number / 10] * 6) for number in range(12)]
    assert decide_within_total(contenders, total=12, epochs=12) == Promote(11, 12)
    contenders[11] = replace(contenders[11], until=12)
    assert decide_within_total(contenders, total=12, epochs=12) == Promote(10, 12)


def test_nothing_is_finished_while_it_may_be_overtaken():
    """A training that ends at a rung may change the leaders; one that ends at its end may not."""
    contenders = [contender(number, *[number / 10] * 6) for number in range(12)]
    contenders[0] = replace(contenders[0], until=7)
    assert decide_within_total(contenders, total=12, epochs=12) == Wait()


@given(study=studies(), workers=st.integers(1, 4), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_study_of_a_number_ends_with_its_leaders_complete(study, workers, seed):
    """Whatever is drawn, ends early, fails, or differs in epochs, and in whatever order."""
    configurations, epochs = study
    decide = within_total(len(configurations), epochs)
    contenders = search(decide, configurations, workers=workers, seed=seed)
    assert len(contenders) == len(configurations)
    living = [one for one in contenders if not one.out]
    leaders = sorted(living, key=lambda one: (-one.values[-1], one.number))[:LEADERS]
    assert all(one.has_ended for one in leaders)
    if len(configurations) <= LEADERS:
        assert all(one.has_ended for one in contenders)


@given(study=studies(least=12, even=True), share=st.floats(0.4, 0.9))
@settings(max_examples=60, deadline=None)
def test_the_share_is_kept(study, share):
    """From 12 configurations, a study takes its share of the epochs, within one full training."""
    configurations, epochs = study
    contenders = search(within_total(len(configurations), epochs, share), configurations)
    leaders = LEADERS * (epochs - rungs(epochs)[0]) + len(configurations) * rungs(epochs)[0]
    assert cost(contenders) <= max(share * epochs * len(configurations), leaders) + epochs


@given(study=studies(), budget=st.floats(0, 12), workers=st.integers(1, 4), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_study_of_a_budget_keeps_it(study, budget, workers, seed):
    """No study takes more than its budget, whatever is drawn, and in whatever order."""
    configurations, epochs = study
    configurations = configurations * (int(budget * epochs) + 1)  # as many as may be drawn
    decide = within_budget(budget * epochs, epochs)
    contenders = search(decide, configurations, workers=workers, seed=seed)
    assert cost(contenders) <= budget * epochs


@given(
    study=studies(even=True), budget=st.floats(1, 8), workers=st.integers(1, 4), seed=st.integers()
)
@settings(max_examples=60, deadline=None)
def test_a_budget_of_one_training_completes_one(study, budget, workers, seed):
    """The best value so far belongs to a complete configuration in the end, if one can be had."""
    configurations, epochs = study
    configurations = configurations * (int(budget * epochs) + 1)
    decide = within_budget(budget * epochs, epochs)
    contenders = search(decide, configurations, workers=workers, seed=seed)
    assert any(one.has_ended for one in contenders)
    if workers == 1:
        best = min(contenders, key=lambda one: (-one.values[-1], one.number))
        assert best.has_ended


def test_less_than_one_training_is_used_as_well():
    """A budget of fewer epochs than one training has compares what it can."""
    contenders = search(within_budget(8, 12), recorded(0))
    assert cost(contenders) == 8


def test_the_better_half_goes_on_within_a_budget():
    """The best paused one of the highest rung goes on if it is in the better half there."""
    decide = within_budget(100, 12)
    assert decide([]) == Draw(1)
    assert decide([contender(0, 0.5)]) == Draw(1)
    assert decide([contender(0, 0.5), contender(1, 0.6)]) == Promote(1, 2)
    assert decide([contender(0, 0.5), contender(1, 0.6, 0.7)]) == Draw(1)


def test_what_is_given_is_drawn_before_anything_goes_on():
    """A budget that is too small for all that is given compares what it could begin."""
    begun = [contender(0, *[0.5] * 3), contender(1, *[0.6] * 3)]
    decide = partial(decide_within_budget, begun, epochs=12)
    assert decide(budget=100) == Promote(1, 4)
    assert decide(budget=100, given=2) == Promote(1, 4)
    assert decide(budget=100, given=3) == Draw(3)
    assert decide(budget=17, given=3) == Promote(1, 12)
    assert decide(budget=17, given=3, may_draw=False) == Promote(1, 4)


def test_a_budget_keeps_enough_for_the_leader():
    """Nothing is begun that would leave too few epochs to finish the best one."""
    leader = contender(0, *[0.9] * 6)
    other = contender(1, *[0.8] * 6)
    assert decide_within_budget([leader, other], budget=30, epochs=12) == Promote(0, 9)
    begun = [replace(leader, until=9), other]
    assert decide_within_budget(begun, budget=18, epochs=12) == Wait()
    assert decide_within_budget([leader, other], budget=18, epochs=12) == Promote(0, 9)


def test_nothing_is_drawn_once_a_promotion_is_too_long():
    """The search is at its end when what should go on would leave too few epochs for the leader."""
    contenders = [contender(0, *[0.8] * 9), contender(1, *[0.7] * 9), contender(2, 0.9, until=2)]
    assert decide_within_budget(contenders, budget=33, epochs=12) == Promote(0, 12)
    assert decide_within_budget(contenders, budget=32, epochs=12) == Wait()


@given(study=studies(), seed=st.integers(0, 99), value=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_failed_ones_are_no_rivals(study, seed, value):
    """What a failed configuration had reached changes no decision."""
    configurations, epochs = study
    contenders = some_progress(configurations, epochs, seed)
    changed = [
        replace(one, values=(float(value),) * len(one.values)) if one.out else one
        for one in contenders
    ]
    for decide in (within_total(len(contenders), epochs), within_budget(5 * epochs, epochs)):
        assert decide(changed) == decide(contenders)


@given(study=studies(), seed=st.integers(0, 99), more=st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_decision_depends_on_its_arguments_alone(study, seed, more):
    """Neither on earlier decisions, nor on the order in which contenders are given."""
    configurations, epochs = study
    contenders = some_progress(configurations, epochs, seed)
    total = len(contenders) + more
    for decide in (within_total(total, epochs), within_budget(5 * epochs, epochs)):
        before = decide(contenders)
        decide(contenders[:-1])
        assert decide(list(contenders)) == before
        assert decide(random.Random(seed).sample(contenders, len(contenders))) == before


def some_progress(configurations, epochs, seed):
    """Contenders at random rungs: some paused, some in training, some at their end."""
    rng = random.Random(seed)
    contenders = []
    for number, configuration in enumerate(configurations):
        until = min(configuration.epochs, rng.choice(rungs(epochs)))
        one = Contender(number=number, epochs=configuration.epochs, until=until, values=())
        contenders.append(trained(one, configuration) if rng.random() < 0.8 else one)
    return contenders


def test_equal_values_are_decided_by_number():
    """Of equal ones, the first drawn goes on first, and the leaders are the first drawn."""
    equal = [contender(number, 0.5) for number in range(12)]
    assert decide_within_total(equal, total=12, epochs=12) == Promote(0, 2)
    assert decide_within_total(equal[:6], total=6, epochs=12) == Promote(0, 12)  # no more to use
    assert decide_within_budget(equal, budget=99, epochs=12) == Promote(0, 2)
    end = search(within_total(6, 12), [Configuration((0.5,) * 12, 12)] * 6)
    assert [one.has_ended for one in end] == [True] * 3 + [False] * 3


def recorded(permutation, count=24):
    """Random configurations of the recorded table, with their whole curves."""
    rows = map(json.loads, CURVES.read_text("utf-8").splitlines())
    curves = [tuple(accumulate(row["curve"], max)) for row in rows if row["end"] == "complete"]
    drawn = random.Random(permutation).sample(curves, count)
    return [Configuration(curve, len(curve)) for curve in drawn]


def test_recorded_studies():
    """Of 24 recorded configurations, nearly half of the epochs find the best most of the time."""
    found, epochs = 0, 0
    for permutation in range(40):
        configurations = recorded(permutation)
        contenders = search(within_total(24, 12), configurations)
        best = max(one.values[-1] for one in configurations)
        found += any(one.has_ended and one.values[-1] == best for one in contenders)
        epochs += cost(contenders)
    assert found >= 30  # a rule that trains the first 11 to their end finds 18
    assert epochs / (40 * 24 * 12) < SHARE + 0.01


@given(studies(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_who_goes_on_is_among_those_that_may(study, seed):
    """While configurations are left to draw, the place that is told decides who goes on."""
    configurations, epochs = study
    total = len(configurations)

    def decide(contenders):
        decision = decide_within_total(contenders, total=total, epochs=epochs)
        if isinstance(decision, Promote):
            number = decision.number
            standing = standing_within_total(contenders, number, total=total, epochs=epochs)
            assert standing.all_drawn == (len(contenders) == total)
            assert standing.all_drawn or standing.place <= standing.going_on
        return decision

    search(decide, configurations, workers=2, seed=seed)


def test_standing_within_a_total():
    """A place is by what a configuration is expected to reach, among all that came as far or ended."""
    contenders = [
        contender(0, 0.5, 0.5),
        contender(1, 0.4, 0.8, 0.9),
        contender(2, 0.1, 0.45),
        contender(3, 0.3),
        contender(4, 0.95, ended=True),
        contender(5, 0.99, out=True),
    ]
    standing = partial(standing_within_total, contenders, epochs=12)
    slow = standing(2, total=9)
    assert (slow.place, slow.rivals, slow.going_on, slow.all_drawn) == (3, 4, 1, False)
    assert slow.value == projected(contenders[2], 2, 3) > 0.5
    planned = standing(2, total=6)  # of five, three are to be trained to the end
    assert (planned.going_on, planned.all_drawn) == (int(5 * (3 / 5) ** (2 / 12)), True)
    assert standing(4, total=9) is None


def test_standing_within_a_budget():
    """Within a budget, a place is by the best value so far, and the better half goes on."""
    contenders = [contender(0, 0.5), contender(1, 0.4, 0.8), contender(2, 0.1), contender(3, 0.3)]
    standing = standing_within_budget(contenders, 3)
    assert (standing.place, standing.rivals, standing.going_on) == (3, 4, 2)
    assert standing.value == 0.3


@given(studies(even=True), st.sampled_from([SHARE, 0.8]))
@settings(max_examples=100, deadline=None)
def test_expected_epochs(study, share):
    """A study takes the epochs that are expected of it, give or take one training."""
    configurations, epochs = study
    total = len(configurations)
    contenders = search(within_total(total, epochs, share), configurations)
    expected = expected_epochs(total=total, epochs=epochs, share=share)
    assert abs(cost(contenders) - expected) <= epochs
