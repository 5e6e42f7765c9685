"""A study asks for trials, is told their results, and goes on after an interruption."""

import dataclasses
import math

import optuna
import pytest
from optuna.trial import TrialState
from support.mortal import Killed, MortalStorage
from support.records import make_epoch
from support.searches import (
    FACTS,
    MIXED,
    SMALL,
    begin,
    fail,
    make_result_of,
    make_train,
    memory,
    run,
    spec,
)

from sweeps.search import stored
from sweeps.search.loop import MAX_DEATHS, MAX_FAILURES
from sweeps.search.pruning import PROTECTED_TRIALS, rungs
from sweeps.search.stored import StudyNotFoundError, open_storage, read_record
from sweeps.search.study import Study, StudyChangedError
from sweeps.spec.configurations import start_values
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, TrialConfig


def whole(text=MIXED, storage=None, **overrides):
    """The results of a study that nothing breaks off."""
    study = begin(storage or memory(), text, **overrides)
    assert run(study, make_train(study)) == "done"
    return study.results()


@pytest.fixture(scope="module")
def unbroken():
    """The 20 trials of the mixed study."""
    return whole()


def close(storage):
    storage.remove_session()
    storage.engine.dispose()


def test_reaches_the_total(unbroken):
    """A study of 40 trials trains 40, numbered from 0; its first 20 are those of a study of 20."""
    results = whole(trials=40)
    assert [result.number for result in results] == list(range(40))
    assert {result.state for result in results} == {COMPLETE, PRUNED}
    assert len({result.config.signature for result in results}) == 40
    assert results[:20] == unbroken


def test_nothing_is_left():
    """A study that reached its total trains nothing more."""
    study = begin(storage := memory(), SMALL)
    run(study, make_train(study))
    again = begin(storage, SMALL)
    assert (
        run(again, lambda asked: pytest.fail(f"trial {asked.number} was trained twice")) == "done"
    )
    assert again.results() == study.results()


def test_same_again(unbroken):
    """Two studies of one specification are the same list of configurations and values."""
    assert whole() == unbroken


def test_seed_decides(unbroken):
    """Another seed is another list."""
    other = whole(seed=1)
    assert {r.config.seed for r in other} == {1}
    lrs = {r.config.lr for r in unbroken[1:]}
    assert not any(r.config.lr in lrs for r in other[1:])


def test_method_decides(unbroken):
    """A search that learns from earlier trials tries better values than a random one; both begin alike."""
    learned, drawn = (
        [r.config.lr for r in results] for results in (unbroken, whole(method="random"))
    )
    assert learned[:8] == drawn[:8]
    assert distance(learned[12:]) < 0.7 * distance(drawn[12:])


def distance(rates):
    """How far the learning rates are from the best one, in powers of ten, on average."""
    return sum(abs(math.log10(rate) + 2) for rate in rates) / len(rates)


def test_conditions_hold(unbroken):
    """Each trial has the searched values that apply to it, inside their ranges, and no others."""
    for result in unbroken:
        config = result.config
        assert config.width in ({"mlp": (64, 128, 256)}.get(config.family, (8, 16, 24, 32)))
        assert (config.residual is None) == (config.family != "resnet")
        assert (config.momentum is None) == (config.optimizer == "adam")
        assert 1e-4 <= config.lr <= 0.1
    assert {r.config.family for r in unbroken} == {"mlp", "cnn", "resnet"}


def test_values_are_short(unbroken):
    """Searched numbers have at most 4 significant digits, so that what a table shows can be typed again."""
    for name in ("lr", "dropout", "momentum"):
        values = [v for r in unbroken if (v := getattr(r.config, name)) is not None]
        assert all(value == float(f"{value:.4g}") for value in values)
        assert len(set(values)) > 5


def test_runtime_holds_for_all(unbroken):
    """What was settled once for the study is in every trial's configuration."""
    assert {(r.config.threads, r.config.precision) for r in unbroken} == {(1, "fp32")}


@pytest.mark.parametrize(
    ("place", "epoch", "told"),
    [
        (0, 0, False),
        (0, 3, True),
        (7, 1, True),
        (7, 9, False),
        (14, 0, True),
        (14, 3, False),
        (14, 3, True),
    ],
)
def test_broken_off_and_gone_on(unbroken, place, epoch, told):
    """A study broken off in any trial, before or after reports, goes on to the list of one that never was."""
    number = next(r.number for r in unbroken if r.number >= place and len(r.history) >= epoch)
    storage = memory()
    study = begin(storage)

    def stop(asked, now):
        if (asked.number, now) == (number, epoch):
            if told:
                study.record_interruption(asked)
            study._store.settle(asked.number)  # a process that is gone writes nothing any more
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, make_train(study, at=stop))
    assert study.results()[-1].state == RUNNING
    assert study.count_ended() == number

    jobs = []
    again = begin(storage)
    assert (
        run(
            again, make_train(again, at=lambda asked, now: jobs.append(asked) if now == 0 else None)
        )
        == "done"
    )
    assert [asked.number for asked in jobs] == list(range(number, 20))
    assert [asked.deaths for asked in jobs] == [0] * (20 - number)
    assert [asked.apart for asked in jobs] == [not told] + [False] * (19 - number)
    assert again.results() == unbroken


