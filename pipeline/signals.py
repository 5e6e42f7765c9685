"""Turns SIGINT, SIGTERM and the death of `mlflow run` into one polite request to stop, asked for between steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import Interrupted

SAME_REQUEST = 1.0  # seconds: `mlflow run` passes a Ctrl-C on as SIGINT and, a quarter of a second later, SIGTERM


class StopRequest:
    """Whether somebody wants this process to stop."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._since = 0.0
        # The command that `mlflow run` starts outlives it unless it looks.
        self._parent = os.getppid() if "MLFLOW_RUN_ID" in os.environ else None

    def check(self) -> None:
        """Raise `Interrupted` if so."""
        if self._signum is None and self._parent is not None and os.getppid() != self._parent:
            self._signum = signal.SIGTERM
        if self._signum is not None:
            raise Interrupted(self._signum)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signum is not None and now - self._since > SAME_REQUEST:
            raise Interrupted(signum)  # asked again: at once, wherever it is
        if self._signum is None:
            self._signum, self._since = signum, now


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listen for requests to stop while the block runs."""
    request = StopRequest()
    before = {number: signal.signal(number, request._handle) for number in (signal.SIGINT, signal.SIGTERM)}  # noqa: SLF001
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
