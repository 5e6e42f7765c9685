"""Turns SIGINT, SIGTERM and the death of `mlflow run` into one request to stop between steps; and keeps time limits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from pipeline import PARENT
from pipeline.system.errors import Interrupted

LOOK_EVERY = 1.0  # seconds between looks at whether `mlflow run` still lives
SAME_REQUEST = 1.0  # seconds: `mlflow run` passes a Ctrl-C on as SIGINT and, a quarter of a second later, SIGTERM
_SHELLS = ("bash", "sh", "dash")  # in which `mlflow run` activates an environment


class StopRequest:
    """Whether somebody wants this process to stop."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._since = 0.0
        # The command that `mlflow run` starts outlives it unless it looks.
        self._parents: tuple[int, ...] | None = None
        if "MLFLOW_RUN_ID" in os.environ:
            self._parents = (PARENT, *_parents()[1:])
        self._looked = -LOOK_EVERY

    def check(self) -> None:
        """Raise `Interrupted` if so."""
        now = time.monotonic()
        if self._signum is None and self._parents is not None and now - self._looked >= LOOK_EVERY:
            self._looked = now
            if _parents() != self._parents:
                self._signum = signal.SIGTERM
        if self._signum is not None:
            raise Interrupted(self._signum)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signum is not None and now - self._since > SAME_REQUEST:
            raise Interrupted(signum)  # asked again: at once, wherever it is
        if self._signum is None:
            self._signum = signum
            self._since = now


def _parents() -> tuple[int, ...]:
    """The process that started this one and, where that is a shell which waits for it, the one that started that."""
    found = [os.getppid()]
    with suppress(psutil.Error):
        while (parent := psutil.Process(found[-1])).name() in _SHELLS:
            found.append(parent.ppid())
    return tuple(found)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listen for requests to stop while the block runs. Once there was one, what is left of it does no more harm."""
    request = StopRequest()
    before = {
        number: signal.signal(number, request._handle)  # noqa: SLF001
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            # On its way out, the interpreter itself gives up any handler, but not this.
            signal.signal(number, handler if request._signum is None else signal.SIG_IGN)  # noqa: SLF001


@contextmanager
def alarm(seconds: float | None, error: Exception) -> Iterator[None]:
    """Raise an error in the block once it has lasted so long, wherever it is; None is for ever.

    It interrupts Python and its waiting (a sleep, a lock, a socket), but no call into a library that does not return.
    """
    if seconds is None:
        yield
        return

    def ring(_signum: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