def test_broken_off_often(unbroken):
    """A study interrupted in every trial, each time a little later, goes on to the same list."""
    storage = memory()
    stops = {(n, n % 4) for n in range(20)}

    def stop(asked, now):
        if (asked.number, now) in stops:
            stops.remove((asked.number, now))
            study.record_interruption(asked)
            raise KeyboardInterrupt

    starts = 0
    while starts < 30:
        starts += 1
        study = begin(storage)
        try:
            run(study, make_train(study, at=stop))
            break
        except KeyboardInterrupt:
            continue
    assert starts > 10
    assert study.results() == unbroken


def test_earlier_reports_are_kept():
    """A trial that goes on keeps the reports it made; what it repeats does not replace them."""
    storage = memory()
    study = begin(storage, SMALL)
    asked = next(study.trials_to_train())
    study.report(asked, 1, 0.25)
    again = begin(storage, SMALL)
    asked = next(again.trials_to_train())
    again.report(asked, 1, 0.75)
    again.report(asked, 2, 0.5)
    assert storage.get_all_trials(0)[0].intermediate_values == {1: 0.25, 2: 0.5}


# Starts and repeats are planned, the 11th trial is the first that TPE chooses; 1 of the last 4 is pruned.
MORTAL = """
trials: 14
epochs: 3
repeats: 2
search:
  family: [mlp, resnet]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  residual: [true, false]
  dropout: {low: 0, high: 0.5}
start_with: [{family: mlp}]
"""


@pytest.fixture(scope="module")
def unkilled():
    """The results of the study that no kill broke off, and the writes it made."""
    storage = MortalStorage()
    results = whole(MORTAL, storage)
    return results, storage.writes


@pytest.mark.parametrize("share", range(0, 100, 7))
def test_killed_before_any_write(unkilled, share):
    """A process killed before any write to the store is gone on from to the same list, and no result is lost."""
    check_killed(unkilled, len(unkilled[1]) * share // 100)


def check_killed(unkilled, n):
    """Kill a study before its n-th write, and go on."""
    storage = MortalStorage()
    storage.left = n
    with pytest.raises(Killed):
        whole(MORTAL, storage)
    assert len(storage.writes) == n
    had = {
        write[1]
        for write in storage.writes
        if write[0] == "set_trial_user_attr" and write[2] == "result"
    }
    study = begin(storage, MORTAL)
    trained = []
    run(
        study,
        make_train(study, at=lambda asked, now: trained.append(asked.number) if now == 0 else None),
    )
    assert study.results() == unkilled[0]
    assert not had & set(trained)
    assert all(
        t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in storage.get_all_trials(0)
    )


@pytest.mark.parametrize("trial", [1, 4, 12])
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("set_trial_intermediate_value", 1),
        ("set_trial_user_attr", "result"),
        ("set_trial_state_values", TrialState.COMPLETE),
    ],
)
def test_killed_where_it_hurts(unkilled, name, argument, trial):
    """Killed before a report, the result or the state is kept: the same list."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    arguments = ended if argument in ended else (argument,)
    check_killed(
        unkilled,
        next(n for n, w in enumerate(unkilled[1]) if w[:2] == (name, trial) and w[2] in arguments),
    )


def test_a_trial_is_made_whole(unkilled):
    """A trial's values and configuration are written with it, in one call: there is nothing between to be killed at."""
    made = [write[2] for write in unkilled[1] if write[0] == "create_new_trial"]
    assert [TrialConfig.from_dict(trial.user_attrs["config"]) for trial in made] == [
        r.config for r in unkilled[0]
    ]
    assert all(trial.params.keys() >= {"family", "lr", "dropout"} for trial in made)
    assert not [
        write for write in unkilled[1] if write[0] == "set_trial_param" or write[2:3] == ("config",)
    ]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("trial", [0, 1, 7, 10])
def test_a_trial_that_is_not_whole_is_gone_on_with(unkilled, trial, asked):
    """A trial that an older version had enqueued, or asked for, is completed, and none is made in its place."""
    storage = MortalStorage()
    created = [n for n, write in enumerate(unkilled[1]) if write[0] == "create_new_trial"]
    storage.left = created[trial]
    with pytest.raises(Killed):
        whole(MORTAL, storage)
    study = optuna.load_study(storage=storage, study_name=begin(storage, MORTAL).name)
    planned = unkilled[1][created[trial]][2].system_attrs.get("fixed_params")
    if planned is not None:
        study.enqueue_trial(planned)
    if asked or planned is None:
        study.ask()
    assert whole(MORTAL, storage) == unkilled[0]


def test_kills_of_the_whole_command_are_nobodys_fault():
    """A trial whose command is killed, however often, is trained in the end, each time in a process of its own."""
    storage = memory()
    for death in range(2 * MAX_DEATHS):
        study = begin(storage, SMALL)
        asked = next(study.trials_to_train())
        assert (asked.number, asked.deaths, asked.apart) == (0, 0, death > 0)
    study = begin(storage, SMALL)
    run(study, make_train(study))
    assert study.results() == whole(SMALL)


