"""The types of image sources: arrays that are read whole, and files that are decoded one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.folders import Listing
from pipeline.data.lockfile import DatasetFiles

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Images:
    """Decoded images and their classes."""

    images: torch.Tensor  # uint8 (images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What is known of a data set before it is read."""

    folder: str | None = (
        None  # below the data folder, or anywhere; None where nothing is read from disk
    )
    augment: str = "none"  # the random changes that suit its training images
    val_share: int = 6  # one in so many images that are not held out for testing validates


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """A data set that is read in whole: ``read(data_dir, test)`` returns the official part for training or testing."""

    read: Callable[[Path, bool], Images]
    files: str = "*"  # the names of its training files, where it has a folder
    holding: Callable[[Path], DatasetFiles] | None = (
        None  # its files below the data folder, where it has a folder
    )
    has_test: bool = (
        True  # without an official test part ``read`` returns everything, and a fifth is held out
    )


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """A data set of one file an image: ``find(data_dir)`` lists them."""

    find: Callable[[Path], Listing]


def holds_file(place: Path, files: str) -> bool:
    """Whether a file whose name matches a pattern lies anywhere below a folder."""
    return any(path.is_file() for path in place.rglob(files))
