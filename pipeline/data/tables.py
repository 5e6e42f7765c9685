"""Reads CSV files as spreadsheets write them, with any usual encoding and separator."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from pipeline.system.errors import UsageFailure
from pipeline.system.files import may_never_end
from pipeline.system.text import clean

_SEPARATORS = (",", ";", "\t", "|")
# The names of columns of images, and by which other names they are known, too.
COLUMN_OF_NAME: Mapping[str, str] = {
    **dict.fromkeys(("path", "file", "filename", "file_name", "image", "image_path"), "path"),
    **dict.fromkeys(("filepath", "file_path", "image_name"), "path"),
    **dict.fromkeys(("label", "class", "category", "target"), "label"),
    **dict.fromkeys(("split", "part", "subset"), "split"),
    **dict.fromkeys(("group", "group_id"), "group"),
}
_MOST_BYTES = 500_000_000
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Table:
    """A table with a header."""

    location: str  # of the header, for messages: ``FILE:1``
    columns: tuple[str, ...]  # their names in small letters, with underscores for spaces
    lines: Iterator[tuple[str, list[str]]]  # the location and the cells of each line


def read_table(file: Path, kind: str) -> Table:
    """Open a CSV file: its header, and its lines that are not blank, as they are read.

    The encoding is UTF-8, or UTF-16 with a byte order mark; bytes that are no UTF-8 are kept as
    Python keeps those in names of files, see `windows_text`. Columns are separated by commas,
    semicolons, tabs or bars. A first line ``sep=;`` says so.

    Raises:
        UsageFailure: naming the file, and the line.
    """
    lines = _rows(file, kind)
    location, columns = next(lines, (f"{file}:1", []))  # an empty file lacks all columns
    names = [re.sub(r"[\s-]+", "_", name.strip().casefold()) for name in columns]
    while names and not names[-1]:  # a spreadsheet's columns without a name
        names.pop()
    return Table(location, tuple(names), lines)


def cells_by_column(table: Table, location: str, cells: list[str]) -> dict[str, str]:
    """Return the cells of a line by the names of the columns.

    Raises:
        UsageFailure: if the line has fewer cells than columns, or more that are not empty.
    """
    count = len(table.columns)
    if len(cells) < count or any(cell.strip() for cell in cells[count:]):
        raise UsageFailure(f"{location}: {len(cells)} fields instead of {count}")
    return dict(zip(table.columns, cells, strict=False))


def windows_text(text: str) -> str:
    """Return text that is no UTF-8 as Windows reads it; other text unchanged.

    Names of files that are no UTF-8 are valid on other systems, so this is tried second.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def spellings(path: str) -> Iterator[str]:
    """Yield the ways in which systems may write a path: as given, as Windows, in NFC and in NFD."""
    readable = windows_text(path)
    for text in (path, readable, readable.replace("\\", "/")):
        yield str(PurePosixPath(text))
        yield normalize("NFC", str(PurePosixPath(text)))
        yield normalize("NFD", str(PurePosixPath(text)))


def _rows(file: Path, kind: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the location and the cells of each line that is not blank."""
    lines = list(io.StringIO(_read_text(file, kind), newline=""))
    first = 0
    separator = None
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == len("sep=;"):
        separator = lines[0].strip()[-1]
        first = 1
    if separator is None:
        separator = _separator(lines[0] if lines else "")
    reader = csv.reader(iter(lines[first:]), strict=True, delimiter=separator)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"{file}:{first + reader.line_num}", cells
    except csv.Error as error:
        raise UsageFailure(f"{file}:{first + reader.line_num}: not CSV ({error})") from None


def _read_text(file: Path, kind: str) -> str:
    try:
        if may_never_end(file):
            raise UsageFailure(f"cannot read the {kind} {clean(file)}: it is no regular file")
        if file.stat().st_size > _MOST_BYTES:
            raise UsageFailure(f"cannot read the {kind} {clean(file)}: it has over 500 MB")
        return _decode(file.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: the name is none that a file can have
        reason = getattr(error, "strerror", None) or error
        raise UsageFailure(f"cannot read the {kind} {clean(file)}: {reason}") from None


def _decode(data: bytes) -> str:
    """Decode text without a name of its encoding.

    Raises:
        ValueError: if it is in no encoding known here.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark) and not data.startswith(codecs.BOM_UTF32_LE):
            return data.decode(encoding)
    if b"\0" in data:
        message = (
            "it is no text in UTF-8, nor UTF-16 with a byte order mark: save it as CSV in UTF-8"
        )
        raise ValueError(message)
    return data.decode("utf-8", "surrogateescape")


def _separator(header: str) -> str:
    """Return the first separator between two names of a header; a comma if there is none."""
    outside = "".join(header.split('"')[::2])  # of quotes
    found: Sequence[str] = [character for character in outside if character in _SEPARATORS]
    return found[0] if found else ","
