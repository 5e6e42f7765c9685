"""What runs on the nodes of a Ray cluster: one trial as a Ray task."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray.exceptions import RayError

from pipeline.checkpoints import Folder, read
from pipeline.engines.base import Task
from pipeline.engines.messages import train_and_report
from pipeline.engines.shared_data import rebuild
from pipeline.system.errors import EngineFailure
from pipeline.system.text import clean
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig

FOLDER = "sweep-trial-"  # what the names of trials' own folders on the nodes begin with; the process follows


@contextmanager
def keep_signal_handlers() -> Iterator[None]:
    """Keep what this process does on signals: Ray would exit on SIGTERM, where we stop between two steps."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_paths() -> list[str]:
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
        images = rebuild(known, [torch.from_numpy(array) for array in arrays])
    _tidy()
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-") as place:
        folder = Folder(Path(place) / "checkpoints")
        folder.put(states)
        line = _Line(name, post, folder)
        line.tell("began")
        line.tell(*train_and_report(line, dataclasses.replace(task, folder=folder.path), images))


def _tidy() -> None:
    """Remove the folders of trials that were killed on this node: nobody else can."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        pid = left.name.removeprefix(FOLDER).partition("-")[0]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


class _Line:
    """The line of a trial that is trained in a task: with its messages go the checkpoints that are new."""

    def __init__(self, name: str, post: Any, folder: Folder) -> None:
        self._name = name
        self._post = post
        self._folder = folder
        self._sent = {path: path.stat().st_mtime_ns for path in folder.files()}

    def tell(self, *message: Any) -> None:
        ray.get(
            self._post.tell.remote(
                self._name, self._new() if message[0] in ("saved", "ended") else {}, message
            )
        )

    def ask(self, *message: Any) -> Any:
        return ray.get(self._post.ask.remote(self._name, {}, message))

    def _new(self) -> dict[str, bytes]:
        times = {path: path.stat().st_mtime_ns for path in self._folder.files()}
        new = [path for path, time in times.items() if self._sent.get(path) != time]
        self._sent = times
        return {path.relative_to(self._folder.path).as_posix(): read(path) for path in new}


TRAIN = ray.remote(max_retries=0)(_train_there)


RESOLVE = ray.remote(max_retries=0)(_resolve_there)


def resources(config: TrialConfig) -> dict[str, float]:
    """What a trial takes of a node, as options of its task."""
    return {"num_cpus": config.threads, "num_gpus": int(config.device == "cuda")}


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn the loss of the cluster's own part here into one line."""
    try:
        yield
    except RayError as error:
        raise EngineFailure(
            f"the Ray cluster has failed this process: {cause(error)}; the same command goes on"
        ) from None


def cause(error: BaseException) -> str:
    """The last line of what Ray says, which is the cause."""
    return clean(
        (
            str(getattr(error, "cause", None) or error).strip().splitlines()
            or [type(error).__name__]
        )[-1],
        300,
    )
