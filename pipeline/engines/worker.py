"""A trial that is trained in another process, from both of its ends; and such a process here. Knows no study."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.data.search_data import SearchData
from pipeline.engines.shared_data import Shared
from pipeline.system import forkserver
from pipeline.system.errors import Failure, TimedOut
from pipeline.training.distributed import Seat
from pipeline.training.train import HANGS, Hooks, train
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult

GRACE = 3.0  # seconds more, after which a worker that does not break its trial off itself is killed
STEP_EVERY = 0.5  # seconds between messages of steps
PATIENCE = 5.0  # seconds for a worker to end


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to be trained."""

    number: int
    config: TrialConfig
    folder: Path  # the trial's own, for checkpoints
    objective: str
    limits: Mapping[str, float] = field(default_factory=dict)
    every_epoch: bool = False
    time_limit: float | None = None
    seat: Seat | None = None  # of the process, among those that train it together

    def train(self, data: SearchData, hooks: Hooks) -> TrialResult:
        """Train it here and now."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return train(values.pop("number"), values.pop("config"), data, values.pop("folder"), hooks=hooks, **values)


class Line(Protocol):
    """The way from a trial to the process that asked for it."""

    def tell(self, *message: Any) -> None:
        """Send a message."""

    def ask(self, *message: Any) -> Any:
        """Send one, and wait for the answer."""


def outcome(line: Line, task: Task, data: SearchData) -> tuple[str, object]:
    """Train, and tell of it; the last message, which says what came of it."""
    told, stepped = 0, time.monotonic()  # the last epoch, and when the last step was told

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


class Heard:
    """A trial that is trained elsewhere, as the process that asked for it knows it by its messages."""

    def __init__(self, task: Task, hooks: Hooks, answer: Callable[[bool | Exception], None]) -> None:
        self.task, self.hooks, self._answer = task, hooks, answer
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
        if self._began is None or limit is None or time.monotonic() - self._began <= limit + HANGS + GRACE:
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


class Worker:
    """A worker process, as the process that started it sees it."""

    def __init__(self, shared: Shared, device: int) -> None:
        self.devices: tuple[int, ...] = (device,)
        self.connection, theirs = forkserver.PROCESSES.Pipe()
        self._process = forkserver.PROCESSES.Process(
            target=_work, args=(theirs, shared, device), name="worker", daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give it a trial."""
        self.heard = Heard(task, hooks, self._send)
        self._send(task)

    def receive(self) -> tuple[Any, ...]:
        """The next message.

        Raises:
            EOFError, OSError: if its process has died, in the middle of a message, too.
        """
        return self.connection.recv()  # type: ignore[no-any-return]

    def given_up(self) -> TrialResult | None:
        """The result of a trial that can no longer end by itself, as `Heard.given_up`."""
        return self.heard.given_up()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # it has died: what it sent before that is still to be read
            self.connection.send(message)

    def lives(self) -> bool:
        """Whether it is there, while it has nothing to do."""
        return not self.connection.poll()  # all that can come then is the end

    def kill(self) -> None:
        """End it, wherever it is."""
        self._process.kill()
        self._process.join(PATIENCE)
        self.connection.close()


class _Pipe:
    """The line of a worker process."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def tell(self, *message: Any) -> None:
        self._connection.send(message)

    def ask(self, *message: Any) -> Any:
        self._connection.send(message)
        return self._connection.recv()


def _work(connection: Connection[Any, Any], shared: Shared, device: int) -> None:
    """What a worker does: trains one task after another, until there is nobody to send it one."""
    forkserver.end_with_parent()
    data = shared.open()
    shared.close()
    line = _Pipe(connection)
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            if task.config.device == "cuda":
                torch.cuda.set_device(device)
            line.tell("began")
            line.tell(*outcome(line, task, data))
