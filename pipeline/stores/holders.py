"""Who holds a study, as its SQLite file itself says: a table with a row for each held study.

A lock file can be removed or replaced while its holder lives, and a database can be reached from
several folders. The row stands in the database, so every command that opens it meets the row.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.stores.sqlite import LOCK_TIMEOUT, connect_existing
from pipeline.system.errors import StorageFailure
from pipeline.system.text import clean

_CREATE = "CREATE TABLE IF NOT EXISTS pipeline_holders (study TEXT PRIMARY KEY, holder TEXT)"
_READ = "SELECT holder FROM pipeline_holders WHERE study = ?"
_WRITE = "INSERT OR REPLACE INTO pipeline_holders VALUES (?, ?)"
_DELETE = "DELETE FROM pipeline_holders WHERE study = ?"

_END_PATIENCE = 1.0  # seconds to wait for a locked database when a study is given back


@dataclass(frozen=True)
class Holder:
    """A process that holds a study."""

    token: str  # another one for each time that a study is held
    pid: int
    started: str  # when the process began: tells it from a later process of the same number
    host: str
    since: str
    lock_file: int  # the inode of its lock file
    database: int  # the inode of the database: a copy of it is held by nobody

    @classmethod
    def this_process(cls, lock_file: int, database: int) -> Holder:
        """Describe this process, as a new holder."""
        return cls(
            token=uuid.uuid4().hex,
            pid=os.getpid(),
            started=_start_of(os.getpid()) or "",
            host=socket.gethostname(),
            since=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            lock_file=lock_file,
            database=database,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process is known to live; False for a process of another machine."""
        return self.host == socket.gethostname() and _start_of(self.pid) == self.started

    def __str__(self) -> str:
        return clean(f"process {self.pid} on {self.host} since {self.since}")


def claim(file: Path, study: str, mine: Holder) -> Holder | None:
    """Write that this process holds a study, whose lock file it has locked.

    The lock of the same lock file is proof that an earlier holder is dead. If the lock file is
    another one, the earlier holder may live, without its lock file.

    Args:
        file: the database.
        study: the name of the study.
        mine: this process.

    Returns:
        The live holder that has the study already; None if it is held by this process now.

    Raises:
        StorageFailure: if the database cannot be used.
    """
    with _transaction(file) as database:
        database.execute(_CREATE)
        earlier = _read(database, study)
        if earlier is not None and earlier.token != mine.token:
            is_of_this_file = earlier.database == mine.database
            if is_of_this_file and earlier.lock_file != mine.lock_file and earlier.is_alive:
                return earlier
        database.execute(_WRITE, (study, json.dumps(dataclasses.asdict(mine))))
    return None


def still_holds(file: Path, study: str, mine: Holder, lock_file: int) -> bool:
    """Whether a study is still held by this process; if so, its row names another lock file.

    Args:
        file: the database.
        study: the name of the study.
        mine: this process, as it has claimed the study.
        lock_file: the inode of a lock file that this process has locked anew.

    Raises:
        StorageFailure: if the database cannot be used.
    """
    with _transaction(file) as database:
        present = _read(database, study)
        if present is None or present.token != mine.token:
            return False
        renewed = dataclasses.replace(present, lock_file=lock_file)
        database.execute(_WRITE, (study, json.dumps(dataclasses.asdict(renewed))))
    return True


def give_back(file: Path, study: str, mine: Holder) -> None:
    """Remove the row of this process. One that stays does no harm when the process has ended."""
    with (
        contextlib.suppress(StorageFailure),
        _transaction(file, timeout=_END_PATIENCE) as database,
    ):
        present = _read(database, study)
        if present is not None and present.token == mine.token:
            database.execute(_DELETE, (study,))


def find(file: Path, study: str) -> Holder | None:
    """The live process that holds a study by its row; None if there is none, or no such row."""
    with contextlib.suppress(OSError, sqlite3.Error):
        inode = file.stat().st_ino
        with connect_existing(file) as database:
            holder = _read(database, study)
        if holder is not None and holder.database == inode and holder.is_alive:
            return holder
    return None


@contextmanager
def _transaction(file: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[sqlite3.Connection]:
    """Change a database as one, while nobody else does."""
    try:
        with closing(sqlite3.connect(file, timeout=timeout, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot use {file}: {error}") from None


def _read(database: sqlite3.Connection, study: str) -> Holder | None:
    """Read a row. What is no holder says nothing, like a row that is not there."""
    row = database.execute(_READ, (study,)).fetchone()
    if row is None:
        return None
    try:
        holder = Holder(**json.loads(row[0]))
    except (TypeError, ValueError, RecursionError):
        return None
    for field in dataclasses.fields(Holder):
        expected = int if field.name in ("pid", "lock_file", "database") else str
        if type(getattr(holder, field.name)) is not expected:
            return None
    return holder


def _start_of(pid: int) -> str | None:
    """When a process began; None if there is none. Changes of the clock do not matter on Linux."""
    if not 0 < pid < 1 << 31:
        return None
    with contextlib.suppress(OSError, IndexError):
        # The name of the program may hold spaces and brackets; field 22 of the line is the start.
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        return after_name.split()[19]
    with contextlib.suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return None
