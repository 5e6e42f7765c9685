"""Worker processes that train a trial together, each on its own GPU."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

from pipeline.engines.base import Task
from pipeline.engines.shared_data import SharedData
from pipeline.engines.worker import Worker
from pipeline.system.errors import Diverged
from pipeline.system.files import temporary_folder
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult

_REASON_TIMEOUT = 0.5  # seconds for the other ranks to send their error after rank 0 has failed


class WorkerGroup(Worker):
    """Workers that train a trial together, then end.

    This worker is rank 0, which trains and reports as a single worker does. The other ranks train
    along and report nothing. If a process dies, the group counts as dead. If a process fails, the
    trial fails, and the other processes are killed at any moment of their work.
    """

    def __init__(self, data: SharedData, devices: Sequence[int]) -> None:
        super().__init__(data, devices[0])
        self.devices = tuple(devices)
        self._others = [Worker(data, device) for device in devices[1:]]
        self._folders = contextlib.ExitStack()
        self._meeting = self._folders.enter_context(temporary_folder())

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Send the trial to all ranks; only rank 0 checks its limits."""
        first = GroupMember(rank=0, size=len(self.devices), rendezvous=self._meeting / "store")
        super().begin(dataclasses.replace(task, member=first), hooks)
        for rank, worker in enumerate(self._others, start=1):
            member = dataclasses.replace(first, rank=rank)
            rank_task = dataclasses.replace(task, member=member, limits={}, time_limit=None)
            worker.begin(rank_task, Hooks())

    def receive(self) -> tuple[Any, ...]:
        """Read the next message of rank 0.

        Rank 0 also fails after the loss of another rank. The result is then replaced by the other
        rank's, with the reason.

        Raises:
            EOFError, OSError: if a process has died.
        """
        kind, *content = super().receive()
        if kind == "ended" and content[0].end.startswith("error:"):
            wait([worker.connection for worker in self._others], _REASON_TIMEOUT)
            content = [self._failure_of_other_rank() or content[0]]
        if kind in ("ended", "raised"):
            self.kill()
        return (kind, *content)

    def result_if_hung(self) -> TrialResult | None:
        """The failed result of a hung trial, or of a trial with a failed rank other than 0."""
        return self._failure_of_other_rank() or super().result_if_hung()

    def _failure_of_other_rank(self) -> TrialResult | None:
        for worker in self._others:
            while worker.connection.poll():
                kind, *content = worker.receive()
                if kind == "raised":
                    raise content[0]
                # If a trial diverges, rank 0 says so itself.
                if kind == "ended" and content[0].end != Diverged.end:
                    return self.trial.failed_result(content[0].end, content[0].error)
        return None

    def is_alive(self) -> bool:
        """Whether the group can take another trial: never."""
        return False

    def kill(self) -> None:
        """Kill all processes, rank 0 last: otherwise rank 0 would report the loss of the others."""
        for worker in self._others:
            worker.kill()
        super().kill()
        self._folders.close()
