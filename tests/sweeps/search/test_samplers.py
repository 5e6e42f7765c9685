"""Samplers that learn from more than a study's own trials, or only from complete ones: gp and warm starts."""

import dataclasses
import random

import pytest
from support.searches import Disorder, interrupt_all, make_train, memory, spec

from sweeps.search import loop
from sweeps.search.decisions import DamagedStudyError
from sweeps.search.stored import read_record
from sweeps.search.study import Study
from sweeps.search.warm_start import take_warm_start

PLAIN = """
trials: 14
epochs: 9
fixed: {family: cnn}
search:
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  dropout: {low: 0, high: 0.5}
"""
MIXED = """
trials: 14
epochs: 9
search:
  family: [mlp, cnn, resnet]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  dropout: {low: 0, high: 0.5}
  width:
    - {choices: [64, 128, 256], when: {family: mlp}}
    - {low: 8, high: 32, step: 8, when: {family: [cnn, resnet]}}
start_with:
  - {family: mlp, width: 64, lr: 1.0e-4}
"""


@pytest.fixture(scope="module")
def earlier():
    """What a study takes from one with the same space and another seed."""
    storage = memory()
    sweep(MIXED, storage=storage, seed=7, trials=30)
    return dataclasses.asdict(take_warm_start(spec(MIXED), [read_record(storage, "study")]))


def sweep(text, *, storage=None, warm_start=None, workers=1, deaths=0.0, **overrides):
    """Sweep a study to its end, in any order, and begin again whenever it is killed; its results."""
    storage = storage or memory()
    rng = random.Random(1)

    def die(asked, epoch):
        if rng.random() < deaths:
            raise KeyboardInterrupt

    while True:
        facts = {"runtime": {"threads": 1}, "workers": workers, "warm_start": warm_start}
        study = Study.open(storage, "study", spec(text, **overrides), facts)
        try:
            loop.run(study, Disorder(make_train(study, at=die), workers, rng))
        except KeyboardInterrupt:
            interrupt_all(study)
            continue
        return study.results()


@pytest.mark.parametrize(
    ("text", "method"),
    [pytest.param(PLAIN, "gp", marks=pytest.mark.slow), (MIXED, "tpe"), (MIXED, "random")],
)
def test_the_same_list_each_time(text, method, earlier):
    """A study with gp, or with a warm start, has the same trials after kills, and whoever ends first."""
    taken = earlier if text is MIXED else None
    expected = sweep(text, warm_start=taken, method=method, workers=2, trials=12)
    again = sweep(text, warm_start=taken, method=method, workers=2, trials=12, deaths=0.05)
    assert again == expected
    assert len({result.config.signature for result in expected}) == 12


def test_a_larger_total_begins_alike(earlier):
    """The trials of a smaller total are those of a larger one."""
    few = sweep(MIXED, warm_start=earlier, trials=9)
    more = sweep(MIXED, warm_start=earlier, trials=14)
    assert [result.config for result in few] == [result.config for result in more[:9]]


@pytest.mark.slow
def test_gp_learns_from_paused_trials():
    """With few complete trials, a Gaussian process draws near the best rate; random draws do not."""

    def hits(method):
        """How many are near the best rate, after the draws at random that gp begins with."""
        rates = [result.config.lr for result in sweep(PLAIN, method=method, trials=16)]
        return sum(abs(rate - 0.01) < 0.007 for rate in rates[10:])

    assert hits("gp") >= hits("random") + 2


def test_earlier_configurations_come_first(earlier):
    """The starts come first, then the earlier configurations; the sampler has learned from them."""
    cold = sweep(MIXED)
    results = sweep(MIXED, warm_start=earlier)
    first = earlier["first"]
    assert results[0].config == cold[0].config
    for result, values in zip(results[1:], first, strict=False):
        assert {name: getattr(result.config, name) for name in values} == values
    drawn = results[1 + len(first) :]
    cold_drawn = cold[1 + len(first) :]
    assert [one.config for one in drawn] != [one.config for one in cold_drawn]


@pytest.mark.parametrize(("pruner", "method"), [("median", "tpe"), ("none", "random")])
def test_with_other_rules(pruner, method, earlier):
    """Earlier configurations come first with any pruner, and the median stops none of them."""
    results = sweep(MIXED, warm_start=earlier, pruner=pruner, method=method)
    count = 1 + len(earlier["first"])
    assert {result.state for result in results[:count]} == {"complete"}


def test_a_study_keeps_what_it_took(earlier):
    """What was taken when a study was made stays, whatever a later command would take."""
    storage = memory()
    few = sweep(MIXED, storage=storage, warm_start=earlier, trials=8, pruner="median")
    nothing = {**earlier, "first": [], "sources": []}
    grown = sweep(MIXED, storage=storage, warm_start=nothing, trials=14, pruner="median")
    assert grown[:8] == few
    assert grown == sweep(MIXED, warm_start=earlier, pruner="median")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"first": [{"family": "mlp"}]}, "warm_start of another space: 'dropout'"),
        ({"first": [{"nosuch": 1}]}, "warm_start of another space"),
        ({"sources": [{"name": "x"}]}, "warm_start.sources.0"),
    ],
)
def test_damage(change, problem, earlier):
    """A warm start that was spoilt in the store is told, with the attribute."""
    storage = memory()
    sweep(MIXED, storage=storage, warm_start=earlier, trials=2)
    study_id = storage.get_study_id_from_name("study")
    facts = storage.get_study_user_attrs(study_id)["facts"]
    changed = {**facts, "warm_start": {**facts["warm_start"], **change}}
    storage.set_study_user_attr(study_id, "facts", changed)
    with pytest.raises(DamagedStudyError, match=problem):
        sweep(MIXED, storage=storage, trials=2)
