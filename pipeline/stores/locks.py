"""The lock of a study: only one sweep may write to it, and the lock names its holder."""

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

from pipeline.stores import postgresql
from pipeline.stores.locations import Stores, sqlite_file
from pipeline.system.errors import StorageFailure, StudyBusy


@contextmanager
def lock(stores: Stores, study: str) -> Iterator[postgresql.StudyConnection]:
    """Hold a study, and its folder of checkpoints: no other sweep may go on with it. Free the instant its holder dies.

    Yields what `open_studies` writes through: in a database it is held wherever its other sweep may be.

    Raises:
        StudyBusy: naming who holds it.
        StorageFailure: where its file cannot be made, or its database not be used.
    """
    with _folder_lock(stores, study):
        if sqlite_file(stores.studies):
            yield None
            return
        with postgresql.hold(stores.studies, study) as held:
            yield held


@contextmanager
def _folder_lock(stores: Stores, study: str) -> Iterator[None]:
    """Lock a study's file. `fcntl.lockf` and not `flock`, which a forked process would go on holding."""
    path = stores.home / "checkpoints" / f"{study}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise StorageFailure(f"cannot use {path}: {error.strerror or error}") from None
    with opened as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StudyBusy(f"study {study!r} is in use by {_holder(file.read())}") from None
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        file.flush()
        yield


def holder(stores: Stores, study: str) -> str | None:
    """Who holds a study, in words, without taking it for an instant; None if nobody does."""
    if sqlite_file(stores.studies) is None:
        return postgresql.holder(stores.studies, study)
    path = stores.home / "checkpoints" / f"{study}.lock"
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        # The structure of fcntl(2): type, whence, start, length and process; their order is the system's.
        order, at = ("qqihh", 3) if sys.platform == "darwin" else ("hhqqi", 0)
        ask = [0] * 5
        ask[at] = fcntl.F_WRLCK
        found = struct.unpack(order, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(order, *ask)))
        if found[at] != fcntl.F_UNLCK:
            return _holder(file.read())
    return None


def _holder(text: str) -> str:
    try:
        return "process {pid} on {host} since {since}".format(**json.loads(text))
    except (KeyError, TypeError, ValueError):
        return "another process"
