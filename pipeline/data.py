"""What a trial sees: resident uint8 tensors, split once. What a search is given holds no test image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from pipeline.datasets import Images, source

TEST_SHARE = 5  # one in so many images is held out where there is no official test part
VAL_SHARE = 6  # one in so many of the rest validates


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
        train, val = self.train.to(device), self.val.to(device)
        return SearchData(self.name, self.classes, train, val, self.mean, self.std, self.digest)


@lru_cache(maxsize=2)
def load(name: str, data_dir: Path, split_seed: int = 0) -> SearchData:
    """Read the training and validation splits of a data set. The test split is not among what is returned.

    Args:
        name: a key of `pipeline.datasets.DATASETS`.
        data_dir: the folder of data sets, in torchvision's layout.
        split_seed: decides the splits, with nothing else.

    Raises:
        ValueError: for an unknown data set.
        UsageFailure, IntegrityFailure: where it cannot be read.
    """
    found, rest = _without_test(name, data_dir, split_seed)
    train, val = stratified(found.labels[rest], VAL_SHARE, split_seed)
    train_split, val_split = _take(found, rest[train]), _take(found, rest[val])
    pixels = train_split.images.to(torch.float32).div_(255)
    mean, std = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)).clamp(min=1e-3)
    digest = hashlib.sha256()
    for tensor in (train_split.images, train_split.labels, val_split.images, val_split.labels):
        digest.update(tensor.numpy().tobytes())
    return SearchData(
        name=name,
        classes=found.classes,
        train=train_split,
        val=val_split,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        digest=digest.hexdigest()[:16],
    )


def load_test(name: str, data_dir: Path, split_seed: int = 0) -> Split:
    """Read the test split. Only `pipeline.winner` may name this function; a test of the code sees to it."""
    if source(name).has_test:
        found = source(name).read(data_dir, True)
        return Split(found.images, found.labels)
    found = source(name).read(data_dir, False)
    _, test = stratified(found.labels, TEST_SHARE, split_seed)
    return _take(found, test)


def _without_test(name: str, data_dir: Path, split_seed: int) -> tuple[Images, torch.Tensor]:
    found = source(name).read(data_dir, False)
    if source(name).has_test:
        return found, torch.arange(len(found.labels))
    rest, _ = stratified(found.labels, TEST_SHARE, split_seed)
    return found, rest


def stratified(labels: torch.Tensor, share: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices in two, class by class: one in ``share`` images goes to the second part.

    Args:
        labels: int64 (images,).
        share: 5 holds out a fifth.
        seed: decides which.

    Returns:
        The indices of both parts, ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        held_out[order[: round(len(members) / share)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def _take(found: Images, indices: torch.Tensor) -> Split:
    return Split(found.images[indices], found.labels[indices])
