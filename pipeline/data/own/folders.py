"""Lists the images of a folder that has a subfolder for each class."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from unicodedata import normalize

from pipeline.data.listing import (
    FilesByClass,
    ImageFile,
    Listing,
    folded,
    make_listing,
    passed_over_text,
    quote_names,
    read_folder,
    sorted_labels,
)
from pipeline.data.own.layouts import ELSEWHERE, recognise
from pipeline.system.errors import UsageFailure


def scan_folder(path: str) -> Listing:
    """List the images of a folder with a subfolder for each class.

    The folder holds ``train/<class>/*``, and other parts in the same layout if it has them; or
    just ``<class>/*``. `pipeline.data.own.layouts` says which names and layouts are recognised.
    Hidden files and folders, and files without the extension of an image, are ignored. Classes
    without images are left out.

    Args:
        path: relative to the working folder, or absolute.

    Raises:
        UsageFailure: if the folder has no such layout.
    """
    name = f"folder:{path}"
    root = folder_at(path)
    folder = read_folder(root)
    layout = recognise(folder, name)
    folders = {part: root / inner for part, inner in layout.folder_of_part.items()}
    train = layout.files_of_part["train"]
    in_order = {label: train[label] for label in sorted_labels(train)}
    files_of_part = {**layout.files_of_part, "train": in_order}
    listing = listing_of_parts(name, root, files_of_part, folders)
    passed_over = passed_over_text(folder.all_passed_over())
    notes = (*layout.notes, *listing.notes, *([passed_over] if passed_over else []))
    origins = {part: f"{inner}/" for part, inner in layout.folder_of_part.items() if inner}
    return dataclasses.replace(listing, origins=origins, notes=notes)


def folder_at(path: str) -> Path:
    """Return the folder of a data set.

    Raises:
        UsageFailure: if there is none.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise UsageFailure(
            f"no folder {root}: folder:PATH takes one that holds <class>/<images>, or "
            "train/<class>/<images>"
        )
    return root


def listing_of_parts(
    name: str,
    root: Path,
    files_of_part: Mapping[str, FilesByClass],
    folders: Mapping[str, Path],
) -> Listing:
    """Check the parts of a folder, and make their listing.

    Args:
        name: of the data set, for messages.
        root: the data set's folder.
        files_of_part: the images of each part by class, train first.
        folders: of the parts, for messages.

    Raises:
        UsageFailure: if there are fewer than two classes, a part is empty, or one has a class that
            train lacks.
    """
    classes = tuple(name for name, files in files_of_part["train"].items() if files)
    if len(classes) < 2:
        raise too_few_classes(name, folders["train"], quote_names(list(classes)))
    named = {part: _named_as(classes, files) for part, files in files_of_part.items()}
    for part, files_of_class in named.items():
        _check_part(folders[part], files_of_class, classes)
    listing = make_listing(root, classes, named)
    empty = [name for name, files in files_of_part["train"].items() if not files]
    if empty:
        notes = (f"left out without images: {quote_names(empty)}",)
        listing = dataclasses.replace(listing, notes=notes)
    return listing


def too_few_classes(name: str, folder: Path, found: str) -> UsageFailure:
    """Make the error about a folder without images of two classes."""
    return UsageFailure(
        f"{name} needs images of at least 2 classes, each in a folder of its own below "
        f"{folder}: found {found}; {ELSEWHERE}"
    )


def _named_as(classes: tuple[str, ...], files_of_class: FilesByClass) -> FilesByClass:
    """Give the classes of a part the spelling that they have in train.

    An accent may be a part of its letter or a character of its own (Unicode's NFC and NFD): two
    systems, or two programs that unpack an archive, may write the same name differently. Capitals
    and spaces at the ends do not count either, unless classes of train differ by them.
    """
    spelling = _unique(classes, _composed)
    loose_spelling = _unique(classes, folded)
    named: dict[str, list[ImageFile]] = {}
    for name, files in files_of_class.items():
        known = name
        if name not in classes:
            known = spelling.get(_composed(name)) or loose_spelling.get(folded(name), name)
        named.setdefault(known, []).extend(files)
    return named


def _composed(name: str) -> str:
    return normalize("NFC", name)


def _unique(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Return the names by their key, without those that share it."""
    counts = Counter(map(key, names))
    return {key(name): name for name in names if counts[key(name)] == 1}


def _check_part(folder: Path, files_of_class: FilesByClass, classes: tuple[str, ...]) -> None:
    """Check that a part has images, and only of classes that the training part has, too.

    Raises:
        UsageFailure: if not.
    """
    unknown = [name for name, files in files_of_class.items() if files and name not in classes]
    if unknown:
        raise UsageFailure(
            f"{folder} has images of classes that train has none of: {quote_names(unknown)}; "
            "put some of each into train, or remove these"
        )
    if not any(files_of_class.values()):
        raise UsageFailure(
            f"{folder} holds no images in folders of classes: put some there, or remove it"
        )
