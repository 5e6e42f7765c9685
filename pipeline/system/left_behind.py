"""Tells what killed processes have left behind from what a live process uses.

A new file or folder is locked by its maker for as long as that lives, so that the next process
knows which ones it may remove. On Windows, where what is open can be neither renamed nor removed,
their age says that.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_USE = 7 * 24 * 3600.0  # seconds; where nothing is locked, what is older has been left


def remove_left_behind(folder: Path, pattern: re.Pattern[str]) -> None:
    """Remove from a folder what bears a name of ours and is this user's, and whose maker is dead.

    Args:
        folder: where to look; it may be missing.
        pattern: of the whole names.
    """
    for path in _named(folder, pattern):
        with contextlib.suppress(OSError), _left(path) as mode:
            if mode is not None:
                _remove(path, mode)


def find_left_behind(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Find what `remove_left_behind` would remove."""
    found = []
    for path in _named(folder, pattern):
        with contextlib.suppress(OSError), _left(path) as mode:
            if mode is not None:
                found.append(path)
    return found


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if pattern.fullmatch(entry.name))
    return []


def _remove(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _left_by_age(path: Path) -> Iterator[int | None]:
    """Yield the mode of what was left behind long ago; None if it may be in use."""
    found = path.lstat()
    yield found.st_mode if time.time() - found.st_mtime > _LONGEST_USE else None


if sys.platform == "win32":
    _left = _left_by_age

    @contextmanager
    def in_use(path: Path) -> Iterator[bool]:
        """Mark a new file or folder as used while the block runs, and this process lives.

        Yields:
            Whether it is still there: another process may have taken it for left before.
        """
        yield path.exists()
else:
    import fcntl

    @contextmanager
    def in_use(path: Path) -> Iterator[bool]:
        """Mark a new file or folder as used while the block runs, and this process lives.

        Yields:
            Whether it is still there: another process may have taken it for left before.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            yield False
            return
        try:
            with contextlib.suppress(OSError):  # a disk of another machine may know no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _is_in_place(path, descriptor)
        finally:
            os.close(descriptor)

    def _is_in_place(path: Path, descriptor: int) -> bool:
        """Whether an open file is still there under its name."""
        try:
            return os.path.samestat(path.lstat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    @contextmanager
    def _left(path: Path) -> Iterator[int | None]:
        """Yield the mode of what was left behind; None if it is another user's.

        Raises:
            OSError: if its maker lives.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield found.st_mode if found.st_uid == os.geteuid() else None
        finally:
            os.close(descriptor)
