"""The interface of engines: `EngineFactory` says what there is to train on, `Engine` trains tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.data.search_data import SearchData
from pipeline.training.distributed import GroupMember
from pipeline.training.epochs import Hooks
from pipeline.training.train import train
from sweeps.trial import TrialConfig, TrialResult

POLL_INTERVAL = 0.1  # seconds between looks at whether to stop, and at time limits


class Engine(Protocol):
    """Trains so many trials at a time."""

    @property
    def places(self) -> int:
        """How many at a time."""

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Begin a trial; called while a place is free. All hooks are called from `wait`."""

    def wait(self) -> tuple[int, TrialResult | None]:
        """Wait for the next trial that ends: its number, and its result; without one its process has died.

        Raises:
            Interrupted: asked to stop, by the hook of that name.
            Failure: what training raises.
        """

    def close(self) -> None:
        """End, at once; trials that are under way can be gone on with from their checkpoints."""


class EngineFactory(Protocol):
    """Where the trials of a sweep are trained: what there is, and who makes the engine."""

    @property
    def deterministic(self) -> bool:
        """Whether the list of trials is the same each time, where nobody says."""

    @property
    def where(self) -> str:
        """What is said of it after how many trials are trained at a time: nothing of this machine."""

    def resolve(self, config: TrialConfig) -> TrialConfig:
        """Settle what ``auto`` means there, as `pipeline.training.resolve.resolve`.

        Raises:
            ValueError: for a device that is not there.
        """

    def places(self, usual: int, config: TrialConfig) -> int:
        """How many trials at a time, where nobody says.

        Args:
            usual: as many as when the study was made; or by this machine, and what the work is worth.
            config: a trial's.

        Raises:
            UsageFailure: if there is no room for one.
        """

    def warm_up(self, processes: int) -> None:
        """Begin to prepare for so many processes, beside whatever this process does next."""

    def make(self, data: SearchData, places: int, processes: int = 1) -> Engine:
        """The engine for so many trials at a time, each in so many processes."""

    def close(self) -> None:
        """Leave it, after its engines are closed."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to be trained."""

    number: int
    config: TrialConfig
    folder: Path  # the trial's own, for checkpoints
    objective: str
    limits: Mapping[str, float] = field(default_factory=dict)
    every_epoch: bool = False
    time_limit: float | None = None
    seat: GroupMember | None = None  # of the process, among those that train it together

    def train(self, data: SearchData, hooks: Hooks) -> TrialResult:
        """Train it here and now."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return train(
            values.pop("number"),
            values.pop("config"),
            data,
            values.pop("folder"),
            hooks=hooks,
            **values,
        )
