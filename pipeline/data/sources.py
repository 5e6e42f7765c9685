"""The two kinds of data sets: arrays that are read at once, and image files decoded one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.listing import Listing
from pipeline.data.lockfile import DatasetFiles

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Images:
    """Decoded images with their labels."""

    images: torch.Tensor  # uint8 (images, channels, height, width)
    labels: torch.Tensor  # int64 (images,)
    classes: tuple[str, ...]
    # The official part of each, if all parts are read at once; None if all are of one part.
    parts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Source:
    """The declaration of a data set.

    Attributes:
        folder: below the data folder, or any absolute path; None if nothing is read from disk.
        augment: the random changes that suit its training images.
        val_share: the part of the images outside the test split that validates.
    """

    folder: str | None = None
    augment: str = "none"
    val_share: Fraction = Fraction(1, 6)


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """A data set that is read at once.

    Attributes:
        read: reads the official training part (False) or test part (True) from the data folder.
            Without an official test part, reads everything.
        files: a pattern of the training files' names.
        list_files: lists the files in the data folder; None if nothing is read from disk.
        has_test: whether there is an official test part; else a fifth of the images is held out.
    """

    read: Callable[[Path, bool], Images]
    files: str = "*"
    list_files: Callable[[Path], DatasetFiles] | None = None
    has_test: bool = True


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """A data set with one file for each image.

    Attributes:
        find: lists the image files, given the data folder.
    """

    find: Callable[[Path], Listing]


def holds_file(folder: Path, pattern: str) -> bool:
    """Whether a file with a matching name lies anywhere below a folder."""
    return any(path.is_file() for path in folder.rglob(pattern))
