"""Where trials are trained: in this process, or in worker processes. Knows no study, no store and no terminal.

A trial goes in as a `Task`; what it reports arrives at the hooks of the process that asked, and its result in the end.
Only that process decides and writes: a worker has the images, its task, and the trial's own folder of checkpoints.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import wait

import torch

from pipeline.data.search_data import SearchData
from pipeline.engines.base import POLL_INTERVAL, Engine, Task
from pipeline.engines.multi_gpu import WorkerGroup
from pipeline.engines.shared_data import SharedData
from pipeline.engines.worker import Worker
from pipeline.system import forkserver
from pipeline.system.errors import Interrupted
from pipeline.training.epochs import Hooks
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig, TrialResult


class InlineEngine:
    """Trains in this process, one trial at a time, while it is waited for."""

    places = 1

    def __init__(self, data: SearchData) -> None:
        self._data = data
        self._begun: deque[tuple[Task, Hooks]] = deque()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Keep the trial until it is waited for."""
        self._begun.append((task, hooks))

    def wait(self) -> tuple[int, TrialResult]:
        """Train it."""
        task, hooks = self._begun.popleft()
        return task.number, task.train(self._data, hooks)

    def close(self) -> None:
        """Nothing is left to end."""


class WorkerEngine:
    """Trains in processes that are kept from trial to trial; one that dies costs its trial, and is replaced."""

    def __init__(self, data: SearchData, places: int, devices: int = 1) -> None:
        """Begin; a worker is started when there is a trial for it.

        Args:
            data: what all trials see; its tensors are moved to memory that the workers share.
            places: how many workers.
            devices: how many GPUs there are for them, of the kind that the trials name.
        """
        forkserver.warm_up(forkserver.TRAINING_PRELOAD)
        self.places = places
        self._devices = devices
        self._shared = SharedData(data)
        self._free: list[Worker] = []
        self._busy: list[Worker] = []

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give the trial to a free worker on the device that has the fewest trials, or to a team on several."""
        busy = [device for worker in self._busy for device in worker.devices]
        devices = least_loaded(busy, self._devices, task.config.processes)
        self._free = [worker for worker in self._free if worker.lives()]
        worker = next((worker for worker in self._free if worker.devices == devices), None)
        if worker is None:
            if len(devices) == 1:
                worker = Worker(self._shared, devices[0])
            else:
                worker = WorkerGroup(self._shared, devices)
        else:
            self._free.remove(worker)
        self._busy.append(worker)
        worker.begin(task, hooks)

    def wait(self) -> tuple[int, TrialResult | None]:
        """Pass on what workers report until one's trial has ended."""
        while True:
            for worker in self._busy:
                worker.heard.hooks.stop()
            ready = wait([worker.connection for worker in self._busy], POLL_INTERVAL)
            for worker in list(self._busy):
                ended = self._look(worker, heard=worker.connection in ready)
                if ended is not None:
                    return ended

    def _look(self, worker: Worker, *, heard: bool) -> tuple[int, TrialResult | None] | None:
        """What a worker says, or keeps from saying: how its trial ended, if it has."""
        try:
            if not heard:
                failed = worker.given_up()
                if failed is None:
                    return None
                worker.kill()
                return self._ended(worker, failed)
            message = worker.receive()
        except (EOFError, OSError):
            worker.heard.hooks.stop()  # whoever ended all of our processes meant us
            worker.kill()
            return self._ended(worker, None)
        result = worker.heard.take(message)
        if result is None:
            return None
        self._free.append(worker)
        return self._ended(worker, result)

    def _ended(self, worker: Worker, result: TrialResult | None) -> tuple[int, TrialResult | None]:
        self._busy.remove(worker)
        return worker.heard.task.number, result

    def close(self) -> None:
        """End the workers, also in the middle of a trial: its checkpoints are whole at any moment."""
        for worker in self._busy + self._free:
            worker.kill()
        self._busy = []
        self._free = []
        self._shared.close()


def make_engine(data: SearchData, places: int, processes: int = 1) -> Engine:
    """The engine for so many trials at a time, each in so many processes, on this machine with the GPUs that it has."""
    if places == processes == 1:
        return InlineEngine(data)
    return WorkerEngine(data, places, max(1, torch.cuda.device_count()))


class LocalFactory:
    """This machine, as a site: one trial at a time is trained in this process, more in workers."""

    deterministic, where = True, ""

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Settle what ``auto`` means on it."""
        return resolve(config)

    def places(self, usual: int, _config: TrialConfig) -> int:
        """As many as usual."""
        return usual

    def warm_up(self, processes: int) -> None:
        """Start importing what workers need, if there are to be any; and what draws the report."""
        forkserver.warm_up(
            forkserver.TRAINING_PRELOAD if processes > 1 else forkserver.DRAWING_PRELOAD
        )

    def make(self, data: SearchData, places: int, processes: int = 1) -> Engine:
        """The engine for so many trials at a time, with the GPUs that there are."""
        return make_engine(data, places, processes)

    def close(self) -> None:
        """Nothing is left of it."""


def train_one(task: Task, data: SearchData, hooks: Hooks) -> TrialResult:
    """Train a trial by itself: in this process, or in as many as it asks for.

    Raises:
        Interrupted: asked to stop, by the hook of that name; or one of several processes was killed.
        Failure: what training raises.
    """
    with closing(make_engine(data, 1, task.config.processes)) as engine:
        engine.begin(task, hooks)
        _, result = engine.wait()
    if result is None:
        raise Interrupted(signal.SIGKILL)
    return result


def least_loaded(busy: Sequence[int], devices: int, count: int = 1) -> tuple[int, ...]:
    """So many devices, those on which the fewest of the busy processes are, the first of equals.

    All are different, unless there are fewer: of a kind that has one, it is named as often.
    """
    order = sorted(range(devices), key=busy.count)
    return tuple(order[i % devices] for i in range(count))
