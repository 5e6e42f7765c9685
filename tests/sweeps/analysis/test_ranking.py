"""Trials are ranked by state, value and number, and repeats are one entry."""

import random

import pytest
from support.records import make_record, make_result

from sweeps.analysis.facts import StoredSpec
from sweeps.analysis.ranking import (
    BestSoFar,
    RankingRule,
    ends_text,
    find_best_trial,
    rank,
    searched_values,
)
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING

MINIMIZE = RankingRule(maximize=False)
RULE_2 = RankingRule(selection=2)


def ranks(results, rule=RULE_2):
    """Rank, number of the leading trial and value of each place."""
    return [(e.rank, e.trials[0].number, e.value) for e in rank(results, rule)]


def order(results, rule=RULE_2):
    """The number of the leading trial of each place."""
    return [entry.trials[0].number for entry in rank(results, rule)]


def trial(number, value=None, **options):
    """A configuration of its own for each number, unless the learning rate is given."""
    return make_result(number, value, **{"epochs": 0, "lr": 0.001 * (number + 1), **options})


def test_orders_by_value():
    """More is better, unless the objective is minimised."""
    results = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.7)]
    assert ranks(results) == [(1, 1, 0.9), (2, 2, 0.7), (3, 0, 0.5)]
    assert ranks(results, MINIMIZE) == [(1, 0, 0.5), (2, 2, 0.7), (3, 1, 0.9)]


def test_ties_share_a_rank():
    """Equal values share a rank, the earlier trial stands first, and the next rank skips."""
    results = [trial(3, 0.9), trial(1, 0.9), trial(2, 0.8), trial(0, 0.95)]
    assert ranks(results) == [(1, 0, 0.95), (2, 1, 0.9), (2, 3, 0.9), (4, 2, 0.8)]


def test_repeats_are_one_entry():
    """Repeats over seeds are one entry with their mean and sample standard deviation, the best repeat first."""
    repeats = [trial(i, value, lr=0.5, seed=i) for i, value in enumerate((0.8, 0.9, 0.7))]
    first, second = rank([*repeats, trial(3, 0.85, lr=0.25)])
    assert (first.rank, first.value, first.spread) == (1, 0.85, None)
    assert second.value == pytest.approx(0.8)
    assert second.spread == pytest.approx(0.1)
    assert [t.number for t in second.trials] == [1, 0, 2]


def test_repeats_average_complete_ones():
    """A failed or pruned repeat counts neither in the mean nor in the spread, and stands after the complete ones."""
    repeats = [
        trial(0, 0.99, lr=0.5, seed=0, state=PRUNED),
        trial(1, lr=0.5, seed=1, state=FAILED),
        trial(2, 0.8, lr=0.5, seed=2),
    ]
    (entry,) = rank(repeats)
    assert (entry.value, entry.spread, entry.state) == (0.8, None, "complete")
    assert [t.number for t in entry.trials] == [2, 0, 1]


@pytest.mark.parametrize("maximize", [True, False])
def test_state_comes_before_value(maximize):
    """A pruned trial never outranks a complete one; running ones follow, failed ones are last, both without a rank."""
    great, poor = (0.99, 0.1) if maximize else (0.1, 0.99)
    results = [
        trial(0, state=FAILED),
        trial(1, state=RUNNING),
        trial(2, great, state=PRUNED),
        trial(3, poor),
    ]
    assert ranks(results, RankingRule(maximize=maximize, selection=2)) == [
        (1, 3, poor),
        (2, 2, great),
        (None, 1, None),
        (None, 0, None),
    ]


def test_pruned_and_complete_do_not_tie():
    """A pruned trial of the same value has the next rank, not the same one."""
    assert ranks([trial(0, 0.5, state=PRUNED), trial(1, 0.5)]) == [(1, 1, 0.5), (2, 0, 0.5)]


def test_best_is_complete():
    """The best trial is the best repeat of the best complete configuration, of the lowest value if minimised."""
    steady = [trial(i, value, lr=0.5, seed=i) for i, value in enumerate((0.8, 0.9))]
    uneven = [trial(i, value, lr=0.25, seed=i) for i, value in ((2, 0.95), (3, 0.5))]
    results = [*steady, *uneven, trial(4, 0.99, state=PRUNED)]
    assert find_best_trial(results).number == 1
    assert find_best_trial(results, MINIMIZE).number == 3


@pytest.mark.parametrize(
    "results", [[], [trial(0, 0.9, state=PRUNED), trial(1, state=FAILED), trial(2, state=RUNNING)]]
)
def test_no_best(results):
    """Where no trial is complete there is no best one."""
    assert find_best_trial(results) is None


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ([], "0 ended"),
        (["running"], "0 ended; 1 running"),
        (["complete", "pruned", "complete"], "3 ended: 2 complete, 1 pruned"),
        (
            ["diverged", "oom", "complete", "oom"],
            "4 ended: 1 complete, 1 failed (diverged), 2 failed (oom)",
        ),
        (["pruned", "running", "diverged"], "2 ended: 1 pruned, 1 failed (diverged); 1 running"),
    ],
)
def test_ended_says_how(states, text):
    """What ended is counted by how it ended, failures by their cause, and what runs apart."""
    known = ("complete", "pruned", "running")
    results = [trial(i, state=s if s in known else FAILED, end=s) for i, s in enumerate(states)]
    assert ends_text(results) == text


