"""Raises an error inside a block of code when its time is over.

The system's timer sends the process a signal. Windows has no such timer: there, a thread waits and
then has Python act as if the signal had come.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

_SHORTEST_TIMER = 0.001  # seconds; zero would switch a timer off
_LONGEST_TIMER = 3600.0  # seconds; a timer takes no arbitrarily long time


class _Timer(Protocol):
    """Rings once, by the signal `_SIGNAL` to the main thread."""

    def start(self, seconds: float) -> None:
        """Ring after some seconds, and no longer at an earlier or later time asked for before."""

    def cancel(self) -> None:
        """Do not ring any more."""


class _ThreadTimer:
    """A timer made of a thread. It interrupts Python's own work, and no waiting."""

    def __init__(self) -> None:
        self._thread: threading.Timer | None = None

    def start(self, seconds: float) -> None:
        self.cancel()
        self._thread = threading.Timer(seconds, _thread.interrupt_main, (_SIGNAL,))
        self._thread.daemon = True
        self._thread.start()

    def cancel(self) -> None:
        if self._thread is not None:
            self._thread.cancel()


if sys.platform == "win32":
    _SIGNAL = signal.SIGBREAK

    def _new_timer() -> _Timer:
        return _ThreadTimer()
else:
    _SIGNAL = signal.SIGALRM

    class _SystemTimer:
        """The timer of the process. It interrupts Python's work and its waiting."""

        def start(self, seconds: float) -> None:
            signal.setitimer(signal.ITIMER_REAL, seconds)

        def cancel(self) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _new_timer() -> _Timer:
        return _SystemTimer()


@contextmanager
def alarm(left: Callable[[], float] | None, error: Exception) -> Iterator[None]:
    """Raise an error inside the block once no time is left.

    The alarm interrupts Python and, except on Windows, its waiting (a sleep, a lock, a socket), but
    no call into a library that does not return. Outside the main thread there is no alarm, because
    Python delivers signals to the main thread only: there the check between two steps keeps the
    time limit.

    Args:
        left: the seconds that are left at the moment, which need not pass as time does; asked again
            when they should have passed. None for no limit.
        error: what to raise.
    """
    if left is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    timer = _new_timer()

    def ring(_signum: int, _frame: FrameType | None) -> None:
        seconds = left()
        if seconds <= 0:
            raise error
        timer.start(min(seconds, _LONGEST_TIMER))

    previous = signal.signal(_SIGNAL, ring)
    timer.start(min(max(left(), _SHORTEST_TIMER), _LONGEST_TIMER))
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(_SIGNAL, previous)
