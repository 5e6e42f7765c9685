"""Where images come from: the known data sets and how each is read. Knows nothing of splits' use or of training."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import models
from pipeline.data import download, folders, tiny_imagenet
from pipeline.data.folders import Listing
from pipeline.data.lockfile import DatasetFiles
from pipeline.data.sources import Arrays, Files, Images, holds_file
from pipeline.data.torchvision_sets import emnist_images, svhn_images, torchvision_arrays
from pipeline.system.errors import UsageFailure

FOLDER = "folder:"  # before the path of a folder of images


def get_source(name: str) -> Arrays | Files:
    """Return how a data set is read: one of `DATASETS`, or ``folder:PATH``.

    Raises:
        ValueError: for an unknown name, or no path.
    """
    if name.startswith(FOLDER):
        path = name.removeprefix(FOLDER)
        if not path.strip() or "\0" in path:
            raise ValueError(
                f"dataset must name a folder of images, as in folder:photos: got {name!r}"
            )
        return Files(path, find=lambda _: folders.scan_folder(path))
    if name not in DATASETS:
        raise ValueError(
            f"dataset is unknown: {name!r}; {models.did_you_mean(name, [*DATASETS, f'{FOLDER}PATH'])}"
        )
    return DATASETS[name]


def check_dataset(name: str) -> None:
    """Raise ValueError for an unknown name, or a folder without a path."""
    get_source(name)


def is_present(name: str, data_dir: Path) -> bool:
    """Whether a data set need not be fetched before it is read: no more is known of one that is never fetched."""
    found = get_source(name)
    return (
        not isinstance(found, Arrays)
        or found.folder is None
        or holds_file(data_dir / found.folder, found.files)
    )


def is_readable(name: str, data_dir: Path) -> bool:
    """Whether a data set can be read without fetching anything, also of one that is never fetched."""
    found = get_source(name)
    if isinstance(found, Arrays):
        return is_present(name, data_dir)
    try:
        if not name.startswith(FOLDER):
            return tiny_imagenet.find_tiny_imagenet(data_dir).is_dir()
        return Path(found.folder or "").is_dir()
    except UsageFailure:
        return False


def describe_state(name: str, data_dir: Path) -> str:
    """Say whether a data set is there, and how to have it where it is not."""
    found = get_source(name)
    if found.folder is None:
        return "bundled with scikit-learn"
    if is_readable(name, data_dir):
        return "there"
    if isinstance(found, Arrays):
        return f"not in {data_dir}: pipeline data download {name}"
    return f"not there: put it in {data_dir / found.folder}"


def read_all(name: str, data_dir: Path) -> int:
    """Read all of a data set, fetching what is not there; how many images it has.

    Raises:
        UsageFailure: where it is not there and not one that is fetched, or cannot be.
        IntegrityFailure: where its files are damaged.
    """
    found = get_source(name)
    if isinstance(found, Files):
        return len(found.find(data_dir).files)
    return sum(
        len(found.read(data_dir, test).labels)
        for test in ((False, True) if found.has_test else (False,))
    )


def dataset_files(name: str, data_dir: Path) -> DatasetFiles | None:
    """The files that a data set is made of, as they are now; None where it is not read from disk.

    Raises:
        UsageFailure, IntegrityFailure: where image files of their own cannot be listed.
    """
    found = get_source(name)
    if isinstance(found, Arrays):
        if found.holding:
            return found.holding(data_dir)
        return None
    return listing_files(name, found.find(data_dir), data_dir)


def listing_files(name: str, listing: Listing, data_dir: Path) -> DatasetFiles:
    """The same of image files that are listed already."""
    if name.startswith(FOLDER):
        place = listing.root / ".sha256.json"
    else:
        place = data_dir / f".{name}.sha256.json"
    return DatasetFiles(name, listing.root, {file.path: file.size for file in listing.files}, place)


def _digits(_data_dir: Path, _test: bool) -> Images:
    """scikit-learn's bundled 1,797 digits of 8x8 pixels in 17 greys, scaled to 0..255 like the others."""
    import torch

    table = torch.from_numpy(_digits_table())
    images = (table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    return Images(images, table[:, -1].to(torch.int64), tuple("0123456789"))


def _digits_table() -> Any:
    """Of each digit its 64 pixels, from 0 to 16, and its label: from scikit-learn, whose import takes a second."""
    import numpy as np

    package = importlib.util.find_spec("sklearn")
    file = Path((package and package.origin) or "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


DATASETS: dict[str, Arrays | Files] = {
    "digits": Arrays(read=_digits, has_test=False),
    "mnist": torchvision_arrays("MNIST", "MNIST"),
    "fashion_mnist": torchvision_arrays("FashionMNIST", "FashionMNIST"),
    "kmnist": torchvision_arrays("KMNIST", "KMNIST"),
    "emnist": torchvision_arrays(
        "EMNIST",
        "EMNIST",
        convert=emnist_images,
        arguments=lambda test: {"split": "balanced", "train": not test},
        locked="raw/emnist-balanced-*-ubyte",
        downloads=download.emnist_downloads,
    ),
    "svhn": torchvision_arrays(
        "SVHN",
        ".",
        convert=svhn_images,
        arguments=lambda test: {"split": "test" if test else "train"},
        files="{split}_32x32.mat",
        locked="t*_32x32.mat",
        downloads=download.svhn_downloads,
    ),
    "cifar10": torchvision_arrays(
        "CIFAR10",
        "cifar-10-batches-py",
        locked="*",
        augment="crop-flip",
        downloads=download.cifar_downloads,
    ),
    "cifar100": torchvision_arrays(
        "CIFAR100",
        "cifar-100-python",
        locked="*",
        augment="crop-flip",
        downloads=download.cifar_downloads,
    ),
    "tiny_imagenet": Files(
        "tiny-imagenet-200", "crop-flip", 10, find=tiny_imagenet.list_tiny_imagenet
    ),
}
