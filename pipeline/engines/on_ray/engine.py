"""Trains trials as tasks of a Ray cluster.

As with local workers, the process of the command makes all decisions and writes all results. Trials
send their checkpoints with their messages, so that after the loss of a node its trials resume on
other nodes. Ray itself retries nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.checkpoints import Folder, read
from pipeline.data.search_data import SearchData
from pipeline.engines.base import POLL_INTERVAL, Task
from pipeline.engines.messages import RemoteTrial
from pipeline.engines.on_ray.mailbox import open_mailbox
from pipeline.engines.on_ray.task import (
    TRAIN,
    cluster_errors,
    error_cause,
    own_places,
    resources,
)
from pipeline.engines.shared_data import metadata, tensors
from pipeline.engines.worker import PATIENCE
from pipeline.system.errors import EngineFailure, IntegrityFailure
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult


@dataclasses.dataclass
class _Running:
    """A trial in progress, and its Ray task."""

    task: ray.ObjectRef[None]
    trial: RemoteTrial
    returned: bool = False  # the task has ended, so the trial's last message is on its way


class RayEngine:
    """Trains trials as tasks of the cluster of this process.

    If a task is lost, its trial has no result.
    """

    def __init__(self, data: SearchData, places: int) -> None:
        """Put the images into Ray's object store, and start the mailbox.

        Args:
            data: the images of all trials. Each node gets a single copy for all its trials.
            places: the number of trials at a time.
        """
        self.places = places
        arrays = [tensor.contiguous().numpy() for tensor in tensors(data)]
        self._data = ray.put((metadata(data), arrays))
        self._mailbox = open_mailbox(places)
        self._incoming: ray.ObjectRef[Any] = self._mailbox.take.remote()
        self._arrived: deque[tuple[Any, ...]] = deque()
        self._running: dict[str, _Running] = {}
        self._names = itertools.count()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Send the trial to the cluster, with its saved states, from which it resumes."""
        name = str(next(self._names))
        states = {}
        for path in Folder(task.folder).states():
            with suppress(IntegrityFailure):
                states[path.name] = read(path)
        trial = RemoteTrial(task, hooks, lambda answer: self._mailbox.answer.remote(name, answer))
        train = TRAIN.options(**resources(task.config), name=f"trial {task.number}")
        reference = train.remote(name, task, states, self._data, self._mailbox, own_places())
        self._running[name] = _Running(reference, trial)

    def wait(self) -> tuple[int, TrialResult | None]:
        """Handle the messages of all trials until a trial ends."""
        while True:
            for running in self._running.values():
                running.trial.hooks.stop()
            ended = self._handle_messages() or self._poll_tasks()
            if ended is not None:
                return ended

    def _handle_messages(self) -> tuple[int, TrialResult | None] | None:
        """Handle the arrived messages, until a trial ends.

        Returns:
            The number and result of the trial that has ended, if any.
        """
        while self._arrived:
            name, files, message = self._arrived.popleft()
            if name not in self._running:  # the trial hung, and has been cancelled
                continue
            trial = self._running[name].trial
            folder = Folder(trial.task.folder)
            folder.put(files)
            result = trial.handle(message)
            if result is not None:
                # The result names the file on the node; the same file is now in the trial's folder.
                checkpoint = result.checkpoint and str(folder.best)
                return self._end_trial(name, dataclasses.replace(result, checkpoint=checkpoint))
        return None

    def _poll_tasks(self) -> tuple[int, TrialResult | None] | None:
        """Wait briefly for messages, and end a trial whose task died or hangs.

        Returns:
            The number and result of the trial that has ended, if any.
        """
        names = {
            running.task: name for name, running in self._running.items() if not running.returned
        }
        ready, _ = ray.wait([self._incoming, *names], timeout=POLL_INTERVAL)
        if self._incoming in ready:
            with cluster_errors():
                self._arrived.extend(ray.get(self._incoming))
            self._incoming = self._mailbox.take.remote()
            return None
        for task in ready:
            name = names[task]
            if self._died(task):
                # If every process was killed, treat it as a request to stop.
                self._running[name].trial.hooks.stop()
                return self._end_trial(name, None)
            self._running[name].returned = True
        for name, running in self._running.items():
            result = running.trial.result_if_hung()
            if result is not None:
                ray.cancel(running.task, force=True)
                return self._end_trial(name, result)
        return None

    @staticmethod
    def _died(task: ray.ObjectRef[None]) -> bool:
        """Whether a task has ended without sending its last message.

        Raises:
            EngineFailure: if the task could not begin, or could not send messages.
        """
        try:
            ray.get(task)
        except RayTaskError as error:
            raise EngineFailure(
                f"a trial cannot be trained on the Ray cluster: {error_cause(error)}"
            ) from None
        except RayError:  # its process, its node or an object that it needs is lost
            return True
        return False

    def _end_trial(self, name: str, result: TrialResult | None) -> tuple[int, TrialResult | None]:
        self._mailbox.forget.remote(name)
        running = self._running.pop(name)
        return running.trial.task.number, result

    def close(self) -> None:
        """Kill all tasks, even during a trial: its checkpoints are whole at any moment."""
        tasks = [running.task for running in self._running.values()]
        self._running.clear()
        with suppress(RayError):
            for task in tasks:
                ray.cancel(task, force=True)
            if tasks:
                ray.wait(tasks, num_returns=len(tasks), timeout=PATIENCE)
            ray.kill(self._mailbox)