def test_poison():
    """A trial whose process dies 3 times in a row without a new checkpoint fails; kills in between forgive none."""
    storage = memory()
    for death in range(MAX_DEATHS):
        study = begin(storage, SMALL)
        asked = next(study.trials_to_train())
        assert (asked.number, asked.deaths) == (0, death)
        again = study.record_death(asked, epochs=0)
        assert (again.deaths, again.apart, again.adopted) == (death + 1, True, True)
    study = begin(storage, SMALL)
    assert run(study, make_train(study)) == "done"
    results = study.results()
    assert [r.number for r in results] == list(range(12))
    assert (results[0].state, results[0].end, results[0].error) == (
        FAILED,
        "poison",
        "its process died 3 times without a new checkpoint",
    )
    assert [t.state for t in storage.get_all_trials(0)].count(TrialState.FAIL) == 1


def test_interruption_is_no_death():
    """A trial that was asked to stop, however often, is trained again."""
    storage = memory()
    for _ in range(2 * MAX_DEATHS):
        study = begin(storage, SMALL)
        asked = next(study.trials_to_train())
        assert (asked.number, asked.deaths, asked.apart) == (0, 0, False)
        study.record_interruption(asked)
    study = begin(storage, SMALL)
    run(study, make_train(study))
    assert study.results() == whole(SMALL)


def test_deaths_count_across_interruptions():
    """An interruption between two deaths forgives none, and a new checkpoint all."""
    storage = memory()
    seen = []
    for died_after in (0, None, 0, 3, None, 3, 3):
        study = begin(storage, SMALL)
        asked = next(study.trials_to_train())
        seen.append(asked.deaths)
        if died_after is None:
            study.record_interruption(asked)
        else:
            study.record_death(asked, died_after)
    assert seen == [0, 1, 1, 2, 0, 0, 1]


@pytest.mark.parametrize(
    ("failing", "reason", "ended"),
    [
        (range(40), "failures", MAX_FAILURES),
        ((2, 3, 4, 5, 6), "failures", 7),
        ((2, 3, 4, 5, 7, 8, 9, 10), "done", 12),
        ((), "done", 12),
    ],
)
def test_failures_in_a_row(failing, reason, ended):
    """Five failures in a row end a sweep; four do not, and count towards the total."""
    study = begin(storage := memory(), SMALL)
    train = make_train(study)
    assert (
        run(study, lambda asked: fail(asked) if asked.number in failing else train(asked)) == reason
    )
    assert study.count_ended() == ended
    states = {r.number: r.state for r in study.results()}
    assert [n for n, state in states.items() if state == FAILED] == [
        n for n in failing if n < ended
    ]
    assert all(t.value is None for t in storage.get_all_trials(0) if t.number in failing)


@pytest.mark.parametrize("most", [1, 3])
def test_failures_that_are_allowed(most):
    """How many failures in a row end a sweep can be chosen."""
    study = begin(memory(), SMALL)
    assert run(study, fail, max_failures=most) == "failures"
    assert study.count_ended() == most


@pytest.mark.parametrize("epoch", [1, 3])
def test_ended_by_somebody_else(epoch):
    """A trial that another program declares stale is lost, whatever came of it: the sweep goes on to the same total."""
    storage, told = memory(), []
    study = begin(storage, SMALL)
    epochs = study.spec.epochs

    def declare(asked, now):
        if (asked.number, now) == (2, min(epoch, epochs)):
            study._study.tell(2, state=TrialState.FAIL)

    def train(asked):
        try:
            return make_train(study, at=declare)(asked)
        except (
            optuna.exceptions.UpdateFinishedTrialError
        ):  # of a report; a training fails for it, as for any error
            return fail(asked)

    assert run(study, train, on_result=told.append) == "done"
    lost = study.results()[2]
    assert (lost.state, lost.end, lost.value) == (FAILED, "lost", None)
    assert told == list(study.results())
    assert [r.number for r in told] == list(range(12))
    assert begin(storage, SMALL).results() == study.results()


def test_reports_that_a_dead_process_did_not_write():
    """Gone on with from a checkpoint, a trial has the reports of all its epochs, each the best value so far."""
    study = begin(storage := memory(), SMALL)
    asked = next(study.trials_to_train())
    study.report(asked, 1, 0.25)
    study.record_interruption(asked)
    again = begin(storage, SMALL)
    adopted = next(again.trials_to_train())
    rows = [
        make_epoch(epoch, {"val/acc": value})
        for epoch, value in enumerate((0.25, 0.5, 0.4), start=1)
    ]
    again.catch_up(adopted, rows)
    again.record_interruption(adopted)
    assert storage.get_all_trials(0)[0].intermediate_values == {1: 0.25, 2: 0.5, 3: 0.5}


def test_interrupted_when_somebody_else_has_ended_it():
    """Asked to stop while training such a trial, there is nothing to note, and the next start goes on to another."""
    study = begin(storage := memory(), SMALL)
    asked = next(study.trials_to_train())
    study._study.tell(0, state=TrialState.FAIL)
    study.record_interruption(asked)
    assert next(begin(storage, SMALL).trials_to_train()).number == 1


def test_failure_is_kept():
    """A failed trial is read back with how it ended, its error, and no value."""
    study = begin(memory(), SMALL, trials=1)
    run(study, lambda asked: fail(asked, "diverged"))
    (result,) = study.results()
    assert (result.state, result.end, result.error, result.value) == (
        FAILED,
        "diverged",
        "invented",
        None,
    )


