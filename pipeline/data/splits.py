"""Which rows of a data set train, validate and test. Knows labels and names of rows, and no pixels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch

import models
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean

PARTS = ("train", "val", "test")
TEST_SHARE = 5  # one in so many images is held out where there is no official test part

Splits = Mapping[str, torch.Tensor]  # of each part the rows, ascending


def stratified(labels: torch.Tensor, share: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices in two, class by class: one in ``share`` images goes to the second part.

    Args:
        labels: int64 (images,).
        share: 5 holds out a fifth.
        seed: decides which.

    Returns:
        The indices of both parts, ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        held_out[order[: round(len(members) / share)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def divide(
    labels: torch.Tensor, parts: Sequence[str], seed: int, val_share: int, *, has_test: bool
) -> Splits:
    """Split rows in three: an official part is a split, whole; what is missing is held out of the train part.

    Args:
        labels: int64 (images,).
        parts: the official part of each row, one of `PARTS`.
        seed: decides what is held out.
        val_share: one in so many rows of the train part validates, after the test split is taken.
        has_test: whether there is an official test part, though its rows may not be among these.
    """
    official = torch.tensor([PARTS.index(part) for part in parts])
    train, val, test = ((official == number).nonzero().flatten() for number in range(3))
    if not has_test:
        rest, held_out = stratified(labels[train], TEST_SHARE, seed)
        train, test = train[rest], train[held_out]
    if not len(val):
        rest, held_out = stratified(labels[train], val_share, seed)
        train, val = train[rest], train[held_out]
    return {"train": train, "val": val, "test": test}


def read_split_file(file: Path, count: int, paths: Sequence[str] | None) -> Splits:
    """Read the three splits from a CSV with a header: ``split`` (train, val, test), and ``index`` or ``path``.

    An index counts from 0 in the order in which a data set is read: its official train part first, then val, then test,
    where it has them; of folders each part by class, and each class by path. Rows not named are in no split.

    Args:
        file: the CSV; UTF-8, with or without a byte order mark.
        count: the number of rows of the data set.
        paths: the path of each row relative to the data set's folder; None where images are not files of their own.

    Raises:
        UsageFailure: naming the file and the line.
    """
    try:
        # Paths that are no UTF-8 are found all the same: this is how the system's names of files are read.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            return _splits(file, _lines(file, opened), count, paths)
    except (OSError, ValueError) as error:  # a name may hold what no name can
        why = getattr(error, "strerror", None) or error
        raise UsageFailure(f"cannot read the split file {clean(file)}: {why}") from None


def _lines(file: Path, opened: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of its line."""
    reader = csv.reader(opened, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UsageFailure(f"{file}:{reader.line_num}: not CSV ({error})") from None


def _splits(
    file: Path, lines: Iterator[tuple[int, list[str]]], count: int, paths: Sequence[str] | None
) -> Splits:
    number, header = next(lines, (1, []))
    names = [name.strip() for name in header]
    find = _finder(f"{file}:{number}", names, count, paths)
    seen: dict[int, int] = {}
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    for number, row in lines:
        where = f"{file}:{number}"
        if len(row) != len(names):
            raise UsageFailure(f"{where}: {len(row)} fields instead of {len(names)}")
        cells = dict(zip(names, row, strict=True))
        index = find(where, cells)
        part = cells["split"].strip()
        if part not in PARTS:
            raise UsageFailure(
                f"{where}: split is unknown: {clean(part, 80)!r}; {models.did_you_mean(part, PARTS)}"
            )
        if index in seen:
            raise UsageFailure(
                f"{where}: the same image as in line {seen[index]}: remove one of the two"
            )
        seen[index] = number
        found[part].append(index)
    for part, rows in found.items():
        if not rows:
            raise UsageFailure(
                f"{file}: no row is {part}: each of {', '.join(PARTS)} needs at least one"
            )
    return {part: torch.tensor(sorted(rows)) for part, rows in found.items()}


def _finder(
    where: str, names: list[str], count: int, paths: Sequence[str] | None
) -> Callable[[str, Mapping[str, str]], int]:
    """The function that finds the row that a line names, by the columns there are."""
    known = ("path", "index", "split")
    for name in names:
        if name not in known:
            raise UsageFailure(
                f"{where}: column is unknown: {clean(name, 80)!r}; {models.did_you_mean(name, known)}"
            )
    if sorted(names) not in (["index", "split"], ["path", "split"]):
        raise UsageFailure(
            f"{where}: the columns must be split, and path or index: got {', '.join(names) or 'none'}"
        )
    if "index" in names:
        return lambda where, cells: _index(where, cells["index"].strip(), count)
    if paths is None:
        raise UsageFailure(f"{where}: this data set's images have no path: name them by index")
    rows = {path: row for row, path in enumerate(paths)}
    return lambda where, cells: _row(where, cells["path"], rows)


def _index(where: str, text: str, count: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) < count):
        raise UsageFailure(f"{where}: index must be from 0 to {count - 1}: got {clean(text, 80)!r}")
    return int(text)


def _row(where: str, text: str, rows: Mapping[str, int]) -> int:
    path = str(PurePosixPath(text))
    if path not in rows:
        raise UsageFailure(
            f"{where}: path is unknown: {clean(text)!r}; it counts from the data set's folder"
        )
    return rows[path]
