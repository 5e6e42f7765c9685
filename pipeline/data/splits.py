"""Divides the rows of a data set into training, validation and test splits."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch

import models
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip

PARTS = ("train", "val", "test")
TEST_SHARE = 5  # without an official test part, 1/5 of the images is held out

Splits = Mapping[str, torch.Tensor]  # the rows of each part, ascending


def divide(
    labels: torch.Tensor, parts: Sequence[str], seed: int, val_share: int, *, has_test: bool
) -> Splits:
    """Divide rows into three splits.

    An official part is a split unchanged; missing splits are held out of the training part.

    Args:
        labels: int64 (images,).
        parts: the official part of each row, from `PARTS`.
        seed: decides the rows that are held out.
        val_share: 1/val_share of the training part validates, after the test split is taken.
        has_test: whether there is an official test part, even if these rows do not include it.
    """
    part_numbers = torch.tensor([PARTS.index(part) for part in parts])
    train, val, test = ((part_numbers == n).nonzero().flatten() for n in range(len(PARTS)))
    if not has_test:
        remaining, held_out = stratified(labels[train], TEST_SHARE, seed)
        test = train[held_out]
        train = train[remaining]
    if len(val) == 0:
        remaining, held_out = stratified(labels[train], val_share, seed)
        val = train[held_out]
        train = train[remaining]
    return {"train": train, "val": val, "test": test}


def stratified(labels: torch.Tensor, share: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split rows in two, class by class: 1/share of each class is held out.

    Args:
        labels: int64 (images,).
        share: 5 holds out a fifth.
        seed: decides the rows.

    Returns:
        The remaining and the held-out rows, both ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        is_held_out[order[: round(len(members) / share)]] = True
    return (~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()


def read_split_file(file: Path, count: int, paths: Sequence[str] | None) -> Splits:
    """Read the three splits from a CSV file.

    Its header names the column ``split`` (train, val, test) and either ``index`` or ``path``. An
    index counts from 0 in the order in which the data set is read: the official training part,
    then val, then test, as far as it has them; in a folder each part by class, and each class by
    path. Rows that are not named are in no split.

    Args:
        file: the CSV; UTF-8, with or without a byte order mark.
        count: the number of rows of the data set.
        paths: the path of each row relative to the data set's folder; None if images are not
            files of their own.

    Raises:
        UsageFailure: naming the file and the line.
    """
    try:
        # Paths that are not UTF-8 are found, too: this is how Python reads names of files.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            return _parse_splits(file, _read_lines(file, opened), count, paths)
    except (OSError, ValueError) as error:  # ValueError: the name is none that a file can have
        reason = getattr(error, "strerror", None) or error
        raise UsageFailure(f"cannot read the split file {clean(file)}: {reason}") from None


def _read_lines(file: Path, opened: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line that is not blank, with the line's number."""
    reader = csv.reader(opened, strict=True)
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
        raise UsageFailure(
            f"{location}: path is unknown: {clean(text)!r}; it counts from the data set's folder"
        )
    return row_of_path[path]
