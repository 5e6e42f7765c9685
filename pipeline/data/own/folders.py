"""Lists the images of a folder that has a subfolder for each class."""

from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

from pipeline.data.listing import (
    FilesByClass,
    ImageFile,
    Listing,
    make_listing,
    quote_names,
    readable,
    walk_files,
)
from pipeline.system.console import print_notice
from pipeline.system.errors import UsageFailure


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


def _scan_classes(root: Path, folder: Path) -> FilesByClass:
    """List the image files below each subfolder of a part's folder, by the subfolder's name."""
    with readable(folder), os.scandir(folder) as entries:
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
