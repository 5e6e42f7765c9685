"""Lets one thread of one process at a time do something, by a lock file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.system.console import print_notice


@contextmanager
def exclusive(lock_file: Path, notice: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The lock ends with the process, the file stays. The holder may remove the file at the end of
    the block: others then wait for a new one.

    Args:
        lock_file: made if it is missing.
        notice: printed before waiting for another process or thread.

    Raises:
        OSError: if the file cannot be made.
    """
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print_notice(notice)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
