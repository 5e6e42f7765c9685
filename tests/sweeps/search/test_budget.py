"""A study with a budget trains until it is used, and no longer."""

import dataclasses
import random

import pytest
from support.searches import MIXED, accuracy, fail, make_train, memory, spec

from sweeps.search import loop
from sweeps.search.loop import SequentialRunner
from sweeps.search.stored import open_storage
from sweeps.search.study import Study
from sweeps.trial import COMPLETE, PRUNED

EPOCHS = 9  # of a whole training of the mixed study
BUDGET_ALONE = MIXED.replace("trials: 20\n", "")
GRID = """
method: grid
epochs: 6
search: {lr: [0.001, 0.003, 0.01, 0.03], dropout: [0, 0.1, 0.2], family: [mlp, cnn, resnet]}
"""
STARTS = """
budget: 6
epochs: 9
search: {lr: {low: 1.0e-3, high: 1.0e-1, log: true}}
fixed: {family: cnn}
baselines: [{lr: 0.01}]
start_with: [{lr: 0.001}, {lr: 0.002}]
"""
FOUR_CONFIGURATIONS = """
method: random
epochs: 4
search: {width: [8, 16], optimizer: [adam, sgd]}
"""
SEARCHED_EPOCHS = """
epochs: 6
search: {epochs: {low: 2, high: 8}, lr: {low: 1.0e-4, high: 1.0e-1, log: true}, family: [mlp, cnn]}
"""


class Shuffled:
    """A runner whose trials end in any order."""

    def __init__(self, train, places, rng):
        self.places, self._train, self._rng, self._begun = places, train, rng, []

    def begin(self, asked):
        self._begun.append(asked)

    def wait(self):
        asked = self._begun.pop(self._rng.randrange(len(self._begun)))
        return asked, self._train(asked)


def begin(text=BUDGET_ALONE, storage=None, *, workers=1, version=3, **overrides):
    facts = {"runtime": {"threads": 1}, "workers": workers, "scheduler": version}
    return Study.open(storage or memory(), "study", spec(text, **overrides), facts)


def sweep(text=BUDGET_ALONE, storage=None, *, workers=1, seed=0, version=3, **overrides):
    """Sweep a study, and return it."""
    study = begin(text, storage, workers=workers, version=version, **overrides)
    ending = loop.run(study, Shuffled(make_train(study), workers, random.Random(seed)))
    assert ending.reason == "done"
    return study


def used(study):
    """The epochs that the trials of a study took."""
    return sum(len(result.history) for result in study.results() if result.duplicate_of is None)


def count(study, state):
    return sum(result.state == state for result in study.results())


def configurations(study):
    return [result.config.signature for result in study.results()]


@pytest.mark.parametrize(("budget", "workers"), [(1, 1), (2, 2), (3, 1), (6, 1), (6, 4), (12, 2)])
def test_a_budget_alone_is_used_and_kept(budget, workers):
    """A budget is nearly used up and never exceeded, and completes at least one trial."""
    study = sweep(budget=budget, workers=workers)
    assert 0 <= budget * EPOCHS - used(study) < EPOCHS
    assert {result.state for result in study.results()} <= {COMPLETE, PRUNED}
    assert count(study, COMPLETE) >= 1
    assert len(study.results()) > budget or budget == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_ending_decides_nothing(seed):
    """With three workers the list is the same in whatever order the trials end."""
    first, second = (sweep(budget=4, workers=3, seed=order) for order in (0, seed))
    assert second.results() == first.results()
    assert second.decisions == first.decisions


@pytest.mark.parametrize("budget", [2, 6, 12])
def test_trials_cap_what_a_budget_draws(budget):
    """With trials beside a budget no more are drawn, and the budget is kept however small it is."""
    study = sweep(MIXED, budget=budget)
    assert 0 <= budget * EPOCHS - used(study) < EPOCHS
    assert len(study.results()) <= 20
    assert count(study, COMPLETE) >= 1


def test_a_budget_for_more_than_all_trials_completes_all():
    """A budget is no reason to draw more trials than there are to be."""
    study = sweep(MIXED, budget=30, trials=6)
    assert count(study, COMPLETE) == len(study.results()) == 6


@pytest.mark.parametrize(("budget", "drawn"), [(2, 12), (9, 36), (40, 36)])
def test_a_grid_with_a_budget(budget, drawn):
    """A grid is compared as far as the budget goes: what is drawn has its order."""
    study = sweep(GRID, budget=budget)
    whole = sweep(GRID, pruner="none")
    assert used(study) <= budget * 6
    assert count(study, COMPLETE) >= 1
    assert len(study.results()) <= drawn
    assert configurations(study) == configurations(whole)[: len(study.results())]
    assert budget < 36 or count(study, COMPLETE) == 36


@pytest.mark.parametrize("trials", [None, 20])
def test_searched_epochs_within_a_budget(trials):
    """A whole training has the most epochs that are searched."""
    study = sweep(SEARCHED_EPOCHS, budget=6, trials=trials)
    assert 0 <= 6 * 8 - used(study) < 8
    assert count(study, COMPLETE) >= 1


