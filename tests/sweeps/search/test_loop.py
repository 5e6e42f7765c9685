"""The loop with several trials at a time: the list of trials is the same whatever their order of ending."""

import contextlib
import itertools
import random
import time

import pytest
from support.records import make_result
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
    spec,
)

from sweeps.search import loop
from sweeps.search.loop import MAX_DEATHS, SequentialRunner
from sweeps.search.pruning import PROTECTED_TRIALS
from sweeps.search.stored import running_trials
from sweeps.search.study import Study
from sweeps.search.trial_store import TrialStore
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, TrialResult


def begin(storage, text=MIXED, *, workers, deterministic=True, **overrides):
    facts = {
        "scheduler": 1,
        "window": None,
        "runtime": {"threads": 1},
        "workers": workers,
        "deterministic": deterministic,
    }
    return Study.open(storage, "study", spec(text, **overrides), facts)


def sweep(seed, text=MIXED, *, workers=3, places=None, value=accuracy, **overrides):
    """Sweep with a runner whose order the seed decides; the results, the runner and how it ended."""
    study = begin(memory(), text, workers=workers, **overrides)
    runner = Disorder(make_train(study, value=value), places or workers, random.Random(seed))
    ending = loop.run(study, runner)
    return study.results(), runner, ending


@pytest.fixture(scope="module")
def three():
    """The trials of the mixed study with three workers."""
    return sweep(0, trials=40)[0]


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_order_of_ending_decides_nothing(three, seed):
    """With three workers the list and its values are the same in whatever order they end; some are pruned."""
    results, runner, ending = sweep(seed, trials=40)
    assert results == three
    assert (runner.most, ending.reason) == (3, "done")
    assert {r.state for r in results} == {COMPLETE, PRUNED}


@pytest.mark.parametrize("places", [1, 2, 8])
def test_the_places_that_there_are_decide_nothing(three, places):
    """A study made for three workers has the same list with fewer; more are of no use, and stand empty."""
    results, runner, _ = sweep(7, trials=40, places=places)
    assert results == three
    assert runner.most == min(places, 3)


def test_how_many_workers_a_study_is_made_for_decides(three):
    """What learns from fewer of the earlier trials is another list; its first trials learn nothing, and are equal."""
    alone = sweep(0, trials=40, workers=1)[0]
    assert alone[:PROTECTED_TRIALS] == three[:PROTECTED_TRIALS]
    assert [r.config for r in alone] != [r.config for r in three]


def killed_again_and_again(seed, share, places, *text, **options):
    """A study that is gone on with until it ends, after a kill at a share of all epochs.

    Args:
        seed: of the kills, and of the order in which trials end.
        share: how often an epoch is the last.
        places: of the runner.
        *text: of the study, as for `begin`.
        **options: of `begin`.
    """
    storage, rng, kills = memory(), random.Random(seed), 0

    def die(asked, epoch):
        if rng.random() < share:
            raise KeyboardInterrupt

    while True:
        study = begin(storage, *text, **options)
        try:
            loop.run(study, Disorder(make_train(study, at=die), places, rng))
        except KeyboardInterrupt:
            kills += 1
            interrupt_all(study)
            continue
        assert kills > 3
        return study


@pytest.mark.parametrize("seed", range(3))
def test_broken_off_and_gone_on(three, seed):
    """Killed again and again with trials under way, some of which have ended out of turn, it makes the same list."""
    study = killed_again_and_again(seed, 0.02, 3, workers=3, trials=40)
    assert study.results() == three


def test_without_determinism_nobody_waits():
    """Where any order may decide, every place is taken until the last trials are under way, and the total reached."""
    study = begin(memory(), workers=3, deterministic=False, trials=40)
    train, rng = make_train(study), random.Random(0)
    taken = []

    class Watched(Disorder):
        def wait(self):
            taken.append(len(self.begun))
            return super().wait()

    ending = loop.run(study, Watched(train, 3, rng))
    assert taken == [3] * 38 + [2, 1]
    assert [r.number for r in study.results()] == list(range(40))
    assert (ending.reason, ending.idle) == ("done", 0.0)


