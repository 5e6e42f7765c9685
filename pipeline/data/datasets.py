"""The known data sets, how each is read, and which of their files are on this machine."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

from models import usercode
from models.suggestions import did_you_mean
from pipeline.data import download, tiny_imagenet
from pipeline.data.listing import Listing
from pipeline.data.lockfile import DatasetFiles
from pipeline.data.own import earlier, folders
from pipeline.data.own.csv_files import scan_csv
from pipeline.data.own.functions import read_function
from pipeline.data.sources import Arrays, Files, Images, holds_file
from pipeline.data.torchvision_sets import emnist_images, svhn_images, torchvision_arrays
from pipeline.system.errors import UsageFailure
from sweeps.trial import DATA_VERSION

FOLDER = "folder:"  # prefix of the path of a folder of images
CSV = "csv:"  # prefix of the path of a table of images


def is_own(name: str) -> bool:
    """Whether a data set is the user's own, such as ``folder:PATH``."""
    return name not in DATASETS and ":" in name


def get_source(name: str, data_version: int | None = DATA_VERSION) -> Arrays | Files:
    """Return the declaration of a data set: one of `DATASETS`, or of the user's own.

    Args:
        name: a key of `DATASETS`, or ``folder:PATH``, ``csv:FILE``, ``FILE.py:function``.
        data_version: of the rules by which the user's own images are read; None for version 0.1.0.

    Raises:
        ValueError: for an unknown name, or no path.
    """
    if name.startswith(FOLDER):
        path = name.removeprefix(FOLDER)
        if not path.strip() or "\0" in path:
            raise ValueError(
                f"dataset must name a folder of images, as in folder:photos: got {name!r}"
            )
        scan = earlier.scan_folder if data_version is None else folders.scan_folder
        return Files(path, find=lambda _: scan(path))
    if name.startswith(CSV):
        file = name.removeprefix(CSV)
        if not file.strip() or "\0" in file:
            raise ValueError(f"dataset must name a table, as in csv:photos.csv: got {name!r}")
        return Files(file, find=lambda _: scan_csv(file))
    if usercode.is_reference(name):
        return Arrays(read=lambda _, _test: read_function(name), has_test=False)
    if name not in DATASETS:
        if _is_folder(name):
            raise ValueError(f"dataset is unknown: {name!r}; did you mean {FOLDER}{name}?")
        own = (f"{FOLDER}PATH", f"{CSV}FILE", "FILE.py:function")
        hint = did_you_mean(name, [*DATASETS, *own])
        raise ValueError(f"dataset is unknown: {name!r}; {hint}")
    return DATASETS[name]


def _is_folder(path: str) -> bool:
    """Whether there is a folder of this path."""
    try:
        return bool(path.strip()) and Path(path).is_dir()
    except (OSError, ValueError):  # too long, or no path at all
        return False


def check_dataset(name: str) -> None:
    """Raise ValueError for an unknown name, or a folder without a path."""
    get_source(name)


def is_present(name: str, data_dir: Path) -> bool:
    """Whether reading a data set downloads nothing. True for those that are never downloaded."""
    source = get_source(name)
    if isinstance(source, Files) or source.folder is None:
        return True
    return holds_file(data_dir / source.folder, source.files)


def is_readable(name: str, data_dir: Path) -> bool:
    """Whether a data set is on this machine, so that it can be read without a download."""
    source = get_source(name)
    if isinstance(source, Arrays):
        return is_present(name, data_dir)
    if is_own(name):
        return Path(source.folder or "").expanduser().exists()
    try:
        return tiny_imagenet.find_tiny_imagenet(data_dir).is_dir()
    except UsageFailure:
        return False


def describe_state(name: str, data_dir: Path) -> str:
    """Say whether a data set is on this machine, and if not, how to get it."""
    source = get_source(name)
    if source.folder is None:
        return "a function of your own" if is_own(name) else "bundled with scikit-learn"
    if is_readable(name, data_dir):
        return "there"
    if isinstance(source, Arrays):
        return f"not in {data_dir}: pipeline data download {name}"
    return f"not there: put it in {data_dir / source.folder}"


def read_all(name: str, data_dir: Path) -> int:
    """Read all parts of a data set, downloading missing files.

    Returns:
        The number of its images.

    Raises:
        UsageFailure: if it is missing and cannot be downloaded.
        IntegrityFailure: if its files are damaged.
    """
    source = get_source(name)
    if isinstance(source, Files):
        return len(source.find(data_dir).files)
    tests = (False, True) if source.has_test else (False,)
    return sum(len(source.read(data_dir, test).labels) for test in tests)


def dataset_files(name: str, data_dir: Path) -> DatasetFiles | None:
    """List the present files of a data set; None if it is not read from disk.

    Raises:
        UsageFailure, IntegrityFailure: if image files cannot be listed.
    """
    source = get_source(name)
    if isinstance(source, Files):
        return listing_files(name, source.find(data_dir), data_dir)
    if source.list_files is None:
        return None
    return source.list_files(data_dir)


def listing_files(name: str, listing: Listing, data_dir: Path) -> DatasetFiles:
    """Return the files of a data set whose images are listed already."""
    if name.startswith(FOLDER):
        lock_path = listing.root / ".sha256.json"
    elif name.startswith(CSV):
        table = Path(name.removeprefix(CSV)).name
        lock_path = listing.root / f".{table}.sha256.json"
    else:
        lock_path = data_dir / f".{name}.sha256.json"
    sizes = {file.path: file.size for file in listing.files}
    return DatasetFiles(name, listing.root, sizes, lock_path)


def _digits(_data_dir: Path, _test: bool) -> Images:
    """Read scikit-learn's 1,797 digits of 8x8 pixels, and scale their 17 greys to 0..255."""
    import torch

    table = torch.from_numpy(_digits_table())
    pixels = table[:, :-1].reshape(-1, 1, 8, 8)
    images = (pixels * (255 / 16)).round().to(torch.uint8)
    labels = table[:, -1].to(torch.int64)
    return Images(images, labels, tuple("0123456789"))


def _digits_table() -> Any:
    """Read 64 pixels, from 0 to 16, and the label of each digit.

    The file is read without importing scikit-learn, which takes a second.
    """
    import numpy as np

    package = importlib.util.find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


BUNDLED_DIGITS = ("digits", "few_digits")  # read from scikit-learn's package

DATASETS: dict[str, Arrays | Files] = {
    "digits": Arrays(read=_digits, has_test=False),
    # Its test images are those of digits.
    "few_digits": Arrays(read=_digits, has_test=False, val_share=Fraction(4, 5)),
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
        "tiny-imagenet-200", "crop-flip", Fraction(1, 10), find=tiny_imagenet.list_tiny_imagenet
    ),
}
