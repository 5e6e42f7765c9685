"""Trains trials on this machine: in this process, or in worker processes.

Only the calling process makes decisions and writes results. A worker has the images, its task, and
the trial's folder of checkpoints. The engine calls the task's hooks for the worker's messages.
"""

from __future__ import annotations

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
from pipeline.system.cpu import thread_cores
from pipeline.system.errors import KILL, Interrupted, UsageFailure
from pipeline.training.epochs import Hooks
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig, TrialResult


class InlineEngine:
    """Trains one trial at a time in this process, or apart from it if its task says so."""

    places = 1

    def __init__(self, data: SearchData) -> None:
        self._data = data
        self._begun: deque[tuple[Task, Hooks]] = deque()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Remember the trial for `wait`."""
        self._begun.append((task, hooks))

    def wait(self) -> tuple[int, TrialResult | None]:
        """Train the trial."""
        task, hooks = self._begun.popleft()
        if task.apart and not forkserver.is_daemon():  # a daemon may start no process
            with closing(WorkerEngine(self._data, 1)) as engine:
                engine.begin(task, hooks)
                return engine.wait()
        return task.number, task.train(self._data, hooks)

    def close(self) -> None:
        """Do nothing: outside `wait`, no process or file belongs to this engine."""


class WorkerEngine:
    """Trains trials in worker processes, which are reused from trial to trial.

    If a worker dies, its trial has no result, and the next trial gets a new worker.
    """

    def __init__(self, data: SearchData, places: int, devices: int = 1) -> None:
        """Share the images. Workers are started as trials begin.

        Args:
            data: the images of all trials; moves its tensors to memory that the workers share.
            places: the number of trials at a time.
            devices: the number of GPUs, if the trials name ``cuda``.
        """
        forkserver.warm_up(forkserver.TRAINING_PRELOAD)
        self.places = places
        self._devices = devices
        self._shared = SharedData(data)
        self._free: list[Worker] = []
        self._busy: list[Worker] = []

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Send the trial to a worker on the least loaded GPU, or to a group on several GPUs."""
        loads = [device for worker in self._busy for device in worker.devices]
        devices = least_loaded(loads, self._devices, task.config.processes)
        worker = self._take_free_worker(devices)
        if worker is None:
            worker = self._start_worker(devices)
        self._busy.append(worker)
        worker.begin(task, hooks)

    def _take_free_worker(self, devices: tuple[int, ...]) -> Worker | None:
        self._free = [worker for worker in self._free if worker.is_alive()]
        for worker in self._free:
            if worker.devices == devices:
                self._free.remove(worker)
                return worker
        return None

    def _start_worker(self, devices: tuple[int, ...]) -> Worker:
        if len(devices) == 1:
            return Worker(self._shared, devices[0])
        return WorkerGroup(self._shared, devices)

    def wait(self) -> tuple[int, TrialResult | None]:
        """Handle the messages of all workers until a trial ends."""
        while True:
            for worker in self._busy:
                worker.trial.hooks.stop()
            ready = wait([worker.connection for worker in self._busy], POLL_INTERVAL)
            for worker in list(self._busy):
                if worker.connection in ready:
                    ended = self._handle_message(worker)
                else:
                    ended = self._check_for_hang(worker)
                if ended is not None:
                    return ended

    def _handle_message(self, worker: Worker) -> tuple[int, TrialResult | None] | None:
        """Handle a worker's next message. Returns the trial's number and result if it has ended."""
        try:
            message = worker.receive()
        except (EOFError, OSError):
            return self._end_dead_worker(worker)
        result = worker.trial.handle(message)
        if result is None:
            return None
        self._free.append(worker)
        return self._end_trial(worker, result)

    def _check_for_hang(self, worker: Worker) -> tuple[int, TrialResult | None] | None:
        """Kill a silent worker if its trial hangs. Returns the trial's number and failed result."""
        try:
            result = worker.result_if_hung()
        except (EOFError, OSError):  # another process of a group has died
            return self._end_dead_worker(worker)
        if result is None:
            return None
        worker.kill()
        return self._end_trial(worker, result)

    def _end_dead_worker(self, worker: Worker) -> tuple[int, TrialResult | None]:
        """End the trial of a worker that has died, without a result."""
        worker.trial.hooks.stop()  # if every process was killed, treat it as a request to stop
        worker.kill()
        return self._end_trial(worker, None)

    def _end_trial(
        self, worker: Worker, result: TrialResult | None
    ) -> tuple[int, TrialResult | None]:
        self._busy.remove(worker)
        return worker.trial.task.number, result

    def close(self) -> None:
        """Kill the workers, even during a trial: its checkpoints are whole at any moment."""
        for worker in self._busy + self._free:
            worker.kill()
        self._busy = []
        self._free = []
        self._shared.close()


def make_engine(data: SearchData, places: int, processes: int = 1) -> Engine:
    """Make an engine on this machine: inline if a single process is enough, else with workers.

    Args:
        data: the images of all trials.
        places: the number of trials at a time.
        processes: the number of processes for each trial.
    """
    if places == 1 and processes == 1:
        return InlineEngine(data)
    return WorkerEngine(data, places, max(1, torch.cuda.device_count()))


def check_whole(gpus: float | None) -> None:
    """Check that a trial asks for whole GPUs, as this machine alone gives them out.

    Args:
        gpus: of a trial; None for one.

    Raises:
        UsageFailure: if it asks for a share of one.
    """
    if gpus is not None and gpus < 1:
        raise UsageFailure(
            f"gpus_per_trial must be a whole number on this machine: got {gpus:g}; a sweep with "
            "--engine ray takes a share, and here a sweep with --workers N lets trials share a GPU"
        )


class LocalFactory:
    """Makes engines on this machine."""

    deterministic = True
    where = ""

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Replace ``auto`` by values for this machine, which gives out whole GPUs alone."""
        check_whole(config.gpus_per_trial)
        return resolve(config)

    def places(self, usual: int, _config: TrialConfig) -> int:
        """The usual number, which was chosen for this machine."""
        return usual

    def cores(self, processes: int) -> int:
        """The cores of this machine, shared out."""
        return max(1, thread_cores() // processes)

    def warm_up(self, processes: int) -> None:
        """Start the server of helper processes with the code for training, if there are workers."""
        if processes > 1:
            forkserver.warm_up(forkserver.TRAINING_PRELOAD)
        else:
            forkserver.check()  # what draws the report is forked, too

    def make(self, data: SearchData, places: int, processes: int = 1) -> Engine:
        """Make the engine, on the GPUs of this machine if there are any."""
        return make_engine(data, places, processes)

    def close(self) -> None:
        """Do nothing: the factory holds nothing."""


def train_one(task: Task, data: SearchData, hooks: Hooks) -> TrialResult:
    """Train a single trial: in this process, or in as many processes as its configuration asks for.

    Raises:
        Interrupted: if a `stop` hook asked to stop, or if one of several processes was killed.
        Failure: an error of training.
    """
    with closing(make_engine(data, 1, task.config.processes)) as engine:
        engine.begin(task, hooks)
        _, result = engine.wait()
    if result is None:
        raise Interrupted(KILL)
    return result


def least_loaded(loads: Sequence[int], devices: int, count: int = 1) -> tuple[int, ...]:
    """Choose the devices with the fewest processes, the lowest index first among equals.

    Args:
        loads: the device index of each busy process.
        devices: the number of devices.
        count: the number of devices to choose.

    Returns:
        Device indices. They repeat only if `count` exceeds `devices`.
    """
    order = sorted(range(devices), key=loads.count)
    return tuple(order[i % devices] for i in range(count))
