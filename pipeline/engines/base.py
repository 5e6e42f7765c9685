"""The interface between a sweep and its engines: `EngineFactory`, `Engine` and `Task`.

A sweep uses them in this order::

    factory = open_factory("local")              # pipeline.engines.registry
    config = factory.resolve(config)             # settle device and precision
    engine = factory.make(data, places=2)
    engine.begin(task, hooks)                    # while a place is free
    number, result = engine.wait()               # calls hooks until a trial ends
    engine.close()
    factory.close()

An engine only trains: the calling process chooses the trials and writes all results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.data.search_data import SearchData
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks
from pipeline.training.process import cudnn_choices, prepare_process
from pipeline.training.train import train
from sweeps.analysis.facts import SELECTION
from sweeps.trial import TrialConfig, TrialResult

POLL_INTERVAL = 0.1  # seconds between checks of the stop hook and of time limits


class Engine(Protocol):
    """Trains a fixed number of trials at a time."""

    @property
    def places(self) -> int:
        """The number of trials at a time."""

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Begin to train a trial. Call this only while a place is free.

        Args:
            task: the trial.
            hooks: called from `wait`, in the caller's process, as the trial reports.
        """

    def wait(self) -> tuple[int, TrialResult | None]:
        """Wait until a trial ends, and call the hooks of all trials meanwhile.

        Returns:
            The trial's number and its result. The result is None if the trial's process died.

        Raises:
            Interrupted: if a `stop` hook asked to stop.
            Failure: an error of training that ends the whole sweep.
        """

    def close(self) -> None:
        """End all trials at once. A later run resumes unfinished trials from their checkpoints."""


class EngineFactory(Protocol):
    """Describes the hardware of an engine, and makes the engine."""

    @property
    def deterministic(self) -> bool:
        """Whether a repeated sweep proposes the same trials, unless the user chooses."""

    @property
    def where(self) -> str:
        """Names the hardware in messages, such as " on a Ray cluster"; empty for this machine."""

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Replace ``auto`` by values for this hardware, as `pipeline.training.resolve.resolve`.

        Raises:
            ValueError: if the hardware lacks the configured device.
        """

    def places(self, usual: int, config: TrialConfig) -> int:
        """The number of trials at a time if the user gives none.

        Args:
            usual: the number for which the study was made, or a good one for this machine.
            config: the configuration of one trial.

        Raises:
            UsageFailure: if the hardware has no room for one trial.
        """

    def cores(self, processes: int) -> int:
        """The CPU cores that each of so many processes has for its threads, at least one."""

    def warm_up(self, processes: int) -> None:
        """Begin to prepare so many processes in the background, and return at once."""

    def make(self, data: SearchData, places: int, processes: int = 1) -> Engine:
        """Make the engine.

        Args:
            data: the training and validation images of all trials.
            places: the number of trials at a time.
            processes: the number of processes for each trial.
        """

    def close(self) -> None:
        """Release the hardware. Close the engines first."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trial to train. Engines send tasks to their processes."""

    number: int
    config: TrialConfig
    folder: Path  # for the trial's checkpoints
    objective: str
    limits: Mapping[str, float] = field(default_factory=dict)
    every_epoch: bool = False  # keep the weights of every epoch
    until: int | None = None  # the epoch after which to pause; None for the last
    time_limit: float | None = None  # seconds
    time_used: float = 0.0  # seconds that the parts of the training before the last pause took
    selection: int = SELECTION  # the version of the rules that choose the best epoch
    # Whether to train it in a process of its own: another has died while it trained this trial.
    apart: bool = False
    member: GroupMember | None = None  # if several processes train the trial together

    def train(self, data: SearchData, hooks: Hooks) -> TrialResult:
        """Train the trial in this process, after preparing the process for it."""
        prepare_process(self.config)
        with cudnn_choices(self.config):
            return train(
                self.number,
                self.config,
                data,
                self.folder,
                objective=self.objective,
                hooks=hooks,
                limits=self.limits,
                every_epoch=self.every_epoch,
                until=self.until,
                time_limit=self.time_limit,
                time_used=self.time_used,
                selection=self.selection,
                member=self.member,
            )
