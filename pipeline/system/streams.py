"""Makes standard streams safe to write to: closed, on a full disk, or of a small character set.

A command's work does not depend on whether anybody reads what it prints.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

# What is printed by tables, bars and sentences, and is in no small character set.
_PLAIN = {
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{BULLET}": "*",
    "\N{RIGHTWARDS ARROW}": "->",
}
_LOOKS = {  # by how the name of a character begins
    "BOX DRAWINGS LIGHT HORIZONTAL": "-",
    "BOX DRAWINGS HEAVY HORIZONTAL": "-",
    "BOX DRAWINGS DOUBLE HORIZONTAL": "-",
    "BOX DRAWINGS LIGHT VERTICAL": "|",
    "BOX DRAWINGS HEAVY VERTICAL": "|",
    "BOX DRAWINGS DOUBLE VERTICAL": "|",
    "BOX DRAWINGS": "+",  # corners
}


class _Raw(io.FileIO):
    """A file descriptor that takes everything, also what can no longer be written."""

    failure: OSError | None = None  # the first error

    def write(self, content: Buffer, /) -> int:
        """Write, or remember why that is not possible."""
        if self.failure is None:
            try:
                return super().write(content)
            except OSError as error:
                self.failure = error
        return len(memoryview(content).cast("B"))


def plain(text: str) -> str:
    """Return text in ASCII that looks similar; what looks like nothing there becomes ``?``."""
    return "".join(_plain(character) for character in text)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    name = unicodedata.name(character, "")
    for beginning, look in _LOOKS.items():
        if name.startswith(beginning):
            return look
    if character in _PLAIN:
        return _PLAIN[character]
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or "?"


def _encode_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def make_safe() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never fail. For the command line only.

    A standard stream that is closed becomes the null device: otherwise the next file to be opened,
    such as a database, would take its number, and whatever is printed would be written there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
    codecs.register_error("plain", _encode_plainly)
    sys.stdout = _safe(sys.stdout, 1, "plain")
    sys.stderr = _safe(sys.stderr, 2, "backslashreplace")


def _safe(stream: object, number: int, errors: str) -> io.TextIOWrapper:
    raw = _Raw(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors=errors,
        line_buffering=number == 2 or raw.isatty(),
        write_through=bool(getattr(stream, "write_through", False)),
    )


def output_failure() -> OSError | None:
    """Return why standard output cannot be written; None if all was, or if its reader has gone."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Raw) else None
    if failure is not None and failure.errno == errno.EPIPE:
        return None
    return failure
