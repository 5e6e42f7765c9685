"""The lock of a study: only one sweep may write to a study, and the lock names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.stores import postgresql
from pipeline.stores.locations import Stores, sqlite_file
from pipeline.system.errors import StorageFailure, StudyBusy

# The structure `flock` of fcntl(2) as Python packs it, and the index of its lock type. It holds
# type, whence, start, length and process, in an order that depends on the system.
if sys.platform == "darwin":
    _FLOCK_FORMAT = "qqihh"
    _FLOCK_TYPE = 3
else:
    _FLOCK_FORMAT = "hhqqi"
    _FLOCK_TYPE = 0


@contextmanager
def lock(stores: Stores, study: str) -> Iterator[postgresql.StudyConnection]:
    """Hold a study and its folder of checkpoints, so that no other sweep continues the study.

    The lock is released at the end of the block, or if this process dies. A study in a database is
    locked there as well, against sweeps on other machines.

    Yields:
        The connection that `access.open_studies` must write through; None for an SQLite file.

    Raises:
        StudyBusy: if another process holds the study, with its name.
        StorageFailure: if the lock file cannot be created, or the database cannot be used.
    """
    with _folder_lock(stores, study):
        if sqlite_file(stores.studies):
            yield None
            return
        with postgresql.hold(stores.studies, study) as connection:
            yield connection


@contextmanager
def _folder_lock(stores: Stores, study: str) -> Iterator[None]:
    """Lock a study's file with `fcntl.lockf`: a forked process would go on holding a `flock`."""
    path = _lock_path(stores, study)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise StorageFailure(f"cannot use {path}: {error.strerror or error}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            user = _describe_holder(file.read())
            raise StudyBusy(f"study {study!r} is in use by {user}") from None
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        content = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        file.write(json.dumps(content))
        file.flush()
        yield


def holder(stores: Stores, study: str) -> str | None:
    """Describe the process that holds a study, without locking it for an instant; None if free."""
    if sqlite_file(stores.studies) is None:
        return postgresql.holder(stores.studies, study)
    path = _lock_path(stores, study)
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        # Ask the system for the lock that would prevent an exclusive lock of the whole file.
        question = [0] * 5
        question[_FLOCK_TYPE] = fcntl.F_WRLCK
        reply = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(_FLOCK_FORMAT, *question))
        lock_type = struct.unpack(_FLOCK_FORMAT, reply)[_FLOCK_TYPE]
        if lock_type != fcntl.F_UNLCK:
            return _describe_holder(file.read())
    return None


def _lock_path(stores: Stores, study: str) -> Path:
    return stores.home / "checkpoints" / f"{study}.lock"


def _describe_holder(content: str) -> str:
    """Describe the holder from the content of the lock file, which may be half written."""
    try:
        return "process {pid} on {host} since {since}".format(**json.loads(content))
    except (KeyError, TypeError, ValueError):
        return "another process"
