"""What a sampler is shown: trials at equal epochs, and earlier studies as far as they agree with this one."""

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from support.searches import spec

from sweeps.analysis.facts import WarmSource, WarmStart
from sweeps.search.prior import SHOWN, Prior, at_equal_epochs, values_at_end

LINE = "search: {dropout: {low: 0, high: 0.5}}"


def trial(number, reports, state="PRUNED", **params):
    """A trial with its best values so far, from epoch 1 on."""
    found = create_trial(
        state=TrialState[state],
        value=reports[-1] if state == "COMPLETE" else None,
        params=params,
        distributions={name: FloatDistribution(0, 0.5) for name in params},
        intermediate_values={epoch + 1: value for epoch, value in enumerate(reports)},
    )
    found.number = number
    return found


def test_paused_trials_gain_what_others_have_gained():
    """A paused trial is shown with the mean gains of those that went further; one without a value as the worst."""
    trials = [
        trial(0, (0.5, 0.7, 0.8), "COMPLETE"),
        trial(1, (0.4, 0.5, 0.6), "COMPLETE"),
        trial(2, (0.3, 0.6)),  # gains 0.1 from epoch 2 on, as both of the complete ones
        trial(3, (0.2,)),  # gains 0.2, 0.1 or 0.3 until epoch 2, and 0.1 then
        trial(4, ()),
        trial(5, (), "RUNNING"),
    ]
    expected = {0: 0.8, 1: 0.6, 2: 0.7, 3: 0.5, 4: 0.5}
    assert values_at_end(trials, maximize=True) == pytest.approx(expected)
    shown = at_equal_epochs(trials, maximize=True)
    assert [one.state.name for one in shown] == ["COMPLETE"] * 5 + ["RUNNING"]
    assert [one.value for one in shown[:5]] == pytest.approx(list(expected.values()))
    assert [one.state.name for one in trials][2:5] == ["PRUNED"] * 3  # the trials themselves stay


def test_losses_at_equal_epochs():
    """Of a loss, which falls, the worst is the highest; a trial that ended early keeps its value."""
    trials = [
        trial(0, (2.0, 1.0, 0.5), "COMPLETE"),
        trial(1, (3.0,), "COMPLETE"),
        trial(2, (4.0,)),
        trial(3, ()),
    ]
    expected = {0: 0.5, 1: 3.0, 2: 3.25, 3: 3.25}
    assert values_at_end(trials, maximize=False) == pytest.approx(expected)


@pytest.mark.parametrize("trials", [[], [trial(0, ())], [trial(0, (), "RUNNING")]])
def test_nothing_is_known(trials):
    """Without any value, trials are shown as they are."""
    assert at_equal_epochs(trials, maximize=True) == trials


def source(best, count=40):
    """A study whose configurations are the better, the nearer their dropout is to one value."""
    values = sorted((index / (2 * count) for index in range(count)), key=lambda x: abs(x - best))
    observations = tuple(
        ({"dropout": value}, 1 - (index + 0.5) / count) for index, value in enumerate(values)
    )
    return WarmSource(
        name="earlier",
        dataset="digits",
        configurations=count,
        moved=0,
        unfit={},
        observations=observations,
    )


def own(best, count):
    """So many trials that are the better, the nearer their dropout is to one value."""
    return [
        trial(number, (1 - abs(x - best),), "COMPLETE", dropout=x)
        for number, x in enumerate(0.5 * ((7 * n) % 30) / 30 for n in range(count))
    ]


@pytest.mark.parametrize("objective", ["val_acc", "val_loss"])
def test_an_earlier_study_that_agrees_is_shown(objective):
    """Earlier configurations stand before the trials, with values in the order of their places."""
    study = spec(f"{LINE}\nobjective: {objective}")
    prior = Prior(study, WarmStart(sources=(source(0.1),), first=()))
    trials = own(0.1, 24) if study.maximize else losses(own(0.1, 24))
    shown = [one for one in prior.join(trials) if one.number < 0]
    assert len(shown) > 0.8 * SHOWN
    assert [one.number for one in shown] == list(range(-len(shown), 0))
    best = (max if study.maximize else min)(shown, key=lambda one: one.value)
    assert best.params == {"dropout": 0.1}
    assert prior.join([]) == []  # nothing is believed before any trial is known


def losses(trials):
    """The trials with values of which less is better."""
    return [
        trial(one.number, (1 - one.value,), "COMPLETE", dropout=one.params["dropout"])
        for one in trials
    ]


def test_a_source_that_misleads_is_left_out():
    """A source is believed as far as it has ordered the trials rightly; one with the opposite order is not."""
    prior = Prior(spec(LINE), WarmStart(sources=(source(0.0), source(0.5)), first=()))
    counts = []
    for count in (0, 3, 6, 12, 24):
        trials = own(0.0, count)
        counts.append(prior.weights(trials, {t.number: t.value for t in trials}))
    right, wrong = zip(*counts, strict=True)
    assert wrong == (0, 0, 0, 0, 0)
    assert sorted(right) == list(right)
    assert (right[0], right[-1] > 0.9) == (0, True)
    shown = prior.join(own(0.0, 24))
    assert len(shown) == 24 + round(right[-1] * SHOWN / 2)


def test_running_trials_and_failures_are_shown_beside_earlier_studies():
    """A trial in training stays so; one that diverged has a place below all others."""
    prior = Prior(spec(LINE), WarmStart(sources=(source(0.1),), first=()))
    trials = [*own(0.1, 3), trial(3, (), dropout=0.2), trial(4, (), "RUNNING", dropout=0.3)]
    shown = {one.number: one for one in prior.join(trials)}
    assert shown[4].state == TrialState.RUNNING
    assert shown[3].value <= min(shown[number].value for number in range(3))
