"""Studies whose trials are paused and go on: the same list and the same promotions, whatever happens."""

import contextlib
import dataclasses
import math
import random
import statistics

import optuna
import pytest
from optuna.trial import TrialState
from support.mortal import Killed, MortalStorage
from support.searches import (
    MIXED,
    SMALL,
    Disorder,
    Timed,
    accuracy,
    fail,
    interrupt_all,
    make_train,
    memory,
    noise,
    spec,
    stores_in_files,
)

from sweeps.analysis.facts import FILLED
from sweeps.search import loop, sampling
from sweeps.search import study as searching
from sweeps.search.decisions import DRAWN_BY, DamagedStudyError
from sweeps.search.loop import MAX_FAILURES
from sweeps.search.stored import read_record
from sweeps.search.stored_trial import PAUSED_AT, PROGRESS
from sweeps.search.study import Study, StudyChangedError
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING

REPEATED = MIXED.replace("trials: 20", "trials: 20\nrepeats: 2")


def begin(storage, text=MIXED, *, workers=1, facts=None, **overrides):
    """Open a study as a command would; it is made by the newest rules, unless the facts name others."""
    base = {"runtime": {"threads": 1}, "workers": workers}
    return Study.open(storage, "study", spec(text, **overrides), {**base, **(facts or {})})


def sweep(
    seed=0,
    text=MIXED,
    *,
    storage=None,
    workers=1,
    places=None,
    deaths=0.0,
    value=accuracy,
    change=lambda train: train,
    facts=None,
    **overrides,
):
    """Sweep to the end with trials that end in an order that the seed decides.

    Args:
        seed: decides the order, and when the sweep is killed.
        text: the study.
        storage: its store; None for one in memory.
        workers: that the study is made for.
        places: the number of trials at a time, if it is another.
        deaths: the probability at each epoch that the sweep is killed, and begun again.
        value: of a configuration after an epoch.
        change: changes the function that trains.
        facts: of a new study, instead of those of the newest version.
        overrides: of the study.

    Returns:
        The study, why it ended, and the number of kills.
    """
    storage = storage or memory()
    rng = random.Random(seed)
    kills = 0

    def die(asked, epoch):
        if rng.random() < deaths:
            raise KeyboardInterrupt

    while True:
        study = begin(storage, text, workers=workers, facts=facts, **overrides)
        train = change(make_train(study, value=value, at=die))
        try:
            reason = loop.run(study, Disorder(train, places or workers, rng)).reason
        except KeyboardInterrupt:
            kills += 1
            interrupt_all(study)
            continue
        return study, reason, kills


def outcome(study):
    """What must be equal: the results, and the decisions in order."""
    return study.results(), list(study.decisions)


def configurations(study):
    return [result.config for result in study.results()]


@pytest.fixture(scope="module")
def unbroken():
    """The outcome of the mixed study that nothing disturbs, by the number of workers."""
    return {workers: outcome(sweep(workers=workers)[0]) for workers in (1, 2, 3, 4, 8)}


@pytest.fixture
def files(tmp_path):
    """Stores in files, which alone can reopen a trial that has ended."""
    with stores_in_files(tmp_path) as make:
        yield make


# The order of ending, and kills


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_the_order_of_ending_decides_nothing(unbroken, workers):
    """In whatever order trials come to their pauses, the list and the promotions are the same."""
    results, decisions = unbroken[workers]
    assert {result.state for result in results} == {COMPLETE, PRUNED}
    assert len(decisions) > 2 * len(results), "many have gone on"
    for seed in range(1, 4):
        assert outcome(sweep(seed, workers=workers)[0]) == unbroken[workers]


@pytest.mark.parametrize("places", [1, 2, 8])
def test_the_places_that_there_are_decide_nothing(unbroken, places):
    """A study made for three workers has the same list and promotions with fewer and with more."""
    assert outcome(sweep(7, workers=3, places=places)[0]) == unbroken[3]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_killed_again_and_again(unbroken, workers):
    """Killed at any epochs, with trials paused and under way, it makes the same list and promotions."""
    for seed in range(3):
        study, reason, kills = sweep(seed, workers=workers, deaths=0.05)
        assert kills > 3
        assert reason == "done"
        assert outcome(study) == unbroken[workers]


# 2 seeds each, and a start: some are paused at each rung, some go on.
MORTAL = """
trials: 8
epochs: 4
repeats: 2
search:
  family: [mlp, resnet]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  dropout: {low: 0, high: 0.5}
start_with: [{family: mlp}]
"""


@pytest.fixture(scope="module")
def unkilled():
    """The outcome of the study that no kill broke off, and the writes that it made."""
    storage = MortalStorage()
    study, _, _ = sweep(0, MORTAL, storage=storage)
    return outcome(study), storage.writes


