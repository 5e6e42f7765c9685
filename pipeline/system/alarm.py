"""Raises an error inside a block of code when its time is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SHORTEST_TIMER = 0.001  # seconds; zero would switch a timer off
_LONGEST_TIMER = 3600.0  # seconds; a timer takes no arbitrarily long time


@contextmanager
def alarm(left: Callable[[], float] | None, error: Exception) -> Iterator[None]:
    """Raise an error inside the block once no time is left.

    The alarm interrupts Python and its waiting (a sleep, a lock, a socket), but no call into a
    library that does not return. Outside the main thread there is no alarm, because Python delivers
    signals to the main thread only: there the check between two steps keeps the time limit.

    Args:
        left: the seconds that are left at the moment, which need not pass as time does; asked again
            when they should have passed. None for no limit.
        error: what to raise.
    """
    if left is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_signum: int, _frame: FrameType | None) -> None:
        seconds = left()
        if seconds <= 0:
            raise error
        signal.setitimer(signal.ITIMER_REAL, min(seconds, _LONGEST_TIMER))

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(max(left(), _SHORTEST_TIMER), _LONGEST_TIMER))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
