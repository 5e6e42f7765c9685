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
from pipeline import folders
from pipeline.errors import IntegrityFailure, UsageFailure
from pipeline.folders import Listing

if TYPE_CHECKING:
    import torch

FOLDER = "folder:"  # before the path of a folder of images
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
    """What is known of a data set before it is read."""

    folder: str | None = None  # below the data folder, or anywhere; None where nothing is read from disk
    augment: str = "none"  # the random changes that suit its training images
    val_share: int = 6  # one in so many images that are not held out for testing validates


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """A data set that is read in whole: ``read(data_dir, test)`` returns the official part for training or testing."""

    read: Callable[[Path, bool], Images]
    files: str = "*"  # the names of its training files, where it has a folder
    has_test: bool = True  # without an official test part ``read`` returns everything, and a fifth is held out


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """A data set of one file an image: ``find(data_dir)`` lists them."""

    find: Callable[[Path], Listing]


def source(name: str) -> Arrays | Files:
    """Return how a data set is read: one of `DATASETS`, or ``folder:PATH``.

    Raises:
        ValueError: for an unknown name, or no path.
    """
    if name.startswith(FOLDER):
        path = name.removeprefix(FOLDER)
        if not path.strip() or "\0" in path:
            raise ValueError(f"dataset must name a folder of images, as in folder:photos: got {name!r}")
        return Files(path, find=lambda _: folders.scan(path))
    if name not in DATASETS:
        raise ValueError(f"dataset is unknown: {name!r}; {models.nearest(name, [*DATASETS, f'{FOLDER}PATH'])}")
    return DATASETS[name]


def check_dataset(name: str) -> None:
    """Raise ValueError for an unknown name, or a folder without a path."""
    source(name)


def present(name: str, data_dir: Path) -> bool:
    """Whether a data set need not be fetched before it is read: no more is known of one that is never fetched."""
    found = source(name)
    return not isinstance(found, Arrays) or found.folder is None or _there(data_dir / found.folder, found.files)


def _there(place: Path, files: str) -> bool:
    return any(path.is_file() for path in place.rglob(files))


def _digits(_data_dir: Path, _test: bool) -> Images:
    """scikit-learn's bundled 1,797 digits of 8x8 pixels in 17 greys, scaled to 0..255 like the others."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    return Images(images, torch.tensor(digits.target, dtype=torch.int64), tuple(map(str, digits.target_names)))


def _torchvision(
    name: str,
    folder: str,
    *,
    convert: Callable[[Any], Images] | None = None,
    arguments: Callable[[bool], dict[str, Any]] = lambda test: {"train": not test},
    files: str = "*",
    augment: str = "none",
) -> Arrays:
    """A data set of torchvision's: its loader, checks and download.

    Args:
        name: of its class.
        folder: where its files are, below the data folder.
        convert: what the loaded data set holds.
        arguments: of its class, for the training or the test part.
        files: a pattern of its files' names, into which the arguments are filled.
        augment: what suits its training images.
    """

    def read(data_dir: Path, test: bool) -> Images:
        given = arguments(test)
        return (convert or _pictures)(_load(name, data_dir, data_dir / folder, files.format(**given), given))

    return Arrays(folder, augment, read=read, files=files.format(**arguments(False)))


def _pictures(found: Any) -> Images:
    import torch

    images = torch.as_tensor(found.data)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return Images(images.contiguous(), torch.as_tensor(found.targets, dtype=torch.int64), tuple(found.classes))


def _upright(found: Any) -> Images:
    """EMNIST's pictures lie mirrored on their side."""
    lying = _pictures(found)
    return Images(lying.images.transpose(2, 3).contiguous(), lying.labels, lying.classes)


def _house_numbers(found: Any) -> Images:
    import torch

    images, labels = torch.as_tensor(found.data).contiguous(), torch.as_tensor(found.labels, dtype=torch.int64)
    return Images(images, labels, tuple("0123456789"))


def _load(name: str, data_dir: Path, place: Path, files: str, arguments: dict[str, Any]) -> Any:
    from pipeline import vision

    make = getattr(vision.datasets(), name)
    try:
        return make(data_dir, **arguments)
    except _DAMAGED as error:
        if "not found" not in str(error):  # as torchvision says of files that are not there, or of another sum
            raise _corrupt(name, place, error) from None
    there = _there(place, files)
    try:
        return _download(make, data_dir, arguments)
    except (OSError, *_DAMAGED) as error:  # no network is a URLError, of which MNIST makes a RuntimeError
        if there:
            raise _corrupt(name, place, error) from None
        raise UsageFailure(
            f"no data set {name} in {place} and no download ({_line(error)}): put it there, or use --dataset digits"
        ) from None


def _corrupt(name: str, place: Path, error: Exception) -> IntegrityFailure:
    return IntegrityFailure(
        f"data set {name} in {place} is corrupt or incomplete ({_line(error)}): remove it to fetch it anew"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _download(make: Callable[..., Any], data_dir: Path, arguments: dict[str, Any]) -> Any:
    before, there = socket.getdefaulttimeout(), {data_dir, *data_dir.rglob("*")} if data_dir.exists() else set()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torchvision sets none
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return make(data_dir, download=True, **arguments)
    finally:
        socket.setdefaulttimeout(before)
        for folder in sorted({data_dir, *data_dir.rglob("*")} - there, reverse=True):
            with contextlib.suppress(OSError):  # a folder made for a failed download stays only if something is in it
                folder.rmdir()


DATASETS: dict[str, Arrays | Files] = {
    "digits": Arrays(read=_digits, has_test=False),
    "mnist": _torchvision("MNIST", "MNIST"),
    "fashion_mnist": _torchvision("FashionMNIST", "FashionMNIST"),
    "kmnist": _torchvision("KMNIST", "KMNIST"),
    "emnist": _torchvision(
        "EMNIST", "EMNIST", convert=_upright, arguments=lambda test: {"split": "balanced", "train": not test}
    ),
    "svhn": _torchvision(
        "SVHN",
        ".",
        convert=_house_numbers,
        arguments=lambda test: {"split": "test" if test else "train"},
        files="{split}_32x32.mat",
    ),
    "cifar10": _torchvision("CIFAR10", "cifar-10-batches-py", augment="crop-flip"),
    "cifar100": _torchvision("CIFAR100", "cifar-100-python", augment="crop-flip"),
    "tiny_imagenet": Files("tiny-imagenet-200", "crop-flip", 10, find=folders.tiny_imagenet),
}
