"""Locks a file for as long as this process lives and has it open; a forked process holds no lock.

One door to the locks of POSIX systems (`fcntl`) and of Windows (`msvcrt`).
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    OPEN_FLAGS = os.O_BINARY
    # Windows keeps others from reading what is locked, so the lock is on a byte behind the content.
    _LOCKED_BYTE = 2**30

    def lock(descriptor: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError, PermissionError: if another process has locked it.
            OSError: if it cannot be locked.
        """
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def is_locked(descriptor: int) -> bool:
        """Whether another process has locked an open file. Windows locks it for an instant to tell.

        Raises:
            OSError: if this cannot be told.
        """
        try:
            lock(descriptor)
        except PermissionError:
            return True
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return False
else:
    import fcntl
    import struct

    # What else to open a lock file with: a link would have another file overwritten, and a pipe
    # would wait.
    OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK
    # The structure `flock` of fcntl(2) as Python packs it, and the index of its lock type. It holds
    # type, whence, start, length and process, in an order that depends on the system.
    if sys.platform == "darwin":
        _FLOCK_FORMAT = "qqihh"
        _FLOCK_TYPE = 3
    else:
        _FLOCK_FORMAT = "hhqqi"
        _FLOCK_TYPE = 0

    def lock(descriptor: int) -> None:
        """Lock an open file.

        Raises:
            BlockingIOError, PermissionError: if another process has locked it.
            OSError: if it cannot be locked.
        """
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_locked(descriptor: int) -> bool:
        """Whether another process has locked an open file, without locking it for an instant.

        Raises:
            OSError: if this cannot be told.
        """
        # Ask the system for the lock that would prevent an exclusive lock of the whole file.
        question = [0] * 5
        question[_FLOCK_TYPE] = fcntl.F_WRLCK
        reply = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK_FORMAT, *question))
        return bool(struct.unpack(_FLOCK_FORMAT, reply)[_FLOCK_TYPE] != fcntl.F_UNLCK)
