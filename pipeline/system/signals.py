"""Stops a command between two steps when a signal asks for it.

Two things ask a command to stop: a signal (SIGINT, SIGTERM, or SIGHUP, which says that the terminal
has gone), and the death of the `mlflow run` which started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil

from pipeline import PARENT
from pipeline.system.errors import Interrupted

PARENT_CHECK_INTERVAL = 1.0  # seconds between checks that `mlflow run` is still alive
# Seconds. `mlflow run` passes a Ctrl-C on as SIGINT and, a quarter of a second later, as SIGTERM.
SAME_REQUEST = 1.0
# What `signal.signal` takes and returns.
_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
# The end of the terminal, in which the command runs; Windows has no such signal.
HANGUP: tuple[signal.Signals, ...] = ()
if sys.platform != "win32":
    HANGUP = (signal.SIGHUP,)
_SHELLS = ("bash", "sh", "dash")  # in which `mlflow run` activates an environment


class StopRequest:
    """A request to stop a job between two of its steps, made by another thread.

    The job calls `check` between its steps. This class leaves the process alone; a command that
    owns its process passes a `SignalStopRequest` to its job.
    """

    def __init__(self) -> None:
        self._signum: int | None = None

    def request(self, signum: int = signal.SIGTERM) -> None:
        """Ask the job to stop, as if the process had received this signal."""
        if self._signum is None:
            self._signum = signum

    def check(self) -> None:
        """Raise `Interrupted` if the job was asked to stop."""
        if self._signum is not None:
            raise Interrupted(self._signum)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Mark the part of a job that checks for requests, and so can stop in an orderly way."""
        yield


class InterruptStopRequest(StopRequest):
    """A request to stop, made by a Ctrl-C, or by the interrupt of a notebook.

    For a program that goes on after the job: the former signal handlers return with the end of
    `listening`. Python delivers signals to the main thread only, so a job in another thread is
    stopped by `request` alone.
    """

    _SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT,)

    def __init__(self) -> None:
        super().__init__()
        self._requested_at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn signals into requests while the block runs.

        The end of the terminal is no request if it was ignored before, as by ``nohup``.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {
            number: signal.signal(number, self._handle)
            for number in self._SIGNALS
            if number not in HANGUP or signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, self._handler_afterwards(handler))

    def _handler_afterwards(self, previous: _Handler) -> _Handler:
        """Return the handler of a signal after `listening`, from that before."""
        return previous

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signum is None:
            self._requested_at = now
            self.request(signum)
        elif now - self._requested_at > SAME_REQUEST:
            raise Interrupted(signum)  # asked again: stop at once, in the middle of whatever runs


class SignalStopRequest(InterruptStopRequest):
    """A request to stop, made by a signal or by the death of the `mlflow run` above this process.

    Only for a command that owns its process. After a request, further signals do nothing once
    `listening` has ended: the process is about to exit.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, *HANGUP)

    def __init__(self) -> None:
        super().__init__()
        # The command that `mlflow run` starts outlives it unless it checks.
        self._parents: tuple[int, ...] | None = None
        if "MLFLOW_RUN_ID" in os.environ:
            self._parents = (PARENT, *_find_parents()[1:])
        self._checked_parents_at = -PARENT_CHECK_INTERVAL

    def check(self) -> None:
        """Raise `Interrupted` if the job was asked to stop."""
        if self._signum is None and self._parents is not None:
            self._check_parents(self._parents)
        super().check()

    def _check_parents(self, parents: tuple[int, ...]) -> None:
        now = time.monotonic()
        if now - self._checked_parents_at < PARENT_CHECK_INTERVAL:
            return
        self._checked_parents_at = now
        if _find_parents() != parents:
            self.request(signal.SIGTERM)

    def _handler_afterwards(self, previous: _Handler) -> _Handler:
        # At its exit the interpreter restores the default of every handler, but not of SIG_IGN.
        return previous if self._signum is None else signal.SIG_IGN


def _find_parents() -> tuple[int, ...]:
    """Return the parent process and, while that is a shell, the parent of the shell, and so on.

    A shell waits for its command, so the first process that is no shell is the one to watch.
    """
    parents = [os.getppid()]
    with suppress(psutil.Error):
        while True:
            parent = psutil.Process(parents[-1])
            if parent.name() not in _SHELLS:
                break
            parents.append(parent.ppid())
    return tuple(parents)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listen for signals while the block runs. Only for a command that owns its process."""
    stop = SignalStopRequest()
    with stop.listening():
        yield stop
