"""Checkpoint files: tensors as safetensors, written atomically, checksummed, never unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import safetensors.torch
from safetensors import SafetensorError, safe_open

import models
from models import usercode
from pipeline.system import failpoints, named_files
from pipeline.system.errors import CodeFailure, IntegrityFailure, StorageFailure
from pipeline.system.files import atomic_write, may_never_end
from pipeline.system.text import clean, clip
from sweeps.trial import AS_DECLARED, TrialConfig, read_data

if TYPE_CHECKING:
    import torch
    from torch import nn

BEST = "best.safetensors"
_FORMAT = 1
# The files in a trial's folder that this project makes, and their drafts, see `atomic_write`.
_OWN_NAME = r"(?:best|epoch-\d+|\d+)\.safetensors(?:\.sha256)?"
_OWN_FILE = re.compile(rf"{_OWN_NAME}|\.?{_OWN_NAME}(?:\.\d+)?(?:\.pipeline)?\.tmp")
_MOST_CHANNELS = 4
_LARGEST_SIDE = 4096  # pixels, as of the field image_size


@dataclass(frozen=True, kw_only=True)
class Card:
    """The description stored with a trained network's weights: enough to use them."""

    __pydantic_config__: ClassVar = AS_DECLARED

    config: TrialConfig
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # of each channel, 0..1
    std: tuple[float, ...]
    epoch: int  # counted from 1
    metrics: Mapping[str, float]  # at that epoch
    digest: str = ""  # of the training and validation images, as `SearchData` has it
    judged: bool = True  # whether the validation split chose the epoch; else it was trained on, too


