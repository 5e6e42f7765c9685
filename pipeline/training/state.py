"""The state of a training between two epochs: written to checkpoints, and restored from them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.checkpoints import Folder
from pipeline.system import failpoints
from pipeline.training.optimizer import Optimization
from sweeps.trial import ConfidenceBin, Epoch, Mistake, TrialConfig, Value


@dataclass
class TrainingState:
    """The progress of a training: all of a checkpoint but network, optimizer and schedule."""

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    confusion: list[list[int]] | None = None  # at the best epoch, as the next three
    mistakes: tuple[Mistake, ...] = ()
    correct: str | None = None  # as in `TrialResult`, like the next
    confidences: tuple[ConfidenceBin, ...] | None = None
    # The same of the epochs with the best values, if the objective is one of
    # `sweeps.analysis.optimism.METRICS`.
    epochs_correct: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    latency_ms: float | None = None
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Snapshot:
    """The content of one checkpoint, copied from the training."""

    tensors: Mapping[str, torch.Tensor]
    history: tuple[Epoch, ...]
    facts: Mapping[str, Any]  # JSON; the history is added to them when they are written


class CheckpointWriter:
    """Writes checkpoints on a second thread while the training goes on, never two at a time.

    The training's thread captures (copies) a checkpoint, then the second thread writes the copy.
    An error of the disk is raised in the training's thread, by the next call after the write.
    """

    def __init__(self, folder: Folder, saved: Callable[[tuple[Epoch, ...]], None]) -> None:
        """Start the thread.

        Args:
            folder: the trial's own.
            saved: called by the training's thread, with the history of a checkpoint that is on the
                disk.
        """
        self._folder = folder
        self._saved = saved
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        # Submitting waits until a new thread runs: let that be now, and not after an epoch.
        self._thread.submit(lambda: None)
        self._captured: _Snapshot | None = None
        self._pending: tuple[Future[None], _Snapshot] | None = None
        self._buffers: dict[str, torch.Tensor] = {}  # reused for every checkpoint

    def capture(
        self,
        state: TrainingState,
        config: TrialConfig,
        network: nn.Module,
        optimization: Optimization,
    ) -> None:
        """Copy the content of a checkpoint, after the pending one is written.

        Raises:
            StorageFailure: if the disk is full or fails, here as in the methods below.
        """
        self.wait()
        optimizer_state, optimizer_facts = optimizer_tensors(optimization.optimizer)
        changing = _with_prefix("network.", network.state_dict(keep_vars=True))
        changing |= _with_prefix("optimizer.", optimizer_state)
        average = optimization.average
        if average is not None:
            changing |= _with_prefix("average.", average.network.state_dict(keep_vars=True))
        schedule = optimization.schedule
        best_weights = _with_prefix("best.", state.best_weights)  # copies already
        facts = {
            "config": config.to_dict(),
            "optimizer": optimizer_facts,
            "schedule": None if schedule is None else copy.deepcopy(schedule.state_dict()),
            "scaler": optimization.scaler.state_dict(),
            "average_steps": 0 if average is None else average.steps,
            "best_epoch": state.best_epoch,
            "best_value": state.best_value,
            "confusion": state.confusion,
            "mistakes": state.mistakes,
            "correct": state.correct,
            "confidences": state.confidences,
            "epochs_correct": dict(state.epochs_correct),
            "seconds": state.seconds,
            "latency_ms": state.latency_ms,
        }
        tensors = self._copy(changing) | best_weights
        self._captured = _Snapshot(tensors, tuple(state.history), facts)

    def start_writing(self) -> None:
        """Start to write the captured checkpoint, if any."""
        if self._captured is None:
            return
        snapshot = self._captured
        self._captured = None
        self._pending = self._thread.submit(self._write, snapshot), snapshot

    def poll(self) -> None:
        """Report the pending checkpoint if already written."""
        if self._pending is not None and self._pending[0].done():
            self.wait()

    def wait(self) -> None:
        """Wait for the pending checkpoint, if any, and report the history."""
        if self._pending is None:
            return
        future, snapshot = self._pending
        self._pending = None
        future.result()
        failpoints.reach("after_checkpoint")
        self._saved(snapshot.history)

    def close(self) -> None:
        """Wait for the pending checkpoint even after a failure: a later run may resume from it."""
        self._thread.shutdown()

    def _copy(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copy all tensors by a single call, into reused memory."""
        if self._buffers.keys() != tensors.keys():
            self._buffers = {
                name: torch.empty_like(tensor, device="cpu", requires_grad=False)
                for name, tensor in tensors.items()
            }
        with torch.no_grad():
            torch._foreach_copy_(list(self._buffers.values()), list(tensors.values()))
        return self._buffers

    def _write(self, snapshot: _Snapshot) -> None:
        history = [dataclasses.asdict(row) for row in snapshot.history]
        facts = {**snapshot.facts, "history": history}
        self._folder.save_state(len(history), snapshot.tensors, facts)


