"""Makes files that helper processes can map: pass one to a process, and it opens the same file.

Such a file vanishes when the last process closes it. On systems with `memfd_create` it is in RAM:
shared memory under /dev/shm is often too small in containers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipeline.system.files import temporary_folder


class SharedFile(Protocol):
    """A file that can be pickled for a helper process."""

    def fileno(self) -> int:
        """Return the descriptor of the open file, which a helper may only read."""

    def close(self) -> None:
        """Close the file in this process. What has been mapped stays valid."""


class NamedFile:
    """A file in a temporary folder, which helpers open by its name."""

    def __init__(self, size: int) -> None:
        """Make a file of some bytes.

        Raises:
            OSError: if there is not enough room.
        """
        self._folders = contextlib.ExitStack()
        self._path = self._folders.enter_context(temporary_folder()) / "shared"
        self._file: BinaryIO = self._path.open("w+b")
        _fill_or_close(self, size)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file, and remove it if this process has made it.

        Where mapped files cannot be removed, the next command removes the folder.
        """
        self._file.close()
        self._folders.close()

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._folders = contextlib.ExitStack()
        self._path = path
        self._file = path.open("rb")


def _fill_or_close(file: SharedFile, size: int) -> None:
    """Give a new file its size.

    The room is allocated now: without room for a page, a later write would kill the process.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.ftruncate(file.fileno(), size)
    except OSError:
        file.close()
        raise


if sys.platform == "win32":

    def make_shared_file(size: int) -> SharedFile:
        """Make a file of some bytes.

        Raises:
            OSError: if there is not enough room.
        """
        return NamedFile(size)
else:
    from multiprocessing.reduction import DupFd

    class _AnonymousFile:
        """A file without a name, whose descriptor is passed to helpers."""

        def __init__(self, size: int) -> None:
            self._file = _open_anonymous_file()
            _fill_or_close(self, size)

        def fileno(self) -> int:
            return self._file.fileno()

        def close(self) -> None:
            self._file.close()

        def __getstate__(self) -> Any:
            return DupFd(self.fileno())

        def __setstate__(self, descriptor: Any) -> None:
            self._file = os.fdopen(descriptor.detach(), "rb")

    def _open_anonymous_file() -> BinaryIO:
        if hasattr(os, "memfd_create"):
            return os.fdopen(os.memfd_create("images"), "w+b")
        return tempfile.TemporaryFile()

    def make_shared_file(size: int) -> SharedFile:
        """Make a file of some bytes.

        Raises:
            OSError: if there is not enough room.
        """
        return _AnonymousFile(size)
