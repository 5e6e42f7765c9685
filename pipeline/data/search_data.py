"""Reads a data set into resident uint8 tensors, divided into the splits that a search sees."""

from __future__ import annotations

import dataclasses
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
    """The images of one split and their labels."""

    images: torch.Tensor  # uint8 (images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """Return this split on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class SearchData:
    """The data of a search: the training and validation splits, and nothing of the test split."""

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
        """Return this data on a device."""
        return dataclasses.replace(self, train=self.train.to(device), val=self.val.to(device))


def load_for(config: TrialConfig, data_dir: Path) -> SearchData:
    """Read the training and validation splits of a trial, as `load` does."""
    return load(config.dataset, data_dir, config.split_seed, config.split_file, config.image_size)


@lru_cache(maxsize=2)
def load(
    name: str,
    data_dir: Path,
    split_seed: int = 0,
    split_file: str | None = None,
    image_size: int | None = None,
) -> SearchData:
    """Read the training and validation splits of a data set. The test split is not returned.

    Args:
        name: a key of `pipeline.data.datasets.DATASETS`, or ``folder:PATH``.
        data_dir: the folder of data sets, in torchvision's layout.
        split_seed: alone decides the splits.
        split_file: a CSV that names the splits instead, as in
            `pipeline.data.splits.read_split_file`.
        image_size: the side in pixels to which image files are brought.

    Raises:
        ValueError: for an unknown data set.
        UsageFailure, IntegrityFailure: if it cannot be read.
    """
    rows, splits = open_rows(name, data_dir, split_seed, split_file, image_size, test=False)
    if split_file is not None:
        _warn_of_untrained_classes(split_file, rows, splits)
    train_labels = rows.labels[splits["train"]]
    val_labels = rows.labels[splits["val"]]
    pixels = rows.pixels(torch.cat([splits["train"], splits["val"]]))
    train = Split(pixels[: len(train_labels)], train_labels)
    val = Split(pixels[len(train_labels) :], val_labels)
    mean, std = _channel_moments(train.images)
    return SearchData(
        name=name,
        classes=rows.classes,
        train=train,
        val=val,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        digest=_digest(train, val),
    )


@dataclass(frozen=True)
class _Rows:
    """All images of a data set, before any pixels are loaded."""

    labels: torch.Tensor  # int64 (rows,)
    parts: Sequence[str]  # the official part of each
    classes: tuple[str, ...]
    paths: tuple[str, ...] | None  # from the data set's folder; None if images are not files
    pixels: Callable[[torch.Tensor], torch.Tensor]  # rows to uint8 (rows, channels, height, width)


def open_rows(
    name: str,
    data_dir: Path,
    split_seed: int,
    split_file: str | None,
    image_size: int | None,
    *,
    test: bool,
) -> tuple[_Rows, Splits]:
    """Read all of a data set but its pixels, and divide it into the three splits.

    Args:
        name: as the next four, see `load`.
        data_dir: the folder of data sets.
        split_seed: decides the splits.
        split_file: names the splits instead.
        image_size: for image files.
        test: of arrays with an official test part, which part is read.
    """
    source = get_source(name)
    if isinstance(source, Files):
        rows = _rows_of_files(name, source, data_dir, image_size)
        has_test = "test" in rows.parts
        needed = {*PARTS}
    elif image_size is not None:
        raise UsageFailure(
            f"image size is for folder:PATH and tiny_imagenet: got {image_size} with {name}; "
            "leave it out"
        )
    else:
        rows = _rows_of_arrays(source, data_dir, test=test, both=split_file is not None)
        has_test = source.has_test
        needed = {"test"} if test else {"train", "val"}
    if split_file is not None:
        return rows, read_split_file(Path(split_file), len(rows.labels), rows.paths)
    splits = divide(rows.labels, rows.parts, split_seed, source.val_share, has_test=has_test)
    if any(len(splits[part]) == 0 for part in needed):
        counts = ", ".join(f"{part} {len(splits[part])}" for part in PARTS if part in needed)
        raise UsageFailure(
            f"{name} has too few images: each split needs at least one, and gets {counts}"
        )
    return rows, splits


def _rows_of_files(name: str, source: Files, data_dir: Path, image_size: int | None) -> _Rows:
    listing = source.find(data_dir)
    lockfile.check_sizes(listing_files(name, listing, data_dir))
    return _Rows(
        labels=torch.tensor(listing.labels),
        parts=listing.parts,
        classes=listing.classes,
        paths=tuple(file.path for file in listing.files),
        pixels=lambda rows: decode.load_images(name, listing, rows.tolist(), image_size),
    )


def _rows_of_arrays(source: Arrays, data_dir: Path, *, test: bool, both: bool) -> _Rows:
    """Read arrays: everything without an official test part; else one part, or both."""
    if not source.has_test:
        parts = ["train"]
    elif both:
        parts = ["train", "test"]
    else:
        parts = ["test" if test else "train"]
    arrays = [source.read(data_dir, part == "test") for part in parts]
    if len(arrays) == 1:
        pixels = arrays[0].images  # without a copy
    else:
        pixels = torch.cat([array.images for array in arrays])
    part_of_row: list[str] = []
    for part, array in zip(parts, arrays, strict=True):
        part_of_row += [part] * len(array.labels)
    return _Rows(
        labels=torch.cat([array.labels for array in arrays]),
        parts=part_of_row,
        classes=arrays[0].classes,
        paths=None,
        pixels=lambda rows: pixels[rows],
    )


def _warn_of_untrained_classes(split_file: str, rows: _Rows, splits: Splits) -> None:
    """Print a notice if a split file leaves the training split without some of the classes."""
    train_classes = set(rows.labels[splits["train"]].tolist())
    val_classes = set(rows.labels[splits["val"]].tolist())
    test_classes = set(rows.labels[splits["test"]].tolist())
    untrained = sorted((val_classes | test_classes) - train_classes)
    if untrained:
        example = rows.classes[untrained[0]]
        print_notice(
            f"{split_file}: train lacks classes that val or test has: "
            f"{len(untrained)}, such as {example!r}"
        )


def _digest(train: Split, val: Split) -> str:
    """Hash the images and labels of both splits, in order."""
    digest = hashlib.sha256()
    for tensor in (train.images, train.labels, val.images, val.labels):
        digest.update(tensor.flatten().numpy().data)
    return digest.hexdigest()[:16]


def _channel_moments(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the mean and standard deviation of each channel over 0..1.

    They follow from the counts of each grey, so that no copy of the images as floats is made.
    """
    counts = torch.zeros(pixels.shape[1], 256, dtype=torch.int64)
    for start in range(0, len(pixels), 4096):
        for channel, block in enumerate(pixels[start : start + 4096].unbind(1)):
            counts[channel] += torch.bincount(block.flatten(), minlength=256)
    greys = torch.arange(256, dtype=torch.float64) / 255
    total = counts.sum(1)
    mean = (counts * greys).sum(1) / total
    variance = (counts * (greys - mean.unsqueeze(1)).square()).sum(1) / (total - 1)
    return mean, variance.sqrt().clamp(min=1e-3)