@pytest.mark.parametrize("part", range(10))
def test_killed_before_any_write(unkilled, part):
    """Killed before any of its writes to the store, a study goes on to the same list and promotions."""
    expected, writes = unkilled
    for n in range(part, len(writes), 10):
        storage = MortalStorage()
        storage.left = n
        with pytest.raises(Killed):
            sweep(0, MORTAL, storage=storage)
        study, reason, _ = sweep(0, MORTAL, storage=storage)
        assert reason == "done"
        assert outcome(study) == expected, writes[n][:3]
        assert all(trial.state.is_finished() for trial in storage.get_all_trials(0))


# Baselines

BASELINES = """
trials: 12
epochs: 6
repeats: 2
search: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}, family: [mlp, resnet]}
baselines: [{family: mlp, lr: 1.0e-4}, {family: resnet, lr: 1.0e-4}]
start_with: [{family: mlp, lr: 2.0e-4}]
"""


@pytest.mark.parametrize("budget", [None, "5", "8"])
def test_baselines_are_trained_to_their_end(budget):
    """However bad they are, all seeds of baselines are complete, and named by the study; a start is paused."""
    storage = memory()
    study, reason, _ = sweep(0, BASELINES, storage=storage, budget=budget)
    assert reason == "done"
    states = [result.state for result in study.results()]
    assert states[:4] == [COMPLETE] * 4
    if budget is None:
        assert states[4] == PRUNED
    epochs = sum(len(result.history) for result in study.results())
    assert epochs <= 6 * float(budget or 12)
    record = read_record(storage, "study")
    named = [record.is_baseline(result.config) for result in record.results]
    assert named == [True] * 4 + [False] * (len(named) - 4)
    assert record.best_baseline is not None
    assert record.best_baseline.trials[0].config.family == "resnet"


# A larger total


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        (MIXED, 1),
        pytest.param(MIXED, 3, marks=pytest.mark.slow),
        pytest.param(REPEATED, 1, marks=pytest.mark.slow),
        (REPEATED, 3),
    ],
)
def test_extended(files, text, workers):
    """A raised total goes on to the configurations and decisions of a study that had it from the start.

    What a smaller total has trained at its end stays trained; all else is equal.
    """
    expected, expected_log = outcome(sweep(0, text, storage=files(), workers=workers)[0])
    for totals in ((3, 8, 20), (12, 20)):
        storage = files()
        for seed, total in enumerate(totals):
            study = begin(storage, text, workers=workers, trials=total)
            study.results()  # what was read before a trial is reopened is read again
            study.record()
            train = make_train(study)
            runner = Disorder(train, workers, random.Random(seed))
            assert loop.run(study, runner).reason == "done"
            assert study.record().results == study.results()
        assert list(study.decisions) == expected_log
        for result, other in zip(study.results(), expected, strict=True):
            assert result.config == other.config
            assert result.history[: len(other.history)] == other.history
            assert result.state in (other.state, COMPLETE)
        trials = storage.get_all_trials(1, deepcopy=False)
        assert all(trial.state.is_finished() for trial in trials)
        assert read_record(storage, "study").results == study.results()


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [0.02, 0.1])
def test_killed_while_it_is_extended(files, deaths):
    """Killed at any epochs of each of its totals, an extended study is the one that nothing disturbed."""
    outcomes = []
    for often in (0.0, deaths):
        storage = files()
        for total in (5, 12, 20):
            study, _, kills = sweep(3, storage=storage, trials=total, workers=3, deaths=often)
        assert kills or not often
        outcomes.append(outcome(study))
    assert outcomes[0] == outcomes[1]


def kill(*_arguments, **_options):
    raise Killed


def test_killed_between_reopening_and_the_next_decision(files, monkeypatch):
    """Trials are open again, and nothing is decided: the same command decides, and so does the smaller total."""
    storage, other = files(), files()
    for one in (storage, other):
        sweep(storage=one, trials=6)
    settled = read_record(storage, "study").results
    with monkeypatch.context() as patch:
        patch.setattr(Study, "_choose", kill)
        for one in (storage, other):
            with pytest.raises(Killed):
                sweep(storage=one, trials=12)
    assert PAUSED in {result.state for result in read_record(storage, "study").results}
    assert outcome(sweep(storage=storage, trials=12)[0])[0][:6] != settled
    expected = files()
    sweep(storage=expected, trials=6)
    assert outcome(begin(storage, trials=12)) == outcome(sweep(storage=expected, trials=12)[0])
    assert sweep(storage=other, trials=6)[0].results() == settled