GRID = """
dataset: digits
method: grid
repeats: 2
pruner: none
search: {family: [mlp, cnn], lr: [1.0e-3, 1.0e-2]}
"""
STARTS = """
dataset: digits
method: random
trials: 2
pruner: none
search: {lr: [1.0e-3, 1.0e-2]}
start_with: [{lr: 1.0e-3}, {lr: 1.0e-2}]
"""


@pytest.mark.parametrize("text", [GRID, STARTS])
def test_where_no_result_decides_nobody_waits(text):
    """Configurations that are known beforehand are trained in any order, on any number of places: the list is one."""
    alone = sweep(0, text, workers=1)[0]
    for seed in range(3):
        results, runner, ending = sweep(seed, text, workers=2, places=len(alone))
        assert results == alone
        assert (runner.most, ending.idle) == (len(alone), 0.0)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("pruner: none", "pruner: asha"),
        ("repeats: 2", "stop: {target: 1.0}"),
        ("grid", "tpe"),
    ],
)
def test_where_a_result_may_decide_they_wait(was, now):
    """Pruning, a rule that ends the study, and what is drawn need the results of earlier trials."""
    assert sweep(0, GRID.replace(was, now), workers=2, places=8)[1].most == 2


RANDOM = """
dataset: digits
method: random
trials: 16
pruner: none
search: {family: [mlp, cnn], lr: [1.0e-3, 1.0e-2, 1.0e-1]}
"""


def waiting_list(workers):
    """The list of a study whose draws wait for the earlier ones, as those of a median pruner do."""
    return sweep(
        0, RANDOM.replace("pruner: none", "stop: {no_gain: 100}\npruner: none"), workers=workers
    )[0]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_random_draws_never_wait(workers):
    """They are known beforehand; one of an earlier configuration gets the result that waiting would have given it."""
    expected = waiting_list(workers)
    assert any(result.duplicate_of is not None for result in expected)
    for seed in range(3):
        results, runner, ending = sweep(seed, RANDOM, workers=workers, places=4)
        assert results == expected
        assert (runner.most, ending.reason) == (4, "done")


def test_random_draws_broken_off_and_gone_on():
    """Killed while a draw waits for the result of its configuration, the sweep goes on to the same list."""
    expected = waiting_list(2)
    study = killed_again_and_again(1, 0.05, 4, RANDOM, workers=2)
    assert study.results() == expected


UNEQUAL = """
dataset: digits
method: grid
repeats: 2
pruner: none
epochs: 3
search: {width: [8, 16, 256, 24, 32, 40, 48, 200]}
"""


def sweep_in_time(text, *, longest_first, workers=2, places=2, storage=None, limit=None):
    """Sweep in simulated time, in which a trial takes as long as its width; the study and the runner.

    Args:
        text: of the study.
        longest_first: whether the study is told how long its trials take.
        workers: of the study.
        places: of the runner.
        storage: of the study; a new one without.
        limit: the epochs after which the process is killed.
    """
    study = begin(storage or memory(), text, workers=workers)
    if longest_first:
        study.expected_time = lambda config: config.width or 0
    epochs = itertools.count()

    def die(_asked, epoch):
        if epoch and next(epochs) == limit:
            raise KeyboardInterrupt

    durations = {}

    class Widths(Timed):
        def begin(self, asked):
            durations[asked.number] = asked.config.width
            super().begin(asked)

    runner = Widths(make_train(study, at=die), places, durations)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run(study, runner)
    return study, runner, list(durations)


