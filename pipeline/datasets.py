"""Where images come from: the known data sets and how each is read. Knows nothing of splits' use or of training."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from pipeline.errors import IntegrityFailure, UsageFailure

if TYPE_CHECKING:
    import torch

DOWNLOAD_TIMEOUT = 30  # seconds without an answer
# What torchvision's readers raise over a damaged file.
_DAMAGED = (AssertionError, EOFError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Images:
    """Decoded images and their classes."""

    images: torch.Tensor  # uint8 (images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """How a data set is read: ``read(data_dir, test)`` returns the official part for training or testing."""

    read: Callable[[Path, bool], Images]
    folder: str | None = None  # below the data folder; None where nothing is read from disk
    has_test: bool = True  # without an official test part ``read`` returns everything, and a fifth is held out


def source(name: str) -> Source:
    """Return how a data set is read.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset is unknown: {name!r}; {models.nearest(name, DATASETS)}")
    return DATASETS[name]


def check_dataset(name: str) -> None:
    """Raise ValueError for an unknown name."""
    source(name)


def _digits(_data_dir: Path, _test: bool) -> Images:
    """scikit-learn's bundled 1,797 digits of 8x8 pixels in 17 greys, scaled to 0..255 like the others."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return Images(images, torch.tensor(digits.target, dtype=torch.int64), tuple(map(str, digits.target_names)))


def _torchvision(name: str, folder: str) -> Source:
    """A data set of torchvision's whose constructor takes ``train``: its loader, checks and download."""

    def read(data_dir: Path, test: bool) -> Images:
        import torch

        found = _load(name, folder, data_dir, train=not test)
        images = torch.as_tensor(found.data)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return Images(images.contiguous(), torch.as_tensor(found.targets, dtype=torch.int64), tuple(found.classes))

    return Source(read, folder)


def _load(name: str, folder: str, data_dir: Path, *, train: bool) -> Any:
    from pipeline import vision

    make, place = getattr(vision.datasets(), name), data_dir / folder
    try:
        return make(data_dir, train=train)
    except _DAMAGED as error:
        if "not found" not in str(error):  # as torchvision says of files that are not there, or of another sum
            raise IntegrityFailure(
                f"data set {name} in {place} is corrupt ({_line(error)}): remove it to fetch it anew"
            ) from None
    try:
        return _download(make, data_dir, train=train)
    except (OSError, *_DAMAGED) as error:  # no network is a URLError, of which MNIST makes a RuntimeError
        raise UsageFailure(
            f"no data set {name} in {place} and no download ({_line(error)}): put it there, or use --dataset digits"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _download(make: Callable[..., Any], data_dir: Path, *, train: bool) -> Any:
    before, there = socket.getdefaulttimeout(), {data_dir, *data_dir.rglob("*")} if data_dir.exists() else set()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torchvision sets none
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return make(data_dir, train=train, download=True)
    finally:
        socket.setdefaulttimeout(before)
        for folder in sorted({data_dir, *data_dir.rglob("*")} - there, reverse=True):
            with contextlib.suppress(OSError):  # a folder made for a failed download stays only if something is in it
                folder.rmdir()


DATASETS: dict[str, Source] = {
    "digits": Source(_digits, has_test=False),
    "mnist": _torchvision("MNIST", "MNIST"),
    "fashion_mnist": _torchvision("FashionMNIST", "FashionMNIST"),
    "cifar10": _torchvision("CIFAR10", "cifar-10-batches-py"),
}