@pytest.mark.parametrize("state", [COMPLETE, PRUNED])
def test_not_a_number_is_not_kept(state):
    """A result whose value is not a number is kept without the value."""
    study = begin(storage := memory(), SMALL)
    asked = next(study.trials_to_train())
    study.tell(asked, make_result_of(asked, math.inf, state=state))
    assert storage.get_all_trials(0)[0].values is None
    (result,) = study.results()
    assert (result.state, result.value) == (state, None)


def test_pruned_is_never_complete(unbroken):
    """The store knows a pruned trial as pruned, before its last epoch, and a complete one with its value."""
    study = begin(storage := memory())
    run(study, make_train(study))
    pruned = [r for r in unbroken if r.state == PRUNED]
    assert len(pruned) > 3
    assert {len(r.history) for r in pruned} <= {*rungs(9)}
    assert all(len(r.history) == 9 for r in unbroken if r.state == COMPLETE)
    for trial, result in zip(storage.get_all_trials(0), unbroken, strict=True):
        assert (
            trial.state == {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED}[result.state]
        )
        assert result.state == PRUNED or trial.value == result.value


def falling(config, epoch):
    """Each trial is worse than the one before: the pruner would stop all but the first."""
    return next(falling.values)


@pytest.mark.parametrize(
    ("starts", "protected"), [(0, PROTECTED_TRIALS), (3, PROTECTED_TRIALS), (10, 10)]
)
def test_first_trials_are_never_pruned(starts, protected):
    """The first 8 trials are never pruned, nor is any start; what follows is."""
    rates = ", ".join(f"{{lr: {0.001 * (n + 1):g}}}" for n in range(starts))
    text = (
        f"trials: 14\nepochs: 9\nsearch: {{lr: {{low: 0.001, high: 0.1}}}}\nstart_with: [{rates}]"
    )
    falling.values = iter(-n for n in range(1000))
    study = begin(memory(), text)
    run(study, make_train(study, value=falling))
    states = [r.state for r in study.results()]
    assert states == [COMPLETE] * protected + [PRUNED] * (14 - protected)
    assert [r.config.lr for r in study.results()[:starts]] == [
        round(0.001 * (n + 1), 3) for n in range(starts)
    ]


def test_repeats_of_starts_are_never_pruned():
    """A start is not pruned in any of its repeats."""
    text = "trials: 12\nrepeats: 5\nepochs: 9\nsearch: {lr: [0.01, 0.02, 0.03]}\nstart_with: [{lr: 0.01}, {lr: 0.02}]"
    falling.values = iter(-n for n in range(1000))
    study = begin(memory(), text)
    run(study, make_train(study, value=falling))
    assert [r.state for r in study.results()] == [COMPLETE] * 10 + [PRUNED] * 2


@pytest.mark.parametrize(("pruner", "pruned"), [("none", False), ("asha", True), ("median", True)])
def test_pruner_of_the_study(pruner, pruned):
    """The study's own rule decides."""
    assert any(r.state == PRUNED for r in whole(pruner=pruner)) is pruned


def test_minimised():
    """Where less is better, the trial with more is pruned."""
    text = "trials: 10\nobjective: val_loss\nepochs: 9\nsearch: {lr: {low: 0.001, high: 0.1}}"
    study = begin(storage := memory(), text)
    falling.values = iter(-n for n in range(1000))
    for asked in study.trials_to_train():
        stopped = study.report(asked, 1, float(asked.number))
        assert stopped is (asked.number >= PROTECTED_TRIALS)
        state = PRUNED if stopped else COMPLETE
        study.tell(asked, make_result_of(asked, 1.0, state=state))
    assert storage.get_study_directions(0) == [optuna.study.StudyDirection.MINIMIZE]
    assert not study.record().maximize


def test_starts_come_first(unbroken):
    """The starts are tried first, their other values the defaults."""
    starts = "start_with: [{family: resnet, width: 8}, {family: mlp, lr: 0.05, optimizer: sgd}]"
    text = MIXED[: MIXED.index("start_with")] + starts
    results = whole(text, trials=4)
    for result, start in zip(results, spec(text).starts, strict=False):
        assert (
            result.config.to_dict().items()
            >= start_values(spec(text), start).items()
            >= start.items()
        )
    assert (unbroken[0].config.family, unbroken[0].config.lr, unbroken[0].config.width) == (
        "cnn",
        0.001,
        32,
    )


def test_repeats():
    """Each configuration is tried with as many seeds, one after another, and equal otherwise."""
    results = whole(SMALL, set={"repeats": "3", "seed": "5"})
    for first in range(0, 12, 3):
        repeats = results[first : first + 3]
        assert [r.config.seed for r in repeats] == [5, 6, 7]
        assert len({r.config.group for r in repeats}) == 1
    assert len({r.config.group for r in results}) == 4