def test_killed_while_the_paused_end_and_then_extended(files):
    """A study that was killed while its paused trials ended goes on to a larger total as one that was not."""
    storage, expected = files(), files()
    study = begin(storage, trials=8)

    def die(_asked, result):
        ended.append(result.number)
        if len(ended) == 2:
            raise Killed
        return result

    ended = []
    with pytest.raises(Killed):
        loop.run(study, Disorder(make_train(study), 1, random.Random(0)), complete_untrained=die)
    states = {result.state for result in read_record(storage, "study").results}
    assert states == {COMPLETE, PRUNED, PAUSED}
    sweep(storage=expected, trials=8)
    assert outcome(sweep(storage=storage, trials=20)[0]) == outcome(
        sweep(storage=expected, trials=20)[0]
    )


# What a trial may come to


def check_ended(storage, study, total):
    """All trials have ended in the store; each result is there once."""
    trials = storage.get_all_trials(0, deepcopy=False)
    assert [result.number for result in study.results()] == list(range(total))
    assert all(trial.state.is_finished() for trial in trials)


@pytest.mark.parametrize("end", ["diverged", "oom", "error:ValueError", "timeout"])
def test_trials_that_fail_anywhere(end):
    """A trial that fails in any part of its training fails alike in any order, and after kills; it never goes on."""

    def change(train):
        def attempt(asked):
            begun = 0 if asked.progress is None else len(asked.progress.history)
            last = 1 + int(5 * noise(f"{asked.config.signature} fails"))
            until = asked.until or asked.config.epochs
            result = train(asked)
            if noise(asked.config.signature) < 0.5 and begun < last <= until:
                failed = fail(asked, end)
                return dataclasses.replace(failed, history=result.history[: last - 1])
            return result

        return attempt

    outcomes = []
    for seed in range(3):
        storage = memory()
        study, reason, _ = sweep(
            seed, storage=storage, workers=3, change=change, deaths=0.02 * (seed > 0)
        )
        assert reason == "done"
        check_ended(storage, study, 20)
        outcomes.append(outcome(study))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    failed = [result for result in outcomes[0][0] if result.state == FAILED]
    assert len(failed) > 2
    assert {result.end for result in failed} == {end}
    assert len({len(result.history) for result in failed}) > 1
    assert sum(result.state == COMPLETE for result in outcomes[0][0]) >= 3