@pytest.mark.parametrize(
    ("fixed", "optimizers", "searched"),
    [
        ({"optimizer": "adam"}, ("adam",), ()),
        ({}, ("adam", "adam"), ()),  # by default
        ({"optimizer": "sgd"}, ("sgd",), ("momentum",)),
        ({}, ("adam", "sgd"), ("momentum",)),
        ({}, (), ("momentum",)),  # nothing is known yet
    ],
)
def test_what_no_trial_can_have_is_not_searched(fixed, optimizers, searched):
    """A field whose condition no trial meets, such as momentum beside Adam, is not told as searched."""
    trials = [trial(number, optimizer=name) for number, name in enumerate(optimizers)]
    momentum = Dimension(field="momentum", low=0, high=0.9)
    families = Dimension(field="family", choices=("mlp", "cnn"))
    record = make_record(trials, dimensions=[families, momentum], spec=StoredSpec(fixed=fixed))
    assert record.searched == ("family", *searched)


def test_searched_values():
    """A searched field that does not apply to a trial is None, and each field stands once, in the study's order."""
    dimensions = [
        Dimension(field="residual", choices=(True, False)),
        Dimension(field="depth", low=1, high=2, when={"family": ("mlp",)}),
        Dimension(field="depth", low=1, high=3, when={"family": ("resnet",)}),
    ]
    searched = make_record(dimensions=dimensions).searched
    assert searched == ("residual", "depth")
    assert searched_values(trial(0, family="mlp", depth=2), searched) == {
        "residual": None,
        "depth": 2,
    }


def test_the_mean_of_what_is_left_does_not_win():
    """A configuration some of whose repeats were pruned or failed ranks behind those that are whole."""
    lucky = [make_result(0, 0.95, lr=0.1), make_result(1, 0.5, lr=0.1, seed=1, state=PRUNED)]
    whole = [make_result(2, 0.94, lr=0.2), make_result(3, 0.93, lr=0.2, seed=1)]
    assert [entry.trials[0].number for entry in rank(lucky + whole)] == [2, 0]
    assert [entry.trials[0].number for entry in rank(lucky)] == [0]


@pytest.mark.parametrize("selection", [1, 2])
@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_leader_is_the_best_of_what_was_added(selection, maximize, seed):
    """Results with repeats, ties, duplicates and failures, added one by one, lead to the best of all so far."""
    rule = RankingRule(maximize=maximize, selection=selection, repeats=3)
    rng, leader, results = random.Random(seed), BestSoFar(rule), []
    for number in range(60):
        state = rng.choice([COMPLETE, COMPLETE, COMPLETE, PRUNED, FAILED])
        value = None if state == FAILED else rng.randint(1, 9) / 10
        again = number - 1 if number and rng.random() < 0.1 else None
        lr = rng.choice([0.1, 0.01, 0.001, 0.0001])
        results.append(
            make_result(number, value, state=state, lr=lr, seed=number, duplicate_of=again)
        )
        assert leader.add(results[-1]) == find_best_trial(results, rule)


def test_paused_trials_rank_with_pruned_ones():
    """A paused trial ranks by value among pruned ones of as many epochs, between complete and running ones."""
    results = [
        make_result(0, 0.1),
        make_result(1, 0.5, state=PRUNED, lr=0.1),
        make_result(2, 0.9, state=RUNNING, lr=0.2),
        make_result(3, 0.8, state=PAUSED, lr=0.3),
        make_result(4, 0.5, state=PAUSED, lr=0.4),
    ]
    ranked = [(entry.rank, entry.trials[0].number) for entry in rank(results, RULE_2)]
    assert ranked == [(1, 0), (2, 3), (3, 1), (3, 4), (5, 2)]


@pytest.mark.parametrize("state", [PRUNED, PAUSED])
def test_a_trial_that_came_further_ranks_first(state):
    """Values of different epochs are not compared: more epochs come first; rule 1 compares the values alone."""
    results = [
        trial(0, 0.7),
        trial(1, 0.99, state=state, epochs=1),
        trial(2, 0.6, state=state, epochs=3),
        trial(3, 0.5, state=state, epochs=1),
        trial(4, 0.65, state=state, epochs=3),
        trial(5, 0.99, state=PRUNED, epochs=1),
    ]
    assert ranks(results) == [
        (1, 0, 0.7),
        (2, 4, 0.65),
        (3, 2, 0.6),
        (4, 1, 0.99),
        (4, 5, 0.99),
        (6, 3, 0.5),
    ]
    assert order(results, RankingRule(selection=1)) == [0, 1, 5, 4, 2, 3]


