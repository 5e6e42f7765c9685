"""Where trials are trained on a Ray cluster: each is a task of it. Knows no study, no store and no terminal.

The process of the command decides and writes everything, as with workers of its own: trials send it messages, and their
checkpoints with them, so that one whose node is lost goes on from there on any other. Ray itself retries nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray.exceptions import RayError, RayTaskError

from pipeline.checkpoints import Folder, read
from pipeline.data.search_data import SearchData
from pipeline.engines.local import LOOK_EVERY
from pipeline.engines.on_ray.mailbox import open_post
from pipeline.engines.shared_data import facts, rebuilt, tensors
from pipeline.engines.worker import PATIENCE, Heard, Task, outcome
from pipeline.jobs import preflight
from pipeline.system.errors import EngineFailure, IntegrityFailure, UsageFailure
from pipeline.system.text import clean
from pipeline.training.train import Hooks, resolve
from sweeps.trial import TrialConfig, TrialResult

_START = 5.0  # seconds in which a cluster must answer at the start
_FOLDER = "sweep-trial-"  # what the names of trials' own folders on the nodes begin with; the process follows
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # RFC 9113, 3.4: with empty settings
_SETTINGS = 4  # the type of frame that answers it
# Ray tells nobody of this cluster, and leaves the GPUs that a process sees as they are where it is given none.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def room(config: TrialConfig) -> dict[str, float]:
    """What a trial takes of a node, as options of its task."""
    return {"num_cpus": config.threads, "num_gpus": int(config.device == "cuda")}


class Cluster:
    """A Ray cluster, as a site."""

    deterministic = False

    def __init__(self, address: str | None) -> None:
        """Join a cluster, from one of its nodes.

        Args:
            address: ``host:port`` of its head, or ``auto`` for the one that this machine is in; None begins one of
                this machine alone, which ends with this process.

        Raises:
            UsageFailure: for an address that is none, or a cluster of other versions.
            EngineFailure: if there is no such cluster, or it does not answer.
        """
        if address is not None and address != "auto":
            _reach(address)
        os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
        mine: dict[str, Any] = {"num_cpus": preflight.cores(), "include_dashboard": False} if address is None else {}
        name = "a Ray cluster of this machine" if address is None else f"the Ray cluster at {clean(address)}"
        try:
            with _own_signals():
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **mine)
        except Exception as error:  # noqa: BLE001 - it has no class of its own for these
            said = clean(" ".join(str(error).split()), 300)
            if "Version mismatch" in said:
                raise UsageFailure(f"{said}: use the versions of {name}") from None
            raise EngineFailure(f"cannot use {name}: {said}") from None
        # What its own processes have to say goes to its logs, and not between our lines.
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - there is no other switch
        self.where = f" on {name}"

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Settle what ``auto`` means on a node that has a GPU; on any, if none has."""
        if config.processes > 1:
            raise ValueError(f"gpus_per_trial must be 1{self.where}: got {config.processes}")
        if any(node.get("GPU") for node in _nodes()):
            try:
                found: TrialConfig = ray.get(_RESOLVE.options(num_gpus=1).remote(config, _paths()))
            except RayTaskError as error:
                raise error.cause from None
            return found
        if config.device not in ("auto", "cpu"):
            raise ValueError(f"device {config.device} is not there: no node{self.where} has a GPU")
        return resolve(dataclasses.replace(config, device="cpu"))

    def places(self, usual: int, config: TrialConfig) -> int:  # noqa: ARG002 - which is of one machine
        """As many as its nodes have room for now."""
        needs = {{"num_cpus": "CPU", "num_gpus": "GPU"}[name]: count for name, count in room(config).items() if count}
        places = sum(int(min(has.get(name, 0) // count for name, count in needs.items())) for has in _nodes())
        if not places:
            wanted = " and ".join(f"{count:g} {name}" for name, count in needs.items())
            raise UsageFailure(
                f"no node{self.where} has {wanted} for a trial: add one, or wait for it with --workers N"
            )
        return places

    def warm_up(self, processes: int) -> None:
        """Nothing can be prepared."""

    def make(self, data: SearchData, places: int, processes: int = 1) -> Ray:  # noqa: ARG002 - of which there is one
        """The engine for so many trials at a time; those that there is no room for wait in the cluster."""
        return Ray(data, places)

    def close(self) -> None:
        """Leave it; one that was begun ends."""
        with _own_signals():
            ray.shutdown()


def _nodes() -> list[dict[str, float]]:
    """What each node of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _reach(address: str) -> None:
    """See that something like Ray answers at an address: Ray itself would try for two minutes, and then exit."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise UsageFailure(f"--address must be auto or HOST:PORT of a Ray cluster's head: got {clean(address)!r}")
    try:
        with socket.create_connection((host, int(port)), _START) as found:
            found.sendall(_GREETING)
            answer = found.recv(9)
    except OSError as error:
        why = clean(error.strerror or error)
        raise EngineFailure(f"no Ray cluster answers at {clean(address)}: {why}") from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise EngineFailure(f"what answers at {clean(address)} is no Ray cluster")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does on signals: Ray would exit on SIGTERM, where we stop between two steps."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclasses.dataclass
class _UnderWay:
    """A trial that is begun."""

    task: ray.ObjectRef[None]
    heard: Heard
    returned: bool = False  # then its last message is on its way


class Ray:
    """Trains in tasks of the cluster that this process has joined; one that is lost costs its trial."""

    def __init__(self, data: SearchData, places: int) -> None:
        """Begin.

        Args:
            data: what all trials see; each node that trains one gets one copy for all of them.
            places: how many trials at a time.
        """
        self.places = places
        arrays = [tensor.contiguous().numpy() for tensor in tensors(data)]
        self._data = ray.put((facts(data), arrays))
        self._post = open_post(places)
        self._incoming: ray.ObjectRef[Any] = self._post.take.remote()
        self._arrived: deque[tuple[Any, ...]] = deque()
        self._under_way: dict[str, _UnderWay] = {}
        self._begun = itertools.count()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Give the trial to the cluster, with the states that it can go on from."""
        name, states = str(next(self._begun)), {}
        for path in Folder(task.folder).states():
            with suppress(IntegrityFailure):
                states[path.name] = read(path)
        heard = Heard(task, hooks, lambda answer: self._post.answer.remote(name, answer))
        there = _TRAIN.options(**room(task.config), name=f"trial {task.number}")
        self._under_way[name] = _UnderWay(there.remote(name, task, states, self._data, self._post, _paths()), heard)

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
        ready, _ = ray.wait([self._incoming, *tasks], timeout=LOOK_EVERY)
        if self._incoming in ready:
            with _cluster_errors():
                self._arrived.extend(ray.get(self._incoming))
            self._incoming = self._post.take.remote()
            return None
        for task in ready:
            name = tasks[task]
            if self._died(task):
                self._under_way[name].heard.hooks.stop()  # whoever ended all of our processes meant us
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
            raise EngineFailure(f"a trial cannot be trained on the Ray cluster: {_cause(error)}") from None
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


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Turn the loss of the cluster's own part here into one line."""
    try:
        yield
    except RayError as error:
        raise EngineFailure(
            f"the Ray cluster has failed this process: {_cause(error)}; the same command goes on"
        ) from None


def _cause(error: BaseException) -> str:
    """The last line of what Ray says, which is the cause."""
    return clean((str(getattr(error, "cause", None) or error).strip().splitlines() or [type(error).__name__])[-1], 300)


# -- in the tasks -----------------------------------------------------------------------------------------------------


def _paths() -> list[str]:
    """Where this process finds modules: a user's own network is looked for there on the nodes, too."""
    return [str(Path(path).resolve()) for path in sys.path]


def _look_in(paths: Sequence[str]) -> None:
    sys.path += [path for path in paths if path not in sys.path]


def _resolve_there(config: TrialConfig, paths: Sequence[str]) -> TrialConfig:
    _look_in(paths)
    return resolve(config)


def _train_there(
    name: str,
    task: Task,
    states: Mapping[str, bytes],
    data: tuple[dict[str, Any], list[Any]],
    post: Any,
    paths: Sequence[str],
) -> None:
    """Train a trial in a folder of its own on this node, and tell of it."""
    _look_in(paths)
    importlib.import_module("torch._dynamo")  # or the first step would, in the trial's time
    known, arrays = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the node's one copy cannot be written: nobody does
        images = rebuilt(known, [torch.from_numpy(array) for array in arrays])
    _tidy()
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-") as place:
        folder = Folder(Path(place) / "checkpoints")
        folder.put(states)
        line = _Line(name, post, folder)
        line.tell("began")
        line.tell(*outcome(line, dataclasses.replace(task, folder=folder.path), images))


def _tidy() -> None:
    """Remove the folders of trials that were killed on this node: nobody else can."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = left.name.removeprefix(_FOLDER).partition("-")[0]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


class _Line:
    """The line of a trial that is trained in a task: with its messages go the checkpoints that are new."""

    def __init__(self, name: str, post: Any, folder: Folder) -> None:
        self._name, self._post, self._folder = name, post, folder
        self._sent = {path: path.stat().st_mtime_ns for path in folder.files()}

    def tell(self, *message: Any) -> None:
        ray.get(self._post.tell.remote(self._name, self._new() if message[0] in ("saved", "ended") else {}, message))

    def ask(self, *message: Any) -> Any:
        return ray.get(self._post.ask.remote(self._name, {}, message))

    def _new(self) -> dict[str, bytes]:
        times = {path: path.stat().st_mtime_ns for path in self._folder.files()}
        new = [path for path, time in times.items() if self._sent.get(path) != time]
        self._sent = times
        return {path.relative_to(self._folder.path).as_posix(): read(path) for path in new}


_TRAIN = ray.remote(max_retries=0)(_train_there)
_RESOLVE = ray.remote(max_retries=0)(_resolve_there)