@pytest.mark.parametrize(
    ("key", "redraws"),
    [
        ("split_seeds", ["draw-5", "draw-6", "draw-7"]),
        ("folds", ["fold-1-of-3", "fold-2-of-3", "fold-3-of-3"]),
    ],
)
def test_redrawn_repeats(key, redraws):
    """The repeats of each configuration have a seed and a draw of their own, and none is a duplicate of another."""
    results = whole(SMALL, set={key: "3", "seed": "5"})
    for first in range(0, 12, 3):
        repeats = results[first : first + 3]
        assert [(r.config.seed, r.config.redraw) for r in repeats] == [
            *zip([5, 6, 7], redraws, strict=True)
        ]
        assert len({r.config.group for r in repeats}) == 1
    assert len({r.config.group for r in results}) == 4
    assert {r.duplicate_of for r in results} == {None}


def test_lists_are_repeated_as_a_whole():
    """Listed configurations are trained once each, then each again; a study of 0.1.0 goes on as it was begun."""
    text = GRID + "repeats: 2\n"
    results = whole(text)
    assert [r.config.seed for r in results] == [0] * 6 + [1] * 6
    assert [r.config.group for r in results[:6]] == [r.config.group for r in results[6:]]
    old = Study.open(memory(), "study", spec(text), {**FACTS, "order": 1})
    assert run(old, make_train(old)) == "done"
    assert [r.config.seed for r in old.results()] == [0, 1] * 6
    assert {r.config.group for r in old.results()} == {r.config.group for r in results}
    promoted = whole(text.replace("pruner: none", "pruner: asha"))
    assert [r.config.seed for r in promoted[:4]] == [0, 1, 0, 1]


GRID = "method: grid\nepochs: 2\npruner: none\nsearch: {lr: [0.1, 0.01], dropout: {low: 0, high: 0.4, step: 0.2}}\n"


@pytest.mark.parametrize(
    ("more", "total"),
    [
        ("", 6),
        ("repeats: 2", 12),
        ("trials: 4", 4),
        ("start_with: [{lr: 0.01, dropout: 0.4}, {lr: 0.1, dropout: 0.2}]", 6),
        ("start_with: [{lr: 0.01, dropout: 0.4}, {lr: 0.01, dropout: 0.4}]", 6),
    ],
)
def test_grid(more, total):
    """A grid tries every point once, each repeat of it, the starts first, and ends with its total."""
    results = whole(GRID + more)
    assert len(results) == total == len({r.config.signature for r in results})
    points = [(r.config.lr, r.config.dropout) for r in results]
    starts = [(start["lr"], start["dropout"]) for start in spec(GRID + more).starts]
    assert points[: len(set(starts))] == list(dict.fromkeys(starts))
    assert set(points) <= {(x, y) for x in (0.1, 0.01) for y in (0, 0.2, 0.4)}


def test_integers_and_steps():
    """Whole numbers and steps are kept to, also where a repeat is tried with another seed."""
    text = """
trials: 30
repeats: 2
epochs: 1
search:
  width: {low: 8, high: 40, step: 8}
  batch_size: {low: 16, high: 1024, log: true}
  dropout: {low: 0, high: 0.9, step: 0.3}
  lr: {low: 0.00012345, high: 0.00012389}
"""
    configs = [r.config for r in whole(text)]
    assert {c.width for c in configs} <= {8, 16, 24, 32, 40}
    assert {c.dropout for c in configs} <= {0, 0.3, 0.6, 0.9}
    assert {c.lr for c in configs} <= {
        0.0001234,
        0.0001235,
        0.0001236,
        0.0001237,
        0.0001238,
        0.0001239,
    }
    assert all(type(c.batch_size) is int and 16 <= c.batch_size <= 1024 for c in configs)
    assert [c.group for c in configs[::2]] == [c.group for c in configs[1::2]]


@pytest.mark.parametrize("repeats", ["1", "2"])
def test_total_may_be_raised(repeats):
    """A raised total goes on where the study ended, to the list of a study that had it from the start."""
    storage = memory()
    few = whole(SMALL, storage, set={"repeats": repeats})
    study = begin(storage, SMALL, set={"trials": "20", "repeats": repeats})
    trained = []
    run(
        study,
        make_train(study, at=lambda asked, now: trained.append(asked.number) if now == 0 else None),
    )
    assert trained == list(range(12, 20))
    assert study.results()[:12] == few
    assert study.results() == whole(SMALL, set={"trials": "20", "repeats": repeats})
    assert read_record(storage, "study").trials == 20


@pytest.mark.parametrize(
    "change", [{"trials": 12}, {"set": {"description": "other", "source": "elsewhere"}}]
)
def test_may_change(change):
    """The total and the words may change."""
    storage = memory()
    begin(storage, SMALL, trials=14)
    assert begin(storage, SMALL, **change).count_ended() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dataset: mnist", "dataset: digits -> mnist"),
        ("seed: 3", "seed: 0 -> 3"),
        ("objective: val_loss", "objective: val_acc -> val_loss"),
        ("pruner: none\nrepeats: 2", "repeats: 1 -> 2; pruner: asha -> none"),
        ("fixed: {schedule: cosine}", "schedule: not set -> cosine"),
        ("start_with: [{width: 8}]", "start_with: not set -> 1 configuration"),
    ],
)
def test_changed(change, message):
    """A study in the store is not gone on with from another specification: what differs is told, old and new."""
    storage = memory()
    begin(storage, SMALL)
    with pytest.raises(StudyChangedError) as error:
        begin(storage, SMALL + change)
    assert str(error.value) == f"study 'study' has another definition ({message})"
    assert begin(storage, SMALL).count_ended() == 0


