"""The queue of calls: their order, repetitions and waiting times."""

import concurrent.futures
import threading
import time
from concurrent.futures import CancelledError

import pytest

from pipeline.tracking.writer import Writer


class Connection:
    """A connection that fails for a number of calls, and then works."""

    def __init__(self, failures):
        self.failures = failures
        self.sent = []

    def send(self, value):
        """Send the value, or fail."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        self.sent.append(value)
        return value


def is_temporary(error):
    return isinstance(error, ConnectionError)


@pytest.fixture
def writer():
    """A writer that repeats calls after a `ConnectionError`."""
    writer = Writer(is_temporary)
    yield writer
    writer.close(patience=0, limit=0)


def test_calls_are_made_in_order_and_once_each_over_an_outage(writer):
    """A call that fails temporarily stays first: none overtakes it, is lost, or is made twice."""
    connection = Connection(failures=3)
    futures = [writer.submit(connection.send, n) for n in range(20)]
    assert writer.wait(futures[-1], patience=10)
    assert connection.sent == list(range(20))
    assert [future.result() for future in futures] == connection.sent
    assert writer.trouble is None


def test_submitting_does_not_wait(writer):
    """During a call any number of calls can be submitted, which are made afterwards."""
    release = threading.Event()
    first = writer.submit(release.wait)
    futures = [writer.submit(lambda n=n: n) for n in range(1000)]
    assert not any(future.done() for future in (first, *futures))
    release.set()
    assert [future.result(timeout=60) for future in futures] == list(range(1000))


def test_held_calls_wait_until_they_are_released_or_one_is_waited_for(writer):
    """A sweep holds them until its first trials train, so that nothing is imported before."""
    for is_waited_for in (False, True):
        writer.hold()
        future = writer.submit(str)
        assert not concurrent.futures.wait([future], timeout=0.05).done
        if is_waited_for:
            writer.wait(future, patience=10)
        else:
            writer.release()
        assert future.result(timeout=60) == ""


def test_refused_call_is_not_repeated(writer):
    """A lasting error is the call's result, and the next call is made."""
    calls = []

    def refused():
        calls.append(1)
        raise ValueError("no")

    first = writer.submit(refused)
    second = writer.submit(lambda: "made")
    assert writer.wait(second, patience=1)
    assert str(first.exception()) == "no"
    assert second.result() == "made"
    assert len(calls) == 1


def test_waiting_ends_with_the_patience(writer):
    """A call that keeps failing is given up after the patience, and not before."""
    future = writer.submit(Connection(failures=10**6).send, 1)
    began = time.monotonic()
    assert not writer.wait(future, patience=0.4)
    assert time.monotonic() - began >= 0.4  # a loaded machine may wake up late
    assert isinstance(writer.trouble, ConnectionError)


def test_long_call_is_waited_for_without_a_limit(writer):
    """Patience counts only while attempts fail; a limit also counts during a hanging call."""
    release = threading.Event()
    future = writer.submit(release.wait)
    assert not writer.wait(future, patience=0, limit=0.3)
    assert not future.done()
    threading.Timer(0.3, release.set).start()
    assert writer.wait(future, patience=0)


def test_an_attempt_that_never_ends_is_given_up_when_it_is_overdue():
    """Neither waiting nor closing waits longer for it; a further step of a call has its own time."""
    release = threading.Event()
    writer = Writer(is_temporary, longest=0.2)

    def takes_two_steps():
        time.sleep(0.15)
        writer.next_step(0.5)
        time.sleep(0.15)
        return writer.is_overdue

    steps = writer.submit(takes_two_steps)
    assert writer.wait(steps, patience=0)
    assert not steps.result()
    endless = writer.submit(release.wait)
    assert not writer.wait(endless, patience=0)
    assert writer.is_overdue
    writer.close(patience=0)
    assert not endless.done()
    release.set()


def test_stop_request_while_waiting(writer):
    """An exception of the regular check ends the waiting."""

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.wait(writer.submit(Connection(failures=10**6).send, 1), patience=100, check=stop)


def test_closing_in_an_outage_cancels_queued_calls():
    """Closing ends although the connection keeps failing, and cancels the calls not made."""
    writer = Writer(is_temporary)
    connection = Connection(failures=10**6)
    futures = [writer.submit(connection.send, n) for n in range(3)]
    writer.close(patience=0.2)  # would never end if it waited for the connection
    assert connection.sent == []
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=5)


def test_closing_makes_queued_calls():
    """Without an outage, every submitted call is made."""
    writer = Writer(lambda _error: False)
    connection = Connection(failures=0)
    for n in range(50):
        writer.submit(connection.send, n)
    writer.close(patience=0)
    assert connection.sent == list(range(50))
