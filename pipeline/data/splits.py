"""Divides the rows of a data set into training, validation and test splits."""

from __future__ import annotations

import codecs
import csv
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import torch

import models
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip
from sweeps.trial import Redraw

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


def redraw(
    labels: torch.Tensor, is_val: torch.Tensor, drawn: Redraw, split_seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the training and validation splits anew from the images of both.

    A random draw has as many validation images of each class as the present splits. The folds of a
    cross-validation hold each image once, and differ by at most one image of each class, and by at
    most one in all.

    Args:
        labels: of the training and validation images, int64 (images,).
        is_val: whether each validates now, bool (images,).
        drawn: which draw.
        split_seed: decides the draws, with their number.

    Returns:
        The new training and the new validation rows of `labels`, both ascending.

    Raises:
        UsageFailure: if there are more folds than images of a class.
    """
    if drawn.folds is None:
        validates = _draw_at_random(labels, is_val, _generator(split_seed, str(drawn)))
    else:
        fold_of_row = _deal(labels, drawn.folds, _generator(split_seed, f"{drawn.folds} folds"))
        validates = fold_of_row == drawn.number - 1
    return (~validates).nonzero().flatten(), validates.nonzero().flatten()


def check_folds(labels: torch.Tensor, folds: int) -> None:
    """Check that each fold can have an image of each class.

    Args:
        labels: of the training and validation images, int64 (images,).
        folds: how many.

    Raises:
        UsageFailure: if there are more folds than images of a class.
    """
    counts = labels.bincount()
    smallest = int(counts[counts > 0].min())
    if folds > smallest:
        raise UsageFailure(
            f"folds must be at most {smallest}, the training and validation images of the smallest "
            f"class: got {folds}"
        )


def _generator(split_seed: int, purpose: str) -> torch.Generator:
    digest = hashlib.sha256(f"{split_seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _draw_at_random(
    labels: torch.Tensor, is_val: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Say of each image whether it validates, bool (images,)."""
    validates = torch.zeros_like(is_val)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        validates[order[: int(is_val[members].sum())]] = True
    return validates


def _deal(labels: torch.Tensor, folds: int, generator: torch.Generator) -> torch.Tensor:
    """Deal the images of each class to the folds, in turn. Returns each one's fold, from 0."""
    check_folds(labels, folds)
    fold_of_row = torch.zeros_like(labels)
    dealt = 0  # a class begins where the last one ended, so that the folds are of one size
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        fold_of_row[order] = (dealt + torch.arange(len(order))) % folds
        dealt += len(order)
    return fold_of_row


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
