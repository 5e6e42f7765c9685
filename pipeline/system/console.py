"""Prints to people: messages that fit their terminal, notices, and progress bars."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from pipeline.system.text import clean, wrap_words

if TYPE_CHECKING:
    from rich.console import Console

_USUAL_WIDTH = 80  # characters of a terminal that does not tell its width
_HANG = 2  # blanks before the further lines of a message


def format_duration(seconds: float) -> str:
    """Write a duration as a person would: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def format_size(size: float) -> str:
    """Write a number of bytes as a person would: ``830 kB``, ``12.0 MB``, ``3.5 GB``."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    if size < 1e9:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e9:.1f} GB"


def stream_width(stream: TextIO) -> int | None:
    """The width of the terminal that a stream writes to, in characters; None if there is none."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    return width or _USUAL_WIDTH


def terminal_lines(text: object, width: int | None) -> str:
    """Clean a line of prose; on a terminal, break it between words.

    Args:
        text: the line.
        width: of the terminal in characters; None leaves one line, for `grep` and files.
    """
    line = clean(text)
    if width is None:
        return line
    return "\n".join(wrap_words(line, width, _HANG))


def print_message(text: object, *, err: bool = False) -> None:
    """Print a line of prose, on a terminal broken between words.

    Args:
        text: the line.
        err: whether on standard error, beside a command's own output.
    """
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{terminal_lines(text, stream_width(stream))}\n")
    stream.flush()


def print_notice(text: str) -> None:
    """Print a line of prose on standard error, from the main process only.

    Otherwise each worker would repeat the line.
    """
    if multiprocessing.parent_process() is None:
        print_message(text, err=True)


def make_console(*, quiet: bool = False) -> Console:
    """Make a console on standard output, or in the cell of a notebook.

    Args:
        quiet: whether it shows nothing.
    """
    from rich.console import Console  # inside: `pipeline --help` does without rich

    return Console(quiet=quiet)


def print_line(console: Console, text: str) -> None:
    """Print a line of prose, on a terminal and in a notebook broken between words."""
    width = console.width if console.is_terminal or console.is_jupyter else None
    lines = terminal_lines(text, width)
    console.print(lines, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error while the block runs, if standard error is a terminal.

    Args:
        label: the text before the bar.
        total: how many items there are.

    Yields:
        A function to call with the number of items done since its last call.
    """
    from rich.console import Console  # inside: `pipeline --help` does without rich
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda count: bars.advance(task, count)
