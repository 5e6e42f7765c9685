"""Reads a data set into resident uint8 tensors, divided into the splits that a search sees."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from pipeline.data import decode, lockfile
from pipeline.data.datasets import get_source, listing_files
from pipeline.data.sources import Arrays, Files
from pipeline.data.split_file import read_split_file
from pipeline.data.splits import (
    PARTS,
    Splits,
    check_folds,
    check_part,
    divide,
    redraw,
    take_part,
)
from pipeline.system.console import print_notice
from pipeline.system.errors import UsageFailure
from sweeps.trial import Redraw, TrialConfig, parse_redraw


@dataclass(frozen=True)
class Split:
    """The images of one split and their labels.

    The images are all of a tensor, or some rows of a tensor that they share with another split.
    """

    stored: torch.Tensor  # uint8 (stored images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)
    rows: torch.Tensor | None = None  # of each image in `stored`, int64; None for all, in order

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> torch.Tensor:
        """All images, uint8 (images, channels, height, width): a copy if they are some rows."""
        if self.rows is None:
            return self.stored
        return self.stored.index_select(0, self.rows)

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """Copy some images.

        Args:
            indices: of the split's images, int64 (count,).

        Returns:
            uint8 (count, channels, height, width).
        """
        if self.rows is not None:
            indices = self.rows[indices]
        return self.stored.index_select(0, indices)

    def between(self, first: int, end: int) -> torch.Tensor:
        """The images from `first` up to `end`: uint8 (count, channels, height, width)."""
        if self.rows is None:
            return self.stored[first:end]
        return self.stored.index_select(0, self.rows[first:end])

    def to(self, device: torch.device) -> Split:
        """Return this split on a device."""
        return self.over(self.stored.to(device))

    def over(self, stored: torch.Tensor) -> Split:
        """Return this split with its images in a tensor that may be on another device."""
        rows = None if self.rows is None else self.rows.to(stored.device)
        return Split(stored, self.labels.to(stored.device), rows)


@dataclass(frozen=True)
class SearchData:
    """The data of a search: the training and validation splits, and nothing of the test split."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    mean: tuple[float, ...]  # of each channel over the training split, 0..1
    std: tuple[float, ...]
    digest: str  # of both splits' images and labels, in order; before they are drawn anew
    redraw: str | None = None  # the draw of the splits, as `TrialConfig.redraw`
    train_images: int | None = None  # if only a part of the split trains, as `TrialConfig` has it
    fixed_val: bool = False  # whether the data set itself says which images validate

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.stored.shape[1:]
        return channels, height, width

    def to(self, device: torch.device) -> SearchData:
        """Return this data on a device."""
        train = self.train.to(device)
        if self.val.stored is self.train.stored:
            val = self.val.over(train.stored)  # so that they share their images there, too
        else:
            val = self.val.to(device)
        return dataclasses.replace(self, train=train, val=val)


def joined(data: SearchData) -> Split:
    """Return both splits as one, the training images first.

    There is no copy of the images if the two splits lie side by side in memory, as those of `load`
    do.
    """
    train = data.train.images
    val = data.val.images
    labels = torch.cat([data.train.labels, data.val.labels])
    storage = train.untyped_storage()
    side_by_side = (
        train.is_contiguous()
        and val.is_contiguous()
        and val.untyped_storage().data_ptr() == storage.data_ptr()
        and val.storage_offset() == train.storage_offset() + train.numel()
    )
    if side_by_side:
        size = (len(labels), *train.shape[1:])
        strides = torch.empty(size, device="meta").stride()
        return Split(train.as_strided(size, strides, train.storage_offset()), labels)
    return Split(torch.cat([train, val]), labels)


def trial_data(data: SearchData, config: TrialConfig) -> SearchData:
    """Return the splits of a trial: those of the study, or drawn anew, or a part of them.

    The images are not copied: the new splits are rows of one tensor. The mean and deviation are
    those of the new training images. The digest stays, as it tells the images of the study.

    Args:
        data: the splits of the study, or already those of the trial.
        config: of the trial.

    Raises:
        UsageFailure: if these images cannot be drawn so.
    """
    if (data.redraw, data.train_images) == (config.redraw, config.train_images):
        return data
    train, val = trial_splits(data, config)
    mean, std = _channel_moments(train)
    return dataclasses.replace(
        data,
        train=train,
        val=val,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        redraw=config.redraw,
        train_images=config.train_images,
    )


