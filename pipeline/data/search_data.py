"""What a trial sees: resident uint8 tensors, split once. What a search is given holds no test image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from pipeline.data import decode, lockfile
from pipeline.data.datasets import get_source, listing_files
from pipeline.data.sources import Arrays, Files
from pipeline.data.splits import PARTS, Splits, divide, read_split_file
from pipeline.system.console import print_notice
from pipeline.system.errors import UsageFailure
from sweeps.trial import TrialConfig


@dataclass(frozen=True)
class Split:
    """Images of one split and their labels."""

    images: torch.Tensor  # uint8 (images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """The same on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class SearchData:
    """All that a search may see: the training and validation splits."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    mean: tuple[float, ...]  # of each channel over the training split, 0..1
    std: tuple[float, ...]
    digest: str  # of both splits' images and labels, in order

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device) -> SearchData:
        """The same on a device."""
        train = self.train.to(device)
        val = self.val.to(device)
        return SearchData(self.name, self.classes, train, val, self.mean, self.std, self.digest)


@dataclass(frozen=True)
class _Rows:
    """What is known of images before their pixels are taken."""

    labels: torch.Tensor  # int64 (rows,)
    parts: Sequence[str]  # the official part of each
    classes: tuple[str, ...]
    paths: (
        tuple[str, ...] | None
    )  # from the data set's folder; None where images are not files of their own
    pixels: Callable[
        [torch.Tensor], torch.Tensor
    ]  # of some rows: uint8 (rows, channels, height, width)


def load_for(config: TrialConfig, data_dir: Path) -> SearchData:
    """Read the training and validation splits that a trial asks for, as `load` does."""
    return load(config.dataset, data_dir, config.split_seed, config.split_file, config.image_size)


@lru_cache(maxsize=2)
def load(
    name: str,
    data_dir: Path,
    split_seed: int = 0,
    split_file: str | None = None,
    image_size: int | None = None,
) -> SearchData:
    """Read the training and validation splits of a data set. The test split is not among what is returned.

    Args:
        name: a key of `pipeline.data.datasets.DATASETS`, or ``folder:PATH``.
        data_dir: the folder of data sets, in torchvision's layout.
        split_seed: decides the splits, with nothing else.
        split_file: a CSV that names the splits instead, as in `pipeline.data.splits.read_split_file`.
        image_size: the side in pixels to which image files are brought.

    Raises:
        ValueError: for an unknown data set.
        UsageFailure, IntegrityFailure: where it cannot be read.
    """
    rows, splits = open_rows(name, data_dir, split_seed, split_file, image_size, test=False)
    train = rows.labels[splits["train"]]
    val = rows.labels[splits["val"]]
    lacking = sorted({*val.tolist(), *rows.labels[splits["test"]].tolist()} - {*train.tolist()})
    if split_file is not None and lacking:
        some = f"{len(lacking)}, such as {rows.classes[lacking[0]]!r}"
        print_notice(f"{split_file}: train lacks classes that val or test has: {some}")
    pixels = rows.pixels(torch.cat([splits["train"], splits["val"]]))
    train_split = Split(pixels[: len(train)], train)
    val_split = Split(pixels[len(train) :], val)
    mean, std = _moments(train_split.images)
    digest = hashlib.sha256()
    for tensor in (train_split.images, train_split.labels, val_split.images, val_split.labels):
        digest.update(tensor.flatten().numpy().data)
    return SearchData(
        name=name,
        classes=rows.classes,
        train=train_split,
        val=val_split,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        digest=digest.hexdigest()[:16],
    )


def open_rows(
    name: str,
    data_dir: Path,
    split_seed: int,
    split_file: str | None,
    image_size: int | None,
    *,
    test: bool,
) -> tuple[_Rows, Splits]:
    """Everything but the pixels, and its three splits. Of arrays with a test part only the part that is asked for."""
    found = get_source(name)
    if isinstance(found, Files):
        rows = _of_files(name, found, data_dir, image_size)
        has_test = "test" in rows.parts
        needed = {*PARTS}
    elif image_size is not None:
        raise UsageFailure(
            f"image size is for folder:PATH and tiny_imagenet: got {image_size} with {name}; leave it out"
        )
    else:
        has_test = found.has_test
        needed = {"test"} if test else {"train", "val"}
        wanted = (False, True) if split_file is not None else (test,)
        rows = _of_arrays(found, data_dir, wanted if has_test else (False,))
    if split_file is not None:
        return rows, read_split_file(Path(split_file), len(rows.labels), rows.paths)
    splits = divide(rows.labels, rows.parts, split_seed, found.val_share, has_test=has_test)
    if not all(len(splits[part]) for part in needed):
        counts = ", ".join(f"{part} {len(splits[part])}" for part in PARTS if part in needed)
        raise UsageFailure(
            f"{name} has too few images: each split needs at least one, and gets {counts}"
        )
    return rows, splits


def _of_files(name: str, found: Files, data_dir: Path, image_size: int | None) -> _Rows:
    listing = found.find(data_dir)
    lockfile.check_sizes(listing_files(name, listing, data_dir))

    def pixels(rows: torch.Tensor) -> torch.Tensor:
        return decode.load_images(name, listing, rows.tolist(), image_size)

    paths = tuple(file.path for file in listing.files)
    return _Rows(torch.tensor(listing.labels), listing.parts, listing.classes, paths, pixels)


def _of_arrays(found: Arrays, data_dir: Path, tests: Sequence[bool]) -> _Rows:
    read = [found.read(data_dir, test) for test in tests]
    if len(read) > 1:
        pixels = torch.cat([part.images for part in read])
    else:
        pixels = read[0].images
    parts = [
        "test" if test else "train"
        for part, test in zip(read, tests, strict=True)
        for _ in part.labels
    ]
    return _Rows(
        torch.cat([part.labels for part in read]),
        parts,
        read[0].classes,
        None,
        lambda rows: pixels[rows],
    )


def _moments(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over 0..1, from counts of each grey: a copy as floats is not made."""
    counts = torch.zeros(pixels.shape[1], 256, dtype=torch.int64)
    for start in range(0, len(pixels), 4096):
        for channel, block in enumerate(pixels[start : start + 4096].unbind(1)):
            counts[channel] += torch.bincount(block.flatten(), minlength=256)
    grey = torch.arange(256, dtype=torch.float64) / 255
    total = counts.sum(1)
    mean = (counts * grey).sum(1) / total
    variance = (counts * (grey - mean.unsqueeze(1)).square()).sum(1) / (total - 1)
    return mean, variance.sqrt().clamp(min=1e-3)
