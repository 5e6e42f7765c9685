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

    def __init__(self, passing: Callable[[Exception], bool]) -> None:
        """Start the thread.

        Args:
            passing: tells whether a call that raised the exception is worth repeating.
        """
        self.trouble: Exception | None = None  # of the last attempt, while a call is repeated
        self._passing = passing
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ended = threading.Event()
        # A daemon: a call that does not return must not hold up the end of the process.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Queue a call, to be made after those already submitted."""
        future: Future[T] = Future()
        self._queue.put((future, partial(call, *args)))
        return future

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
                has not failed yet is waited for.
            limit: seconds after which nothing is waited for, not even an attempt that hangs.
            check: called every now and then; may raise.

        Returns:
            Whether the call has returned or failed for good.
        """
        began = time.monotonic()
        while not future.done():
            waited = time.monotonic() - began
            if waited > limit or (waited > patience and self.trouble is not None):
                return False
            wait([future], timeout=_POLL_INTERVAL)
            check()
        return True

    def close(self, *, patience: float, limit: float = math.inf) -> None:
        """Wait for the submitted calls, cancel those not made in time, and end the thread.

        Args:
            patience: as for `wait`.
            limit: as for `wait`. Without a limit, the attempt being made is always waited for.
        """
        last = self.submit(lambda: None)
        all_made = self.wait(last, patience=patience, limit=limit)
        self._ended.set()  # cancels the calls that are still queued
        self._queue.put(None)  # ends the thread
        if all_made or limit == math.inf:
            self._thread.join()
        else:
            # The attempt being made may hang beyond the limit: the thread, a daemon, is left to it.
            self._thread.join(_POLL_INTERVAL)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, call = item
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
            self._ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise CancelledError
