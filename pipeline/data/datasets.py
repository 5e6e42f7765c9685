"""Where images come from: the known data sets and how each is read. Knows nothing of splits' use or of training."""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from pipeline.data import download, folders, lockfile, vision
from pipeline.data.folders import Listing
from pipeline.data.lockfile import Holding
from pipeline.system.errors import IntegrityFailure, UsageFailure

if TYPE_CHECKING:
    import torch

FOLDER = "folder:"  # before the path of a folder of images
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
    holding: Callable[[Path], Holding] | None = None  # its files below the data folder, where it has a folder
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


def there(name: str, data_dir: Path) -> bool:
    """Whether a data set can be read without fetching anything, also of one that is never fetched."""
    found = source(name)
    if isinstance(found, Arrays):
        return present(name, data_dir)
    try:
        return (
            folders.tiny_root(data_dir).is_dir() if not name.startswith(FOLDER) else Path(found.folder or "").is_dir()
        )
    except UsageFailure:
        return False


def state(name: str, data_dir: Path) -> str:
    """Say whether a data set is there, and how to have it where it is not."""
    found = source(name)
    if found.folder is None:
        return "bundled with scikit-learn"
    if there(name, data_dir):
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
    found = source(name)
    if isinstance(found, Files):
        return len(found.find(data_dir).files)
    return sum(len(found.read(data_dir, test).labels) for test in ((False, True) if found.has_test else (False,)))


def holding(name: str, data_dir: Path) -> Holding | None:
    """The files that a data set is made of, as they are now; None where it is not read from disk.

    Raises:
        UsageFailure, IntegrityFailure: where image files of their own cannot be listed.
    """
    found = source(name)
    if isinstance(found, Arrays):
        return found.holding(data_dir) if found.holding else None
    return of_listing(name, found.find(data_dir), data_dir)


def of_listing(name: str, listing: Listing, data_dir: Path) -> Holding:
    """The same of image files that are listed already."""
    place = listing.root / ".sha256.json" if name.startswith(FOLDER) else data_dir / f".{name}.sha256.json"
    return Holding(name, listing.root, {file.path: file.size for file in listing.files}, place)


def _there(place: Path, files: str) -> bool:
    return any(path.is_file() for path in place.rglob(files))


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


def _torchvision(
    name: str,
    folder: str,
    *,
    convert: Callable[[Any], Images] | None = None,
    arguments: Callable[[bool], dict[str, Any]] = lambda test: {"train": not test},
    files: str = "*",
    locked: str = "raw/*-ubyte",
    augment: str = "none",
    downloads: download.Downloads = download.idx_files,
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

    def holding(data_dir: Path) -> Holding:
        root = data_dir / folder
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in sorted(root.glob(locked))}
        return Holding(name, root, sizes, data_dir / f".{name}.sha256.json")

    def read(data_dir: Path, test: bool) -> Images:
        given = arguments(test)
        lockfile.check_sizes(holding(data_dir))
        known = getattr(vision.datasets(), name)
        found = _load(known, data_dir, data_dir / folder, files.format(**given), given, downloads)
        lockfile.lock_new(holding(data_dir))
        return (convert or _pictures)(found)

    return Arrays(folder, augment, read=read, files=files.format(**arguments(False)), holding=holding)


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


def _load(
    known: Any, data_dir: Path, place: Path, files: str, arguments: dict[str, Any], downloads: download.Downloads
) -> Any:
    name = known.__name__
    try:
        return known(data_dir, **arguments)
    except _DAMAGED as error:
        if "not found" not in str(error):  # as torchvision says of files that are not there, or of another sum
            raise _corrupt(name, place, error) from None
    there = _there(place, files)
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
    return IntegrityFailure(f"data set {name} in {place} is corrupt or incomplete ({why}): remove it to fetch it anew")


def _cut_short(place: Path) -> Iterator[str]:
    """Which files of MNIST's format have another size than they say themselves."""
    for path in sorted(place.glob("raw/*-ubyte")):
        with path.open("rb") as file:
            head = file.read(16)
        dimensions = head[3] if len(head) > 3 else 0
        shape = struct.unpack_from(f">{dimensions}I", head, 4) if 4 + 4 * dimensions <= len(head) else ()
        if not shape or path.stat().st_size != 4 + 4 * dimensions + math.prod(shape):
            yield f"{path.name} has {path.stat().st_size:,} bytes"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


DATASETS: dict[str, Arrays | Files] = {
    "digits": Arrays(read=_digits, has_test=False),
    "mnist": _torchvision("MNIST", "MNIST"),
    "fashion_mnist": _torchvision("FashionMNIST", "FashionMNIST"),
    "kmnist": _torchvision("KMNIST", "KMNIST"),
    "emnist": _torchvision(
        "EMNIST",
        "EMNIST",
        convert=_upright,
        arguments=lambda test: {"split": "balanced", "train": not test},
        locked="raw/emnist-balanced-*-ubyte",
        downloads=download.emnist,
    ),
    "svhn": _torchvision(
        "SVHN",
        ".",
        convert=_house_numbers,
        arguments=lambda test: {"split": "test" if test else "train"},
        files="{split}_32x32.mat",
        locked="t*_32x32.mat",
        downloads=download.one_file,
    ),
    "cifar10": _torchvision("CIFAR10", "cifar-10-batches-py", locked="*", augment="crop-flip", downloads=download.tar),
    "cifar100": _torchvision("CIFAR100", "cifar-100-python", locked="*", augment="crop-flip", downloads=download.tar),
    "tiny_imagenet": Files("tiny-imagenet-200", "crop-flip", 10, find=folders.tiny_imagenet),
}
