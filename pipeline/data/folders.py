"""Lists the image files in folders, with their classes and parts. Opens no image."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from pipeline.system.console import print_notice
from pipeline.system.errors import IntegrityFailure, UsageFailure
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


def scan_folder(path: str) -> Listing:
    """List the images of a folder with a subfolder for each class.

    The folder holds ``train/<class>/*``, and ``val/`` and ``test/`` in the same layout if it has
    these parts; or just ``<class>/*``. Hidden files and folders, and files without the extension
    of an image, are ignored. Classes without images are left out, with a notice.

    Args:
        path: relative to the working folder, or absolute.

    Raises:
        UsageFailure: if the folder has no such layout.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise UsageFailure(
            f"no folder {root}: folder:PATH takes one that holds train/<class>/<images>"
        )
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    has_parts = "train" in parts
    folders = {part: root / part for part in parts} if has_parts else {"train": root}
    files_of_part = {part: _scan_classes(root, folder) for part, folder in folders.items()}
    classes = tuple(name for name, files in files_of_part["train"].items() if files)
    only_parts = not has_parts and set(classes) <= {"val", "test"}
    if len(classes) < 2 or only_parts:
        raise UsageFailure(
            f"folder:{path} needs images of at least 2 classes, each in a folder of its own below "
            f"{folders['train']}: found {quote_names(list(classes))}"
        )
    for part, files_of_class in files_of_part.items():
        files_of_part[part] = _named_as(classes, files_of_class)
    for part, files_of_class in files_of_part.items():
        _check_part(folders[part], files_of_class, classes)
    empty = [name for name, files in files_of_part["train"].items() if not files]
    if empty:
        print_notice(f"folder:{path}: left out without images: {quote_names(empty)}")
    return make_listing(root, classes, files_of_part)


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
    with _readable(root / folder):
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


def _scan_classes(root: Path, folder: Path) -> FilesByClass:
    """List the image files below each subfolder of a part's folder, by the subfolder's name."""
    with _readable(folder), os.scandir(folder) as entries:
        names = sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )
    prefix = "" if folder == root else f"{folder.name}/"
    return {name: list(walk_files(root, prefix + name)) for name in names}


def _named_as(classes: tuple[str, ...], files_of_class: FilesByClass) -> FilesByClass:
    """Give the classes of a part the spelling that they have in train.

    An accent may be a part of its letter or a character of its own (Unicode's NFC and NFD): two
    systems, or two programs that unpack an archive, may write the same name differently.
    """
    spelling = {normalize("NFC", name): name for name in classes}
    named: dict[str, list[ImageFile]] = {}
    for name, files in files_of_class.items():
        known = name if name in classes else spelling.get(normalize("NFC", name), name)
        named.setdefault(known, []).extend(files)
    return named


def _check_part(folder: Path, files_of_class: FilesByClass, classes: tuple[str, ...]) -> None:
    """Check that a part has images, and only of classes that the training part has, too.

    Raises:
        UsageFailure: if not.
    """
    unknown = [name for name, files in files_of_class.items() if files and name not in classes]
    if unknown:
        raise UsageFailure(
            f"{folder} has images of classes that train has none of: {quote_names(unknown)}"
        )
    if not any(files_of_class.values()):
        raise UsageFailure(
            f"{folder} holds no images in folders of classes: put some there, or remove it"
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn a failure to read into one line."""
    try:
        yield
    except OSError as error:
        name = clean(error.filename or path)
        reason = error.strerror or error
        raise IntegrityFailure(f"{name} cannot be read ({reason}): restore or remove it") from None