def restore(
    folder: Folder,
    config: TrialConfig,
    network: nn.Module,
    optimization: Optimization,
) -> TrainingState | None:
    """Restore the newest intact checkpoint, if it is of this very configuration.

    Args:
        folder: the trial's own.
        config: the trial's.
        network: its weights are restored.
        optimization: made for the network; its state is restored.

    Returns:
        The progress; None without such a checkpoint.
    """
    checkpoint = folder.latest()
    if checkpoint is None:
        return None
    tensors, facts = checkpoint
    if not _is_of(facts["config"], config):
        return None
    network.load_state_dict(_without_prefix("network.", tensors))
    optimizer_state = _without_prefix("optimizer.", tensors)
    restore_optimizer(optimization.optimizer, optimizer_state, facts["optimizer"])
    if optimization.schedule is not None:
        optimization.schedule.load_state_dict(facts["schedule"])
    if optimization.scaler.is_enabled():
        optimization.scaler.load_state_dict(facts["scaler"])
    if optimization.average is not None:
        optimization.average.network.load_state_dict(_without_prefix("average.", tensors))
        optimization.average.steps = facts["average_steps"]
    return progress(tensors, facts)


def _is_of(values: Mapping[str, Any], config: TrialConfig) -> bool:
    """Whether a checkpoint is of this configuration, also if an earlier version has written it."""
    try:
        return TrialConfig.from_dict(values) == config
    except ValueError:  # a newer version has written it
        return False


def _read_confidences(
    values: Sequence[Sequence[Any]] | None,
) -> tuple[ConfidenceBin, ...] | None:
    return None if values is None else tuple(ConfidenceBin(*one) for one in values)


def progress(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> TrainingState:
    """Return the progress in a checkpoint, as `Folder.latest` reads it."""
    return TrainingState(
        history=[Epoch.from_dict(row) for row in facts["history"]],
        best_epoch=facts["best_epoch"],
        best_value=facts["best_value"],
        confusion=facts["confusion"],
        # Version 0.1.0 wrote none of the next four.
        mistakes=tuple(Mistake(*values) for values in facts.get("mistakes", ())),
        correct=facts.get("correct"),
        confidences=_read_confidences(facts.get("confidences")),
        epochs_correct={
            int(epoch): packed for epoch, packed in facts.get("epochs_correct", {}).items()
        },
        seconds=facts["seconds"],
        latency_ms=facts["latency_ms"],
        best_weights=_without_prefix("best.", tensors),
    )


def optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Take an optimizer's state apart into tensors and JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Value] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            name = f"{index}.{key}"
            if isinstance(value, torch.Tensor):
                tensors[name] = value
            else:
                numbers[name] = value
    return tensors, {"numbers": numbers, "groups": state["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> None:
    """Put back together what `optimizer_tensors` took apart."""
    state: dict[int, dict[str, torch.Tensor | Value]] = {}
    for name, value in [*tensors.items(), *facts["numbers"].items()]:
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                # A file has no memory format, and fused steps walk the memory of both in parallel.
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Select the tensors with a prefix, and remove the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
