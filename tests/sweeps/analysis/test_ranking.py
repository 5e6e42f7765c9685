"""Trials are ranked by state, value and number, and repeats are one entry."""

import random

import pytest
from support.records import make_record, make_result

from sweeps.analysis.ranking import BestSoFar, ends_text, find_best_trial, rank, searched_values
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING


def ranks(results, **options):
    """Rank, number of the leading trial and value of each place."""
    return [(e.rank, e.trials[0].number, e.value) for e in rank(results, **options)]


def trial(number, value=None, **options):
    """A configuration of its own for each number, unless the learning rate is given."""
    return make_result(number, value, **{"epochs": 0, "lr": 0.001 * (number + 1), **options})


def test_orders_by_value():
    """More is better, unless the objective is minimised."""
    results = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.7)]
    assert ranks(results) == [(1, 1, 0.9), (2, 2, 0.7), (3, 0, 0.5)]
    assert ranks(results, maximize=False) == [(1, 0, 0.5), (2, 2, 0.7), (3, 1, 0.9)]


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
    assert ranks(results, maximize=maximize) == [
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
    assert find_best_trial(results, maximize=False).number == 3


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


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_leader_is_the_best_of_what_was_added(maximize, seed):
    """Results with repeats, ties, duplicates and failures, added one by one, lead to the best of all so far."""
    rng, leader, results = random.Random(seed), BestSoFar(maximize=maximize), []
    for number in range(60):
        state = rng.choice([COMPLETE, COMPLETE, COMPLETE, PRUNED, FAILED])
        value = None if state == FAILED else rng.randint(1, 9) / 10
        again = number - 1 if number and rng.random() < 0.1 else None
        lr = rng.choice([0.1, 0.01, 0.001, 0.0001])
        results.append(
            make_result(number, value, state=state, lr=lr, seed=number, duplicate_of=again)
        )
        assert leader.add(results[-1]) == find_best_trial(results, maximize=maximize)


def test_paused_trials_rank_with_pruned_ones():
    """A paused trial ranks by its value so far: after complete ones, among pruned ones, before running ones."""
    results = [
        make_result(0, 0.1),
        make_result(1, 0.5, state=PRUNED, lr=0.1),
        make_result(2, 0.9, state=RUNNING, lr=0.2),
        make_result(3, 0.8, state=PAUSED, lr=0.3),
        make_result(4, 0.5, state=PAUSED, lr=0.4),
    ]
    ranked = [(entry.rank, entry.trials[0].number) for entry in rank(results)]
    assert ranked == [(1, 0), (2, 3), (3, 1), (3, 4), (5, 2)]


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
