"""The queue of calls: their order, what is made again, and how long anything waits."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from pipeline.tracking.writer import Writer


class Line:
    """A line to somewhere that is down for so many calls."""

    def __init__(self, down):
        self.down, self.sent = down, []

    def send(self, value):
        """Send, or fail."""
        if self.down:
            self.down -= 1
            raise ConnectionError("down")
        self.sent.append(value)
        return value


@pytest.fixture
def writer():
    """A writer to which a connection's errors are passing ones."""
    made = Writer(lambda error: isinstance(error, ConnectionError))
    yield made
    made.close(patience=0, limit=0)


def test_calls_are_made_in_order_and_once_each_over_an_outage(writer):
    """What fails in a passing way stays first: nothing overtakes it, is left out, or is made twice."""
    line = Line(down=3)
    futures = [writer.submit(line.send, n) for n in range(20)]
    assert writer.wait(futures[-1], patience=10)
    assert line.sent == list(range(20))
    assert [future.result() for future in futures] == line.sent
    assert writer.trouble is None


def test_submitting_does_not_wait(writer):
    """While a call is under way, any number of others can be submitted, and are made once it has ended."""
    release = threading.Event()
    first = writer.submit(release.wait)
    others = [writer.submit(lambda n=n: n) for n in range(1000)]
    assert not any(future.done() for future in (first, *others))
    release.set()
    assert [future.result(timeout=60) for future in others] == list(range(1000))


def test_what_is_refused_is_not_made_again(writer):
    """Another error is the call's result, and the next call is made."""
    calls = []

    def refused():
        calls.append(1)
        raise ValueError("no")

    first, second = writer.submit(refused), writer.submit(lambda: "made")
    assert writer.wait(second, patience=1)
    assert (str(first.exception()), second.result(), len(calls)) == ("no", "made", 1)


def test_waiting_ends_when_patience_does(writer):
    """A call that goes on failing is given up after the patience, and not before."""
    future = writer.submit(Line(down=10**6).send, 1)
    began = time.monotonic()
    assert not writer.wait(future, patience=0.4)
    assert time.monotonic() - began >= 0.4  # how late a loaded machine wakes up is not ours to say
    assert isinstance(writer.trouble, ConnectionError)


def test_a_call_that_takes_long_is_waited_for_unless_there_is_a_limit(writer):
    """Patience counts while attempts fail; a limit always, also where a call does not return."""
    hangs = threading.Event()
    future = writer.submit(hangs.wait)
    assert not writer.wait(future, patience=0, limit=0.3)
    assert not future.done()
    threading.Timer(0.3, hangs.set).start()
    assert writer.wait(future, patience=0)


def test_asked_to_stop_while_waiting(writer):
    """What is called now and then may raise, and ends the waiting."""

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.wait(writer.submit(Line(down=10**6).send, 1), patience=100, check=stop)


def test_closing_in_an_outage_cancels_what_was_not_made():
    """Closing ends although the line stays down, and cancels the calls that were not made."""
    writer, line = Writer(lambda error: isinstance(error, ConnectionError)), Line(down=10**6)
    futures = [writer.submit(line.send, n) for n in range(3)]
    writer.close(patience=0.2)  # would never end if it waited for the line
    assert line.sent == []
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=5)


def test_closing_makes_what_is_left():
    """Without an outage, nothing that was submitted is left out."""
    writer, line = Writer(lambda _error: False), Line(down=0)
    for n in range(50):
        writer.submit(line.send, n)
    writer.close(patience=0)
    assert line.sent == list(range(50))
