"""Worker processes that train one trial together, as the process that started them sees them. Knows no other trial."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pipeline.engines.base import Task
from pipeline.engines.shared_data import SharedData
from pipeline.engines.worker import Worker
from pipeline.system.errors import Diverged
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult

_REASON = 0.5  # seconds for the others to say what they have to, once the first has failed


class WorkerGroup(Worker):
    """Workers of which the first trains a trial as any worker does, and the others with it. It ends with its trial.

    One that dies is as if all had. Where one fails, that is the trial's end: the others are killed, wherever they are.
    """

    def __init__(self, shared: SharedData, devices: Sequence[int]) -> None:
        super().__init__(shared, devices[0])
        self.devices = tuple(devices)
        self._others = [Worker(shared, device) for device in devices[1:]]
        self._meeting = Path(tempfile.mkdtemp(prefix="pipeline-"))

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give all of them the trial, and the first its limits."""
        seat = GroupMember(rank=0, size=len(self.devices), meeting=self._meeting / "store")
        super().begin(dataclasses.replace(task, seat=seat), hooks)
        for rank, other in enumerate(self._others, start=1):
            its = dataclasses.replace(seat, rank=rank)
            other.begin(dataclasses.replace(task, seat=its, limits={}, time_limit=None), Hooks())

    def receive(self) -> tuple[Any, ...]:
        """The next message of the first; where that failed for the lack of another, the end is that one's.

        Raises:
            EOFError, OSError: if one of them has died.
        """
        kind, *content = super().receive()
        if kind == "ended" and content[0].end.startswith("error:"):
            wait([other.connection for other in self._others], _REASON)
            content = [self._failure() or content[0]]
        if kind in ("ended", "raised"):
            self.kill()
        return (kind, *content)

    def given_up(self) -> TrialResult | None:
        """The result of a trial that has outlasted its time, or in which another process than the first has failed."""
        return self._failure() or super().given_up()

    def _failure(self) -> TrialResult | None:
        for other in self._others:
            while other.connection.poll():
                kind, *content = other.receive()
                if kind == "raised":
                    raise content[0]
                if kind == "ended" and content[0].end != Diverged.end:  # which the first says, too
                    return self.heard.failed(content[0].end, content[0].error)
        return None

    def lives(self) -> bool:
        """Whether it can take another trial."""
        return False

    def kill(self) -> None:
        """End all of them: the first one last, which else would say that it lost the others."""
        for other in self._others:
            other.kill()
        super().kill()
        shutil.rmtree(self._meeting, ignore_errors=True)
