"""Notices and progress bars on standard error, beside a command's own output."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.system.text import clean

if TYPE_CHECKING:
    from rich.console import Console


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


def print_notice(text: str) -> None:
    """Print a line on standard error, from the main process only.

    Otherwise each worker would repeat the line.
    """
    if multiprocessing.parent_process() is None:
        sys.stderr.write(f"{clean(text)}\n")


def make_console(*, quiet: bool = False) -> Console:
    """Make a console on standard output, or in the cell of a notebook.

    Args:
        quiet: whether it shows nothing.
    """
    from rich.console import Console  # inside: `pipeline --help` does without rich

    return Console(quiet=quiet)


def print_line(console: Console, text: str) -> None:
    """Print a line, on a terminal and in a notebook broken between words.

    A line with a command to copy is left whole: the terminal breaks it where it ends.
    """
    line = clean(text)
    is_wrapped = console.is_jupyter or (console.is_terminal and "pipeline " not in line)
    console.print(line, markup=False, highlight=False, soft_wrap=not is_wrapped)


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
