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
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if pattern.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _remove_if_left(folder / name)


def _remove(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_if_old(path: Path) -> None:
    found = path.lstat()
    if time.time() - found.st_mtime > _LONGEST_USE:
        _remove(path, found.st_mode)


if sys.platform == "win32":
    _remove_if_left = _remove_if_old

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

    def _remove_if_left(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid():
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its maker lives
            _remove(path, found.st_mode)
        finally:
            os.close(descriptor)