def test_changed_search():
    """Changed ranges, added and missing dimensions are told by their names, the first ones; the others are counted."""
    storage = memory()
    begin(storage, SMALL)
    search = "{lr: {low: 1.0e-4, high: 1, log: true}, depth: [1, 2]}"
    changed = f"trials: 12\nepochs: 4\nseed: 1\nsearch: {search}\n"
    with pytest.raises(StudyChangedError) as error:
        begin(storage, changed)
    *told, last = error.value.differences.split("; ")
    assert set(told) == {
        "lr: 0.0001 to 0.1 -> 0.0001 to 1",
        "width: 8, 16, 32 -> not set",
        "depth: not set -> 1, 2",
    }
    assert last == "and 2 more"


def test_until():
    """The sweep stops before the next trial when it is told to, and says so."""
    study = begin(memory(), SMALL)
    assert run(study, make_train(study), should_stop=lambda: study.count_ended() == 3) == "until"
    assert [r.number for r in study.results()] == [0, 1, 2]
    assert run(study, make_train(study)) == "done"
    assert study.results() == whole(SMALL)


def test_until_is_not_asked_after_the_last():
    """A sweep that reached its total is done, whatever the time."""
    study = begin(memory(), SMALL)
    assert run(study, make_train(study), should_stop=lambda: study.count_ended() == 12) == "done"


def test_told():
    """Each result is told once it is kept, in order."""
    study = begin(memory(), SMALL)
    told = []
    run(
        study,
        make_train(study),
        on_result=lambda result: told.append((result.number, study.results()[-1] == result)),
    )
    assert told == [(n, True) for n in range(12)]


def test_read_back(unbroken):
    """A study is read back as it was: its facts, dimensions and every result, equal."""
    storage = memory()
    study = begin(storage, name="mixed-digits")
    study.remember("parent_run_id", "abc")
    run(study, make_train(study))
    record = read_record(storage, "mixed-digits")
    assert record == study.record()
    assert record.results == unbroken
    assert record.dimensions == spec().dimensions
    assert (record.name, record.study, record.dataset, record.objective) == (
        "mixed-digits",
        "mixed",
        "digits",
        "val_acc",
    )
    assert (record.maximize, record.trials, record.classes, record.parent_run_id) == (
        True,
        20,
        ("a", "b"),
        "abc",
    )


def test_running_is_read_back():
    """A trial under way is read back as running, with its configuration and the best so far."""
    storage = memory()
    study = begin(storage, SMALL)
    asked = next(study.trials_to_train())
    assert read_record(storage, "study").results[0].value is None
    study.report(asked, 1, 0.25)
    study.report(asked, 2, 0.5)
    study._store.settle(asked.number)
    (result,) = read_record(storage, "study").results
    assert (result.number, result.state, result.end, result.value) == (0, RUNNING, "running", 0.5)
    assert result.config == asked.config


def test_facts_are_those_of_the_first():
    """What was settled when the study was made holds when it is gone on with; what was remembered is recalled."""
    storage = memory()
    study = Study.open(
        storage, "study", spec(SMALL), {"runtime": {"threads": 4}, "shape": (1, 8, 8)}
    )
    study.remember("parent_run_id", "abc")
    again = Study.open(storage, "study", spec(SMALL), {"runtime": {"threads": 8}})
    assert (again.facts.runtime, again.facts.shape) == ({"threads": 4}, (1, 8, 8))
    assert next(again.trials_to_train()).config.threads == 4
    assert (again.recall("parent_run_id"), again.recall("nothing"), again.name) == (
        "abc",
        None,
        "study",
    )


def test_names():
    """Studies are named in the order in which they were last opened; an unknown one is refused with those there are."""
    storage = memory()
    with pytest.raises(StudyNotFoundError, match=r"^no study 'c'; there are: none yet$"):
        read_record(storage, "c")
    for name in ("a", "b", "a"):
        begin(storage, SMALL, name=name)
    assert stored.study_names(storage) == ["b", "a"]
    with pytest.raises(StudyNotFoundError, match=r"^no study 'c'; there are: b, a$"):
        read_record(storage, "c")


def test_foreign_study_is_none_of_ours():
    """A study that somebody else made in the same store is neither named nor read."""
    storage = memory()
    optuna.create_study(storage=storage, study_name="theirs")
    begin(storage, SMALL, name="ours")
    assert stored.study_names(storage) == ["ours"]
    with pytest.raises(StudyNotFoundError, match=r"^no study 'theirs'; there are: ours$"):
        read_record(storage, "theirs")


@pytest.mark.parametrize("writes", range(7))
def test_half_made_is_not_there(writes):
    """A study whose process has not yet written all of it is no study to a reader, and is made again."""
    storage = MortalStorage()
    storage.left = writes
    with pytest.raises(Killed):
        begin(storage, SMALL)
    assert stored.study_names(storage) == []
    with pytest.raises(StudyNotFoundError, match=r"^no study 'study'; there are: none yet$"):
        read_record(storage, "study")
    begin(storage, SMALL)
    assert read_record(storage, "study").trials == 12


