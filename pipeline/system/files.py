"""Writes files that appear whole or not at all, and finds the folder of the cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file through a draft, so that readers see either the old file or the new one.

    The draft replaces the file if the block succeeds, and is deleted otherwise. Missing parent
    folders are created first, and removed again if the block fails.

    Args:
        path: the file.
        durable: also wait until the file is on the disk under its name, so that a power failure
            leaves the old file or the new one, too.

    Yields:
        The path of the draft, in the same folder.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    missing_folders = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        if durable:
            fsync(draft)
        draft.replace(path)
        if durable:
            fsync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
        if not path.exists():
            _remove_empty(missing_folders)


def fsync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):  # another process has put a file there
        for folder in folders:
            folder.rmdir()


def write_text_atomically(path: Path, text: str) -> Path:
    """Write text and a final line break, which in a CSV is the one of its format (CR LF)."""
    line_break = "\r\n" if path.suffix == ".csv" else "\n"
    with atomic_write(path) as draft:
        draft.write_text(text + line_break, encoding="utf-8", newline="")
    return path


def cache_folder() -> Path:
    """Return the folder for decoded images.

    This is PIPELINE_CACHE_DIR, else ``sweep-pipeline`` in XDG_CACHE_HOME or ~/.cache.

    Raises:
        OSError: if there is no home folder.
    """
    configured = os.environ.get("PIPELINE_CACHE_DIR")
    if configured:
        return Path(configured)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return Path(base) / "sweep-pipeline"
