"""Reads the data sets of torchvision: downloads missing files, and checks the files on disk."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models import vision
from pipeline.data import download, lockfile
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
    """Declare a data set of torchvision's, with a lock file for its files.

    Args:
        name: of the class in `torchvision.datasets`.
        folder: of its files, below the data folder.
        convert: returns the images of the loaded data set; None for the usual attributes.
        arguments: returns the class's arguments, for the training part (False) or the test part.
        files: a pattern of a part's files; the arguments are filled in by name.
        locked: a pattern of the files of both parts, for the lock file.
        augment: the random changes that suit the training images.
        downloads: returns the files to download if they are missing.
    """

    def list_files(data_dir: Path) -> DatasetFiles:
        root = data_dir / folder
        sizes = {}
        for path in sorted(root.glob(locked)):
            sizes[path.relative_to(root).as_posix()] = path.stat().st_size
        return DatasetFiles(name, root, sizes, data_dir / f".{name}.sha256.json")

    def read(data_dir: Path, test: bool) -> Images:
        lockfile.check_sizes(list_files(data_dir))
        class_arguments = arguments(test)
        dataset = _load(
            getattr(vision.part("datasets"), name),
            class_arguments,
            data_dir,
            data_dir / folder,
            files.format(**class_arguments),
            downloads,
        )
        lockfile.lock_new(list_files(data_dir))
        return _usual_images(dataset) if convert is None else convert(dataset)

    training_files = files.format(**arguments(False))
    return Arrays(folder, augment, read=read, files=training_files, list_files=list_files)


def _usual_images(dataset: Any) -> Images:
    import torch

    images = torch.as_tensor(dataset.data)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(dataset.targets, dtype=torch.int64)
    return Images(images.contiguous(), labels, tuple(dataset.classes))


def emnist_images(dataset: Any) -> Images:
    """Return the images of EMNIST, whose files hold them transposed."""
    transposed = _usual_images(dataset)
    upright = transposed.images.transpose(2, 3).contiguous()
    return Images(upright, transposed.labels, transposed.classes)


def svhn_images(dataset: Any) -> Images:
    """Return the images of SVHN, whose classes are the ten digits."""
    import torch

    images = torch.as_tensor(dataset.data).contiguous()
    labels = torch.as_tensor(dataset.labels, dtype=torch.int64)
    return Images(images, labels, tuple("0123456789"))


def _load(
    dataset_class: Any,
    arguments: dict[str, Any],
    data_dir: Path,
    folder: Path,
    files: str,
    downloads: download.Downloads,
) -> Any:
    """Make a torchvision data set, after downloading missing files."""
    name = dataset_class.__name__
    try:
        return dataset_class(data_dir, **arguments)
    except _DAMAGED as error:
        # "not found": a file is missing, or its checksum is not the published one.
        if "not found" not in str(error):
            raise _corrupt(name, folder, error) from None
    had_files = holds_file(folder, files)
    try:
        download.fetch(downloads(dataset_class, arguments), data_dir)
        return dataset_class(data_dir, **arguments)
    except (OSError, *_DAMAGED) as error:  # a missing network is an OSError
        if had_files:
            raise _corrupt(name, folder, error) from None
        raise UsageFailure(
            f"no data set {name} in {folder} and no download ({_one_line(error)}): "
            "put it there, or use --dataset digits"
        ) from None


def _corrupt(name: str, folder: Path, error: Exception) -> IntegrityFailure:
    reason = "; ".join(_truncated_files(folder)) or _one_line(error)
    return IntegrityFailure(
        f"data set {name} in {folder} is corrupt or incomplete ({reason}): "
        "remove it to fetch it anew"
    )


def _truncated_files(folder: Path) -> Iterator[str]:
    """Describe the files in MNIST's format whose size is not the one in their header."""
    for path in sorted(folder.glob("raw/*-ubyte")):
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(16)
        if size != _idx_size(header):
            yield f"{path.name} has {size:,} bytes"


def _idx_size(header: bytes) -> int | None:
    """Return the size of a file in MNIST's format by its first 16 bytes.

    The fourth byte is the number of dimensions; their sizes follow, 4 bytes each.
    """
    dimensions = header[3] if len(header) > 3 else 0
    header_size = 4 + 4 * dimensions
    if dimensions == 0 or header_size > len(header):
        return None
    shape: tuple[int, ...] = struct.unpack_from(f">{dimensions}I", header, 4)
    return header_size + math.prod(shape)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
