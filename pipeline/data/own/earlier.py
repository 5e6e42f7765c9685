"""Lists the images of a folder as version 0.1.0 did, for the studies that it began."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.data.listing import FilesByClass, Listing, quote_names, readable, walk_files
from pipeline.data.own.folders import folder_at, listing_of_parts, too_few_classes


def scan_folder(path: str) -> Listing:
    """List the images of ``PATH/train/<class>/*``, or of ``PATH/<class>/*``.

    The parts have exactly the names train, val and test; other folders beside them are ignored.

    Args:
        path: relative to the working folder, or absolute.

    Raises:
        UsageFailure: if the folder has no such layout.
    """
    root = folder_at(path)
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    has_parts = "train" in parts
    folders = {part: root / part for part in parts} if has_parts else {"train": root}
    files_of_part = {part: _scan_classes(root, folder) for part, folder in folders.items()}
    classes = [name for name, files in files_of_part["train"].items() if files]
    if not has_parts and set(classes) <= {"val", "test"}:
        raise too_few_classes(f"folder:{path}", root, quote_names(classes))
    return listing_of_parts(f"folder:{path}", root, files_of_part, folders)


def _scan_classes(root: Path, folder: Path) -> FilesByClass:
    """List the image files below each subfolder of a part's folder, by the subfolder's name."""
    with readable(folder), os.scandir(folder) as entries:
        names = sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )
    prefix = "" if folder == root else f"{folder.name}/"
    return {name: list(walk_files(root, prefix + name)) for name in names}
