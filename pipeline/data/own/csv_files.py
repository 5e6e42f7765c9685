"""Lists the images that a table names: a CSV of paths and labels, and of splits and groups."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.listing import (
    EXTENSIONS,
    PARTS,
    ImageFile,
    Listing,
    image_file,
    make_listing,
    parse_part,
    quote_names,
    read_folder,
    sorted_labels,
)
from pipeline.data.tables import (
    COLUMN_OF_NAME,
    Table,
    cells_by_column,
    read_table,
    spellings,
    windows_text,
)
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip

_IDS = ("image_id", "img_id", "id")  # name the files where no column of the above does
_DEEPEST = 2  # levels of folders below the table's that are searched for its files


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

    Paths count from the table's folder, or else from the one folder below it that holds all of the
    files; there, endings may be missing, as in a table of ids. Splits are official parts, as the
    folders train, val and test are; without the column, all images are of train, and the others are
    held out.

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
    images, inner = _find_images(file, rows)
    classes = sorted_labels({row.label for row in rows if row.part == "train"})
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
                    f"{row.location}: train has no image of the label {clip(row.label, 80)!r}: "
                    "list some of it in train, or remove this row"
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
        notes=(f"its files were found in {clip(inner, 80)}/",) if inner else (),
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
        column = COLUMN_OF_NAME.get(name)
        if column in names:
            raise UsageFailure(
                f"{table.location}: {names[column]!r} and {name!r} are both {column}: remove one"
            )
        if column is not None:
            names[column] = name
    ids = [name for name in _IDS if name in table.columns]
    if ids and "path" not in names:
        names["path"] = ids[0]
    missing = [column for column in ("path", "label") if column not in names]
    if missing:
        found = ", ".join(clip(name, 40) for name in table.columns[:10])
        raise UsageFailure(
            f"{table.location}: no column {' and none '.join(missing)}: the first line names the "
            f"columns path, label, and perhaps split, group: got {found or 'none'}"
        )
    return names


def _find_images(file: Path, rows: Sequence[_Row]) -> tuple[list[ImageFile], str]:
    """Find the file of each row.

    Returns:
        The files; and the folder from which the paths count, if it is not the table's own.

    Raises:
        UsageFailure: naming the first few that are missing, or one that is named twice.
    """
    found = [_find_file(file.parent, row.path) for row in rows]
    missing = [row.path for row, image in zip(rows, found, strict=True) if image is None]
    inner = ""
    if missing and len(missing) == len(rows):
        inner, found = _find_below(file, missing)
    images = [image for image in found if image is not None]
    if len(images) < len(rows):
        raise UsageFailure(
            f"{file}: {len(missing):,} of its {len(rows):,} files are not there: "
            f"{quote_names(missing, 3)}; paths count from {file.parent}, or from the one folder "
            "below it that holds them all"
        )
    row_of_file: dict[str, _Row] = {}
    for row, image in zip(rows, images, strict=True):
        earlier = row_of_file.setdefault(os.path.normpath(file.parent / image.path), row)
        if earlier is not row:
            line = earlier.location.rpartition(":")[2]
            raise UsageFailure(
                f"{row.location}: the same image as in line {line}: remove one of the two"
            )
    return images, inner


def _find_below(file: Path, paths: Sequence[str]) -> tuple[str, list[ImageFile | None]]:
    """Find all of a table's files in one folder below it: by their paths, or these and an ending.

    Returns:
        The folder's path from the table's, and the files; nothing if no folder holds them all.

    Raises:
        UsageFailure: if several folders hold them all.
    """
    root = file.parent
    holders: dict[str, list[ImageFile | None]] = {}
    for inner in _folders_below(root, "", _DEEPEST):
        if not _may_hold(root / inner, paths[0]):
            continue
        image_of_path: dict[str, ImageFile | None] = {}
        for image in read_folder(root, inner).all_images():
            path = image.path.removeprefix(f"{inner}/")
            image_of_path[path] = image
            stem = path.rpartition(".")[0]
            # An id that several files share names none of them.
            image_of_path[stem] = None if stem in image_of_path else image
        found = [_first_spelling(image_of_path, path) for path in paths]
        if None not in found:
            holders[inner] = found
    if len(holders) > 1:
        raise UsageFailure(
            f"{file}: its files are in each of {quote_names(list(holders))}: write the folder in "
            "front of the paths"
        )
    return next(iter(holders.items()), ("", []))


def _folders_below(root: Path, path: str, depth: int) -> Iterator[str]:
    """Yield the paths of the folders below a folder that can be read and are not hidden."""
    names: list[str] = []
    with suppress(OSError), os.scandir(root / path) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    for name in names:
        if name.startswith("."):
            continue
        inner = f"{path}/{name}" if path else name
        yield inner
        if depth > 1:
            yield from _folders_below(root, inner, depth - 1)


def _may_hold(folder: Path, path: str) -> bool:
    """Whether a folder has a file of a path, or of the path and an ending."""
    endings = ("", *EXTENSIONS, *(ending.upper() for ending in EXTENSIONS))
    return any(_find_file(folder, f"{path}{ending}") is not None for ending in endings)


def _first_spelling(image_of_path: Mapping[str, ImageFile | None], text: str) -> ImageFile | None:
    """Find an image by its path as any system may write it; None if it is not there."""
    found = (image_of_path.get(path) for path in spellings(text))
    return next((image for image in found if image is not None), None)


def _find_file(folder: Path, text: str) -> ImageFile | None:
    """Find a file by its path as any system may write it; None if it is not there."""
    for path in dict.fromkeys(spellings(text)):
        try:
            status = (folder / path).stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            return image_file(path, status)
    return None
