"""Lists the images that a table names: a CSV of paths and labels, and of splits and groups."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.listing import (
    PARTS,
    ImageFile,
    Listing,
    image_file,
    make_listing,
    parse_part,
    quote_names,
)
from pipeline.data.tables import Table, cells_by_column, read_table, spellings, windows_text
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip

# The names of the columns, and by which other names they are known, too.
_COLUMN_OF_NAME: Mapping[str, str] = {
    **dict.fromkeys(("path", "file", "filename", "file_name", "image", "image_path"), "path"),
    **dict.fromkeys(("label", "class", "category", "target"), "label"),
    **dict.fromkeys(("split", "part", "subset"), "split"),
    **dict.fromkeys(("group", "group_id"), "group"),
}


@dataclass(frozen=True)
class _Row:
    """A line of the table."""

    location: str  # file and line, for messages
    path: str  # as the table writes it
    label: str
    part: str
    group: str


def scan_csv(path: str) -> Listing:
    """List the images of a table with the columns path and label, and perhaps split and group.

    Paths count from the table's folder. Splits are official parts, as the folders train, val and
    test are; without the column, all images are of train, and the others are held out.

    Args:
        path: of the CSV, as `pipeline.data.tables.read_table` takes it.

    Raises:
        UsageFailure: naming the file, and the line.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UsageFailure(
            f"no file {file}: csv:FILE takes a table with the columns path and label"
        )
    rows = _read_rows(file)
    images = _find_images(file, rows)
    classes = _sorted_labels({row.label for row in rows if row.part == "train"})
    if len(classes) < 2:
        raise UsageFailure(
            f"csv:{path} needs training images of at least 2 labels: found "
            f"{quote_names(list(classes))}"
        )
    files_of_part: dict[str, dict[str, list[ImageFile]]] = {}
    for part in PARTS:
        of_part = [pair for pair in zip(rows, images, strict=True) if pair[0].part == part]
        for row, image in of_part:
            if row.label not in classes:
                raise UsageFailure(
                    f"{row.location}: train has no image of the label {clip(row.label, 80)!r}"
                )
            files_of_part.setdefault(part, {}).setdefault(row.label, []).append(image)
    group_of_path = {image.path: row.group for row, image in zip(rows, images, strict=True)}
    listing = make_listing(file.parent, classes, files_of_part)
    groups = tuple(group_of_path[image.path] for image in listing.files)
    origins = {}
    if len(files_of_part) > 1:
        origins = dict.fromkeys(files_of_part, file.name)
    return Listing(
        root=listing.root,
        classes=classes,
        files=listing.files,
        labels=listing.labels,
        parts=listing.parts,
        groups=groups if any(groups) else None,
        origins=origins,
    )


def _read_rows(file: Path) -> list[_Row]:
    """Read the lines of a table, in order.

    Raises:
        UsageFailure: if a column or a cell is missing or unknown.
    """
    table = read_table(file, "table")
    columns = _columns(table)
    rows = []
    for location, cells in table.lines:
        cell = cells_by_column(table, location, cells)
        path = cell[columns["path"]].strip()
        label = windows_text(cell[columns["label"]]).strip()
        for column, value in (("path", path), ("label", label)):
            if not value:
                raise UsageFailure(f"{location}: {column} is empty")
        part = "train"
        if "split" in columns:
            part = parse_part(location, cell[columns["split"]])
        group = windows_text(cell[columns["group"]]).strip() if "group" in columns else ""
        rows.append(_Row(location, path, label, part, group))
    return rows


def _columns(table: Table) -> dict[str, str]:
    """Return the name in the table of each column that is known.

    Raises:
        UsageFailure: if path or label is missing, or one column comes twice.
    """
    names: dict[str, str] = {}
    for name in table.columns:
        column = _COLUMN_OF_NAME.get(name)
        if column in names:
            raise UsageFailure(
                f"{table.location}: {names[column]!r} and {name!r} are both {column}: remove one"
            )
        if column is not None:
            names[column] = name
    missing = [column for column in ("path", "label") if column not in names]
    if missing:
        found = ", ".join(clip(name, 40) for name in table.columns[:10])
        raise UsageFailure(
            f"{table.location}: no column {' and none '.join(missing)}: the first line names the "
            f"columns path, label, and perhaps split, group: got {found or 'none'}"
        )
    return names


def _find_images(file: Path, rows: Sequence[_Row]) -> list[ImageFile]:
    """Find the file of each row.

    Raises:
        UsageFailure: naming the first few that are missing, or one that is named twice.
    """
    images = []
    missing = []
    row_of_file: dict[Path, _Row] = {}
    for row in rows:
        found = _find_file(file.parent, row.path)
        if found is None:
            missing.append(row.path)
            continue
        path, status = found
        earlier = row_of_file.setdefault(Path(os.path.normpath(file.parent / path)), row)
        if earlier is not row:
            line = earlier.location.rpartition(":")[2]
            raise UsageFailure(
                f"{row.location}: the same image as in line {line}: remove one of the two"
            )
        images.append(image_file(path, status))
    if missing:
        raise UsageFailure(
            f"{file}: {len(missing):,} of its {len(rows):,} files are not there: "
            f"{quote_names(missing, 3)}; paths count from {file.parent}"
        )
    return images


def _find_file(folder: Path, text: str) -> tuple[str, os.stat_result] | None:
    """Find a file by its path as any system may write it; None if it is not there."""
    for path in dict.fromkeys(spellings(text)):
        try:
            status = (folder / path).stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            return path, status
    return None


def _sorted_labels(labels: set[str]) -> tuple[str, ...]:
    """Sort labels: as numbers if all are whole numbers, else as text."""
    if all(label.isascii() and label.isdecimal() and len(label) < 19 for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
