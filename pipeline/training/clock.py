"""Counts the seconds of a training, to which its time limit applies."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 0.2  # seconds between two looks at the clock, while a time limit applies
# A longer time between two looks is counted as this one: the process was stopped meanwhile (by
# Ctrl-Z, or a debugger), or waited for something else than the training.
LONGEST_GAP = 1.0


class TrainingClock:
    """Counts seconds of training, without pauses and without times in which nobody looked.

    What a training waits for, such as a database that another program has locked, is none of the
    training's time: wrap it in `paused`.
    """

    def __init__(
        self,
        used: float = 0.0,
        longest_gap: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start to count.

        Args:
            used: the seconds that are counted already.
            longest_gap: the most seconds to count between two looks at the clock.
            now: the time in seconds.
        """
        self._seconds = used
        self._longest_gap = longest_gap
        self._now = now
        self._last_look = now()
        self._is_paused = False
        # An alarm may look at the clock in the middle of another look of the same thread.
        self._lock = threading.RLock()

    @property
    def seconds(self) -> float:
        """The seconds until now."""
        with self._lock:
            now = self._now()
            gap = now - self._last_look
            self._last_look = now
            if not self._is_paused:
                self._seconds += min(gap, self._longest_gap)
            return self._seconds

    def left(self, limit: float) -> float:
        """The seconds until a limit, and a moment more while the clock is paused."""
        left = limit - self.seconds
        return max(left, TICK) if self._is_paused else left

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing while the block runs."""
        _ = self.seconds
        self._is_paused = True
        try:
            yield
        finally:
            _ = self.seconds
            self._is_paused = False

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Look at the clock again and again while the block runs, in a thread.

        A gap between two looks is then a time in which this process was stopped.
        """
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                _ = self.seconds

        thread = threading.Thread(target=tick, name="training clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
