"""A block that takes too long is ended, by the system's timer or by a thread's."""

import signal
import time

import pytest

from pipeline.system import alarm as alarms
from pipeline.system.alarm import alarm

LONGEST = 30.0  # seconds, after which an alarm that does not ring fails its test


@pytest.fixture(params=["_SystemTimer", "_ThreadTimer"], autouse=True)
def timer(request, monkeypatch):
    """The timer of this system, and that of Windows."""
    monkeypatch.setattr(alarms, "_new_timer", getattr(alarms, request.param))


def work():
    """Work in Python until the alarm rings."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        pass


def test_a_block_without_time_is_ended():
    """The error is raised inside the block; afterwards the signal means what it meant."""
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(TimeoutError, match="too long"),
        alarm(lambda: 0.0, TimeoutError("too long")),
    ):
        work()
    assert signal.getsignal(signal.SIGALRM) == before


def test_time_that_is_left_is_waited_for():
    """What is left is asked again when it should have passed, as a clock may be paused."""
    left = [0.01, 0.01, 0.01, 0.0]
    with pytest.raises(TimeoutError), alarm(lambda: left.pop(0), TimeoutError()):
        work()
    assert not left


def test_a_block_in_time_is_left_alone():
    """No alarm rings after its block."""
    with alarm(lambda: 0.05, TimeoutError()):
        pass
    time.sleep(0.1)


def test_without_a_limit_nothing_is_set():
    """The handler of the signal stays."""
    before = signal.getsignal(signal.SIGALRM)
    with alarm(None, TimeoutError()):
        assert signal.getsignal(signal.SIGALRM) == before
