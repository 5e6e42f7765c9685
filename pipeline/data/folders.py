"""Which image files folders hold, of which class and part. Opens no image: knows names, sizes and times only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.system.console import print_notice
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean

EXTENSIONS = (
    ".bmp",
    ".gif",
    ".jfif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


@dataclass(frozen=True)
class ImageFile:
    """An image file, as it is named and as it was when looked at."""

    path: str  # from the data set's folder, with slashes
    size: int  # bytes
    changed: int  # nanoseconds


@dataclass(frozen=True)
class Listing:
    """The images of a data set in the order in which they are read: train, val and test, each by class and path."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]
    parts: tuple[str, ...]  # of each file the official part: train, val or test


FilesByClass = Mapping[str, list[ImageFile]]  # of each class its files


def scan_folder(path: str) -> Listing:
    """List a folder of ``train/<class>/*``, and of ``val/`` and ``test/`` where they are, or of ``<class>/*`` alone.

    Hidden files and folders, and files without the extension of an image, are passed over. A class without images is
    left out, and a line says so.

    Args:
        path: counts from the working folder.

    Raises:
        UsageFailure: where that is not what the folder holds.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise UsageFailure(
            f"no folder {root}: folder:PATH takes one that holds train/<class>/<images>"
        )
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    if "train" in parts:
        places = {part: root / part for part in parts}
    else:
        places = {"train": root}
    found = {part: _classes(root, place) for part, place in places.items()}
    classes = tuple(name for name, files in found["train"].items() if files)
    empty = [name for name, files in found["train"].items() if not files]
    if len(classes) < 2 or ("train" not in parts and set(classes) <= {"val", "test"}):
        raise UsageFailure(
            f"folder:{path} needs images of at least 2 classes, each in a folder of its own below {places['train']}: "
            f"found {listed_names(list(classes))}"
        )
    for part, content in found.items():
        strangers = [name for name, files in content.items() if files and name not in classes]
        if strangers:
            raise UsageFailure(
                f"{places[part]} has images of classes that train has none of: {listed_names(strangers)}"
            )
        if not any(content.values()):
            raise UsageFailure(
                f"{places[part]} holds no images in folders of classes: put some there, or remove it"
            )
    if empty:
        print_notice(f"folder:{path}: left out without images: {listed_names(empty)}")
    return make_listing(root, classes, found)


def image_files_below(folder: Path) -> list[Path]:
    """The image files below a folder, by path; hidden ones, and what has not the extension of an image, passed over.

    Raises:
        IntegrityFailure: where it cannot be read.
    """
    return sorted(folder / file.path for file in walk_files(folder, "."))


def make_listing(
    root: Path, classes: tuple[str, ...], found: Mapping[str, FilesByClass]
) -> Listing:
    """Put the files of each part and class in order: by part, then class, then path."""
    rows = [
        (file, label, part)
        for part, content in found.items()
        for label, name in enumerate(classes)
        for file in sorted(content.get(name, []), key=lambda file: file.path)
    ]
    files, labels, parts = zip(*rows, strict=True)
    return Listing(root, classes, files, labels, parts)


def _classes(root: Path, place: Path) -> FilesByClass:
    """The image files below each folder that is directly in a place, by its name."""
    with _readable(place), os.scandir(place) as entries:
        names = sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )
    inside = "" if place == root else f"{place.name}/"
    return {name: list(walk_files(root, inside + name)) for name in names}


def walk_files(
    root: Path, inside: str, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[ImageFile]:
    """The image files below a folder. Links are followed, but not in circles."""
    with _readable(root / inside):
        facts = (root / inside).stat()
        here = (facts.st_dev, facts.st_ino)
        if here in above:
            entries = []
        else:
            entries = [entry for entry in os.scandir(root / inside) if entry.name[0] != "."]
        for entry in entries:
            path = f"{inside}/{entry.name}"
            if entry.is_dir():
                yield from walk_files(root, path, above | {here})
            elif entry.name.lower().endswith(EXTENSIONS):
                facts = entry.stat()
                if stat.S_ISREG(facts.st_mode):
                    yield ImageFile(path, facts.st_size, facts.st_mtime_ns)


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = clean(error.filename or place)
        why = error.strerror or error
        raise IntegrityFailure(f"{where} cannot be read ({why}): restore or remove it") from None


def listed_names(names: list[str], most: int = 5) -> str:
    """List names for a message: the first few, quoted, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(clean(name, 80)) for name in names[:most]) + more or "none"
