"""Finalists that are given further seeds: the same trainings as if all had been asked for at once."""

import dataclasses
import random

import pytest
from support.mortal import Killed, MortalStorage
from support.records import MIXED, make_record, make_result, sample_config
from support.searches import FACTS, make_train, memory, run

from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.analysis.finalists import choose_finalists, study_document
from sweeps.search.study import Study, StudyChangedError
from sweeps.spec.configurations import place_of
from sweeps.spec.study_spec import StudySpec


def chosen():
    """Three configurations with conditions among their values."""
    rng = random.Random(3)
    results = [make_result(number, rng.random(), config=sample_config(rng)) for number in range(4)]
    record = make_record(results, dimensions=MIXED)
    record = dataclasses.replace(record, spec=StoredSpec(seed=5), facts=StudyFacts())
    return choose_finalists(record, top=3, seeds=2)


def open_with(storage, seeds, *, redraw=None, **changes):
    """Open the study of the finalists with so many seeds."""
    finalists = dataclasses.replace(chosen(), seeds=seeds, redraw=redraw)
    facts = {**FACTS, "runtime": {}, "finalists": dataclasses.asdict(finalists)}
    spec = StudySpec.model_validate({**study_document(finalists), **changes})
    return Study.open(storage, "finalists", spec, facts)


def train(storage, seeds, redraw=None):
    study = open_with(storage, seeds, redraw=redraw)
    assert run(study, make_train(study, value=lambda config, epoch: config.seed / 100)) == "done"
    return study.results()


def trainings(results):
    """What was trained: configurations with their seeds, each once."""
    signatures = [result.config.signature for result in results]
    assert len(set(signatures)) == len(signatures)
    return set(signatures)


def test_places():
    """Repeats go together; those that were added come after all that there were."""
    assert [place_of(number, [2], 2) for number in range(6)] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1),
    ]  # fmt: skip
    assert [place_of(number, [1, 3, 4], 2) for number in range(8)] == [
        (0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (1, 2), (0, 3), (1, 3),
    ]  # fmt: skip


def test_added_draws_are_those_of_a_study_that_had_them_at_once():
    """Seeds with draws of their own can be added, too; folds cannot, because 3 folds are not the first of 4."""
    storage = memory()
    train(storage, 2, "split_seeds")
    results = train(storage, 4, "split_seeds")
    assert trainings(results) == trainings(train(memory(), 4, "split_seeds"))
    assert {result.config.redraw for result in results} == {f"draw-{n}" for n in (6, 7, 8, 9)}
    storage = memory()
    train(storage, 3, "folds")
    with pytest.raises(StudyChangedError, match="repeats: 3 -> 4; folds: 3 -> 4"):
        open_with(storage, 4, redraw="folds")


def test_added_seeds_are_those_of_a_study_that_had_them_at_once():
    """2, then 3, then 5 seeds train what 5 do, and train nothing again."""
    storage = memory()
    first = train(storage, 2)
    train(storage, 3)
    last = train(storage, 5)
    assert last[: len(first)] == first
    assert len(last) == 15
    assert trainings(last) == trainings(train(memory(), 5))
    record = open_with(storage, 5).record()
    assert (record.trials, record.spec.repeats) == (15, 5)
    assert record.judged_as_finalists.final
    assert [len(entry.trials) for entry in record.ranked] == [5, 5, 5]


def test_seeds_added_before_the_first_were_trained():
    """Where the first command trained some only, the others of its seeds come first."""
    storage = memory()
    study = open_with(storage, 2)
    asked = study.trials_to_train()
    for _ in range(3):
        trial = next(asked)
        study.tell(trial, make_train(study, value=lambda config, epoch: 0.5)(trial))
    assert not open_with(storage, 4).record().judged_as_finalists.final
    assert trainings(train(storage, 4)) == trainings(train(memory(), 4))


def test_a_record_of_another_winner_is_forgotten():
    """The refit of the winner of fewer seeds is not said to be that of more."""
    storage = memory()
    train(storage, 2)
    open_with(storage, 2).remember("refit", {"run_id": "a", "epochs": 2, "acc": 0.5})
    assert open_with(storage, 2).record().refit is not None
    assert open_with(storage, 3).record().refit is None


@pytest.mark.parametrize(
    ("seeds", "changes"), [(1, {}), (3, {"epochs": 7}), (3, {"pruner": "asha"})]
)
def test_nothing_else_changes(seeds, changes):
    """Fewer seeds are refused, and more of them with any other change."""
    storage = memory()
    train(storage, 2)
    with pytest.raises(StudyChangedError, match="repeats: 2 -> "):
        open_with(storage, seeds, **changes)


def test_only_finalists_are_given_further_seeds():
    """The repeats of a search decide what is promoted, and stay."""
    storage = memory()
    spec = StudySpec.model_validate({**study_document(chosen()), "trials": 6})
    Study.open(storage, "search", spec, {**FACTS, "runtime": {}})
    more = spec.model_copy(update={"repeats": 3})
    with pytest.raises(StudyChangedError, match="repeats: 2 -> 3"):
        Study.open(storage, "search", more, {**FACTS, "runtime": {}})


@pytest.mark.parametrize("seeds", [3, 4])
def test_killed_while_seeds_are_added(seeds):
    """After any write of the addition of two, that of one or two goes on to its own trainings."""
    expected = trainings(train(memory(), seeds))
    for writes in range(12):
        storage = MortalStorage()
        train(storage, 2)
        storage.left = writes
        with pytest.raises(Killed):
            train(storage, 4)
        (study,) = storage.get_all_studies()
        if seeds < study.user_attrs["spec"]["repeats"]:  # the addition was complete
            break
        assert trainings(train(storage, seeds)) == expected
    else:
        assert seeds == 4
