"""Lists the image files of a data set, with their classes and parts. Opens no image."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from unicodedata import normalize

from models.suggestions import did_you_mean
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.system.text import clean, clip

PARTS = ("train", "val", "test")
# The words by which people name the parts of a data set, in any case.
PART_OF_WORD: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
# Folders and files that systems and archives leave among one's own.
_LEFT_BY_SYSTEMS = (
    *("__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information"),
    *("thumbs.db", "desktop.ini"),
)
_KINDS = 5  # of files passed over that are listed


@dataclass(frozen=True)
class ImageFile:
    """An image file at the time of its listing."""

    path: str  # from the data set's folder, with slashes
    size: int  # bytes
    # Nanoseconds of the last change of the file itself, which programs cannot set, unlike the time
    # of the last change of its content.
    changed: int


@dataclass(frozen=True)
class Folder:
    """A folder of a data set, and what lies below it."""

    path: str  # from the data set's folder, with slashes; empty for that folder itself
    images: tuple[ImageFile, ...]  # directly in it
    folders: Mapping[str, Folder]  # directly in it, by name
    passed_over: Mapping[str, int]  # how many files directly in it are no images, by their ending

    @cached_property
    def count(self) -> int:
        """How many images lie anywhere below it."""
        return len(self.images) + sum(folder.count for folder in self.folders.values())

    @property
    def filled(self) -> dict[str, Folder]:
        """The folders directly in it with images below them, by name."""
        return {name: folder for name, folder in self.folders.items() if folder.count}

    def all_images(self) -> Iterator[ImageFile]:
        """Yield the images anywhere below it."""
        yield from self.images
        for folder in self.folders.values():
            yield from folder.all_images()

    def all_passed_over(self) -> Counter[str]:
        """Count the files anywhere below it that are no images, by their ending."""
        counts = Counter(self.passed_over)
        for folder in self.folders.values():
            counts.update(folder.all_passed_over())
        return counts


@dataclass(frozen=True)
class Listing:
    """The images of a data set in their order: train, val and test, each by class and path."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]
    parts: tuple[str, ...]  # the official part of each file: train, val or test
    # Images of a group (a person, a video) stay in one split: the name of each one's group.
    groups: tuple[str, ...] | None = None
    # Where each official part was found, if that is not plain: ``Training/``.
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what its user should know of how it was read, a line each


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


def folded(name: str) -> str:
    """Return a name in the form in which spellings of one name are alike.

    Capitals, spaces at the ends, and the form of accents (Unicode's NFC and NFD) do not count.
    """
    return normalize("NFC", name).casefold().strip()


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: as numbers if all are whole numbers, else as text."""
    names = list(labels)
    if all(name.isascii() and name.isdecimal() and len(name) < 19 for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def parse_part(location: str, text: str) -> str:
    """Read a part in any of its usual words.

    Args:
        location: of the text, for the error.
        text: such as ``Validation``.

    Raises:
        UsageFailure: for another word.
    """
    part = PART_OF_WORD.get(text.strip().casefold())
    if part is None:
        hint = did_you_mean(text.strip(), PARTS)
        raise UsageFailure(f"{location}: split is unknown: {clip(text, 80)!r}; {hint}")
    return part


def walk_files(root: Path, folder: str) -> Iterator[ImageFile]:
    """Yield the image files below a folder, as `read_folder` finds them.

    Args:
        root: of the data set.
        folder: relative to the root, with slashes.

    Raises:
        IntegrityFailure: if a folder cannot be read.
    """
    return read_folder(root, folder).all_images()


def read_folder(
    root: Path, path: str = "", ancestors: frozenset[tuple[int, int]] = frozenset()
) -> Folder:
    """List what lies below a folder. Links are followed, except in circles.

    Hidden files and folders are ignored, and those that systems leave behind. A link that leads
    nowhere counts as a file that cannot be read.

    Args:
        root: of the data set.
        path: of the folder, relative to the root, with slashes; empty for the root.
        ancestors: device and inode of the folders around it.

    Raises:
        IntegrityFailure: if a folder cannot be read.
    """
    images = []
    folders = {}
    passed_over: Counter[str] = Counter()
    with readable(root / path):
        status = (root / path).stat()
        identity = (status.st_dev, status.st_ino)
        entries = [] if identity in ancestors else sorted(os.scandir(root / path), key=_name)
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
                continue
            entry_path = f"{path}/{entry.name}" if path else entry.name
            status, is_broken = _status(entry)
            is_named_as_image = entry.name.lower().endswith(EXTENSIONS)
            if stat.S_ISDIR(status.st_mode):
                folders[entry.name] = read_folder(root, entry_path, ancestors | {identity})
            elif is_named_as_image:
                # A broken link is listed, so that it is told with all that cannot be read.
                if stat.S_ISREG(status.st_mode) or is_broken:
                    images.append(image_file(entry_path, status))
            elif is_broken:
                passed_over["broken links"] += 1
            else:
                passed_over[PurePath(entry.name).suffix.lower() or "no ending"] += 1
    return Folder(path, tuple(images), folders, passed_over)


def _status(entry: os.DirEntry[str]) -> tuple[os.stat_result, bool]:
    """Return the status of what an entry leads to, or of a broken link, and whether it is one."""
    try:
        return entry.stat(), False
    except OSError:
        if not entry.is_symlink():
            raise
        return entry.stat(follow_symlinks=False), True


def image_file(path: str, status: os.stat_result) -> ImageFile:
    """Describe an image file by its path from the data set's folder and its status."""
    return ImageFile(path, status.st_size, status.st_ctime_ns)


def passed_over_text(counts: Mapping[str, int]) -> str:
    """Say how many files are no images, by their ending; empty if there are none."""
    if not counts:
        return ""
    total = sum(counts.values())
    kinds = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
    shown = ", ".join(f"{clip(ending, 20)} {count:,}" for ending, count in kinds[:_KINDS])
    more = f" and {len(kinds) - _KINDS} other kinds" if len(kinds) > _KINDS else ""
    return f"{total:,} {'files' if total > 1 else 'file'} passed over: {shown}{more}"


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


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
