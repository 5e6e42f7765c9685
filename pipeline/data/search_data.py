"""Reads a data set into resident uint8 tensors, divided into the splits that a search sees."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from pipeline.data.listing import PARTS
from pipeline.data.opened import OpenedImages, open_images
from pipeline.data.splits import check_folds, check_part, redraw, take_part
from pipeline.system.console import print_notice
from pipeline.system.cpu import available_cores
from pipeline.system.errors import UsageFailure
from sweeps.analysis.facts import Copies
from sweeps.trial import Redraw, TrialConfig, parse_redraw

_COUNTED_AT_A_TIME = 4096  # images

# The arguments of `load`, in their order.
SourceArguments = tuple[str, Path, int, str | None, int | None, int | None, str | None]

_are_known: ContextVar[bool] = ContextVar("_are_known", default=False)  # see `known_images`


@contextmanager
def known_images() -> Iterator[None]:
    """Print nothing of what is found of one's own images that are read in the block.

    It is for the images of a study, which its user has read about when the study was begun.
    """
    token = _are_known.set(True)
    try:
        yield
    finally:
        _are_known.reset(token)


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
    # The group of each training and validation image, in order, of those that stay in one split;
    # None if there are no groups.
    groups: tuple[int, ...] | None = None
    copies: Copies | None = None  # among the images of all splits, if that is known

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
    drawn = parse_redraw(str(config.redraw))
    groups = None if data.groups is None else torch.tensor(data.groups)
    rows = redraw(both.labels, is_val, drawn, config.split_seed, groups)
    train, val = (Split(both.stored, both.labels[part], part) for part in rows)
    return train, val


def located(config: TrialConfig, place: str | None) -> TrialConfig:
    """Return a configuration that names its images by their present place.

    Args:
        config: of a trial.
        place: of the images, if it is not the one that the configuration names.
    """
    return config if place is None else dataclasses.replace(config, dataset=place)


def source_arguments(config: TrialConfig, data_dir: Path) -> SourceArguments:
    """Return the arguments by which a trial's splits are read: of `load`, and of the test split."""
    return (
        config.dataset,
        data_dir,
        config.split_seed,
        config.split_file,
        config.image_size,
        config.data_version,
        config.copies,
    )


def load_for(config: TrialConfig, data_dir: Path) -> SearchData:
    """Read the training and validation splits that a trial's are drawn from, as `load` does.

    These are the trial's own, unless it has a redraw or trains on a part: `trial_data` gives those.

    Raises:
        ValueError, UsageFailure, IntegrityFailure: as `load`.
        UsageFailure: if the trial has a redraw that the data set does not allow, or trains on more
            images than there are.
    """
    data = load(*source_arguments(config, data_dir))
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
        labels = torch.cat([data.train.labels, data.val.labels])
        groups = None if data.groups is None else torch.tensor(data.groups)
        check_folds(labels, drawn.folds, groups)


@lru_cache(maxsize=2)
def load(
    name: str,
    data_dir: Path,
    split_seed: int = 0,
    split_file: str | None = None,
    image_size: int | None = None,
    data_version: int | None = None,
    copies: str | None = None,
) -> SearchData:
    """Read the training and validation splits of a data set. The test split is not returned.

    What was found of images of one's own is printed first, except among `known_images`.

    Args:
        name: a key of `pipeline.data.datasets.DATASETS`, or ``folder:PATH``.
        data_dir: the folder of data sets, in torchvision's layout.
        split_seed: alone decides the splits.
        split_file: a CSV that names the splits instead, as in
            `pipeline.data.split_file.read_split_file`.
        image_size: the side in pixels to which image files are brought.
        data_version: of the rules by which one's own images are read; None for version 0.1.0.
        copies: ``apart`` to divide copies of an image as any images.

    Raises:
        ValueError: for an unknown data set.
        UsageFailure, IntegrityFailure: if it cannot be read.
    """
    opened = open_images(
        name, data_dir, split_seed, split_file, image_size, data_version, copies, purpose="search"
    )
    return read_splits(name, opened, split_file)


def read_splits(name: str, opened: OpenedImages, split_file: str | None) -> SearchData:
    """Read the training and validation splits of an opened data set, as `load` does."""
    splits = opened.splits
    if not _are_known.get():
        for line in opened.found:
            print_notice(f"{name}: {line}")
    if split_file is not None:
        _warn_of_untrained_classes(split_file, opened)
    train_labels = opened.labels[splits["train"]]
    val_labels = opened.labels[splits["val"]]
    rows = torch.cat([splits["train"], splits["val"]])
    pixels = opened.pixels(rows)
    train = Split(pixels[: len(train_labels)], train_labels)
    val = Split(pixels[len(train_labels) :], val_labels)
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(_digest, train, val)
        mean, std = _channel_moments(train)
    return SearchData(
        name=name,
        classes=opened.classes,
        train=train,
        val=val,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        digest=digest.result(),
        fixed_val=opened.has_fixed_val,
        groups=None if opened.groups is None else tuple(opened.groups[rows].tolist()),
        copies=opened.copies,
    )


def _warn_of_untrained_classes(split_file: str, opened: OpenedImages) -> None:
    """Print a notice if a split file leaves the training split without some of the classes."""
    train_classes, val_classes, test_classes = (
        set(opened.labels[opened.splits[part]].tolist()) for part in PARTS
    )
    untrained = sorted((val_classes | test_classes) - train_classes)
    if untrained:
        example = opened.classes[untrained[0]]
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
    Threads count, because counting does not hold Python's lock; the counts are whole numbers.
    """

    def count(start: int) -> torch.Tensor:
        channels = split.between(start, start + _COUNTED_AT_A_TIME).unbind(1)
        return torch.stack([torch.bincount(grey.flatten(), minlength=256) for grey in channels])

    counts = torch.zeros(split.stored.shape[1], 256, dtype=torch.int64)
    with ThreadPoolExecutor(available_cores()) as pool:
        for block in pool.map(count, range(0, len(split), _COUNTED_AT_A_TIME)):
            counts += block
    greys = torch.arange(256, dtype=torch.float64) / 255
    total = counts.sum(1)
    mean = (counts * greys).sum(1) / total
    variance = (counts * (greys - mean.unsqueeze(1)).square()).sum(1) / (total - 1)
    return mean, variance.sqrt().clamp(min=1e-3)
