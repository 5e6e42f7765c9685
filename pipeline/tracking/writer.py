"""One thread that makes calls in order, and each again for as long as what it meets is passing. Knows no store."""

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

# seconds before a call is made again
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
_LOOK = 0.1  # seconds between looks, while waiting


class Writer:
    """The calls that wait to be made, and the thread that makes them.

    A call that fails in a passing way stays the first of the queue; so it must be one that can be made twice.
    """

    def __init__(self, passing: Callable[[Exception], bool]) -> None:
        """Begin.

        Args:
            passing: whether a call that raised this is worth making again.
        """
        self.trouble: Exception | None = (
            None  # what the last attempt met, while the call is made again
        )
        self._passing = passing
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ended = threading.Event()
        # A daemon: a call that does not return must not hold up the end of the process.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Have a call made after those before it."""
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
        """Wait for a submitted call, and say whether it was made, or failed for good.

        Args:
            future: of the call.
            patience: seconds after which it is given up while attempts fail.
            limit: seconds after which it is given up in any case.
            check: called now and then; may raise.
        """
        began = time.monotonic()
        while not future.done():
            waited = time.monotonic() - began
            if waited > limit or (waited > patience and self.trouble is not None):
                return False
            wait([future], timeout=_LOOK)
            check()
        return True

    def close(self, *, patience: float, limit: float = math.inf) -> None:
        """Make what is left, within the time, and end; what was not made by then is cancelled."""
        if self.wait(self.submit(lambda: None), patience=patience, limit=limit):
            limit = math.inf
        self._ended.set()
        self._queue.put(None)
        self._thread.join(None if limit == math.inf else _LOOK)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, call = item
            try:
                future.set_result(self._made(call))
            except CancelledError:
                future.cancel()
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                future.set_exception(error)

    def _made(self, call: Callable[[], T]) -> T:
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
