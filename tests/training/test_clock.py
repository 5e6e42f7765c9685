"""What counts of a trial's time."""

import math
import time
from functools import partial

import pytest
from support.commands import wait_until
from support.trainings import run

import pipeline.training.epochs
import pipeline.training.train
from pipeline.training.clock import TICK, TrainingClock
from pipeline.training.epochs import Hooks
from sweeps.trial import COMPLETE


class Time:
    """A time that passes when a test says so."""

    now = 100.0
    looks = 0

    def __call__(self):
        self.looks += 1
        return self.now


@pytest.fixture
def passing():
    """A time of its own for each test."""
    return Time()


def test_seconds_are_counted(passing):
    """What passes between two looks counts, beside what counted before."""
    clock = TrainingClock(used=2, now=passing)
    passing.now += 30
    assert clock.seconds == 32
    assert (clock.left(40), clock.left(20)) == (8, -12)


def test_a_gap_between_two_looks_is_none_of_the_training(passing):
    """A process that was stopped for a minute has trained for a moment of it."""
    clock = TrainingClock(longest_gap=1, now=passing)
    for gap in (0.5, 60, 0.5):
        passing.now += gap
        clock.left(math.inf)
    assert clock.seconds == 2


def test_a_pause_is_none_of_the_training(passing):
    """Nothing counts in a pause, and no limit is reached in it; after it the time goes on."""
    clock = TrainingClock(now=passing)
    passing.now += 3
    with clock.paused():
        passing.now += 60
        assert clock.left(1) == TICK
    passing.now += 4
    assert clock.seconds == 7


def test_a_clock_that_ticks_looks_by_itself(passing):
    """Its looks are close together, so that a longer gap is known for a time in which it was stopped."""
    with TrainingClock(now=passing).ticking():
        wait_until(lambda: passing.looks > 3)


@pytest.mark.slow
def test_waiting_in_a_hook_is_none_of_the_training(tiny, tmp_path, monkeypatch):
    """A trial whose callbacks wait for longer than its limit is complete: neither step nor alarm ends it."""
    monkeypatch.setattr(pipeline.training.train, "HANG_GRACE", 0)
    monkeypatch.setattr(pipeline.training.epochs, "SAVE_EVERY", 0)
    waited = []

    def wait(hook, *_):
        if hook not in waited:
            time.sleep(1.2)
            waited.append(hook)

    hooks = Hooks(**{hook: partial(wait, hook) for hook in ("epoch", "saved", "step")})
    result = run(tmp_path, tiny, hooks=hooks, time_limit=3)
    assert (result.state, len(waited)) == (COMPLETE, 3)
    assert result.seconds < 3
