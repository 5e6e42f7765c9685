"""The Ray task that trains a trial on a node of the cluster, and helpers for the driver.

The driver is the process of the command, which joined the cluster and submits the tasks.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from ray.exceptions import RayError

from models import usercode
from pipeline.checkpoints import Folder, read
from pipeline.engines.base import Task
from pipeline.engines.messages import Answer, train_and_report
from pipeline.engines.shared_data import rebuild
from pipeline.system.errors import EngineFailure
from pipeline.system.files import temporary_folder
from pipeline.system.signals import HANGUP
from pipeline.system.text import clip
from pipeline.training.resolve import resolve
from sweeps.trial import TrialConfig

# -- in the driver ---------------------------------------------------------------------------------


@contextmanager
def keep_signal_handlers() -> Iterator[None]:
    """Restore this process's signal handlers after a call into Ray.

    Ray's own handler would exit on SIGTERM, but training stops between two steps.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, *HANGUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Places(NamedTuple):
    """Where a process finds a user's own network, as absolute paths."""

    import_paths: tuple[str, ...]
    folder: str  # the working folder


def own_places() -> Places:
    """Return where this process finds a user's own network, for its tasks."""
    import_paths = tuple(str(Path(path).resolve()) for path in sys.path)
    return Places(import_paths, str(usercode.working_folder()))


def resources(config: TrialConfig) -> dict[str, float]:
    """The CPUs and GPUs of a trial on a node, as options of its Ray task."""
    gpus = config.gpus_per_trial or 1  # more than one is refused
    return {"num_cpus": config.cpu_threads, "num_gpus": gpus if config.device == "cuda" else 0}


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn an error of Ray in the driver, such as a lost mailbox, into an `EngineFailure`."""
    try:
        yield
    except RayError as error:
        raise EngineFailure(
            f"the Ray cluster has failed this process: {error_cause(error)}; "
            "the same command goes on"
        ) from None


def error_cause(error: BaseException) -> str:
    """The cause of an error of Ray: the last line of its text."""
    text = str(getattr(error, "cause", None) or error)
    lines = text.strip().splitlines()
    last_line = lines[-1] if lines else type(error).__name__
    return clip(last_line, 300)


# -- in the tasks ----------------------------------------------------------------------------------


def _look_where_the_driver_does(places: Places) -> None:
    sys.path += [path for path in places.import_paths if path not in sys.path]
    usercode.look_in(places.folder)


def _resolve_on_node(config: TrialConfig, places: Places) -> TrialConfig:
    _look_where_the_driver_does(places)
    return resolve(config)


def _train_on_node(
    name: str,
    task: Task,
    states: Mapping[str, bytes],
    data: tuple[dict[str, Any], list[Any]],
    mailbox: Any,
    places: Places,
) -> None:
    """Train a trial in a temporary folder of this node, and send its messages.

    Args:
        name: identifies the trial to the mailbox.
        task: the trial.
        states: saved states to resume from, by file name.
        data: metadata and arrays of the images, as `RayEngine` puts them into the object store.
        mailbox: the handle of the `Mailbox` actor.
        places: where the driver finds a user's own network.
    """
    _look_where_the_driver_does(places)
    metadata, arrays = data
    with warnings.catch_warnings():
        # The arrays are read-only, since all tasks of the node share them. Training only reads.
        warnings.simplefilter("ignore")
        images = rebuild(metadata, [torch.from_numpy(array) for array in arrays])
    with temporary_folder() as temporary:
        folder = Folder(temporary / "checkpoints")
        folder.put(states)
        channel = _MailboxChannel(name, mailbox, folder)
        channel.tell("began")
        node_task = dataclasses.replace(task, folder=folder.path)
        last_message = train_and_report(channel, node_task, images)
        channel.tell(*last_message)


class _MailboxChannel:
    """Carries a trial's messages to the mailbox, with the checkpoints written since the last."""

    def __init__(self, name: str, mailbox: Any, folder: Folder) -> None:
        self._name = name
        self._mailbox = mailbox
        self._folder = folder
        self._sent = self._modification_times()

    def tell(self, *message: Any) -> None:
        files = self._read_new_files() if message[0] in ("saved", "ended") else {}
        ray.get(self._mailbox.tell.remote(self._name, files, message))

    def ask(self, *message: Any) -> Answer:
        answer: Answer = ray.get(self._mailbox.ask.remote(self._name, {}, message))
        return answer

    def _modification_times(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self._folder.files()}

    def _read_new_files(self) -> dict[str, bytes]:
        """The contents of new and changed files, by their path inside the folder."""
        times = self._modification_times()
        new = [path for path, time in times.items() if self._sent.get(path) != time]
        self._sent = times
        return {path.relative_to(self._folder.path).as_posix(): read(path) for path in new}


# The engine reruns a lost trial itself, from its checkpoints.
TRAIN = ray.remote(max_retries=0)(_train_on_node)
RESOLVE = ray.remote(max_retries=0)(_resolve_on_node)
