"""Where trials are trained on a Ray cluster: each is a task of it. Knows no study, no store and no terminal.

The process of the command decides and writes everything, as with workers of its own: trials send it messages, and their
checkpoints with them, so that one whose node is lost goes on from there on any other. Ray itself retries nothing.
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
from pipeline.engines.on_ray.task import TRAIN, cause, cluster_errors, import_paths, resources
from pipeline.engines.shared_data import metadata, tensors
from pipeline.engines.worker import PATIENCE
from pipeline.system.errors import EngineFailure, IntegrityFailure
from pipeline.training.epochs import Hooks
from sweeps.trial import TrialResult


@dataclasses.dataclass
class _UnderWay:
    """A trial that is begun."""

    task: ray.ObjectRef[None]
    heard: RemoteTrial
    returned: bool = False  # then its last message is on its way


class RayEngine:
    """Trains in tasks of the cluster that this process has joined; one that is lost costs its trial."""

    def __init__(self, data: SearchData, places: int) -> None:
        """Begin.

        Args:
            data: what all trials see; each node that trains one gets one copy for all of them.
            places: how many trials at a time.
        """
        self.places = places
        arrays = [tensor.contiguous().numpy() for tensor in tensors(data)]
        self._data = ray.put((metadata(data), arrays))
        self._post = open_mailbox(places)
        self._incoming: ray.ObjectRef[Any] = self._post.take.remote()
        self._arrived: deque[tuple[Any, ...]] = deque()
        self._under_way: dict[str, _UnderWay] = {}
        self._begun = itertools.count()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give the trial to the cluster, with the states that it can go on from."""
        name = str(next(self._begun))
        states = {}
        for path in Folder(task.folder).states():
            with suppress(IntegrityFailure):
                states[path.name] = read(path)
        heard = RemoteTrial(task, hooks, lambda answer: self._post.answer.remote(name, answer))
        there = TRAIN.options(**resources(task.config), name=f"trial {task.number}")
        self._under_way[name] = _UnderWay(
            there.remote(name, task, states, self._data, self._post, import_paths()), heard
        )

    def wait(self) -> tuple[int, TrialResult | None]:
        """Pass on what trials report until one has ended."""
        while True:
            for trial in self._under_way.values():
                trial.heard.hooks.stop()
            ended = self._read() or self._look()
            if ended is not None:
                return ended

    def _read(self) -> tuple[int, TrialResult | None] | None:
        """Do what the messages that are here ask; how a trial has ended, if one of them says so."""
        while self._arrived:
            name, files, message = self._arrived.popleft()
            if name not in self._under_way:  # it was given up meanwhile
                continue
            heard = self._under_way[name].heard
            folder = Folder(heard.task.folder)
            folder.put(files)
            result = heard.take(message)
            if result is not None:
                weights = result.checkpoint and str(folder.best)
                return self._ended(name, dataclasses.replace(result, checkpoint=weights))
        return None

    def _look(self) -> tuple[int, TrialResult | None] | None:
        """Wait a little for messages; how a trial has ended that sends none any more, if there is one."""
        tasks = {trial.task: name for name, trial in self._under_way.items() if not trial.returned}
        ready, _ = ray.wait([self._incoming, *tasks], timeout=POLL_INTERVAL)
        if self._incoming in ready:
            with cluster_errors():
                self._arrived.extend(ray.get(self._incoming))
            self._incoming = self._post.take.remote()
            return None
        for task in ready:
            name = tasks[task]
            if self._died(task):
                self._under_way[
                    name
                ].heard.hooks.stop()  # whoever ended all of our processes meant us
                return self._ended(name, None)
            self._under_way[name].returned = True
        for name, trial in self._under_way.items():
            if (failed := trial.heard.given_up()) is not None:
                ray.cancel(trial.task, force=True)
                return self._ended(name, failed)
        return None

    @staticmethod
    def _died(task: ray.ObjectRef[None]) -> bool:
        """Whether a task that has ended did so without its last message.

        Raises:
            EngineFailure: if it could not be begun, or could not send messages.
        """
        try:
            ray.get(task)
        except RayTaskError as error:
            raise EngineFailure(
                f"a trial cannot be trained on the Ray cluster: {cause(error)}"
            ) from None
        except RayError:  # its process, its node or what it held is gone
            return True
        return False

    def _ended(self, name: str, result: TrialResult | None) -> tuple[int, TrialResult | None]:
        self._post.forget.remote(name)
        return self._under_way.pop(name).heard.task.number, result

    def close(self) -> None:
        """End the trials, also in the middle of one: their checkpoints are whole at any moment."""
        tasks = [trial.task for trial in self._under_way.values()]
        self._under_way.clear()
        with suppress(RayError):
            for task in tasks:
                ray.cancel(task, force=True)
            if tasks:
                ray.wait(tasks, num_returns=len(tasks), timeout=PATIENCE)
            ray.kill(self._post)


# -- in the tasks -----------------------------------------------------------------------------------------------------
