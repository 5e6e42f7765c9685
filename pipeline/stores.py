"""Where things are kept: the tracking store, the studies' store, checkpoints, reports, and the lock of a study."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pipeline import databases
from pipeline.errors import StorageFailure, StudyBusy, UsageFailure

if TYPE_CHECKING:
    from sweeps.ranking import StudyRecord
    from sweeps.stored import Storage

_NAME = re.compile(r"\w[\w .-]{0,99}")
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Stores:
    """Where everything of a sweep is kept."""

    tracking: str  # MLflow's tracking URI, absolute
    studies: str  # Optuna's storage URL, absolute
    home: Path  # the folder of checkpoints/ and reports/

    def reports(self, study: str) -> Path:
        """Where a study's report is written."""
        return self.home / "reports" / study


def locate(storage: str | None = None) -> Stores:
    """Find the stores, making nothing.

    Args:
        storage: from the command line; else PIPELINE_STORAGE, else ``optuna.db`` beside the tracking file.

    Raises:
        UsageFailure: for a URL that is not served, or a password on a command line.
    """
    tracking = _absolute(os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db")
    file = sqlite_file(tracking)
    if file is None and urlsplit(tracking).scheme not in ("http", "https"):
        scheme = urlsplit(tracking).scheme or "a plain path"  # the rest may hold a password
        raise UsageFailure(f"MLFLOW_TRACKING_URI must be sqlite:///FILE or http(s)://...: got {scheme}")
    home = file.parent if file else Path.cwd()
    if storage and urlsplit(storage).password:
        raise UsageFailure("--storage must not hold a password, which would be logged: set PIPELINE_STORAGE instead")
    studies = _absolute(storage or os.environ.get("PIPELINE_STORAGE") or sqlite_url(home / "optuna.db"))
    if sqlite_file(studies) is None:
        raise UsageFailure(f"the storage of studies must be sqlite:///FILE: got {urlsplit(studies).scheme!r}")
    return Stores(tracking, studies, home)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, where ``%20`` is a space; None for another."""
    return Path(unquote(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file, wherever it is."""
    # Quoted where SQLAlchemy or Optuna, which formats the URL, would read something else; MLflow makes an empty folder
    # of the quoted name beside the true one, so a mere space is left alone.
    return _SQLITE + re.sub(r"[%?#{}]", lambda found: quote(found[0]), str(file.absolute()))


def _absolute(url: str) -> str:
    file = sqlite_file(url)
    return url if file is None else sqlite_url(file)


def check_name(name: str) -> str:
    """Return a study's name if it can be a folder's and a filter's too.

    Raises:
        UsageFailure: if not.
    """
    if not _NAME.fullmatch(name):
        raise UsageFailure(
            f"a study's name must be up to 100 letters, digits, spaces, '_', '.' and '-', and start with a letter "
            f"or digit: got {name!r}"
        )
    return name


def prepare(stores: Stores) -> None:
    """Make the embedded stores ready to be written: whole, and in WAL mode, where readers do not block the writer.

    Raises:
        StorageFailure: for a folder or file that cannot be written, or a file that is damaged or of another version;
            before anything is made, for a tracking server that does not answer.
    """
    _reach(stores)
    databases.wait_longer()
    for url, library in ((stores.tracking, databases.TRACKING), (stores.studies, databases.STUDIES)):
        file = sqlite_file(url)
        if file is not None:
            databases.prepare(file, url, library)


def _reach(stores: Stores) -> None:
    if sqlite_file(stores.tracking) is None:
        from pipeline.connection import reach

        reach(stores.tracking)


def check_tracking(stores: Stores) -> None:
    """See that there is a tracking store to read; opening one that is not there would make it.

    Raises:
        UsageFailure: if there is none.
        StorageFailure: if it is damaged or of another version.
    """
    file = sqlite_file(stores.tracking)
    if file is None:
        _reach(stores)
        return
    if not file.exists():
        raise UsageFailure(f"no tracking store {file}: go to the folder where the run was begun")
    databases.examine(file, stores.tracking, databases.TRACKING)


def open_studies(stores: Stores) -> Storage:
    """Open the store of studies for writing; `prepare` has made it ready."""
    return _storage(stores.studies)


@contextmanager
def read_studies(stores: Stores) -> Iterator[Storage]:
    """Open the store of studies for reading: nothing is made, and a read-only folder will do.

    Raises:
        UsageFailure: if there is none yet.
        StorageFailure: if it is damaged or of another version.
    """
    file = sqlite_file(stores.studies)
    if file is None or not file.exists():
        raise UsageFailure(f"no studies in {file}: run `pipeline sweep` first, or name the folder's --storage")
    if os.access(file.parent, os.W_OK) and os.access(file, os.W_OK):
        databases.examine(file, stores.studies, databases.STUDIES)
        yield _storage(stores.studies)
        return
    with tempfile.TemporaryDirectory() as folder:  # a WAL database cannot be opened where nothing can be written
        copy = Path(folder) / file.name
        for suffix in ("", "-wal"):
            if file.with_name(file.name + suffix).exists():
                shutil.copyfile(file.with_name(file.name + suffix), copy.with_name(copy.name + suffix))
        databases.examine(file, stores.studies, databases.STUDIES, copy=copy)
        yield _storage(sqlite_url(copy))


def read_record(stores: Stores, name: str | None = None) -> StudyRecord:
    """Read a study; the one last opened, if none is named.

    Raises:
        UsageFailure: if there is no such study.
        StorageFailure: if the store cannot be read.
    """
    from sweeps import stored

    with read_studies(stores) as storage:
        try:
            known = stored.names(storage)
            if not known:
                raise UsageFailure(f"no study in {sqlite_file(stores.studies)}: run `pipeline sweep` first")
            return stored.read(storage, name or known[-1])
        except stored.StudyNotFoundError as error:
            raise UsageFailure(str(error)) from None
        except stored.STORE_ERRORS as error:
            raise StorageFailure(f"cannot read {sqlite_file(stores.studies)}: {stored.cause(error)}") from None


def read_fact(stores: Stores, name: str, key: str) -> Any:
    """What was kept with a study when it was made; None where there is no such study or fact."""
    from sweeps import stored

    try:
        with read_studies(stores) as storage:
            return stored.fact(storage, name, key)
    except UsageFailure:
        return None


def _storage(url: str) -> Storage:
    from sweeps.stored import StorageError, open_storage

    try:
        return open_storage(url, timeout=databases.LOCK_TIMEOUT)
    except StorageError as error:
        raise StorageFailure(f"cannot open the studies in {sqlite_file(url)}: {error}") from None


@contextmanager
def lock(stores: Stores, study: str) -> Iterator[None]:
    """Hold a study: no other sweep may go on with it. Free the instant its holder dies.

    `fcntl.lockf` and not `flock`, which a forked process would go on holding.

    Raises:
        StudyBusy: naming who holds it.
        StorageFailure: where its file cannot be made.
    """
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


def _holder(text: str) -> str:
    try:
        return "process {pid} on {host} since {since}".format(**json.loads(text))
    except (KeyError, TypeError, ValueError):
        return "another process"