def test_equal_values_of_different_epochs_are_no_tie():
    """A pruned trial of the same value after more epochs has a rank of its own."""
    results = [trial(0, 0.5, state=PRUNED, epochs=1), trial(1, 0.5, state=PRUNED, epochs=2)]
    assert ranks(results) == [(1, 1, 0.5), (2, 0, 0.5)]


def test_seeds_that_came_further_speak_for_their_configuration():
    """Of a configuration without a complete seed, the one that came furthest gives the value."""
    seeds = [
        trial(0, 0.9, lr=0.1, seed=0, state=PAUSED, epochs=1),
        trial(1, 0.4, lr=0.1, seed=1, state=PAUSED, epochs=3),
    ]
    assert ranks(seeds) == [(1, 1, 0.4)]


def _repeated(lr, values, first):
    """A configuration with so many complete seeds, numbered from `first`."""
    return [trial(first + i, value, lr=lr, seed=i) for i, value in enumerate(values)]


@pytest.mark.parametrize("others", [(), ((0.2, (0.6, 0.6)),)])
def test_a_configuration_that_lacks_seeds_does_not_lead(others):
    """The lone fourth of four trials in threes stands last, however good; so does any other number but the planned."""
    rule = RankingRule(selection=2, repeats=3)
    results = _repeated(0.1, (0.5, 0.4, 0.3), 0)
    for lr, values in others:
        results += _repeated(lr, values, len(results))
    results += _repeated(0.3, (0.99,), len(results))
    assert order(results, rule) == [0, 3, 5] if others else [0, 3]
    assert find_best_trial(results, rule).number == 0


def test_some_trial_is_the_best_before_a_configuration_is_whole():
    """Among configurations that all lack seeds, more seeds come first; then the mean decides."""
    rule = RankingRule(selection=2, repeats=3)
    results = [trial(0, 0.8), *_repeated(0.2, (0.5, 0.6), 1), trial(3, 0.9)]
    assert find_best_trial(results[:1], rule).number == 0
    assert order(results, rule) == [2, 3, 0]


def test_a_configuration_that_lacks_seeds_is_no_tie():
    """The same mean of fewer seeds than planned has a rank of its own."""
    rule = RankingRule(selection=2, repeats=2)
    results = [*_repeated(0.1, (0.5,), 0), *_repeated(0.2, (0.4, 0.6), 1)]
    assert [entry.rank for entry in rank(results, rule)] == [1, 2]


def test_means_of_the_same_hits_are_equal():
    """Seeds with the same hits in all share a rank, whatever the last digit of their mean is."""
    one, other = (
        _repeated(lr, [hits / 239 for hits in counts], first)
        for lr, counts, first in ((0.1, (230, 231, 235), 0), (0.2, (232, 232, 232), 3))
    )
    entries = rank(one + other, RankingRule(selection=2, repeats=3))
    assert [entry.rank for entry in entries] == [1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("selection", [1, 2])
@pytest.mark.parametrize("maximize", [True, False])
def test_a_value_that_is_no_number_is_none(value, selection, maximize):
    """A complete trial with such a value has no rank and is last of the complete ones; alone, it is not the best."""
    rule = RankingRule(maximize=maximize, selection=selection)
    broken = trial(0, value)
    others = [trial(1, 0.5), trial(2, 0.4, state=PRUNED), trial(3, 0.5)]
    ranked = [(e.rank, e.trials[0].number, e.value) for e in rank([broken, *others], rule)]
    assert ranked == [(1, 1, 0.5), (1, 3, 0.5), (None, 0, None), (4, 2, 0.4)]
    assert find_best_trial([broken], rule) is None
    assert BestSoFar(rule).add(broken) is None


def test_the_mean_leaves_out_a_value_that_is_no_number():
    """A seed without a finite value counts as missing."""
    seeds = [trial(0, float("nan"), lr=0.1, seed=0), trial(1, 0.9, lr=0.1, seed=1)]
    whole = _repeated(0.2, (0.3, 0.3), 2)
    assert ranks([*seeds, *whole], RankingRule(selection=2, repeats=2)) == [
        (1, 2, 0.3),
        (2, 1, 0.9),
    ]


def test_a_configuration_with_a_paused_seed_is_not_whole():
    """A complete seed does not win for a configuration whose other seed is paused."""
    lucky = [make_result(0, 0.95, lr=0.1), make_result(1, 0.5, lr=0.1, seed=1, state=PAUSED)]
    whole = [make_result(2, 0.94, lr=0.2), make_result(3, 0.93, lr=0.2, seed=1)]
    assert [entry.trials[0].number for entry in rank(lucky + whole)] == [2, 0]


def test_paused_trials_have_not_ended():
    """Paused trials are counted apart; so is one that waits for the result of its like."""
    results = [
        make_result(0, 0.5),
        make_result(1, 0.4, state=PAUSED),
        make_result(2, state=PAUSED, duplicate_of=1, history=()),
        make_result(3, state=RUNNING),
    ]
    assert ends_text(results) == "1 ended: 1 complete; 2 paused; 1 running"
    assert [result.has_ended for result in results] == [True, False, False, False]
