"""Checkpoint files: tensors as safetensors, written atomically, checksummed, never unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from safetensors import SafetensorError, safe_open

import models
from pipeline.system import failpoints
from pipeline.system.errors import IntegrityFailure, StorageFailure
from pipeline.system.text import clean
from sweeps.trial import TrialConfig, config_fields

if TYPE_CHECKING:
    import torch
    from torch import nn

BEST = "best.safetensors"
_FORMAT = 1
_LARGEST = 4096  # pixels of an image's side, as of the field image_size


@dataclass(frozen=True, kw_only=True)
class Card:
    """What stands beside the weights of a finished network: enough to use them without anything else."""

    config: TrialConfig
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # of each channel, 0..1
    std: tuple[float, ...]
    epoch: int  # counted from 1
    metrics: Mapping[str, float]  # at that epoch
    digest: str = ""  # of the images that it was trained and chosen on, as `SearchData` has it
    judged: bool = True  # whether the validation split chose it; else it was trained on that, too


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts, as `write` does.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    metadata = {"format": str(_FORMAT), "facts": json.dumps(facts)}
    write(
        path,
        safetensors.torch.save(
            {k: v.detach().contiguous() for k, v in tensors.items()}, metadata=metadata
        ),
    )


def write(path: Path, data: bytes) -> None:
    """Write a checkpoint's bytes so that a crash at any moment leaves the old file or the new one, whole.

    The SHA-256 stands beside it, in the format of ``sha256sum``, and is there before the file is.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    digest = f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _sum_path(path).exists():
            before = _sum_path(path).read_bytes()
        else:
            before = b""
        _write(
            _sum_path(path), digest + before
        )  # both hold until it is settled which file stands there
        _write(path, data)
        if before:
            _write(_sum_path(path), digest)
    except OSError as error:
        raise StorageFailure(
            f"cannot write a checkpoint in {path.parent}: {error.strerror or error}"
        ) from error


def read(path: Path) -> bytes:
    """Read a checkpoint's bytes.

    Raises:
        IntegrityFailure: if the file is missing, or is not what was written.
    """
    try:
        data = path.read_bytes()
        expected = [line[:64] for line in _sum_path(path).read_bytes().splitlines()]
    except OSError as error:
        raise IntegrityFailure(f"cannot read checkpoint {path}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest().encode() not in expected:
        raise IntegrityFailure(
            f"checkpoint {path} does not match its SHA-256: it was damaged or replaced"
        )
    return data


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save` wrote.

    Raises:
        IntegrityFailure: if the file is missing, is not what was written, or is no checkpoint.
    """
    data = read(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        return safetensors.torch.load(data), facts
    except (SafetensorError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise IntegrityFailure(
            f"{path} is no checkpoint of this product: {clean(error, 300)}"
        ) from None


def save_model(path: Path, weights: Mapping[str, torch.Tensor], card: Card) -> None:
    """Write a finished network's weights with its card."""
    save(path, weights, {**dataclasses.asdict(card), "config": card.config.to_dict()})


def load_model(path: Path | str) -> tuple[nn.Module, Card]:
    """Build a network from a checkpoint file, or from the folder that holds ``best.safetensors``.

    Returns:
        The network on the CPU in evaluation mode, and its card.

    Raises:
        IntegrityFailure: if the file is not what was written.
    """
    path = Path(path)
    tensors, facts = load(path / BEST if path.is_dir() else path)
    try:
        card = _card(facts)
        network = models.build(
            card.config.family, card.shape, len(card.classes), card.config.options
        )
        network.load_state_dict(tensors)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = clean(error, 300)
        raise IntegrityFailure(
            f"{path} does not hold a network that this version builds: {why}"
        ) from None
    return network.eval(), card


def _card(facts: Mapping[str, Any]) -> Card:
    """Read a card that anyone may have written: no number in it may be one that no command could have given.

    Raises:
        KeyError, TypeError, ValueError: if it is none.
    """
    config = TrialConfig.from_dict(
        {name: config_fields()[name].parse(v) for name, v in facts["config"].items()}
    )
    channels, height, width = facts["shape"]
    if not all(type(size) is int and 1 <= size <= _LARGEST for size in (channels, height, width)):
        raise ValueError(f"images of shape {facts['shape']}")
    if not len(facts["mean"]) == len(facts["std"]) == channels:
        raise ValueError(f"moments of {len(facts['mean'])} channels for images of {channels}")
    lists = {key: tuple(facts[key]) for key in ("classes", "shape", "mean", "std")}
    return Card(**{**facts, "config": config, **lists})


class Folder:
    """The checkpoints of one trial in training: the newest two states to go on from, and the best weights."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def best(self) -> Path:
        """Where the finished network's weights stand."""
        return self.path / BEST

    @property
    def epochs(self) -> Path:
        """Where the weights after each epoch stand, if they are kept."""
        return self.path / "epochs"

    def epoch(self, number: int) -> Path:
        """Where the weights after one epoch (from 1) stand."""
        return self.epochs / f"{number:04d}.safetensors"

    def kept(self) -> Iterator[tuple[Path, str]]:
        """What becomes artifacts of a finished trial's run: each file, and the folder that it goes to."""
        found = [*self.path.glob(f"{BEST}*"), *self.epochs.glob("*.safetensors*")]
        for path in sorted(
            path for path in found if path.suffix != ".tmp"
        ):  # of a process that died while writing
            yield path, "checkpoint" if path.parent == self.path else "checkpoint/epochs"

    def save_state(
        self, epoch: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Write the state after an epoch. The one before it stays, should this one be damaged; older ones go."""
        save(self._state(epoch), tensors, facts)
        self._keep_two()

    def latest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Read the newest state that is whole; damaged ones are passed over and removed."""
        for path in self.states():
            try:
                return load(path)
            except IntegrityFailure:
                _remove(path)
        return None

    def files(self) -> Iterator[Path]:
        """All checkpoints there are: states, the best weights, and those after each epoch."""
        return self.path.rglob("*.safetensors")

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write checkpoints that another folder of this trial held: their bytes by name, from the folder.

        Raises:
            StorageFailure: if the disk is full or fails.
        """
        for name, data in files.items():
            write(self.path / name, data)
        self._keep_two()

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _state(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch:05d}.safetensors"

    def states(self) -> list[Path]:
        """The states there are, newest first, after sweeping away what a crash left half-written."""
        for leftover in self.path.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        return sorted(self.path.glob("epoch-*.safetensors"), reverse=True)

    def _keep_two(self) -> None:
        for old in self.states()[2:]:
            _remove(old)


def trial_folder(home: Path, study: str, number: int) -> Path:
    """Where a trial's checkpoints stand while it trains."""
    return home / "checkpoints" / study / f"{number:04d}"


def _sum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _sum_path(path).unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Write a file durably: whole and on the disk under its name, or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        failpoints.reach("in_checkpoint_write")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