def test_the_longest_of_a_list_begins_first():
    """Places end together, sooner than in the order of the list; numbers and results are those of the list."""
    listed, slow, _ = sweep_in_time(UNEQUAL, longest_first=False)
    study, quick, order = sweep_in_time(UNEQUAL, longest_first=True)
    assert study.results() == listed.results()
    widths = [result.config.width for result in study.results()]
    assert order == sorted(range(len(widths)), key=lambda number: (-widths[number], number))
    assert (slow.idle, quick.idle) == (pytest.approx(0.1136, abs=1e-3), 0)
    assert quick.now == pytest.approx(slow.now * (1 - slow.idle))


def test_one_place_trains_a_list_in_its_order():
    """Where nobody trains beside others, the order is that of the list."""
    _, _, order = sweep_in_time(UNEQUAL, longest_first=True, places=1)
    assert order == list(range(len(order)))


@pytest.mark.parametrize(
    ("was", "now"),
    [("pruner: none", "pruner: asha"), ("repeats: 2", "stop: {target: 1.0}")],
)
def test_what_is_no_known_list_keeps_its_order(was, now):
    """Where a result may decide what is trained, the order is that of the decisions."""
    text = UNEQUAL.replace(was, now)
    _, _, order = sweep_in_time(text, longest_first=True)
    assert order == list(range(len(order)))


def test_what_is_drawn_ahead_has_not_begun():
    """After a kill, results and what runs show what has begun; the rest goes on to the same results, once each."""
    storage = memory()
    whole, _, order = sweep_in_time(UNEQUAL, longest_first=True)
    study, _, begun = sweep_in_time(UNEQUAL, longest_first=True, storage=storage, limit=10)
    assert begun == order[: len(begun)]
    assert [r.number for r in study.results()] == sorted(begun)
    running = {r.number for r in study.results() if r.state == RUNNING}
    assert {trial.number for trial in running_trials(storage, "study")} == running
    study, _, after = sweep_in_time(UNEQUAL, longest_first=True, storage=storage)
    assert after[: len(running)] == sorted(running)
    assert after[len(running) :] == order[len(begun) :]
    assert study.results() == whole.results()


@pytest.mark.parametrize("step", ["add", "set_attr", "begin_reports"])
@pytest.mark.parametrize("count", [1, 5, 17])
def test_killed_while_trials_are_drawn_ahead(monkeypatch, step, count):
    """Killed between a draw and the next, or as a trial begins, the sweep goes on to the same results."""
    storage = memory()
    calls = itertools.count(1)
    original = getattr(TrialStore, step)

    def do_and_die(*arguments):
        original(*arguments)
        if next(calls) == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrialStore, step, do_and_die)
    sweep_in_time(UNEQUAL, longest_first=True, storage=storage)
    monkeypatch.undo()
    study, _, _ = sweep_in_time(UNEQUAL, longest_first=True, storage=storage)
    whole, _, _ = sweep_in_time(UNEQUAL, longest_first=False)
    assert study.results() == whole.results()


def test_a_smaller_total_begins_no_more_of_what_was_drawn_ahead():
    """Trials beyond a total that was made smaller wait for a larger one, also where one place trains."""
    storage = memory()
    sweep_in_time(UNEQUAL, longest_first=True, storage=storage, limit=4)
    for trials, places in ((10, 1), (12, 2)):
        text = UNEQUAL.replace("repeats: 2", f"repeats: 2\ntrials: {trials}")
        study, _, _ = sweep_in_time(text, longest_first=True, storage=storage, places=places)
        ended = [r.number for r in study.results() if r.state == COMPLETE]
        assert set(ended) >= set(range(trials))
        assert len(ended) <= trials + 2  # the first two of all were the longest
    whole, _, _ = sweep_in_time(UNEQUAL, longest_first=False)
    study, _, _ = sweep_in_time(UNEQUAL, longest_first=True, storage=storage)
    assert study.results() == whole.results()


