"""A trained network, and the ways in which a command refers to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.checkpoints import Card

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class NetworkReference:
    """Refers to a network in one of four ways: a run, the best of a study, a model, or a file."""

    run: str | None = None  # the id of a run, or a trial such as NAME#7
    best: bool = False
    name: str | None = None  # the study of the best; None for the study last opened
    model: str | None = None  # MLflow's URI of a registered model
    checkpoint: Path | None = None  # a file or folder


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, on the CPU in evaluation mode, and its origin."""

    network: torch.nn.Module
    card: Card
    run_id: str | None = None
    study: str | None = None  # for a network of finalists, the study that they were chosen from
