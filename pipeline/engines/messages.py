"""The messages between a trial that is trained elsewhere and the process that asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from pipeline.data.search_data import SearchData
from pipeline.engines.base import Task
from pipeline.system.errors import Failure, TimedOut
from pipeline.training.epochs import Hooks
from pipeline.training.train import HANG_GRACE
from sweeps.trial import FAILED, Epoch, TrialResult

GRACE = 3.0  # seconds more, after which a worker that does not break its trial off itself is killed


STEP_EVERY = 0.5  # seconds between messages of steps


class Channel(Protocol):
    """The way from a trial to the process that asked for it."""

    def tell(self, *message: Any) -> None:
        """Send a message."""

    def ask(self, *message: Any) -> Any:
        """Send one, and wait for the answer."""


def train_and_report(line: Channel, task: Task, data: SearchData) -> tuple[str, object]:
    """Train, and tell of it; the last message, which says what came of it."""
    # the last epoch, and when the last step was told
    told = 0
    stepped = time.monotonic()

    def epoch(row: Epoch, best: float) -> bool:
        nonlocal told
        told = row.epoch
        answer = line.ask("epoch", row, best)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def saved(history: tuple[Epoch, ...]) -> None:
        nonlocal told
        line.tell("saved", history[told:])
        told = len(history)

    def step(*figures: float) -> None:
        nonlocal stepped
        if time.monotonic() - stepped >= STEP_EVERY:
            stepped = time.monotonic()
            line.tell("step", *figures)

    try:
        return "ended", task.train(data, Hooks(epoch=epoch, saved=saved, step=step))
    except Exception as error:  # noqa: BLE001 - whoever asked for the training gets it
        return "raised", error


class RemoteTrial:
    """A trial that is trained elsewhere, as the process that asked for it knows it by its messages."""

    def __init__(
        self, task: Task, hooks: Hooks, answer: Callable[[bool | Exception], None]
    ) -> None:
        self.task = task
        self.hooks = hooks
        self._answer = answer
        self._history: list[Epoch] = []
        self._began: float | None = None

    def take(self, message: tuple[Any, ...]) -> TrialResult | None:
        """Do what a message asks; return the result that it may be.

        Raises:
            Failure: what training, or a hook, raised.
        """
        kind, *content = message
        if kind == "ended":
            return content[0]  # type: ignore[no-any-return]
        if kind == "raised":
            raise content[0]
        if kind == "began":
            self._began = time.monotonic()
        elif kind == "epoch":
            self._history.append(content[0])
            self._answer(self._report(*content))
        elif kind == "saved":
            self._history += content[0]
            self.hooks.saved(tuple(self._history))
        elif kind == "step":
            self.hooks.step(*content)
        return None

    def _report(self, row: Epoch, best: float) -> bool | Exception:
        try:
            return self.hooks.epoch(row, best)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of the trial, as where it is trained in this process
            return error

    def given_up(self) -> TrialResult | None:
        """The result of a trial that has outlasted its time, and hangs where it cannot be broken off from inside."""
        limit = self.task.time_limit
        if (
            self._began is None
            or limit is None
            or time.monotonic() - self._began <= limit + HANG_GRACE + GRACE
        ):
            return None
        error = TimedOut(limit)
        return self.failed(error.end, str(error))

    def failed(self, end: str, error: str | None) -> TrialResult:
        """The result of a trial that does not say itself how it ended."""
        return TrialResult(
            number=self.task.number,
            config=self.task.config,
            state=FAILED,
            end=end,
            history=tuple(self._history),
            seconds=round(time.monotonic() - (self._began or 0), 3),
            error=error,
        )