def trial_splits(data: SearchData, config: TrialConfig) -> tuple[Split, Split]:
    """Return the training and the validation split of a trial, as `trial_data` does."""
    train, val = _redrawn_splits(data, config)
    if config.train_images in (None, data.train_images):
        return train, val
    purpose = "the training split" if config.redraw is None else config.redraw
    chosen = take_part(train.labels, config.train_images, config.split_seed, purpose)
    rows = chosen if train.rows is None else train.rows[chosen]
    return Split(train.stored, train.labels[chosen], rows), val


def _redrawn_splits(data: SearchData, config: TrialConfig) -> tuple[Split, Split]:
    """The training and the validation split of a trial, before a part of the former is taken."""
    if data.redraw == config.redraw:
        return data.train, data.val
    both = joined(data)
    is_val = torch.arange(len(both)) >= len(data.train)
    rows = redraw(both.labels, is_val, parse_redraw(str(config.redraw)), config.split_seed)
    train, val = (Split(both.stored, both.labels[part], part) for part in rows)
    return train, val


def load_for(config: TrialConfig, data_dir: Path) -> SearchData:
    """Read the training and validation splits that a trial's are drawn from, as `load` does.

    These are the trial's own, unless it has a redraw or trains on a part: `trial_data` gives those.

    Raises:
        ValueError, UsageFailure, IntegrityFailure: as `load`.
        UsageFailure: if the trial has a redraw that the data set does not allow, or trains on more
            images than there are.
    """
    data = load(config.dataset, data_dir, config.split_seed, config.split_file, config.image_size)
    if config.redraw is not None:
        check_redraw(data, parse_redraw(config.redraw))
    check_train_images(data, [config])
    return data


def check_train_images(data: SearchData, configs: Iterable[TrialConfig]) -> None:
    """Check that trials can be trained on as many images as they ask for.

    Args:
        data: the splits of the study.
        configs: of trials.

    Raises:
        UsageFailure: if the training split has fewer images, or more classes.
    """
    for config in configs:
        if config.train_images is not None:
            train, _ = _redrawn_splits(data, config)
            check_part(train.labels, config.train_images)


def check_redraw(data: SearchData, drawn: Redraw) -> None:
    """Check that the images of a search can be drawn anew.

    Raises:
        UsageFailure: if the data set says which images validate, or has fewer images of a class
            than folds.
    """
    if data.fixed_val:
        raise UsageFailure(
            f"{data.name} says itself which images validate, which stays: it takes no split_seeds, "
            f"folds or redraw: got {drawn}; leave it out"
        )
    if drawn.folds is not None:
        check_folds(torch.cat([data.train.labels, data.val.labels]), drawn.folds)


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
            `pipeline.data.split_file.read_split_file`.
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
    mean, std = _channel_moments(train)
    return SearchData(
        name=name,
        classes=rows.classes,
        train=train,
        val=val,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        digest=_digest(train, val),
        fixed_val=split_file is None and "val" in rows.parts,
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


def _channel_moments(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the mean and standard deviation of each channel over 0..1.

    They follow from the counts of each grey, so that no copy of the images as floats is made.
    """
    counts = torch.zeros(split.stored.shape[1], 256, dtype=torch.int64)
    for start in range(0, len(split), 4096):
        for channel, block in enumerate(split.between(start, start + 4096).unbind(1)):
            counts[channel] += torch.bincount(block.flatten(), minlength=256)
    greys = torch.arange(256, dtype=torch.float64) / 255
    total = counts.sum(1)
    mean = (counts * greys).sum(1) / total
    variance = (counts * (greys - mean.unsqueeze(1)).square()).sum(1) / (total - 1)
    return mean, variance.sqrt().clamp(min=1e-3)