def test_a_long_list_is_drawn_in_parts():
    """The first trials of a long list begin soon; more is drawn while all places train, up to a limit."""
    text = UNEQUAL.replace("repeats: 2", "repeats: 13")
    study, _, order = sweep_in_time(text, longest_first=True, limit=0)
    assert len(study._trials()) == 25 + 16
    assert max(order) < 25
    study, _, order = sweep_in_time(text, longest_first=True, limit=100)
    assert len(study._trials()) == len(order) + 64
    whole, runner, _ = sweep_in_time(text, longest_first=True)
    assert whole.results() == sweep_in_time(text, longest_first=False)[0].results()
    assert runner.idle < 0.002


def test_time_in_vain_is_counted():
    """What determinism costs is the time of places that stand empty until an earlier trial has ended, and no other."""
    study = begin(memory(), SMALL, workers=2, trials=4)
    train = make_train(study)

    class LastFirst(SequentialRunner):
        places = 2

        def wait(self):
            time.sleep(0.02)
            asked = self._begun.pop()
            return asked, train(asked)

    idle = loop.run(study, LastFirst(train)).idle
    assert idle >= 0.02, "trial 2 had to wait for trial 0"
    study = begin(memory(), SMALL, workers=1)
    assert loop.run(study, SequentialRunner(make_train(study))).idle == 0.0


def mortal(deaths, train):
    """A function that trains, but dies as often as is said for the number of a trial."""

    def attempt(asked):
        if deaths.get(asked.number, 0) > 0:
            deaths[asked.number] -= 1
            return loop.Death()
        return train(asked)

    return attempt


def test_the_death_of_a_worker_costs_its_trial_alone(three):
    """A trial whose process dies is begun again; the list is the same, and each death is counted."""
    study = begin(memory(), workers=3, trials=40)
    runner = Disorder(mortal({3: 1, 9: 2}, make_train(study)), 3, random.Random(3))
    assert loop.run(study, runner).reason == "done"
    assert study.results() == three
    assert sorted(runner.asked) == sorted([*range(40), 3, 9, 9])
    deaths = {t.number: t.user_attrs.get("deaths", 0) for t in study._study.get_trials()}
    assert {number: count for number, count in deaths.items() if count} == {3: 1, 9: 2}


def test_poison():
    """A trial whose process dies for the third time, and was seen to die, fails; the others are trained.

    It does not matter whether that was in this sweep or in an earlier one.
    """
    storage = memory()
    study = begin(storage, SMALL, workers=2)
    study.record_death(next(study.trials_to_train()), epochs=0)
    study = begin(storage, SMALL, workers=2)
    runner = Disorder(mortal({0: 9, 5: 9}, make_train(study)), 2, random.Random(0))
    assert loop.run(study, runner).reason == "done"
    results = study.results()
    assert [r.number for r in results if r.state == FAILED] == [0, 5]
    assert {r.end for r in results if r.state == FAILED} == {"poison"}
    # The command that ended after the first death of trial 0 counts for nothing.
    assert (runner.asked.count(0), runner.asked.count(5)) == (MAX_DEATHS - 1, MAX_DEATHS)


def test_deaths_after_progress_do_not_count(three):
    """A trial that dies often, each time with a newer checkpoint, is trained to its end; the list is the same."""
    study = begin(memory(), workers=3, trials=40)
    epochs = iter([1, 1, 2, 2, 2, 5, 5, 5])
    train = make_train(study)

    def attempt(asked):
        saved = next(epochs, None) if asked.number == 4 else None
        return train(asked) if saved is None else loop.Death(saved)

    runner = Disorder(attempt, 3, random.Random(3))
    assert loop.run(study, runner).reason == "done"
    assert study.results() == three
    assert runner.asked.count(4) == 9


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("{target: 0.8}", "target 0.8 reached"), ("{no_gain: 4}", "no gain in 4 trials")],
)
def test_the_rules_of_stopping_are_held_in_order(stop, reason):
    """A rule of the study's ends it at the same trial in whatever order they end, also when it is asked again."""
    text = f"{MIXED}stop: {stop}\n"
    found = [sweep(seed, text, trials=40) for seed in range(4)]
    assert {ending.reason for _, _, ending in found} == {reason}
    assert all(results == found[0][0] for results, _, _ in found)
    assert 2 < len(found[0][0]) < 40