def test_resume_from_a_file(unkilled, tmp_path):
    """A study in a file, broken off and opened by another process, goes on to the same list as one in memory."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    storage = open_storage(url, timeout=20)
    study = begin(storage, MORTAL, trials=6)

    def stop(asked, now):
        if (asked.number, now) == (4, 2):
            raise Killed

    with pytest.raises(Killed):
        run(study, make_train(study, at=stop))
    close(storage)
    storage = open_storage(url, timeout=20)
    try:
        assert whole(MORTAL, storage, trials=6) == unkilled[0][:6]
        assert read_record(storage, "study").results == unkilled[0][:6]
    finally:
        close(storage)


def test_no_store(tmp_path):
    """A file that is no store of studies is refused and stays as it was."""
    path = tmp_path / "notes.db"
    path.write_text("not a database, but longer than a header would be" * 9)
    with pytest.raises(stored.StorageError, match="not a database"):
        open_storage(f"sqlite:///{path}", timeout=1)
    assert path.read_text().startswith("not a database, but")


TWICE = "trials: 6\nepochs: 2\npruner: none\nmethod: random\nsearch: {lr: [0.1, 0.2], width: [8]}\n"


def test_a_configuration_is_trained_once():
    """A second draw of a configuration is a duplicate: not trained, with the first one's result, and counted."""
    trained = []
    study = begin(memory(), TWICE)
    assert (
        run(study, make_train(study, at=lambda asked, epoch: epoch or trained.append(asked.number)))
        == "done"
    )
    results = study.results()
    assert len(results) == 6
    assert len(trained) == len({result.config.signature for result in results}) == 2
    for result in results:
        if result.number in trained:
            assert result.duplicate_of is None
        else:
            first = results[result.duplicate_of]
            assert first.config == result.config
            assert (first.value, first.history, first.end) == (
                result.value,
                result.history,
                result.end,
            )


def test_a_duplicate_can_be_completed():
    """What was not trained can be given what belongs to it, such as a run of its own, before it is kept."""
    study = begin(memory(), TWICE)
    run(
        study,
        make_train(study),
        complete_untrained=lambda asked, result: dataclasses.replace(
            result, run_id=f"run{asked.number}"
        ),
    )
    assert all(r.run_id == f"run{r.number}" for r in study.results() if r.duplicate_of is not None)


def test_a_failure_that_may_not_recur_is_tried_again():
    """Only what the configuration decides is reused: not an error, a timeout or a lack of memory."""
    for end, trained in (("diverged", 1), ("oom", 3), ("timeout", 3), ("error:OSError", 3)):
        study, numbers = begin(memory(), "trials: 3\nmethod: random\nsearch: {lr: [0.1]}"), []

        def train(asked, end=end, numbers=numbers):
            numbers.append(asked.number)
            return fail(asked, end)

        run(study, train)
        assert len(numbers) == trained, end


@pytest.mark.parametrize(
    ("stop", "count", "reason"),
    [
        ("{target: 0.5}", 1, "target 0.5 reached"),
        ("{target: 0.7}", 12, "done"),
        ("{no_gain: 2}", None, "no gain in 2 trials"),
        ("{time: 7}", 3, "7 s of training used up"),
    ],
)
def test_stop(stop, count, reason):
    """A study ends before its total once its target is reached, nothing is gained, or its time is used up."""
    text = f"{SMALL}method: random\nstop: {stop}\n"
    study = begin(memory(), text)
    train = make_train(study, value=lambda config, epoch: 0.6)
    assert run(study, lambda asked: dataclasses.replace(train(asked), seconds=3.0)) == reason
    assert len(study.results()) == (count or 3)
    again = begin(study._storage, text)
    assert run(again, train) == reason, "the same command again goes no further"
    assert len(again.results()) == (count or 3)


def test_stop_when_less_is_better():
    """The target of a loss is reached from above."""
    study = begin(memory(), SMALL + "objective: val_loss\nstop: {target: 0.5}\n")
    values = iter([0.9, 0.7, 0.4, 0.3])

    def train(asked):
        return make_result_of(asked, next(values))

    assert run(study, train) == "target 0.5 reached"
    assert len(study.results()) == 3


def test_an_infeasible_trial_is_told_without_a_value():
    """A trial that its study's constraints rule out is pruned in Optuna, and the study goes on past many of them."""
    study = begin(memory(), SMALL)

    def train(asked):
        return make_result_of(asked, state=PRUNED, end="infeasible", error="too large")

    assert run(study, train) == "done"
    assert [trial.state for trial in study._study.get_trials()] == [TrialState.PRUNED] * 12
    assert [result.value for result in study.results()] == [None] * 12


def test_test_scores_are_kept_with_an_ended_trial(tmp_path):
    """Scores on the test split, added to one after another, are read back with their trial and with no other."""
    storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}", timeout=5)
    whole(SMALL, storage)
    stored.keep_test(storage, "study", 3, {"acc": 0.9, "loss": 0.3}, "/w==")
    stored.keep_test(storage, "study", 3, {"acc@1": 0.5, "acc@2": 0.6}, looks=2)
    stored.count_look_of_refit(storage, "study")
    found = read_record(storage, "study")
    results = found.results
    assert (found.looks.trials, found.looks.refit, found.looks.at_least) == ({3: 3}, 1, False)
    assert [r.number for r in results if r.test_correct is not None] == [3]
    assert results[3].test_correct == "/w=="
    tests = [result.test for result in results]
    assert tests[3] == {"acc": 0.9, "loss": 0.3, "acc@1": 0.5, "acc@2": 0.6}
    assert {str(test) for number, test in enumerate(tests) if number != 3} == {"None"}
    close(storage)


