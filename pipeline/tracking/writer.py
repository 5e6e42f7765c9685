"""A thread that makes calls in order, and repeats a call while its failure is temporary."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.1  # seconds before a call is repeated for the first time
LONGEST_PAUSE = 2.0  # seconds before any further repetition
_POLL_INTERVAL = 0.1  # seconds, while waiting


class Writer:
    """A queue of calls, and the thread that makes them.

    A call with a temporary failure stays the first of the queue: calls must be safe to repeat.
    """

    def __init__(self, passing: Callable[[Exception], bool], longest: float = math.inf) -> None:
        """Start the thread.

        Args:
            passing: tells whether a call that raised the exception is worth repeating.
            longest: seconds after which an attempt that has not come further is overdue: with a
                server that sends a byte a second it would neither fail nor end.
        """
        self.trouble: Exception | None = None  # of the last attempt, while a call is repeated
        self._passing = passing
        self._longest = longest
        self._due = math.inf  # when the attempt being made should have ended
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ended = threading.Event()
        self._released = threading.Event()
        self._released.set()
        # A daemon: a call that does not return must not hold up the end of the process.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Queue a call, to be made after those already submitted."""
        future: Future[T] = Future()
        self._queue.put((future, partial(call, *args)))
        return future

    def hold(self) -> None:
        """Make no further call until `release`, or until somebody waits for one."""
        self._released.clear()

    def release(self) -> None:
        """Make the calls that were held, if any were."""
        self._released.set()

    @property
    def is_overdue(self) -> bool:
        """Whether the attempt being made takes longer than an attempt should."""
        return time.monotonic() > self._due

    def next_step(self, seconds: float = 0.0) -> None:
        """Begin the next step of the attempt being made. For a call of several steps.

        Args:
            seconds: how much longer than others the step may take.
        """
        self._due = time.monotonic() + self._longest + seconds

    def wait(
        self,
        future: Future[Any],
        *,
        patience: float,
        limit: float = math.inf,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Wait for a submitted call.

        Args:
            future: of the call.
            patience: seconds after which failing attempts are no longer waited for. An attempt that
                has not failed yet is waited for until it is overdue.
            limit: seconds after which nothing is waited for, not even an attempt that hangs.
            check: called every now and then; may raise.

        Returns:
            Whether the call has returned or failed for good.
        """
        self.release()
        began = time.monotonic()
        while not future.done():
            waited = time.monotonic() - began
            is_failing = self.trouble is not None or self.is_overdue
            if waited > limit or (waited > patience and is_failing):
                return False
            wait([future], timeout=_POLL_INTERVAL)
            check()
        return True

    def close(self, *, patience: float, limit: float = math.inf) -> None:
        """Wait for the submitted calls, cancel those not made in time, and end the thread.

        Args:
            patience: as for `wait`.
            limit: as for `wait`. Without a limit, the attempt being made is waited for until it is
                overdue.
        """
        last = self.submit(lambda: None)
        all_made = self.wait(last, patience=patience, limit=limit)
        self._ended.set()  # cancels the calls that are still queued
        self._queue.put(None)  # ends the thread
        self._thread.join(_POLL_INTERVAL)
        # An attempt may hang beyond the limit: the thread, a daemon, is left to it.
        while self._thread.is_alive() and (all_made or limit == math.inf) and not self.is_overdue:
            self._thread.join(_POLL_INTERVAL)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, call = item
            self._released.wait()
            try:
                future.set_result(self._repeat(call))
            except CancelledError:
                future.cancel()
            except Exception as error:  # noqa: BLE001 - raised in the thread that awaits the call
                future.set_exception(error)

    def _repeat(self, call: Callable[[], T]) -> T:
        """Make a call until it returns or fails for good."""
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            self.next_step()
            try:
                result = call()
            except Exception as error:
                if not self._passing(error):
                    self.trouble = None
                    raise
                self.trouble = error
            else:
                self.trouble = None
                return result
            finally:
                self._due = math.inf
            self._ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise CancelledError
