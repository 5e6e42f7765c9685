"""Reads the data sets of torchvision from files that are already present."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.data import download, lockfile, vision
from pipeline.data.lockfile import DatasetFiles
from pipeline.data.sources import Arrays, Images, holds_file
from pipeline.system.errors import IntegrityFailure, UsageFailure

# What torchvision's readers raise over a damaged file.
_DAMAGED = (AssertionError, EOFError, KeyError, RuntimeError, TypeError, ValueError)


def torchvision_arrays(
    name: str,
    folder: str,
    *,
    convert: Callable[[Any], Images] | None = None,
    arguments: Callable[[bool], dict[str, Any]] = lambda test: {"train": not test},
    files: str = "*",
    locked: str = "raw/*-ubyte",
    augment: str = "none",
    downloads: download.Downloads = download.mnist_downloads,
) -> Arrays:
    """A data set of torchvision's: its loader and checks, behind its lock file.

    Args:
        name: of its class.
        folder: where its files are, below the data folder.
        convert: what the loaded data set holds.
        arguments: of its class, for the training or the test part.
        files: a pattern of its files' names, into which the arguments are filled.
        locked: a pattern of the files, of both parts, that its lock file is about.
        augment: what suits its training images.
        downloads: what to fetch where they are not there.
    """

    def holding(data_dir: Path) -> DatasetFiles:
        root = data_dir / folder
        sizes = {
            path.relative_to(root).as_posix(): path.stat().st_size
            for path in sorted(root.glob(locked))
        }
        return DatasetFiles(name, root, sizes, data_dir / f".{name}.sha256.json")

    def read(data_dir: Path, test: bool) -> Images:
        given = arguments(test)
        lockfile.check_sizes(holding(data_dir))
        known = getattr(vision.datasets(), name)
        found = _load(known, data_dir, data_dir / folder, files.format(**given), given, downloads)
        lockfile.lock_new(holding(data_dir))
        return (convert or _pictures)(found)

    return Arrays(
        folder, augment, read=read, files=files.format(**arguments(False)), holding=holding
    )


def _pictures(found: Any) -> Images:
    import torch

    images = torch.as_tensor(found.data)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return Images(
        images.contiguous(), torch.as_tensor(found.targets, dtype=torch.int64), tuple(found.classes)
    )


def emnist_images(found: Any) -> Images:
    """EMNIST's pictures lie mirrored on their side."""
    lying = _pictures(found)
    return Images(lying.images.transpose(2, 3).contiguous(), lying.labels, lying.classes)


def svhn_images(found: Any) -> Images:
    """The images of SVHN, whose classes are the ten digits."""
    import torch

    images = torch.as_tensor(found.data).contiguous()
    labels = torch.as_tensor(found.labels, dtype=torch.int64)
    return Images(images, labels, tuple("0123456789"))


def _load(
    known: Any,
    data_dir: Path,
    place: Path,
    files: str,
    arguments: dict[str, Any],
    downloads: download.Downloads,
) -> Any:
    name = known.__name__
    try:
        return known(data_dir, **arguments)
    except _DAMAGED as error:
        if "not found" not in str(
            error
        ):  # as torchvision says of files that are not there, or of another sum
            raise _corrupt(name, place, error) from None
    there = holds_file(place, files)
    try:
        download.fetch(downloads(known, arguments), data_dir)
        return known(data_dir, **arguments)
    except (OSError, *_DAMAGED) as error:  # no network is a URLError
        if there:
            raise _corrupt(name, place, error) from None
        raise UsageFailure(
            f"no data set {name} in {place} and no download ({_line(error)}): put it there, or use --dataset digits"
        ) from None


def _corrupt(name: str, place: Path, error: Exception) -> IntegrityFailure:
    why = "; ".join(_cut_short(place)) or _line(error)
    return IntegrityFailure(
        f"data set {name} in {place} is corrupt or incomplete ({why}): remove it to fetch it anew"
    )


def _cut_short(place: Path) -> Iterator[str]:
    """Which files of MNIST's format have another size than they say themselves."""
    for path in sorted(place.glob("raw/*-ubyte")):
        with path.open("rb") as file:
            head = file.read(16)
        dimensions = head[3] if len(head) > 3 else 0
        if 4 + 4 * dimensions <= len(head):
            shape = struct.unpack_from(f">{dimensions}I", head, 4)
        else:
            shape = ()
        if not shape or path.stat().st_size != 4 + 4 * dimensions + math.prod(shape):
            yield f"{path.name} has {path.stat().st_size:,} bytes"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