def test_a_score_that_was_not_counted_counts_once():
    """A trial that version 0.1.0 scored, which did not count, was scored once before it is scored again."""
    storage = memory()
    whole(SMALL, storage)
    optuna.load_study(storage=storage, study_name="study").set_user_attr(
        "test of trial 3", {"acc": 0.9}
    )
    assert read_record(storage, "study").looks.trials == {3: 1}
    for looks in (2, 3):
        stored.keep_test(storage, "study", 3, {"acc": 0.9})
        assert read_record(storage, "study").looks.trials == {3: looks}


def test_method_and_references_are_read_back():
    """A report knows the method and the published figures, also those corrected since the study was made."""
    storage = memory()
    begin(storage, SMALL)
    begin(storage, SMALL + "reference: [{when: {width: 8}, test_acc: 0.5}]")
    found = read_record(storage, "study")
    assert found.method == "tpe"
    assert [(r.when, r.test_acc) for r in found.reference] == [({"width": 8}, 0.5)]


def test_a_failure_reused_is_no_further_failure():
    """One configuration that diverges, drawn over and over, is one failure: it does not end the study."""
    study = begin(
        memory(), "trials: 24\nepochs: 1\nmethod: random\npruner: none\nsearch: {lr: [0.1, 0.2]}\n"
    )
    complete = make_train(study)
    assert (
        run(
            study,
            lambda asked: fail(asked, "diverged") if asked.config.lr == 0.2 else complete(asked),
        )
        == "done"
    )
    assert len(study.results()) == 24
    assert sum(result.duplicate_of is None for result in study.results()) == 2


def test_looking_for_earlier_trials_hashes_each_once(monkeypatch):
    """However many trials there are, a configuration's signature is taken a few times for each."""
    calls = []
    study = begin(
        memory(),
        "trials: 60\nepochs: 1\nmethod: random\nsearch: {lr: {low: 1.0e-4, high: 1.0, log: true}}\n",
    )
    original = TrialConfig._hash
    monkeypatch.setattr(
        TrialConfig, "_hash", lambda self, counts: calls.append(1) or original(self, counts)
    )
    run(study, make_train(study, value=lambda config, epoch: 0.5))
    assert len(calls) <= 2 * 60


def promoting(text=SMALL, **overrides):
    """A new study whose trials are paused and promoted."""
    storage = memory()
    facts = {**FACTS, "scheduler": 2}
    return storage, Study.open(storage, "study", spec(text, **overrides), facts)


def test_pauses_and_promotions_are_counted():
    """A record tells how often trials were paused and went on, and the epochs expected of the study."""
    storage, study = promoting()
    pauses = []

    def stop():
        return len(pauses) >= 7

    run(study, make_train(study), on_pause=pauses.append, should_stop=stop)
    record = stored.read_record(storage, "study")
    assert record.promoted.pauses == len(pauses) == 7
    assert record.promoted.promotions == 7 - len(record.paused)
    assert record.paused
    assert not record.is_finished
    assert [one.value for one in record.paused] == sorted(
        (one.value for one in record.paused), reverse=True
    )
    study = Study.open(storage, "study", spec(SMALL), FACTS)
    run(study, make_train(study), on_pause=pauses.append)
    record = stored.read_record(storage, "study")
    assert record.promoted.pauses == len(pauses)
    pruned = sum(result.state == PRUNED for result in record.results)
    assert record.promoted.promotions == len(pauses) - pruned
    assert record.is_finished
    trained = sum(len(result.history) for result in record.results)
    assert trained <= record.promoted.expected_epochs < 12 * 3


def test_a_pause_tells_the_place_of_the_configuration():
    """With several seeds, a place is told once all of them have come to the epoch."""
    _, study = promoting(repeats=2, trials=12)
    pauses = []
    run(study, make_train(study), on_pause=pauses.append)
    first, second = pauses[:2]
    assert first.standing is None
    assert (second.standing.place, second.standing.rivals) == (1, 1)
    assert second.standing.value == pytest.approx((first.result.value + second.result.value) / 2)


@pytest.mark.parametrize(
    ("budget", "expected"), [("2", 2 * 3), ("1h", None)], ids=["trainings", "hours"]
)
def test_expected_epochs_of_a_budget(budget, expected):
    """A budget says how many epochs a study takes; a time alone does not, before any is trained."""
    storage, study = promoting(SMALL.replace("trials: 12\n", ""), budget=budget)
    record = stored.read_record(storage, "study")
    assert record.promoted.expected_epochs == study.expected_epochs == expected
    assert record.has_only_budget


def test_a_study_without_promotion_counts_none():
    """A study of the rule of 0.1.0 has no promotions."""
    storage = memory()
    begin(storage)
    assert stored.read_record(storage, "study").promoted is None