def test_poison():
    """A trial whose process dies for the third time in one part of its training fails, and never goes on."""

    def change(train):
        def attempt(asked):
            begun = 0 if asked.progress is None else len(asked.progress.history)
            dies = asked.number in (2, 7) and begun >= 1
            return loop.Death(epochs=begun) if dies else train(asked)

        return attempt

    outcomes = [outcome(sweep(seed, workers=2, change=change)[0]) for seed in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    poisoned = [result for result in outcomes[0][0] if result.end == "poison"]
    assert poisoned
    assert {result.number for result in poisoned} <= {2, 7}


def test_patience_that_ends_a_trial_before_a_rung():
    """A trial that is complete before the epoch it was told to come to counts with its last value, in any order."""

    def change(train):
        def attempt(asked):
            result = train(asked)
            last = 1 + int(12 * noise(asked.config.signature))
            if len(result.history) < last:
                return result
            value = max(row.metrics["val/acc"] for row in result.history[:last])
            return dataclasses.replace(
                result, history=result.history[:last], state=COMPLETE, end=COMPLETE, value=value
            )

        return attempt

    outcomes = [outcome(sweep(seed, workers=3, change=change)[0]) for seed in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    complete = [result for result in outcomes[0][0] if result.state == COMPLETE]
    assert {len(result.history) < 9 for result in complete} == {True, False}


EPOCHS = """
dataset: digits
trials: 16
search:
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  epochs: [2, 5, 9]
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_searched_epochs(workers):
    """Trials of several lengths pause at common epochs, none beyond its own last; order and kills decide nothing."""
    expected = outcome(sweep(0, EPOCHS, workers=workers)[0])
    assert outcome(sweep(1, EPOCHS, workers=workers, deaths=0.05)[0]) == expected
    for result in expected[0]:
        assert len(result.history) <= result.config.epochs
        assert (result.state == COMPLETE) == (len(result.history) == result.config.epochs)


def test_repeats_go_on_together():
    """The seeds of a configuration go on to the same epochs."""
    study, _, _ = sweep(0, REPEATED, workers=3)
    lengths = [len(result.history) for result in study.results()]
    assert lengths[::2] == lengths[1::2]
    assert len(set(lengths)) > 2


# Duplicates

FEW = """
dataset: digits
trials: 12
epochs: 4
method: random
search: {lr: [0.1, 0.03, 0.01, 0.003], width: [8]}
"""


@pytest.mark.parametrize("end", [COMPLETE, "diverged", "error:ValueError"])
@pytest.mark.parametrize("workers", [1, 3])
def test_duplicates_end_with_their_original(workers, end):
    """A configuration drawn again is trained once: the later trials wait, and end with what comes of the first."""

    def change(train):
        def attempt(asked):
            trained.append(asked.number)
            fails = end != COMPLETE and asked.config.lr == 0.03
            return fail(asked, end) if fails else train(asked)

        return attempt

    outcomes = []
    for seed in range(3):
        trained = []
        storage = memory()
        study, reason, _ = sweep(
            seed, FEW, storage=storage, workers=workers, change=change, deaths=0.03 * seed
        )
        assert reason == "done"
        check_ended(storage, study, 12)
        outcomes.append(outcome(study))
        results = study.results()
        originals = {result.number for result in results if result.duplicate_of is None}
        assert set(trained) == originals
        for result in results:
            if result.duplicate_of is not None:
                original = results[result.duplicate_of]
                assert (result.config, result.end, result.history) == (
                    original.config,
                    original.end,
                    original.history,
                )
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(originals) < 12


def test_duplicates_of_an_interrupted_original_end_once():
    """The next start ends a duplicate with its original, and does not take it for lost."""
    storage = memory()
    told = []
    was_stopped = False

    def stop_last_part(asked, epoch):
        has_duplicate = bool(study.waiting_duplicates(asked.number))
        if not was_stopped and asked.until is None and epoch == 4 and has_duplicate:
            raise KeyboardInterrupt

    study = begin(storage, FEW)
    with pytest.raises(KeyboardInterrupt):
        loop.run(study, Disorder(make_train(study, at=stop_last_part), 1, random.Random(0)))
    was_stopped = True
    interrupt_all(study)
    study = begin(storage, FEW)
    runner = Disorder(make_train(study), 1, random.Random(0))
    loop.run(study, runner, on_result=told.append)
    numbers = [result.number for result in told]
    assert any(result.duplicate_of is not None for result in told)
    assert len(numbers) == len(set(numbers))
    assert {result.end for result in told} <= {COMPLETE, PRUNED}


# Other programs


@pytest.mark.parametrize("paused", [True, False])
def test_ended_by_somebody_else(paused):
    """A trial that another program ends, paused or in training, is lost; its duplicate ends, others go on."""
    storage = memory()
    study = begin(storage, FEW)
    told = []

    def declare(asked, epoch):
        ready = study.results()[0].state == (PAUSED if paused else RUNNING)
        if ready and not done and (asked.number == 0) != paused and epoch == 1:
            done.append(asked.number)
            optuna.load_study(storage=storage, study_name="study").tell(0, state=TrialState.FAIL)

    done = []

    def train(asked):
        try:
            return make_train(study, at=declare)(asked)
        except optuna.exceptions.UpdateFinishedTrialError:
            return fail(asked)

    runner = Disorder(train, 1, random.Random(0))
    assert loop.run(study, runner, on_result=told.append).reason == "done"
    assert done
    check_ended(storage, study, 12)
    assert sorted(result.number for result in told) == list(range(12))
    assert study.results()[0].end == "lost"
    same = [result for result in study.results() if result.duplicate_of == 0]
    assert {result.end for result in same} <= {"lost"}
    assert begin(storage, FEW).results() == study.results()


@pytest.mark.parametrize("workers", [1, 3])
def test_trials_of_others_count_nowhere(unbroken, workers):
    """What another program asks, adds or tells in between is no trial of the study, and changes nothing in it."""
    storage = memory()
    study = begin(storage, workers=workers)
    foreign = []

    def meddle(asked, epoch):
        if epoch == 1 and asked.number % 4 == 0 and len(foreign) < 4:
            theirs = optuna.load_study(storage=storage, study_name="study")
            trial = theirs.ask()
            trial.set_user_attr("result", 0.93)
            foreign.append(trial.number)
            if len(foreign) % 2:
                theirs.tell(trial, state=TrialState.FAIL)
            else:
                theirs.tell(trial, 5.0)

    rng = random.Random(1)
    runner = Disorder(make_train(study, at=meddle), workers, rng)
    assert loop.run(study, runner).reason == "done"
    assert len(foreign) == 4
    results, decisions = outcome(study)
    drawn = [result.number for result in results]
    assert not set(drawn) & set(foreign)
    expected_results, expected_decisions = unbroken[workers]
    assert [(r.config, r.state, r.history) for r in results] == [
        (r.config, r.state, r.history) for r in expected_results
    ]
    assert [(drawn.index(d.trial), d.until) for d in decisions] == [
        (d.trial, d.until) for d in expected_decisions
    ]


def test_trials_of_others_count_as_before_in_studies_of_0_1_0():
    """A study of the first version counts what another program adds, as it did when it was made."""
    storage = memory()
    old = {"scheduler": 1, "window": None}
    study = begin(storage, SMALL, facts=old)
    trial = optuna.load_study(storage=storage, study_name="study").ask()
    trial.study.tell(trial, state=TrialState.FAIL)
    loop.run(study := begin(storage, SMALL, facts=old), Disorder(make_train(study), 1, random))
    assert [result.number for result in study.results()] == list(range(1, 12))


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_waiting_trial_that_others_take_first_is_theirs(has_ended):
    """A trial that waited when the study was read is left to the program that has begun or ended it since."""
    storage = memory()
    begin(storage, SMALL)
    other = optuna.load_study(storage=storage, study_name="study")
    other.enqueue_trial({})
    study = begin(storage, SMALL)
    theirs = other.ask()
    if has_ended:
        other.tell(theirs, 0.5)
    loop.run(study, Disorder(make_train(study), 1, random.Random(0)))
    assert [result.number for result in study.results()] == list(range(1, 13))
    assert "config" not in storage.get_all_trials(0)[0].user_attrs
    assert begin(storage, SMALL).results() == study.results()


@pytest.mark.parametrize("workers", [1, 3])
def test_enqueued_by_others(workers):
    """A trial that another program has enqueued is drawn next, with its values, also after a kill at any write."""
    wanted = {"lr": 0.0123}

    def enqueue(storage):
        begin(storage, SMALL, workers=workers)
        theirs = optuna.load_study(storage=storage, study_name="study")
        theirs.enqueue_trial(wanted)
        theirs.enqueue_trial(wanted | {"width": 16})

    storage = MortalStorage()
    enqueue(storage)
    before = len(storage.writes)
    study, _, _ = sweep(0, SMALL, storage=storage, workers=workers)
    expected = outcome(study)
    assert [result.config.lr for result in expected[0][:2]] == [0.0123, 0.0123]
    check_ended(storage, study, 12)
    for n in range(5, min(60, len(storage.writes) - before)):
        mortal = MortalStorage()
        enqueue(mortal)
        mortal.left = n
        with pytest.raises(Killed):
            sweep(0, SMALL, storage=mortal, workers=workers)
        study, _, _ = sweep(0, SMALL, storage=mortal, workers=workers)
        assert outcome(study) == expected, storage.writes[before + n][:3]
        check_ended(mortal, study, 12)


# What ends a sweep


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("{target: 0.8}", "target 0.8 reached"), ("{no_gain: 6}", "no gain in 6 trials")],
)
def test_the_rules_of_stopping(unbroken, stop, reason):
    """A rule of the study ends it at the same decision in whatever order; the paused end; again it goes no further."""
    text = f"{MIXED}stop: {stop}\n"
    outcomes = []
    for seed in range(3):
        storage = memory()
        study, ended, _ = sweep(seed, text, storage=storage, workers=3, deaths=0.03 * (seed > 0))
        assert ended == reason
        assert all(trial.state.is_finished() for trial in storage.get_all_trials(0))
        outcomes.append(outcome(study))
        again, ended, _ = sweep(9, text, storage=storage, workers=3)
        assert (ended, outcome(again)) == (reason, outcomes[0])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    whole = sum(len(result.history) for result in unbroken[3][0])
    assert sum(len(result.history) for result in outcomes[0][0]) < whole


def test_a_time_that_is_used_up():
    """The seconds of all parts of the trainings count, those of a trial that is paused too."""
    study, reason, _ = sweep(
        0,
        f"{MIXED}stop: {{time: 20}}\n",
        change=lambda train: lambda asked: with_seconds(train(asked)),
    )
    assert reason == "20 s of training used up"
    epochs = sum(len(result.history) for result in study.results())
    assert 20 <= epochs <= 20 + 9


def with_seconds(result):
    """Have each epoch of a result take a second."""
    history = tuple(
        dataclasses.replace(row, metrics={**row.metrics, "time/epoch_seconds": 1.0})
        for row in result.history
    )
    return dataclasses.replace(result, seconds=float(len(history)), history=history)


@pytest.mark.parametrize("workers", [1, 3])
def test_asked_to_stop_paused_trials_stay_paused(unbroken, workers):
    """Out of time, paused trials are running in the store, and say that they are paused; the same command goes on."""
    storage = memory()
    study = begin(storage, workers=workers)
    train = make_train(study)
    trained = []

    def count(asked):
        trained.append(asked.number)
        return train(asked)

    ending = loop.run(
        study,
        Disorder(count, workers, random.Random(0)),
        should_stop=lambda: len(trained) > 20,
    )
    assert ending.reason == "until"
    paused = [result.number for result in study.results() if result.state == PAUSED]
    assert len(paused) > 5
    trials = storage.get_all_trials(0, deepcopy=False)
    for number in paused:
        assert trials[number].state == TrialState.RUNNING
        epochs = len(trials[number].user_attrs[PROGRESS]["history"])
        assert (
            trials[number].user_attrs[PAUSED_AT]
            == epochs
            == len(trials[number].intermediate_values)
        )
    assert outcome(sweep(1, storage=storage, workers=workers)[0]) == unbroken[workers]


def test_failures_in_a_row_leave_paused_trials_paused():
    """Failures in a row end the sweep, and no paused trial: put right, it goes on with them."""
    storage = memory()

    def change(train):
        return lambda asked: train(asked) if asked.number < 6 else fail(asked)

    study, reason, _ = sweep(0, storage=storage, change=change)
    assert reason == "failures"
    failed = [result.number for result in study.results() if result.state == FAILED]
    assert failed == list(range(6, 6 + MAX_FAILURES))
    assert {result.state for result in study.results()[:6]} & {PAUSED}
    study, reason, _ = sweep(0, storage=storage)
    assert reason == "done"
    check_ended(storage, study, 20)


def test_diverged_trials_are_no_failures_in_a_row():
    """However many rates diverge one after another, the search goes on: they say nothing against the program."""
    study, reason, _ = sweep(0, SMALL, change=lambda _train: lambda asked: fail(asked, "diverged"))
    assert reason == "done"
    assert [result.end for result in study.results()] == ["diverged"] * 12


def test_without_determinism_all_results_decide():
    """Where any order may decide, nobody waits, the total is reached and the leaders are complete."""
    for seed in range(3):
        storage = memory()
        facts = {"deterministic": False}
        study, reason, _ = sweep(seed, storage=storage, workers=3, facts=facts, deaths=0.02)
        assert reason == "done"
        check_ended(storage, study, 20)
        assert sum(result.state == COMPLETE for result in study.results()) >= 3


def test_a_study_of_0_1_0_goes_on_by_its_own_rule():
    """Facts without a scheduler are of the first version: no trial is paused, and its list is the old one."""
    old = {"scheduler": 1, "window": None}
    expected = sweep(0, facts=old)[0].results()
    storage = memory()
    study = begin(storage, facts=old)
    facts = {k: v for k, v in study.recall("facts").items() if k not in ("scheduler", "window")}
    study.remember("facts", facts)
    study, reason, _ = sweep(0, storage=storage)
    assert reason == "done"
    assert study.results() == expected
    assert not any(PROGRESS in trial.user_attrs for trial in storage.get_all_trials(0))
    assert PRUNED in {result.state for result in expected}


# What the sampler is shown


@pytest.fixture
def shown(monkeypatch):
    """For each draw, the trials that the sampler is shown: number, state, reports and values."""
    views = []

    class Noted(sampling.SamplerView):
        def __init__(self, name, storage, sampler, trials, **facts):
            def noted():
                found = trials()
                view = [(t.number, t.state, dict(t.intermediate_values), t.values) for t in found]
                views.append(view)
                return found

            super().__init__(name, storage, sampler, noted, **facts)

    monkeypatch.setattr(searching, "SamplerView", Noted)
    return views


def test_what_the_sampler_is_shown(shown):
    """A paused trial is shown as pruned with what may be known, one in training as running, in any order."""
    found = []
    for seed in range(3):
        shown.clear()
        study, _, _ = sweep(seed, workers=3, deaths=0.03 * (seed > 0))
        decisions = study.decisions
        draws = {}
        for view in shown:
            draws[len(view)] = view
        found.append(draws)
    assert found[0] == found[1] == found[2]
    pruned = 0
    first = {d.trial: n for n, d in reversed(list(enumerate(decisions)))}
    for drawn, view in found[0].items():
        known = decisions[: max(0, first[drawn] + 1 - study.facts.window)]
        for number, state, reports, values in view:
            epochs = max((d.until for d in known if d.trial == number), default=0)
            if epochs == 0:
                assert (state, reports, values) == (TrialState.RUNNING, {}, None)
            elif epochs < 9:
                assert state == TrialState.PRUNED
                assert sorted(reports) == list(range(1, epochs + 1))
                pruned += 1
    assert pruned > 20


def test_bad_configurations_are_shown_as_worst(shown):
    """One that diverged, or needed too much memory, is shown as pruned without a value; others as failed."""
    ends = ["diverged", "oom", "error:ValueError"]

    def change(train):
        return lambda asked: fail(asked, ends[asked.number]) if asked.number < 3 else train(asked)

    sweep(0, change=change)
    last = shown[-1]
    assert [entry[1:] for entry in last[:3]] == [
        (TrialState.PRUNED, {}, None),
        (TrialState.PRUNED, {}, None),
        (TrialState.FAIL, {}, None),
    ]


RATES = """
dataset: digits
trials: 50
epochs: 6
search: {lr: {low: 0.001, high: 10, log: true}, batch_size: [32, 64, 128]}
fixed: {family: cnn, optimizer: sgd, momentum: 0.9}
"""


def diverging(train):
    """Have what has a high learning rate diverge."""
    return lambda asked: fail(asked, "diverged") if asked.config.lr > 0.3 else train(asked)


@pytest.mark.parametrize("seed", range(3))
def test_the_sampler_learns_where_trials_diverge(seed):
    """Of the first ten trials several diverge; of the last twenty hardly one does, as the sampler keeps away."""
    study, reason, _ = sweep(0, f"{RATES}seed: {seed}\n", change=diverging)
    assert reason == "done"
    failures = [
        sum(result.end == "diverged" for result in study.results()[first : first + 10])
        for first in range(0, 50, 10)
    ]
    assert failures[0] >= 2
    assert failures[3] + failures[4] <= failures[0]
    assert all(result.value is None for result in study.results() if result.end == "diverged")


# Damaged stores


def damaged(change):
    """What opening a half-made study says after a change of its attributes."""
    storage = memory()
    study = begin(storage, FEW)

    def stop(_asked, _epoch):
        if len(study.decisions) > 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(study, Disorder(make_train(study, at=stop), 1, random.Random(0)))
    change(storage, study)
    with pytest.raises(DamagedStudyError) as error:
        loop.run(again := begin(storage, FEW), Disorder(make_train(again), 1, random.Random(0)))
    with contextlib.suppress(DamagedStudyError):
        read_record(storage, "study")
    return str(error.value)


def promotion(study):
    """The key of a promotion in the log."""
    return next(key for key in study._study.user_attrs if key.startswith("go "))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (None, "x", "attribute 'go 99' must be two numbers: got 'x'"),
        (None, [0], "attribute 'go 99' must be two numbers: got '[0]'"),
        (None, [77, 2], "attribute 'go 99' goes on with no trial of the study"),
        (None, [0, 2], "is missing"),
        ("go abc", [0, 2], "attribute 'go abc' goes on with no trial of the study"),
        ("facts", {"workers": "many"}, "attribute 'facts' holds no facts: "),
    ],
)
def test_a_study_with_damaged_attributes(key, value, message):
    """What is no decision of the study, and facts that are none, are told by their names."""
    assert message in damaged(
        lambda storage, _study: storage.set_study_user_attr(0, key or "go 99", value)
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (DRAWN_BY, "x", "attribute 'decision of trial 0' must be two numbers: got 'x'"),
        (DRAWN_BY, [1, 1], "decision 1 is there twice"),
        (DRAWN_BY, [500, 1], "decision 0 is missing"),
        (PROGRESS, "x", "attribute 'progress' of trial 0 is of the type str"),
        (PROGRESS, {"history": 3}, "attribute 'progress' of trial 0 has no history"),
        (PROGRESS, {"history": [{}]}, "attribute 'progress' of trial 0 is no result: "),
        ("config", {"nothing": 1}, "attribute 'config' of trial 0 is no configuration: "),
        ("duplicate of", 9, "attribute 'duplicate of' of trial 0 names no earlier trial"),
        ("deaths", "x", "attribute 'deaths' of trial 0 is of the type str"),
    ],
)
def test_a_trial_with_damaged_attributes(key, value, message):
    """What is no decision, no result and no configuration is told with the number of its trial."""
    assert message in damaged(lambda storage, _study: storage.set_trial_user_attr(0, key, value))


@pytest.mark.parametrize("budget", ["soon", 0, [], {}])
def test_a_damaged_budget(budget):
    """What is no budget is told to whoever reads the study, or would go on with it."""
    storage = memory()
    begin(storage, SMALL)
    storage.set_study_user_attr(0, "budget", budget)
    with pytest.raises(DamagedStudyError, match="attribute 'budget' is damaged: budget must be"):
        read_record(storage, "study")
    with pytest.raises(DamagedStudyError, match="study 'study': attribute 'budget' is damaged"):
        begin(storage, SMALL)


# Two objectives


TWO = MIXED.replace("trials: 20", "trials: 20\nobjectives: [val_acc, parameters]")


def size(config):
    """A number of parameters: of a ResNet many."""
    return (config.width or 16) * {"mlp": 10, "cnn": 100, "resnet": 1000}[config.family]


def sized(train):
    """Have a training count its parameters."""
    return lambda asked: dataclasses.replace(train(asked), parameters=size(asked.config))


def complete_points(study):
    """The value and the parameters of the complete trials, without repetition."""
    complete = [result for result in study.results() if result.state == COMPLETE]
    return {(result.value, result.parameters) for result in complete}


@pytest.mark.parametrize("workers", [1, 3])
def test_two_objectives_are_searched_alike_each_time(workers):
    """Whatever order trials end in, and whoever is killed, the same list is drawn and promoted."""
    found = [
        sweep(seed, TWO, workers=workers, change=sized, deaths=0.03 * seed, trials=12)[0]
        for seed in range(2)
    ]
    assert outcome(found[0]) == outcome(found[1])
    specification = read_record(found[0]._storage, "study").spec
    assert specification.objectives == ("val_acc", "parameters")
    assert found[0]._study.directions == [optuna.study.StudyDirection.MAXIMIZE]


def test_small_networks_go_on_among_their_like():
    """With two objectives, the best small networks are trained to their end, though large ones are better."""
    small = []
    for text in (MIXED, TWO):
        study = sweep(0, text, change=sized)[0]
        points = complete_points(study)
        best = max(value for value, _ in points)
        assert best > 0.85
        small.append(min(parameters for _, parameters in points))
        front = [p for p in points if not any(q[0] >= p[0] and q[1] < p[1] for q in points)]
    assert len(front) > 3
    assert small[1] < small[0]


def test_what_a_sampler_of_two_objectives_is_shown(shown):
    """A paused trial has its projected value and the logarithm of its cost; one that diverged has none."""

    def change(train):
        return lambda asked: fail(asked, "diverged") if asked.number == 1 else sized(train)(asked)

    study, _, _ = sweep(0, TWO, change=change)
    last = shown[-1]
    assert last[1][1:] == (TrialState.PRUNED, {}, None)
    others = [entry for entry in last if entry[0] != 1]
    assert {state for _, state, _, _ in others} == {TrialState.COMPLETE}
    results = study.results()
    projected = 0
    for number, _, _, (value, cost) in others:
        assert cost == math.log(results[number].parameters)
        shown_values = [row.metrics["val/acc"] for row in results[number].history]
        assert shown_values[0] <= value < 1
        projected += value not in shown_values
    assert projected > 3, "paused ones have what they may be expected to gain"


def test_without_a_rule_two_objectives_train_all(shown):
    """Pruner none trains each trial to its end, and the sampler has both values of each."""
    study, _, _ = sweep(0, TWO, change=sized, pruner="none", trials=12)
    assert {result.state for result in study.results()} == {COMPLETE}
    assert all(len(values) == 2 for _, _, _, values in shown[-1])


def test_a_study_does_not_change_its_objectives(files):
    """Other objectives make another study."""
    storage = files()
    sweep(0, SMALL, storage=storage, change=sized, trials=2)
    with pytest.raises(StudyChangedError, match="objectives: not set -> "):
        begin(storage, SMALL, objectives=["val_acc", "mflops"])


# Places at the end


def sweep_in_time(places, seed, version=FILLED):
    """Sweep with trials of different durations, as they end; the study, and the runner with its time."""
    study = begin(
        memory(), workers=places, facts={"deterministic": False, "places": version}, epochs=12
    )
    rng = random.Random(seed)
    durations = [rng.lognormvariate(0, 0.7) for _ in range(study.total)]
    runner = Timed(make_train(study), places, durations)
    study.clock = lambda: runner.now
    loop.run(study, runner)
    return study, runner


@pytest.mark.parametrize("places", [2, 4])
def test_no_place_stands_empty_at_the_end(places):
    """Places that nothing is left for go on with the next in rank, and the study takes no longer for it by much.

    A study that was made before this rule goes on without it.
    """
    idle, empty, longer = [], [], []
    for seed in range(5):
        study, filled = sweep_in_time(places, seed)
        earlier, unfilled = sweep_in_time(places, seed, version=1)
        assert len(study.results()) == len(earlier.results()) == study.total
        idle.append(filled.idle)
        empty.append(unfilled.idle)
        longer.append(filled.now / unfilled.now)
    assert statistics.fmean(idle) < 0.03
    assert statistics.fmean(idle) < statistics.fmean(empty) / 2
    assert statistics.fmean(longer) < 1.1


def test_as_they_end_from_now_on():
    """A study that was made to wait for earlier trials waits no more once the next command says so."""
    begun = {}
    for deterministic in (True, False):
        study = begin(memory(), workers=2)
        study.deterministic = deterministic

        def note(asked, epoch, study=study, deterministic=deterministic):
            if asked.number == 0 and epoch == 1:
                begun[deterministic] = len(study.results())

        durations = [100.0, *[0.1] * study.total]
        loop.run(study, Timed(make_train(study, at=note), 2, durations))
    assert begun == {True: study.facts.window, False: study.total}
