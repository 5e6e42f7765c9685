"""Lists the image files of a data set, with their classes and parts. Opens no image."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.system.errors import IntegrityFailure
from pipeline.system.text import clean, clip

EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)


@dataclass(frozen=True)
class ImageFile:
    """An image file at the time of its listing."""

    path: str  # from the data set's folder, with slashes
    size: int  # bytes
    # Nanoseconds of the last change of the file itself, which programs cannot set, unlike the time
    # of the last change of its content.
    changed: int


@dataclass(frozen=True)
class Listing:
    """The images of a data set in their order: train, val and test, each by class and path."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]
    parts: tuple[str, ...]  # the official part of each file: train, val or test


FilesByClass = Mapping[str, list[ImageFile]]


def image_files_below(folder: Path) -> list[Path]:
    """List the image files anywhere below a folder, by path. Hidden ones are ignored.

    Raises:
        IntegrityFailure: if a folder cannot be read.
    """
    return sorted(folder / file.path for file in walk_files(folder, "."))


def make_listing(
    root: Path, classes: tuple[str, ...], files_of_part: Mapping[str, FilesByClass]
) -> Listing:
    """Order the files of each part and class: by part, then class, then path."""
    files: list[ImageFile] = []
    labels: list[int] = []
    parts: list[str] = []
    for part, files_of_class in files_of_part.items():
        for label, name in enumerate(classes):
            class_files = sorted(files_of_class.get(name, []), key=lambda file: file.path)
            files += class_files
            labels += [label] * len(class_files)
            parts += [part] * len(class_files)
    return Listing(root, classes, tuple(files), tuple(labels), tuple(parts))


def walk_files(
    root: Path, folder: str, ancestors: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[ImageFile]:
    """Yield the image files below a folder. Links are followed, except in circles.

    Args:
        root: of the data set.
        folder: relative to the root, with slashes.
        ancestors: device and inode of the folders around it.

    Raises:
        IntegrityFailure: if a folder cannot be read.
    """
    with readable(root / folder):
        status = (root / folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:
            return
        for entry in list(os.scandir(root / folder)):
            if entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}"
            if entry.is_dir():
                yield from walk_files(root, path, ancestors | {identity})
            elif entry.name.lower().endswith(EXTENSIONS):
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    yield ImageFile(path, status.st_size, status.st_ctime_ns)


def quote_names(names: list[str], most: int = 5) -> str:
    """List names for a message: the first few in quotes, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    quoted = [repr(clip(name, 80)) for name in names[:most]]
    return ", ".join(quoted) + more or "none"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a failure to read into one line."""
    try:
        yield
    except OSError as error:
        name = clean(error.filename or path)
        reason = error.strerror or error
        raise IntegrityFailure(f"{name} cannot be read ({reason}): restore or remove it") from None
