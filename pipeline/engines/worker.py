"""A trial that is trained in another process, from both of its ends; and such a process here. Knows no study."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from pipeline.engines.base import Task
from pipeline.engines.messages import RemoteTrial, train_and_report
from pipeline.engines.shared_data import SharedData
from pipeline.system import forkserver
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult

PATIENCE = 5.0  # seconds for a worker to end


class Worker:
    """A worker process, as the process that started it sees it."""

    def __init__(self, shared: SharedData, device: int) -> None:
        self.devices: tuple[int, ...] = (device,)
        self.connection, theirs = forkserver.CONTEXT.Pipe()
        self._process = forkserver.CONTEXT.Process(
            target=_work, args=(theirs, shared, device), name="worker", daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give it a trial."""
        self.heard = RemoteTrial(task, hooks, self._send)
        self._send(task)

    def receive(self) -> tuple[Any, ...]:
        """The next message.

        Raises:
            EOFError, OSError: if its process has died, in the middle of a message, too.
        """
        return self.connection.recv()  # type: ignore[no-any-return]

    def given_up(self) -> TrialResult | None:
        """The result of a trial that can no longer end by itself, as `RemoteTrial.given_up`."""
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


def _work(connection: Connection[Any, Any], shared: SharedData, device: int) -> None:
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
            line.tell(*train_and_report(line, task, data))
