"""Makes a file as a whole, one process at a time, in a folder that the next start clears."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.system.exclusive import exclusive

_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")


def is_unfinished(file: Path) -> bool:
    """Whether a process makes a file now, or died while it did."""
    return _folder(file).exists() or _lock_file(file).exists()


@contextmanager
def making(file: Path) -> Iterator[Path]:
    """Keep other processes from making a file, and clear what one that died has left.

    Args:
        file: a database, whose folder is there.

    Yields:
        The path of a draft of the file, in a folder of its own on the same disk.

    Raises:
        OSError: if there can be no such folder.
    """
    lock_file = _lock_file(file)
    with exclusive(lock_file, f"waiting for another process that makes {file}"):
        folder = _folder(file)
        _clear(file)
        folder.mkdir(exist_ok=True)
        try:
            yield folder / file.name
        finally:
            _clear(file)
            lock_file.unlink(missing_ok=True)  # a waiting process makes a new one


def _clear(file: Path) -> None:
    """Remove the drafts, and nothing else."""
    folder = _folder(file)
    with contextlib.suppress(OSError):
        if folder.is_symlink():
            return
        for suffix in _DATABASE_SUFFIXES:
            (folder / f"{file.name}{suffix}").unlink(missing_ok=True)
        folder.rmdir()


def _folder(file: Path) -> Path:
    return file.with_name(f".{file.name}.making")


def _lock_file(file: Path) -> Path:
    return file.with_name(f".{file.name}.making.lock")
