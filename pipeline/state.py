"""Where a training stands between two epochs, kept as a checkpoint and gone on from. Trains nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.checkpoints import Folder, optimizer_tensors, restore_optimizer
from pipeline.optimization import Schedule
from sweeps.trial import Epoch, Mistake, TrialConfig

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer


@dataclass
class State:
    """All that a checkpoint holds besides the network, the optimiser and the schedule."""

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    confusion: list[list[int]] | None = None
    mistakes: tuple[Mistake, ...] = ()
    seconds: float = 0.0
    latency_ms: float | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


def save(
    folder: Folder, state: State, config: TrialConfig, network: nn.Module, optimizer: Optimizer, schedule: Schedule
) -> None:
    """Write a checkpoint of the last epoch.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    tensors, facts = optimizer_tensors(optimizer)
    folder.save_state(
        len(state.history),
        {
            **{f"network.{k}": v for k, v in network.state_dict().items()},
            **{f"optimizer.{k}": v for k, v in tensors.items()},
            **{f"best.{k}": v for k, v in state.best_weights.items()},
        },
        {
            "config": config.to_dict(),
            "optimizer": facts,
            "schedule": None if schedule is None else schedule.state_dict(),
            "history": [dataclasses.asdict(row) for row in state.history],
            "best_epoch": state.best_epoch,
            "best_value": state.best_value,
            "confusion": state.confusion,
            "mistakes": state.mistakes,
            "seconds": state.seconds,
            "latency_ms": state.latency_ms,
        },
    )


def restore(
    folder: Folder, config: TrialConfig, network: nn.Module, optimizer: Optimizer, schedule: Schedule
) -> State | None:
    """Put back the newest good checkpoint, if it is of this very configuration; None where there is none."""
    found = folder.latest()
    if found is None or found[1]["config"] != config.to_dict():
        return None
    tensors, facts = found
    network.load_state_dict(_under("network.", tensors))
    restore_optimizer(optimizer, _under("optimizer.", tensors), facts["optimizer"])
    if schedule is not None:
        schedule.load_state_dict(facts["schedule"])
    return State(
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
