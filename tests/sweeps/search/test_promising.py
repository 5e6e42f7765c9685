"""Paused trials that may be better than complete ones are finished before finalists are chosen."""

import contextlib

import pytest
from support.searches import FACTS, Timed, make_train, memory, noise, spec, stores_in_files

from sweeps.search import loop
from sweeps.search.loop import SequentialRunner
from sweeps.search.promotion import Contender, promising
from sweeps.search.stored import load, read_record
from sweeps.search.study import Study
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED

TEXT = """
dataset: digits
trials: 12
epochs: 6
method: random
seed: 2
search: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}}
"""
NEW = {**FACTS, "scheduler": 2, "selection": 2, "window": 1, "runtime": {}}


def one(number, *values, epochs=6, until=None, ended=False, out=False):
    """A configuration that has come as far as its values, and is paused there if it is not at its end."""
    return Contender(
        number=number,
        epochs=epochs,
        until=until or len(values),
        values=values,
        ended=ended,
        out=out,
    )


FIRST = one(0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SECOND = one(1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@pytest.mark.parametrize(
    ("paused", "top", "expected"),
    [
        ([one(2, 0.3), one(3, 0.29)], 2, [2]),  # as good as the second was
        ([one(2, 0.3), one(3, 0.29)], 1, []),  # only the first is to be chosen
        ([one(2, 0.35), one(3, 0.3, 0.5), one(4, 0.31)], 2, [3, 2]),  # by what they are ahead
        ([one(2, 0.7, until=2)], 2, []),  # it is in training
        ([one(2, 0.7, out=True), one(3)], 2, []),  # it failed, and one never had a value
        ([one(2, 0.1), one(3, 0.2), one(4, 0.05)], 4, [3, 2]),  # to make up the number
    ],
)
def test_which_are_promising(paused, top, expected):
    """Those as good as the last of the first complete ones was after the same epoch, or to make up their number."""
    assert promising([FIRST, SECOND, *paused], top=top) == expected


def test_where_none_is_complete():
    """The best paused ones are taken then, however far they are."""
    assert promising([one(0, 0.2), one(1, 0.3), one(2, 0.1)], top=2) == [1, 0]
    assert promising([], top=2) == []


@pytest.fixture
def files(tmp_path):
    """Stores in files, which alone can reopen a trial that has ended."""
    with stores_in_files(tmp_path) as make:
        yield make


def uneven(config, epoch):
    """Rise by another step in each epoch, so that the place of a trial changes on the way."""
    return round(sum(0.15 * noise(f"{config.signature} {step}") for step in range(epoch)), 6)


class Killed(BaseException):
    """Stands for SIGKILL."""


def train(storage, *, text=TEXT, deaths=(), facts=NEW, value=uneven, **options):
    """Train a study, and go on after each death at the epoch of a trial; the study, and why it ended."""
    remaining = list(deaths)

    def at(asked, epoch):
        if (asked.number, epoch) in remaining:
            remaining.remove((asked.number, epoch))
            raise Killed

    while True:
        study = Study.open(storage, "study", spec(text), facts)
        runner = SequentialRunner(make_train(study, value=value, at=at))
        with contextlib.suppress(Killed):
            return study, loop.run(study, runner, **options).reason


def kept(study):
    """What must be equal however a study came to its end."""
    return [(result.state, result.value, len(result.history)) for result in study.results()]


def test_in_the_command_that_searches():
    """They are complete in the end, the others as without them, and nothing of the search changes."""
    plain, _ = train(memory())
    study, reason = train(memory(), finalists=5)
    assert reason == "done"
    numbers = study.promising_trials(5)
    assert numbers
    assert not any(study.is_unfinished(number) for number in numbers)
    assert study.decisions == plain.decisions
    for before, after in zip(plain.results(), study.results(), strict=True):
        if after.number in numbers:
            assert (before.state, after.state) == (PRUNED, COMPLETE)
        else:
            assert before == after
    promoted = study.record().promoted
    assert promoted.promotions == plain.record().promoted.promotions + len(numbers)
    assert promoted.pauses == plain.record().promoted.pauses


def test_what_has_the_most_left_to_train_goes_on_first():
    """Beside others, the one whose rest takes longest by its epochs so far; alone, the most promising one."""
    alone, _ = train(memory(), finalists=5)
    numbers = alone.promising_trials(5)
    study = Study.open(memory(), "study", spec(TEXT), NEW)
    finished = {}  # the seconds that are left, in the order in which they begin

    class Watched(Timed):
        def begin(self, asked):
            if asked.until is None and asked.number in numbers:
                left = asked.config.epochs - len(asked.progress.history)
                finished[asked.number] = left * self._durations[asked.number]
            super().begin(asked)

    durations = {number: 1 + noise(str(number)) for number in range(12)}
    loop.run(study, Watched(make_train(study, value=uneven), 2, durations), finalists=5)
    assert set(finished) == set(numbers)
    assert list(finished) != numbers
    assert list(finished.values()) == sorted(finished.values(), reverse=True)
    assert kept(study) == kept(alone)


def test_killed_on_the_way():
    """Killed while they are trained, the same command finishes the same ones."""
    whole, _ = train(memory(), finalists=5)
    numbers = whole.promising_trials(5)
    deaths = [(number, epoch) for number in numbers for epoch in (4, 6)]
    killed, _ = train(memory(), finalists=5, deaths=deaths)
    assert kept(killed) == kept(whole)
    assert {result.state for result in killed.results()} == {COMPLETE, PRUNED}


def test_one_that_kills_its_process_is_given_up():
    """After three deaths without progress it has failed, and the others go on."""
    whole, _ = train(memory(), finalists=5)
    first, *others = whole.promising_trials(5)
    storage = memory()
    study = Study.open(storage, "study", spec(TEXT), NEW)
    trainer = make_train(study, value=uneven)

    def attempt(asked):
        finishes = asked.number == first and asked.until is None
        return loop.Death(epochs=4) if finishes else trainer(asked)

    assert loop.run(study, SequentialRunner(attempt), finalists=5).reason == "done"
    states = [result.state for result in study.results()]
    assert states[first] == FAILED
    assert {states[number] for number in others} <= {COMPLETE}


def test_of_a_search_that_has_ended(files):
    """They are reopened, and the others stay as they were; a kill in between changes nothing."""
    expected, _ = train(memory(), finalists=5)
    storage = files()
    ended, _ = train(storage)
    before = ended.results()
    numbers = load(storage, "study").promising_trials(5)
    assert numbers == expected.promising_trials(5)
    study, _ = train(storage, finalists=5, searches=False, deaths=[(numbers[0], 5)])
    assert kept(study) == kept(expected)
    others = [result for result in study.results() if result.number not in numbers]
    assert others == [before[result.number] for result in others]
    assert not any(load(storage, "study").is_unfinished(number) for number in numbers)
    again, _ = train(storage, finalists=5, searches=False)
    assert again.results() == study.results()


@pytest.mark.slow
def test_a_search_that_is_extended_afterwards(files):
    """It draws and promotes what it would have without them."""
    more = TEXT.replace("trials: 12", "trials: 20")
    plain, finished = files(), files()
    train(plain)
    train(finished, finalists=5)
    expected, _ = train(plain, text=more)
    study, _ = train(finished, text=more)
    assert [r.config for r in study.results()] == [r.config for r in expected.results()]
    assert study.decisions == expected.decisions
    completes = {r.number for r in expected.results() if r.state == COMPLETE}
    assert completes < {r.number for r in study.results() if r.state == COMPLETE}


def test_out_of_time():
    """Where the time is over, they stay paused, and the same command goes on with them."""
    storage = memory()
    _, reason = train(storage, finalists=5, should_stop=lambda: is_at_end(storage))
    assert reason == "until"
    assert PAUSED in {result.state for result in read_record(storage, "study").results}
    study, _ = train(storage, finalists=5)
    assert kept(study) == kept(train(memory(), finalists=5)[0])


def is_at_end(storage):
    """Whether the first promising trial has begun."""
    return any(" of finalists of " in key for key in storage.get_all_studies()[0].user_attrs)


@pytest.mark.parametrize("older", [{"selection": 1}, {"scheduler": 1}])
def test_studies_of_earlier_versions_stay(older):
    """What 0.1.0 had pruned is never trained again."""
    study, _ = train(memory(), facts={**NEW, **older}, finalists=5)
    assert study.promising_trials(5) == []


def test_a_specification_is_read_back():
    """A study's own store tells what it was made with, conditions and budget included."""
    text = """
dataset: digits
budget: 9
epochs: 6
constraints: {parameters: 1000000}
search:
  optimizer: [adam, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  width:
    - {choices: [64, 128], when: {optimizer: sgd}}
    - {low: 8, high: 32, step: 8, when: {optimizer: adam}}
start_with: [{optimizer: sgd, width: 64, momentum: 0.6}]
"""
    study = Study.open(memory(), "study", spec(text), NEW)
    assert study.specification() == spec(text)
