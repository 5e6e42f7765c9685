"""Where a training stands between two epochs, kept as a checkpoint and gone on from. Trains nothing."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.checkpoints import Folder
from pipeline.system import failpoints
from pipeline.training.optimizer import Schedule
from sweeps.trial import Epoch, Mistake, TrialConfig, Value

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass
class TrainingState:
    """All that a checkpoint holds besides the network, the optimiser and the schedule."""

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    confusion: list[list[int]] | None = None
    mistakes: tuple[Mistake, ...] = ()
    seconds: float = 0.0
    latency_ms: float | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


class CheckpointWriter:
    """Writes checkpoints of a training beside it, one at a time."""

    def __init__(self, folder: Folder, saved: Callable[[tuple[Epoch, ...]], None]) -> None:
        """Begin.

        Args:
            folder: the trial's own.
            saved: called by the thread that trains, with the history that a checkpoint now holds.
        """
        self._folder = folder
        self._saved = saved
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._thread.submit(
            lambda: None
        )  # a thread's start is waited for: now, and not after an epoch
        self._writing: tuple[Future[None], tuple[Epoch, ...]] | None = None
        self._copies: dict[str, torch.Tensor] = {}  # of what changes, made anew for each checkpoint
        self._copied: tuple[dict[str, torch.Tensor], tuple[Epoch, ...], dict[str, Any]] | None = (
            None
        )

    def take(
        self,
        state: TrainingState,
        config: TrialConfig,
        network: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
    ) -> None:
        """Copy what a checkpoint of the last epoch holds, when the one before is written.

        Raises:
            StorageFailure: if the disk is full or fails, here as in all that follows.
        """
        self.settle()
        tensors, facts = optimizer_tensors(optimizer)
        changing = {
            **{f"network.{k}": v for k, v in network.state_dict(keep_vars=True).items()},
            **{f"optimizer.{k}": v for k, v in tensors.items()},
        }
        best = {
            f"best.{k}": v for k, v in state.best_weights.items()
        }  # copies that nothing changes
        rest = {
            "config": config.to_dict(),
            "optimizer": facts,
            "schedule": None if schedule is None else copy.deepcopy(schedule.state_dict()),
            "best_epoch": state.best_epoch,
            "best_value": state.best_value,
            "confusion": state.confusion,
            "mistakes": state.mistakes,
            "seconds": state.seconds,
            "latency_ms": state.latency_ms,
        }
        self._copied = {**self._copies_of(changing), **best}, tuple(state.history), rest

    def write(self) -> None:
        """Begin to write what was copied: the training goes on meanwhile."""
        copied = self._copied
        self._copied = None
        if copied is not None:
            self._writing = self._thread.submit(self._write, *copied), copied[1]

    def _copies_of(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copy all in one call, into memory that is kept."""
        if self._copies.keys() != tensors.keys():
            self._copies = {
                k: torch.empty_like(v, device="cpu", requires_grad=False)
                for k, v in tensors.items()
            }
        with torch.no_grad():
            torch._foreach_copy_(list(self._copies.values()), list(tensors.values()))
        return self._copies

    def _write(
        self, tensors: Mapping[str, torch.Tensor], history: Sequence[Epoch], rest: Mapping[str, Any]
    ) -> None:
        facts = {**rest, "history": [dataclasses.asdict(row) for row in history]}
        self._folder.save_state(len(history), tensors, facts)

    def look(self) -> None:
        """Tell of a checkpoint that is there by now."""
        if self._writing is not None and self._writing[0].done():
            self.settle()

    def settle(self) -> None:
        """Wait for the checkpoint that is being written, if one is, and tell of it."""
        if self._writing is None:
            return
        (written, history) = self._writing
        self._writing = None
        written.result()
        failpoints.reach("after_checkpoint")
        self._saved(history)

    def close(self) -> None:
        """Wait for it, however the training has ended: who comes next may go on from it."""
        self._thread.shutdown()


def restore(
    folder: Folder,
    config: TrialConfig,
    network: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
) -> TrainingState | None:
    """Put back the newest good checkpoint, if it is of this very configuration; None where there is none."""
    found = folder.latest()
    if found is None or found[1]["config"] != config.to_dict():
        return None
    tensors, facts = found
    network.load_state_dict(_under("network.", tensors))
    restore_optimizer(optimizer, _under("optimizer.", tensors), facts["optimizer"])
    if schedule is not None:
        schedule.load_state_dict(facts["schedule"])
    return TrainingState(
        history=[Epoch.from_dict(row) for row in facts["history"]],
        best_epoch=facts["best_epoch"],
        best_value=facts["best_value"],
        confusion=facts["confusion"],
        mistakes=tuple(Mistake(*values) for values in facts.get("mistakes", ())),
        seconds=facts["seconds"],
        latency_ms=facts["latency_ms"],
        best_weights=_under("best.", tensors),
    )


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Take an optimiser's state apart into tensors and JSON."""
    state = optimizer.state_dict()
    flat = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
    }
    tensors = {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in flat.items() if name not in tensors}
    return tensors, {"numbers": numbers, "groups": state["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> None:
    """Put back what `optimizer_tensors` took apart."""
    state: dict[int, dict[str, torch.Tensor | Value]] = {}
    for name, value in [*tensors.items(), *facts["numbers"].items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                # Files keep no layout, and fused steps go through the memory of both side by side.
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
