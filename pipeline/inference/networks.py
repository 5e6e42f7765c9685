"""How a command names a finished network, and that network once it is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.checkpoints import Card

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class NetworkReference:
    """How a command names the network that it is about: in one of these ways."""

    run: str | None = None  # a run's id, or NAME#7
    best: bool = False
    name: str | None = None  # the study of the best; None is the one last opened
    model: str | None = None  # a URI of MLflow
    checkpoint: Path | None = None  # a file or folder


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished network, on the CPU in evaluation mode, and where it comes from."""

    network: torch.nn.Module
    card: Card
    run_id: str | None = None
    study: str | None = None  # that was searched, of its finalists too
