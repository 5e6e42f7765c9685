"""The messages between a training process and its parent, and both ends of the conversation.

In the training process, `train_and_report` runs a trial and sends messages through a `Channel`. In
the parent, `RemoteTrial` handles the messages and calls the trial's hooks. A message is a tuple of
a kind and its content:

=========== ============================= ==========================================================
kind        content
=========== ============================= ==========================================================
``began``                                 training begins now, and the time limit with it
``epoch``   the epoch, the best value     an epoch has ended; the answer is whether to prune, or an
                                          error from the hook, with the trial and the epoch
``saved``   the epochs not yet sent       a checkpoint now holds the history
``step``    steps done, all steps, loss   progress inside an epoch
``ended``   the result                    the last message of a trial that has a result
``raised``  the error                     the last message if training raised an error
=========== ============================= ==========================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.data.search_data import SearchData
from pipeline.engines.base import Task
from pipeline.system.errors import Failure, TimedOut
from pipeline.training.clock import LONGEST_GAP, TrainingClock
from pipeline.training.epochs import Hooks
from pipeline.training.train import HANG_GRACE
from sweeps.trial import FAILED, Epoch, TrialResult

# Seconds after the time limit and `HANG_GRACE`, in which a worker should have interrupted the trial
# itself. Then it is killed.
GRACE = 3.0

STEP_EVERY = 0.5  # seconds between ``step`` messages


@dataclass(frozen=True)
class Answer:
    """The answer to an ``epoch`` message.

    It says what it answers: an answer that comes late is not taken for that to another question.
    """

    trial: int
    epoch: int
    content: bool | Exception


class Channel(Protocol):
    """Carries messages from a training process to its parent."""

    def tell(self, *message: Any) -> None:
        """Send a message."""

    def ask(self, *message: Any) -> Answer:
        """Send a message, and wait for its answer."""


def train_and_report(channel: Channel, task: Task, data: SearchData) -> tuple[str, object]:
    """Train a trial, and send its messages.

    Returns:
        The last message, ``ended`` or ``raised``, for the caller to send.
    """
    epochs_sent = 0
    last_step_sent = time.monotonic()

    def epoch(row: Epoch, best: float) -> bool:
        nonlocal epochs_sent
        epochs_sent = row.epoch
        answer = channel.ask("epoch", row, best)
        if isinstance(answer.content, Exception):
            raise answer.content
        return answer.content

    def saved(history: tuple[Epoch, ...]) -> None:
        nonlocal epochs_sent
        channel.tell("saved", history[epochs_sent:])
        epochs_sent = len(history)

    def step(*figures: float) -> None:
        nonlocal last_step_sent
        if time.monotonic() - last_step_sent >= STEP_EVERY:
            last_step_sent = time.monotonic()
            channel.tell("step", *figures)

    hooks = Hooks(epoch=epoch, saved=saved, step=step)
    try:
        result = task.train(data, hooks)
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        return "raised", error
    return "ended", result


class RemoteTrial:
    """The parent's view of a trial in another process, built from messages."""

    def __init__(self, task: Task, hooks: Hooks, answer: Callable[[Answer], None]) -> None:
        """Expect the messages of a trial.

        Args:
            task: the trial.
            hooks: called as messages arrive.
            answer: sends the answer to an ``epoch`` message.
        """
        self.task = task
        self.hooks = hooks
        self._answer = answer
        self._history: list[Epoch] = []
        # Counts from the message ``began``, and only while this process looks at the trial: it may
        # have been stopped together with the trial's process, or have waited for a database.
        self._clock: TrainingClock | None = None

    def handle(self, message: tuple[Any, ...]) -> TrialResult | None:
        """Call the hook for a message.

        Returns:
            The trial's result if this is the message ``ended``, else None.

        Raises:
            Failure: an error of training or of a hook.
        """
        if self._clock is None:
            return self._handle(*message)
        with self._clock.paused():
            return self._handle(*message)

    def _handle(self, kind: str, *content: Any) -> TrialResult | None:
        if kind == "ended":
            return content[0]  # type: ignore[no-any-return]
        if kind == "raised":
            raise content[0]
        if kind == "began":
            self._clock = TrainingClock(self.task.time_used, LONGEST_GAP)
        elif kind == "epoch":
            self._history.append(content[0])
            answer = self._call_epoch_hook(*content)
            self._answer(Answer(self.task.number, content[0].epoch, answer))
        elif kind == "saved":
            self._history += content[0]
            self.hooks.saved(tuple(self._history))
        elif kind == "step":
            self.hooks.step(*content)
        return None

    def _call_epoch_hook(self, row: Epoch, best: float) -> bool | Exception:
        try:
            return self.hooks.epoch(row, best)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - fails the trial, as in this process
            return error

    def result_if_hung(self) -> TrialResult | None:
        """The failed result of a trial past its time limit and all grace periods.

        None as long as the trial has time.
        """
        limit = self.task.time_limit
        if self._clock is None or limit is None:
            return None
        if self._clock.seconds <= limit + HANG_GRACE + GRACE:
            return None
        error = TimedOut(limit)
        return self.failed_result(error.end, str(error))

    def failed_result(self, end: str, error: str | None) -> TrialResult:
        """The result of a failed trial without a result of its own."""
        return TrialResult(
            number=self.task.number,
            config=self.task.config,
            state=FAILED,
            end=end,
            history=tuple(self._history),
            seconds=0.0 if self._clock is None else round(self._clock.seconds, 3),
            error=error,
        )
