"""Reads split files: CSV files that say which images train, validate and test."""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import torch

import models
from pipeline.data.splits import PARTS, Splits
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip


def read_split_file(file: Path, count: int, paths: Sequence[str] | None) -> Splits:
    """Read the three splits from a CSV file.

    Its header names the column ``split`` (train, val, test) and either ``index`` or ``path``. An
    index counts from 0 in the order in which the data set is read: the official training part,
    then val, then test, as far as it has them; in a folder each part by class, and each class by
    path. Rows that are not named are in no split.

    Args:
        file: the CSV; UTF-8, or UTF-16 with a byte order mark; with commas, or with the semicolons
            or tabs by which some spreadsheets save it.
        count: the number of rows of the data set.
        paths: the path of each row relative to the data set's folder; None if images are not
            files of their own.

    Raises:
        UsageFailure: naming the file and the line.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe or a device may never end
            raise UsageFailure(f"cannot read the split file {clean(file)}: it is no regular file")
        # Paths that are not UTF-8 are found, too: this is how Python reads names of files.
        encoding = _encoding(file)
        with file.open(encoding=encoding, errors="surrogateescape", newline="") as opened:
            return _parse_splits(file, _read_lines(file, opened), count, paths)
    except (OSError, ValueError) as error:  # ValueError: the name is none that a file can have
        reason = getattr(error, "strerror", None) or error
        raise UsageFailure(f"cannot read the split file {clean(file)}: {reason}") from None


def _encoding(file: Path) -> str:
    with file.open("rb") as opened:
        start = opened.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _delimiter(header: str) -> str:
    """Return the character between the names of two columns, none of which has one of these."""
    for delimiter in (",", ";", "\t"):
        if delimiter in header:
            return delimiter
    return ","


def _read_lines(file: Path, opened: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line that is not blank, with the line's number."""
    lines = iter(opened)
    header = next(lines, "")
    reader = csv.reader(itertools.chain([header], lines), strict=True, delimiter=_delimiter(header))
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise UsageFailure(f"{file}:{reader.line_num}: not CSV ({error})") from None


def _parse_splits(
    file: Path, lines: Iterator[tuple[int, list[str]]], count: int, paths: Sequence[str] | None
) -> Splits:
    """Read the rows of each split from the lines of a split file.

    Args:
        file: the split file, for messages.
        lines: the number and the fields of each line; the header comes first.
        count: the number of rows of the data set.
        paths: the path of each row, as for `read_split_file`.

    Raises:
        UsageFailure: naming the file and the line.
    """
    header_number, header = next(lines, (1, []))  # an empty file fails: it lacks all columns
    columns = [name.strip() for name in header]
    find_row = _row_finder(f"{file}:{header_number}", columns, count, paths)
    line_of_row: dict[int, int] = {}
    rows_of_part: dict[str, list[int]] = {part: [] for part in PARTS}
    for line_number, fields in lines:
        location = f"{file}:{line_number}"
        if len(fields) != len(columns):
            raise UsageFailure(f"{location}: {len(fields)} fields instead of {len(columns)}")
        cells = dict(zip(columns, fields, strict=True))
        row = find_row(location, cells)
        part = cells["split"].strip()
        if part not in PARTS:
            hint = models.did_you_mean(part, PARTS)
            raise UsageFailure(f"{location}: split is unknown: {clip(part, 80)!r}; {hint}")
        if row in line_of_row:
            raise UsageFailure(
                f"{location}: the same image as in line {line_of_row[row]}: remove one of the two"
            )
        line_of_row[row] = line_number
        rows_of_part[part].append(row)
    for part, rows in rows_of_part.items():
        if not rows:
            raise UsageFailure(
                f"{file}: no row is {part}: each of {', '.join(PARTS)} needs at least one"
            )
    return {part: torch.tensor(sorted(rows)) for part, rows in rows_of_part.items()}


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
        UsageFailure: if the columns are not ``split``, and ``index`` or ``path``.
    """
    allowed = ("path", "index", "split")
    for name in columns:
        if name not in allowed:
            hint = models.did_you_mean(name, allowed)
            raise UsageFailure(f"{location}: column is unknown: {clip(name, 80)!r}; {hint}")
    if sorted(columns) not in (["index", "split"], ["path", "split"]):
        raise UsageFailure(
            f"{location}: the columns must be split, and path or index: "
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
    path = str(PurePosixPath(text))
    if path not in row_of_path:
        path = normalize("NFC", path)
    if path not in row_of_path:
        raise UsageFailure(
            f"{location}: path is unknown: {clean(text)!r}; it counts from the data set's folder"
        )
    return row_of_path[path]
