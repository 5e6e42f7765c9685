"""Reads split files: CSV files that say which images train, validate and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import torch

from models.suggestions import did_you_mean
from pipeline.data.listing import PARTS, parse_part
from pipeline.data.splits import Splits
from pipeline.data.tables import (
    COLUMN_OF_NAME,
    Table,
    cells_by_column,
    read_table,
    spellings,
    windows_text,
)
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip

_COLUMNS = ("path", "index", "split", "group")
_UNNAMED = ("", "unnamed:_0")  # the columns in which pandas writes the numbers of lines


@dataclass(frozen=True)
class SplitFile:
    """What a split file says of a data set."""

    splits: Splits | None  # None if it names groups only
    groups: tuple[str, ...] | None  # of each image, empty for an image of none


def read_split_file(file: Path, count: int, paths: Sequence[str] | None) -> SplitFile:
    """Read splits, groups or both from a CSV file.

    Its header names the columns ``split`` (train, val, test), ``group`` or both, and either
    ``index`` or ``path``, also by the other names of `pipeline.data.tables.COLUMN_OF_NAME`. Labels,
    and columns without a name, are ignored. A path may have further folders in front. An index
    counts from 0 in the order in which the data set is read: the official training part, then val,
    then test, as far as it has them; in a folder each part by class, and each class by path. Rows
    that are not named are in no split, and in no group. Images of a group stay together where
    splits are drawn.

    Args:
        file: the CSV, as `pipeline.data.tables.read_table` takes it.
        count: the number of rows of the data set.
        paths: the path of each row relative to the data set's folder; None if images are not
            files of their own.

    Raises:
        UsageFailure: naming the file and the line.
    """
    table = read_table(file, "split file")
    columns = _columns(table)
    find_row = _row_finder(table.location, columns, count, paths)
    line_of_row: dict[int, str] = {}
    rows_of_part: dict[str, list[int]] = {part: [] for part in PARTS}
    group_of_row: dict[int, str] = {}
    for location, cells in table.lines:
        cell_of_name = cells_by_column(table, location, cells)
        cell = {column: cell_of_name[name] for column, name in columns.items()}
        row = find_row(location, cell)
        if row in line_of_row:
            raise UsageFailure(
                f"{location}: the same image as in line {line_of_row[row]}: remove one of the two"
            )
        line_of_row[row] = location.rpartition(":")[2]
        if "split" in cell:
            rows_of_part[parse_part(location, cell["split"])].append(row)
        group_of_row[row] = windows_text(cell.get("group", "")).strip()
    groups = None
    if "group" in columns:
        groups = tuple(group_of_row.get(row, "") for row in range(count))
    if "split" not in columns:
        return SplitFile(None, groups)
    for part, rows in rows_of_part.items():
        if not rows:
            raise UsageFailure(
                f"{file}: no row is {part}: each of {', '.join(PARTS)} needs at least one"
            )
    splits = {part: torch.tensor(sorted(rows)) for part, rows in rows_of_part.items()}
    return SplitFile(splits, groups)


def _columns(table: Table) -> dict[str, str]:
    """Return the name in the table of each column that is known.

    Raises:
        UsageFailure: if a column is unknown, or comes twice.
    """
    names: dict[str, str] = {}
    for name in table.columns:
        column = "index" if name == "index" else COLUMN_OF_NAME.get(name)
        if name in _UNNAMED or column == "label":
            continue
        if column is None:
            hint = did_you_mean(name, _COLUMNS)
            raise UsageFailure(f"{table.location}: column is unknown: {clip(name, 80)!r}; {hint}")
        if column in names:
            raise UsageFailure(
                f"{table.location}: {clip(names[column], 80)!r} and {clip(name, 80)!r} are both "
                f"{column}: remove one"
            )
        names[column] = name
    return names


def _row_finder(
    location: str, columns: Mapping[str, str], count: int, paths: Sequence[str] | None
) -> Callable[[str, Mapping[str, str]], int]:
    """Check the columns, and return a function that finds the row of the data set for a line.

    The function takes the line's location, for messages, and its cells by column. It finds the row
    by index or by path.

    Args:
        location: the file and line of the header, for messages.
        columns: those of the table that are known.
        count: the number of rows of the data set.
        paths: the path of each row, as for `read_split_file`.

    Raises:
        UsageFailure: if the columns are not ``split`` or ``group``, and ``index`` or ``path``.
    """
    names_image = ("path" in columns) != ("index" in columns)
    says_something = "split" in columns or "group" in columns
    if not names_image or not says_something:
        raise UsageFailure(
            f"{location}: the columns must be split, group or both, and path or index: "
            f"got {', '.join(columns) or 'none'}"
        )
    if "index" in columns:
        return lambda location, cells: _parse_index(location, cells["index"].strip(), count)
    if paths is None:
        raise UsageFailure(f"{location}: this data set's images have no path: name them by index")
    row_of_path = {path: row for row, path in enumerate(paths)}
    for row, path in enumerate(paths):  # another system may write accents otherwise
        row_of_path.setdefault(normalize("NFC", path), row)
    return lambda location, cells: _parse_path(location, cells["path"], row_of_path)


def _parse_index(location: str, text: str, count: int) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 19  # few digits: quick to read
    if not is_number or int(text) >= count:
        raise UsageFailure(
            f"{location}: index must be from 0 to {count - 1}: got {clip(text, 80)!r}"
        )
    return int(text)


def _parse_path(location: str, text: str, row_of_path: Mapping[str, int]) -> int:
    """Find the row of a path, perhaps with further folders in front, as of an absolute path."""
    for path in spellings(text):
        parts = path.split("/")
        while parts and ".." not in parts:
            row = row_of_path.get("/".join(parts))
            if row is not None:
                return row
            parts = parts[1:]
    raise UsageFailure(
        f"{location}: path is unknown: {clean(text)!r}; it counts from the data set's folder"
    )
