"""Scores of trials that were trained for different numbers of epochs."""

import pytest
from support.records import make_epoch, make_result

from sweeps.analysis.equal_epochs import scores_at_equal_epochs
from sweeps.trial import COMPLETE, PAUSED


def trial(values, state=COMPLETE, *, metric="val/acc", value=None):
    """A trial with these values by epoch."""
    history = tuple(make_epoch(epoch, {metric: one}) for epoch, one in enumerate(values, start=1))
    return make_result(0, max(values) if value is None else value, state=state, history=history)


def scores(*trials, objective="val_acc", maximize=True):
    return list(scores_at_equal_epochs(trials, objective, maximize=maximize))


def test_complete_trials_keep_the_order_of_their_values():
    """Complete trials are compared by their values, whenever each of them ended."""
    found = scores(trial([0.1, 0.5, 0.4]), trial([0.6]), trial([0.2, 0.3]))
    assert found == [0, 1, -1]


def test_paused_trial_is_compared_where_it_stands():
    """Another trial's later epochs count nothing against one that was paused before them."""
    further, paused = scores(trial([0.1, 0.2, 0.9]), trial([0.3], PAUSED))
    assert (further, paused) == (-1, 1)


def test_later_comparisons_weigh_more():
    """A comparison counts with the number of its epoch."""
    trials = [trial([0.5, 0.5, 0.5]), trial([0.4, 0.6, 0.6], PAUSED), trial([0.4], PAUSED)]
    # Lost at the third epoch, won at the first.
    assert scores(*trials)[0] == pytest.approx((-3 + 1) / (3 + 1))


def test_equal_trials():
    """Equal values are neither won nor lost."""
    assert scores(trial([0.5]), trial([0.5])) == [0, 0]


def test_minimised_objective():
    """Where less is better, the lowest value so far counts."""
    trials = [trial([2.0, 1.0], metric="val/loss", value=1.0), trial([1.5], PAUSED)]
    trials[1] = trial([1.5], PAUSED, metric="val/loss", value=1.5)
    assert scores(*trials, objective="val_loss", maximize=False) == [-1, 1]


def test_without_histories():
    """Trials without a history are compared by their values."""
    assert scores(make_result(0, 0.4, epochs=0), make_result(1, 0.6, epochs=0)) == [-1, 1]


def test_epoch_that_is_no_number():
    """An epoch whose value is no number is worse than any."""
    found = scores(trial([float("nan"), 0.9], value=0.9), trial([0.1], PAUSED))
    assert found == [-1, 1]
