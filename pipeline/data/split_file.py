"""Reads split files: CSV files that say which images train, validate and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import torch

import models
from pipeline.data.listing import PARTS, parse_part
from pipeline.data.splits import Splits
from pipeline.data.tables import cells_by_column, read_table, spellings, windows_text
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip


@dataclass(frozen=True)
class SplitFile:
    """What a split file says of a data set."""

    splits: Splits | None  # None if it names groups only
    groups: tuple[str, ...] | None  # of each image, empty for an image of none


def read_split_file(file: Path, count: int, paths: Sequence[str] | None) -> SplitFile:
    """Read splits, groups or both from a CSV file.

    Its header names the columns ``split`` (train, val, test), ``group`` or both, and either
    ``index`` or ``path``. An index counts from 0 in the order in which the data set is read: the
    official training part, then val, then test, as far as it has them; in a folder each part by
    class, and each class by path. Rows that are not named are in no split, and in no group.
    Images of a group stay together where splits are drawn.

    Args:
        file: the CSV, as `pipeline.data.tables.read_table` takes it.
        count: the number of rows of the data set.
        paths: the path of each row relative to the data set's folder; None if images are not
            files of their own.

    Raises:
        UsageFailure: naming the file and the line.
    """
    table = read_table(file, "split file")
    find_row = _row_finder(table.location, list(table.columns), count, paths)
    line_of_row: dict[int, str] = {}
    rows_of_part: dict[str, list[int]] = {part: [] for part in PARTS}
    group_of_row: dict[int, str] = {}
    for location, cells in table.lines:
        cell = cells_by_column(table, location, cells)
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
    if "group" in table.columns:
        groups = tuple(group_of_row.get(row, "") for row in range(count))
    if "split" not in table.columns:
        return SplitFile(None, groups)
    for part, rows in rows_of_part.items():
        if not rows:
            raise UsageFailure(
                f"{file}: no row is {part}: each of {', '.join(PARTS)} needs at least one"
            )
    splits = {part: torch.tensor(sorted(rows)) for part, rows in rows_of_part.items()}
    return SplitFile(splits, groups)


def _row_finder(
    location: str, columns: list[str], count: int, paths: Sequence[str] | None
) -> Callable[[str, Mapping[str, str]], int]:
    """Check the header, and return a function that finds the row of the data set for a line.

    The function takes the line's location, for messages, and its cells by column. It finds the row
    by index or by path.

    Args:
        location: the file and line of the header, for messages.
        columns: the names in the header.
        count: the number of rows of the data set.
        paths: the path of each row, as for `read_split_file`.

    Raises:
        UsageFailure: if the columns are not ``split`` or ``group``, and ``index`` or ``path``.
    """
    allowed = ("path", "index", "split", "group")
    for name in columns:
        if name not in allowed:
            hint = models.did_you_mean(name, allowed)
            raise UsageFailure(f"{location}: column is unknown: {clip(name, 80)!r}; {hint}")
    names_image = ("path" in columns) != ("index" in columns)
    says_something = "split" in columns or "group" in columns
    if not names_image or not says_something or len(set(columns)) < len(columns):
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
    for path in spellings(text):
        if path in row_of_path:
            return row_of_path[path]
    raise UsageFailure(
        f"{location}: path is unknown: {clean(text)!r}; it counts from the data set's folder"
    )
