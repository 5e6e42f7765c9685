"""A worker process, which trains one trial after another, and its handle in the parent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from pipeline.engines.base import Task
from pipeline.engines.messages import Answer, RemoteTrial, train_and_report
from pipeline.engines.shared_data import SharedData
from pipeline.system import forkserver
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult

PATIENCE = 5.0  # seconds for a killed worker to end


class Worker:
    """The parent's handle of a worker process."""

    trial: RemoteTrial  # the trial that the worker trains, or the last one

    def __init__(self, data: SharedData, device: int) -> None:
        """Start the process.

        Args:
            data: the images of all trials.
            device: the index of the GPU to train on, if the trials name ``cuda``.
        """
        self.devices: tuple[int, ...] = (device,)
        self.connection, worker_end = forkserver.CONTEXT.Pipe()
        self._process = forkserver.start(_work, (worker_end, data, device), "worker")
        worker_end.close()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Send a trial to the process."""
        self.trial = RemoteTrial(task, hooks, self._send)
        self._send(task)

    def receive(self) -> tuple[Any, ...]:
        """Read the next message.

        Raises:
            EOFError, OSError: if the process has died, possibly in the middle of a message.
        """
        return self.connection.recv()  # type: ignore[no-any-return]

    def result_if_hung(self) -> TrialResult | None:
        """The failed result of a hung trial, as `RemoteTrial.result_if_hung`."""
        return self.trial.result_if_hung()

    def _send(self, message: object) -> None:
        # If the process has died, its last messages are still to be read: `receive` will notice.
        with suppress(OSError):
            self.connection.send(message)

    def is_alive(self) -> bool:
        """Whether an idle process is still there."""
        # An idle process sends nothing, so the only thing to read is the end of its connection.
        return not self.connection.poll()

    def kill(self) -> None:
        """Kill the process, at any moment of its work."""
        self._process.kill()
        self._process.join(PATIENCE)
        self.connection.close()


class _PipeChannel:
    """Carries a trial's messages over the pipe to the parent."""

    def __init__(self, connection: forkserver.Connection, trial: int) -> None:
        self._connection = connection
        self._trial = trial

    def tell(self, *message: Any) -> None:
        self._connection.send(message)

    def ask(self, *message: Any) -> Answer:
        self._connection.send(message)
        _, row, *_ = message
        while True:
            answer: Answer = self._connection.recv()
            if (answer.trial, answer.epoch) == (self._trial, row.epoch):
                return answer


def _work(connection: forkserver.Connection, shared: SharedData, device: int) -> None:
    """The worker's main function: train each task from the parent, until the parent is gone.

    Args:
        connection: the worker's end of the pipe to the parent. The parent sends tasks, and gets the
            messages of `pipeline.engines.messages`.
        shared: the images of all trials.
        device: the index of the GPU to train on, if the trials name ``cuda``.
    """
    forkserver.end_with_parent()
    data = shared.open()
    shared.close()  # the mapped images stay valid
    # These errors mean that the parent is gone: an error of the training is sent as a message.
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            if not isinstance(task, Task):  # an answer, too late for the trial that has ended
                continue
            if task.config.device == "cuda":
                torch.cuda.set_device(device)
            channel = _PipeChannel(connection, task.number)
            channel.tell("began")
            last_message = train_and_report(channel, task, data)
            channel.tell(*last_message)