def save_model(path: Path, weights: Mapping[str, torch.Tensor], card: Card) -> None:
    """Write a trained network's weights with its card.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    save(path, weights, {**dataclasses.asdict(card), "config": card.config.to_dict()})


def load_model(path: Path | str) -> tuple[nn.Module, Card]:
    """Build a network from a checkpoint file, or from the folder of a ``best.safetensors``.

    Returns:
        The network on the CPU in evaluation mode, and its card.

    Raises:
        IntegrityFailure: if the file is damaged, or its network is unknown to this version.
        CodeFailure: if the code of the user's own network cannot be loaded.
    """
    path = Path(path)
    tensors, facts = load(path / BEST if path.is_dir() else path)
    try:
        card = _parse_card(facts)
        _check_weights(card, tensors)
        classes = len(card.classes)
        network = models.build(card.config.family, card.shape, classes, card.config.options)
        network.load_state_dict(tensors)
    except usercode.LoadError as error:
        raise CodeFailure(clean(error)) from None
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = clip(error, 300)
        raise IntegrityFailure(
            f"{path} does not hold a network that this version builds: {reason}"
        ) from None
    return network.eval(), card


def _parse_card(facts: Mapping[str, Any]) -> Card:
    """Parse a card from any source.

    The numbers of the configuration and the shape must be within the bounds of the commands:
    otherwise a card could ask for a network of any size.

    Raises:
        KeyError, TypeError, ValueError: if it is no card.
    """
    config = TrialConfig.from_dict(facts["config"])
    check_code({"family": config.family})
    card = read_data(Card, {**facts, "config": config})
    check_image_shape(facts["shape"])
    channels = card.shape[0]
    if not len(card.mean) == len(card.std) == channels:
        raise ValueError(f"moments of {len(card.mean)} channels for images of {channels}")
    if min(card.std) <= 0:
        raise ValueError(f"std must be above 0: got {min(card.std)}")
    if not card.classes:
        raise ValueError("no classes")
    return card


def check_image_shape(shape: Sequence[Any]) -> None:
    """Check a shape that comes from a file or a server.

    Args:
        shape: channels, height and width, in pixels.

    Raises:
        ValueError: if no image has this shape.
    """
    channels, *sides = shape
    is_image = all(type(size) is int and 1 <= size <= _LARGEST_SIDE for size in shape)
    if not is_image or channels > _MOST_CHANNELS or len(sides) != 2:
        raise ValueError(f"images of shape {clip(tuple(shape), 60)}")


def check_code(values: Mapping[str, object]) -> None:
    """Check that the code may be run which a recorded configuration names.

    Args:
        values: by field of `sweeps.trial.TrialConfig`, as a file or a store has them.

    Raises:
        ValueError: if it is of a file outside the working folder that its user has never named.
    """
    for reference, file in usercode.files_outside(values).items():
        if not named_files.is_known(file):
            raise ValueError(
                f"it names the file of {reference}, which is outside the working folder: if you "
                "trust it, call the command in a folder above it, or name it once with --family of "
                "sweep or train"
            )


def _check_weights(card: Card, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that a network of a card has the tensors of a file, before it takes any memory.

    Raises:
        ValueError: if it has not.
    """
    import torch

    if card.config.family not in models.FAMILIES:  # others' classes may not be made so
        return
    with torch.device("meta"):
        config = card.config
        network = models.build(config.family, card.shape, len(card.classes), config.options)
    for name, tensor in network.state_dict().items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise ValueError(f"its tensor {name} does not fit images of shape {card.shape}")


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts as a checkpoint, as `write` does.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    plain_tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": str(_FORMAT), "facts": json.dumps(facts)}
    write(path, safetensors.torch.save(plain_tensors, metadata=metadata))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors and facts that `save` wrote.

    Raises:
        IntegrityFailure: if the file is missing, damaged, or no checkpoint.
    """
    data = read(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        return safetensors.torch.load(data), facts
    except (SafetensorError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = clip(error, 300)
        raise IntegrityFailure(f"{path} is no checkpoint of this product: {reason}") from None


def write(path: Path, data: bytes) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old file or the new one, whole.

    The SHA-256 is in a file beside it, in the format of ``sha256sum``, written before the
    checkpoint itself.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    checksum = f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode()
    _replace(path, checksum, lambda draft: draft.write_bytes(data))


def link(source: Path, path: Path) -> None:
    """Give a checkpoint a second name, with its SHA-256 beside it, as `write` would write it.

    No room on the disk is taken. A disk that has no hard links, or another disk, gets a copy.

    Args:
        source: the checkpoint.
        path: the second name, of the same last part; what is there is replaced.

    Raises:
        StorageFailure: if the source cannot be read, or the disk is full or fails.
    """
    try:
        if path.exists() and path.samefile(source) and _sum_path(path).exists():
            return
        checksum = _sum_path(source).read_bytes()
    except OSError as error:
        raise StorageFailure(f"cannot read checkpoint {source}: {error.strerror}") from error
    _replace(path, checksum, lambda draft: _link_or_copy(source, draft))


def _link_or_copy(source: Path, draft: Path) -> None:
    draft.unlink()
    try:
        draft.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, draft)


def _replace(path: Path, checksum: bytes, fill: Callable[[Path], object]) -> None:
    """Write a checkpoint and its sum so that at any moment the old file or the new one is whole.

    Args:
        path: the checkpoint.
        checksum: the content of the file beside it.
        fill: makes the checkpoint at the place of an empty draft.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    sum_path = _sum_path(path)
    try:
        old_checksum = b""
        if path.exists() and sum_path.exists():
            old_checksum = sum_path.read_bytes()
        # Both are valid until the new file has replaced the old one.
        _write_durably(sum_path, lambda draft: draft.write_bytes(checksum + old_checksum))
        _write_durably(path, fill)
        if old_checksum:
            _write_durably(sum_path, lambda draft: draft.write_bytes(checksum))
    except OSError as error:
        reason = error.strerror or error
        raise StorageFailure(f"cannot write a checkpoint in {path.parent}: {reason}") from error


