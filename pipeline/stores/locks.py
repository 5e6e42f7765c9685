"""The lock of a study: only one sweep may write to a study, and the lock names its holder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.stores import holders, postgresql, sqlite
from pipeline.stores.holders import Holder
from pipeline.stores.locations import Stores, sqlite_file
from pipeline.system import file_locks
from pipeline.system.errors import StorageFailure, StudyBusy, StudyTaken
from pipeline.system.text import clean
from sweeps.analysis.finalists import FINALISTS_SUFFIX

_LONGEST_CONTENT = 1000  # characters of a lock file that are read


class Held:
    """A study that this process holds, until `lock` releases it."""

    def __init__(self, study: str, connection: postgresql.StudyConnection = None) -> None:
        """Name the study.

        Args:
            study: its name.
            connection: the connection that all of the study must be written through, if it is in a
                database on a server.
        """
        self.study = study
        self.connection = connection
        self.row: _Row | None = None
        self._files: list[_LockFile] = []
        self._guard = threading.Lock()  # the study is written by several threads

    def add(self, file: _LockFile) -> None:
        """Add a lock file that this process has locked."""
        self._files.append(file)

    def check(self) -> None:
        """Check that this process still holds the study, before it is written.

        A lock file that somebody has removed or replaced is made and locked anew. Meanwhile the
        store itself kept others away.

        Raises:
            StudyTaken: if another process has taken the study over. Nothing may be written then.
            StorageFailure: if the store cannot be used.
        """
        for file in self._files:
            if not file.is_in_place():
                with self._guard:
                    self._renew(file)

    def _renew(self, file: _LockFile) -> None:
        if file.is_in_place():  # another thread was quicker
            return
        is_the_stores = self.row is not None and file is self._files[-1]
        try:
            renewed = file.renewed()
        except OSError:  # a process that is just being refused has locked it, or it has no place
            renewed = None
        if is_the_stores and self.row is not None:
            inode = file.inode if renewed is None else renewed.inode
            if not self.row.is_ours(inode):
                raise StudyTaken(
                    f"study {self.study!r} was taken over by another command after its lock file "
                    f"{file.path} was removed: this one has stopped, what it trained is kept"
                )
        if renewed is not None:
            self._files[self._files.index(file)] = renewed
            file.close()

    def close(self) -> None:
        """Release the lock files."""
        for file in self._files:
            file.close()


@dataclass(frozen=True)
class _Row:
    """The row of a held study in its SQLite file."""

    database: Path
    study: str
    holder: Holder

    def is_ours(self, lock_file: int) -> bool:
        return holders.still_holds(self.database, self.study, self.holder, lock_file)


class _LockFile:
    """A lock file that this process has locked."""

    def __init__(self, path: Path) -> None:
        """Make the file if it is missing, and lock it.

        Raises:
            BlockingIOError, PermissionError: if another process has locked it.
            OSError: if there can be no such file.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # Closing any descriptor of the file would release this process's own lock of it.
            if _identity(path) in _held_here:
                raise BlockingIOError
            flags = os.O_RDWR | os.O_CREAT | file_locks.OPEN_FLAGS
            self._descriptor = os.open(path, flags, 0o666)
            found = os.fstat(self._descriptor)
            self._identity = (found.st_dev, found.st_ino)
            try:
                _check_plain(found)
                file_locks.lock(self._descriptor)
            except OSError:
                os.close(self._descriptor)
                raise
            if self.is_in_place():
                break
            os.close(self._descriptor)  # it was removed or replaced before it was locked
        self.inode = found.st_ino
        _held_here[self._identity] = self._write()

    def _write(self) -> str:
        """Write who holds the lock, and return it."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        content = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        text = json.dumps(content)
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, text.encode())
        return text

    def is_in_place(self) -> bool:
        """Whether the locked file is still there under its name."""
        return _identity(self.path) == self._identity

    def renewed(self) -> _LockFile:
        """Lock the file that is there now under the name.

        Raises:
            OSError: as when the lock file was made.
        """
        return _LockFile(self.path)

    def close(self) -> None:
        """Release the lock."""
        _held_here.pop(self._identity, None)
        os.close(self._descriptor)


# The lock files that this process holds: device and inode, and what the file says.
_held_here: dict[tuple[int, int], str] = {}


def _check_plain(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and the inode of a file; None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def lock(stores: Stores, study: str) -> Iterator[Held]:
    """Hold a study and its folder of checkpoints, so that no other sweep continues the study.

    The lock is released at the end of the block, or if this process dies. The study is locked in
    its store as well: other working folders and other machines may use the same store.

    Yields:
        What `access.open_studies` needs to write the study.

    Raises:
        StudyBusy: if another process holds the study, with its name.
        StorageFailure: if the lock file cannot be created, or the database cannot be used.
    """
    database = sqlite_file(stores.studies)
    held = Held(study)
    try:
        held.add(_lock_file(_lock_path(stores, study), f"study {study!r}"))
        if database is None:
            with postgresql.hold(stores.studies, study) as connection:
                held.connection = connection
                yield held
            return
        path = _store_lock_path(database, study)
        if path != _lock_path(stores, study).resolve():
            held.add(_lock_file(path, f"study {study!r}"))
        _claim(database, held, path)
        try:
            yield held
        finally:
            if held.row is not None:
                holders.give_back(database, study, held.row.holder)
    finally:
        held.close()


@contextmanager
def lock_training(stores: Stores, run_id: str) -> Iterator[None]:
    """Hold a run outside any study, so that it is trained once, and its folder is known to be used.

    Raises:
        StudyBusy: if another process trains the run.
        StorageFailure: if the lock file cannot be created.
    """
    file = _lock_file(_trainings(stores) / f"{run_id}.lock", f"run {run_id}")
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # Windows keeps the file while it is open
            file.path.unlink(missing_ok=True)
        file.close()


def find_training(stores: Stores) -> str | None:
    """Describe a process that trains a run outside any study; None if there is none."""
    for path in sorted(_trainings(stores).glob("*.lock")):
        user = _file_holder(path)
        if user is not None:
            return user
    return None


def _trainings(stores: Stores) -> Path:
    return stores.home / "checkpoints" / "train"


def _lock_file(path: Path, what: str) -> _LockFile:
    """Lock a file.

    Args:
        path: the file.
        what: the study or the run that it stands for, for the error.

    Raises:
        StudyBusy: if another process, or another thread of this one, holds the study.
        StorageFailure: if there can be no such file.
    """
    try:
        return _LockFile(path)
    except (BlockingIOError, PermissionError) as error:
        if error.filename is not None:  # the file cannot be opened
            raise StorageFailure(f"cannot use {path}: {error.strerror}") from None
        user = _describe_holder(_content(path))
        raise StudyBusy(f"{what} is in use by {user}") from None
    except OSError as error:
        raise StorageFailure(f"cannot use {path}: {error.strerror or error}") from None


def _claim(database: Path, held: Held, lock_file: Path) -> None:
    """Write into an SQLite file that this process holds a study. A missing file holds none."""
    if not database.exists():
        return
    sqlite.check_writable(database)
    identity = _identity(lock_file) or (0, 0)
    mine = Holder.this_process(identity[1], database.stat().st_ino)
    other = holders.claim(database, held.study, mine)
    if other is not None:
        raise StudyBusy(f"study {held.study!r} is in use by {other}")
    held.row = _Row(database, held.study, mine)


def holder(stores: Stores, study: str) -> str | None:
    """Describe the process that holds a study, without locking it for an instant; None if free."""
    database = sqlite_file(stores.studies)
    if database is None:
        return postgresql.holder(stores.studies, study)
    for path in (_lock_path(stores, study), _store_lock_path(database, study)):
        user = _file_holder(path)
        if user is not None:
            return user
    live = holders.find(database, study)
    return None if live is None else str(live)


def holder_of_any(stores: Stores, study: str) -> str | None:
    """Describe the process that holds a study, or else its finalists, as `holder` does."""
    return holder(stores, study) or holder(stores, f"{study}{FINALISTS_SUFFIX}")


def _file_holder(path: Path) -> str | None:
    """Describe the process that has locked a file; None if nobody has."""
    own = _held_here.get(_identity(path) or (0, 0))
    if own is not None:  # opening and closing the file would release this process's own lock
        return _describe_holder(own)
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        if file_locks.is_locked(file.fileno()):
            return _describe_holder(file.read(_LONGEST_CONTENT))
    return None


def _content(path: Path) -> str:
    """What a lock file says, as far as it can be read."""
    own = _held_here.get(_identity(path) or (0, 0))
    if own is not None:
        return own
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST_CONTENT)
    return ""


def remove_files(stores: Stores, study: str) -> None:
    """Remove the lock files of a study that is gone. The caller holds it, and writes no more."""
    paths = [_lock_path(stores, study)]
    database = sqlite_file(stores.studies)
    if database is not None:
        paths.append(_store_lock_path(database, study))
    for path in paths:
        with contextlib.suppress(OSError):  # on Windows, what is open cannot be removed
            path.unlink()


def _lock_path(stores: Stores, study: str) -> Path:
    """The lock file of a study's folder of checkpoints."""
    return stores.home / "checkpoints" / f"{study}.lock"


def _store_lock_path(database: Path, study: str) -> Path:
    """The lock file of a study in an SQLite file, beside the file itself.

    In a project's own folder, this is also the lock file of the folder of checkpoints. No study's
    name has an ``@``.
    """
    file = database.resolve()
    name = f"{study}.lock" if file.name == "optuna.db" else f"{study}@{file.name}.lock"
    return file.parent / "checkpoints" / name


def _describe_holder(content: str) -> str:
    """Describe the holder from the content of the lock file, which may be half written."""
    try:
        text = "process {pid} on {host} since {since}".format(**json.loads(content))
    except (KeyError, TypeError, ValueError, RecursionError):
        return "another process"
    return clean(text)