def test_failures_in_a_row_are_those_of_their_numbers():
    """Trials 4 to 8 fail, and the sweep ends after the trial that was under way beside the last, whatever the order."""
    for seed in range(4):
        study = begin(memory(), SMALL, workers=2)
        train = make_train(study)
        runner = Disorder(
            lambda asked: fail(asked) if 4 <= asked.number <= 8 else train(asked),  # noqa: B023
            2,
            random.Random(seed),
        )
        assert loop.run(study, runner).reason == "failures"
        assert [r.number for r in study.results()] == list(range(10))


def test_a_duplicate_is_one_of_what_may_decide():
    """The result of an earlier trial of the same configuration is reused if that trial may decide about this one."""
    text = "trials: 12\nepochs: 2\npruner: none\nmethod: random\nsearch: {lr: [0.1, 0.2], width: [8]}\n"
    found = [sweep(seed, text, workers=4)[0] for seed in range(4)]
    assert all(results == found[0] for results in found)
    first = {}
    for result in found[0]:
        seen = {
            r.config.signature: r.number for r in reversed(found[0][: max(0, result.number - 3)])
        }
        assert result.duplicate_of == seen.get(result.config.signature)
        first.setdefault(result.config.signature, result.number)


def test_nobody_is_pruned_by_a_few():
    """With eight workers the ninth trial knows one result: who has fewer than eight to compare with is not pruned."""
    values = iter(-n for n in range(10_000))
    text = "trials: 24\nepochs: 9\nsearch: {lr: {low: 0.001, high: 0.1}}"
    results, _, _ = sweep(0, text, workers=8, value=lambda config, epoch: next(values))
    assert [r.state for r in results[: PROTECTED_TRIALS + 7]] == [COMPLETE] * (PROTECTED_TRIALS + 7)
    assert PRUNED in {r.state for r in results[PROTECTED_TRIALS + 7 :]}


def test_results_are_kept_as_they_come():
    """A trial that ends before an earlier one is kept at once: a sweep that is killed then has it."""
    study = begin(storage := memory(), SMALL, workers=2)
    train = make_train(study)

    class Stuck(SequentialRunner):
        places = 2

        def wait(self):
            if len(self._begun) == 1:
                raise KeyboardInterrupt
            asked = self._begun.pop()
            return asked, train(asked)

    with pytest.raises(KeyboardInterrupt):
        loop.run(study, Stuck(train))
    again = begin(storage, SMALL, workers=2)
    assert [r.state for r in again.results()] == [RUNNING, COMPLETE]
    trained = []
    loop.run(
        again,
        SequentialRunner(
            make_train(again, at=lambda asked, epoch: epoch or trained.append(asked.number))
        ),
    )
    assert trained == [0, *range(2, 12)]
    assert isinstance(again.results()[1], TrialResult)


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize(
    ("stop", "reason"), [("{target: 0.8}", None), ("{no_gain: 2}", "no gain in 2 trials")]
)
def test_a_duplicate_that_has_ended_stops_no_sooner(stop, reason, has_ended):
    """When a duplicate ends is a matter of time: its value counts with its original only."""
    duplicate = make_result(1, None, state=PAUSED, duplicate_of=0)
    if has_ended:
        duplicate = make_result(1, 0.9, duplicate_of=0)
    results = [make_result(0, 0.5, state=PAUSED), duplicate, make_result(2, 0.4, state=PAUSED)]
    assert loop.stop_reason(spec(f"{MIXED}stop: {stop}"), results) == reason