def read(path: Path) -> bytes:
    """Read a checkpoint's bytes, and check them.

    Raises:
        IntegrityFailure: if the file is missing or damaged.
    """
    try:
        for file in (path, _sum_path(path)):
            if may_never_end(file):
                raise IntegrityFailure(f"checkpoint {path}: {file.name} is no regular file")
        data = path.read_bytes()
        checksums = [line[:64] for line in _sum_path(path).read_bytes().splitlines()]
    except OSError as error:
        raise IntegrityFailure(f"cannot read checkpoint {path}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest().encode() not in checksums:
        raise IntegrityFailure(
            f"checkpoint {path} does not match its SHA-256: it was damaged or replaced"
        )
    return data


def _sum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _sum_path(path).unlink(missing_ok=True)


def _write_durably(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a whole file to the disk, or nothing."""
    with atomic_write(path, durable=True) as draft:
        fill(draft)
        failpoints.reach("in_checkpoint_write")


def is_own_file(name: str) -> bool:
    """Whether a file among checkpoints has the name of a whole one of ours, or of its sum."""
    return re.fullmatch(_OWN_NAME, name) is not None


class Folder:
    """The checkpoints of one trial.

    While it trains, the folder holds the newest two states to resume from, while it is paused only
    the last one; with ``--keep-checkpoints all`` each epoch's weights; in the end the best weights.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def best(self) -> Path:
        """The file of the best weights."""
        return self.path / BEST

    @property
    def epochs(self) -> Path:
        """The folder of each epoch's weights."""
        return self.path / "epochs"

    def epoch(self, number: int) -> Path:
        """The file of the weights after an epoch, counted from 1."""
        return self.epochs / f"{number:04d}.safetensors"

    def artifacts(self) -> Iterator[tuple[Path, str]]:
        """Yield each file of a finished trial to log, and its folder among the artifacts."""
        paths = [*self.path.glob(f"{BEST}*"), *self.epochs.glob("*.safetensors*")]
        for path in sorted(paths):
            if path.suffix == ".tmp":  # of a process that died while it wrote
                continue
            yield path, "checkpoint" if path.parent == self.path else "checkpoint/epochs"

    def files(self) -> Iterator[Path]:
        """Find all checkpoints: states, the best weights, and each epoch's."""
        return self.path.rglob("*.safetensors")

    def states(self) -> list[Path]:
        """List the states, newest first, after removing the drafts of a process that died."""
        if not self._is_linked():
            for draft in self.path.glob("*.tmp"):
                if _OWN_FILE.fullmatch(draft.name):
                    draft.unlink(missing_ok=True)
        return sorted(self.path.glob("epoch-*.safetensors"), reverse=True)

    def newest_epoch(self) -> int:
        """Return the epoch of the newest state, by its name; 0 if there is none."""
        for path in self.states():
            digits = path.name.removeprefix("epoch-").removesuffix(".safetensors")
            if digits.isdecimal():
                return int(digits)
        return 0

    def latest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Read the newest intact state; damaged ones are removed."""
        for path in self.states():
            try:
                return load(path)
            except IntegrityFailure:
                _remove(path)
        return None

    def save_state(
        self, epoch: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Write the state after an epoch.

        The previous state stays, in case this one gets damaged; older ones are removed.

        Raises:
            StorageFailure: if the disk is full or fails.
        """
        save(self._state(epoch), tensors, facts)
        self._remove_old_states()

    def keep_state(self, epoch: int) -> None:
        """Remove all states but that after an epoch, if it is there.

        A paused trial may wait for long, and there are many: two states would take twice the disk.
        If the one gets damaged, the trial is trained again from its beginning, to the same weights.
        """
        states = self.states()
        kept = self._state(epoch)
        if kept in states:
            for path in states:
                if path != kept:
                    _remove(path)

    def _state(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch:05d}.safetensors"

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write checkpoints from another folder of this trial.

        Args:
            files: the content of each, by its path relative to the folder.

        Raises:
            StorageFailure: if the disk is full or fails.
        """
        for name, data in files.items():
            write(self.path / name, data)
        self._remove_old_states()

    def clear(self) -> None:
        """Remove all checkpoints, and the folder too if it holds no files of others.

        No link is followed: what it leads to may be another project's.
        """
        if self._is_linked():
            return
        for folder in (self.epochs, self.path):
            with contextlib.suppress(OSError):
                if folder.is_symlink():
                    continue
                for path in folder.iterdir():
                    if _OWN_FILE.fullmatch(path.name):
                        path.unlink(missing_ok=True)
                folder.rmdir()

    def _is_linked(self) -> bool:
        """Whether the folder, or the one of its study, is a link."""
        return self.path.is_symlink() or self.path.parent.is_symlink()

    def _remove_old_states(self) -> None:
        for path in self.states()[2:]:
            _remove(path)


def check_links(home: Path, study: str) -> None:
    """Check that no folder of a study's checkpoints is a link.

    Files are written and removed there, and those that a link leads to may be another project's.

    Raises:
        StorageFailure: if one is.
    """
    checkpoints = home / "checkpoints"
    folder = checkpoints / study
    paths = [folder]
    with contextlib.suppress(OSError):
        paths += sorted(folder.iterdir())
    for path in paths:
        if path.is_symlink():
            raise StorageFailure(
                f"{clean(path)} is a link, and nothing is written or removed where it leads: "
                f"remove it; to keep checkpoints on another disk, make {clean(checkpoints)} a link"
            )


def trial_folder(home: Path, study: str, number: int) -> Path:
    """Return the folder of a trial's checkpoints while it trains."""
    return home / "checkpoints" / study / f"{number:04d}"