@pytest.mark.parametrize("pruner", ["asha", "median", "none"])
def test_repeats_within_a_budget(pruner):
    """All seeds of a configuration are paid from the budget, and none is left without its others."""
    study = sweep(BUDGET_ALONE + "repeats: 3\n", budget=7, pruner=pruner)
    assert 0 <= 7 * EPOCHS - used(study) < 3 * EPOCHS
    assert len(study.results()) % 3 == 0
    assert count(study, COMPLETE) >= 3


@pytest.mark.parametrize("workers", [1, 3])
def test_trials_trained_in_one_go_are_begun_while_they_fit(workers):
    """Without a pruner, a budget of seven is seven whole trainings."""
    study = sweep(budget=7.5, pruner="none", workers=workers)
    assert count(study, COMPLETE) == len(study.results()) == 7


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_pruner_spares_is_used_for_further_trials(version):
    """Several workers wait for the end of a trial that may leave enough for one more."""
    pruner = "asha" if version == 1 else "median"
    studies = [
        sweep(budget=14, pruner=pruner, workers=workers, version=version) for workers in (1, 2)
    ]
    for study in studies:
        assert len(study.results()) > 14
        assert 0 <= 14 * EPOCHS - used(study) < EPOCHS


@pytest.mark.parametrize(
    ("version", "text", "firsts"),
    [
        (3, STARTS, [9, 3, 3, 1, 1]),
        (3, f"{STARTS}trials: 60", [9, 3, 3, 1, 1]),
        (3, STARTS.replace("budget: 6", "trials: 12"), [9, 1, 1, 1, 1]),
        (2, STARTS, [9, 1, 1, 1, 1]),
    ],
    ids=["budget", "budget too small for the trials", "trials", "earlier version"],
)
def test_what_is_given_to_begin_with_has_a_head_start(version, text, firsts):
    """Starts are first compared after a quarter of a training, and win though they begin slowly."""
    study = begin(text, version=version)

    def slowly(config, epoch):
        if config.lr not in (0.001, 0.002):
            return accuracy(config, epoch)
        return config.lr if epoch < 3 else 0.95 + config.lr

    loop.run(study, SequentialRunner(make_train(study, value=slowly)))
    until = {}
    for decision in study.decisions:
        until.setdefault(decision.trial, decision.until)
    assert list(until.values())[:5] == firsts
    if "budget" in text:
        assert (study.results()[2].state == COMPLETE) == (version == 3)
        assert 0 <= 6 * EPOCHS - used(study) < EPOCHS


def test_a_budget_changes_no_trial_of_the_old_rule():
    """Under the rule of 0.1.0 a budget only says how many trials there are."""
    limited = sweep(budget=12, version=1)
    whole = sweep(trials=40, version=1)
    assert limited.results() == whole.results()[: len(limited.results())]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_larger_budget_later(tmp_path, workers):
    """A budget of 2 and then 5 is the list and the decisions of 5; what ended stays complete."""
    storage = open_storage(f"sqlite:///{tmp_path}/o.db", timeout=20)
    first = sweep(storage=storage, budget=2, workers=workers)
    complete = {r.number for r in first.results() if r.state == COMPLETE}
    later = sweep(storage=storage, budget=5, workers=workers)
    whole = sweep(budget=5, workers=workers)
    assert configurations(later) == configurations(whole)
    assert later.decisions == whole.decisions
    assert complete <= {r.number for r in later.results() if r.state == COMPLETE}
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.parametrize("pruner", ["asha", "none"])
def test_a_budget_of_time_is_kept_within_a_training(pruner):
    """A time is converted by the mean time of the epochs so far, whatever each takes."""
    study = begin(budget="5min", pruner=pruner)
    train = make_train(study)

    def timed(asked):
        result = train(asked)
        seconds = {"mlp": 1.0, "cnn": 2.0, "resnet": 3.0}[asked.config.family]
        return dataclasses.replace(result, seconds=seconds * len(result.history))

    loop.run(study, SequentialRunner(timed))
    seconds = sum(result.seconds for result in study.results())
    assert abs(300 - seconds) < 3 * EPOCHS
    assert count(study, COMPLETE) >= 1


def test_a_rule_to_stop_beside_a_budget():
    """A sweep ends by the rule that holds first."""
    study = begin(BUDGET_ALONE + "stop: {target: 0.5}\n", budget=12)
    ending = loop.run(study, SequentialRunner(make_train(study)))
    assert ending.reason == "target 0.5 reached"
    assert used(study) < 12 * EPOCHS
    assert {result.state for result in study.results()} == {COMPLETE, PRUNED}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pruner", ["asha", "none"])
def test_a_budget_ends_when_nothing_new_can_be_drawn(pruner, workers):
    """A budget for more than all configurations of a search completes each, and then ends."""
    study = sweep(FOUR_CONFIGURATIONS, pruner=pruner, workers=workers, budget=12)
    results = study.results()
    assert {result.state for result in results} == {COMPLETE}
    assert len({result.config.signature for result in results}) == 4
    assert len(results) < 100


@pytest.mark.parametrize("pruner", ["asha", "none"])
def test_a_budget_ends_if_every_trial_fails_at_once(pruner):
    """Diverged trials take no epoch of the budget, but they are not drawn for ever."""
    study = begin(budget=12, pruner=pruner)
    runner = SequentialRunner(lambda asked: fail(asked, "diverged"))
    assert loop.run(study, runner).reason == "done"
    assert len(study.results()) < 100
