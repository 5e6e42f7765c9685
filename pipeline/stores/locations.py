"""Where things are kept: the tracking store, the studies' store, checkpoints, reports, and the lock of a study."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pipeline.stores import mlflow_tables, postgresql, sqlite
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure
from pipeline.training import allocator

if TYPE_CHECKING:
    from sweeps.analysis.ranking import StudyRecord
    from sweeps.search.stored import Running, Storage

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
    studies = _absolute(storage or os.environ.get("PIPELINE_STORAGE") or sqlite_url(home / "optuna.db"))
    if sqlite_file(studies) is None:
        studies = postgresql.parse(studies, secret=not storage)
    return Stores(tracking, studies, home)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL, where ``%20`` is a space; None for another."""
    return Path(unquote(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file, wherever it is."""
    # Quoted where SQLAlchemy or Optuna, which formats the URL, would read something else; MLflow makes an empty folder
    # of the quoted name beside the true one, so a mere space is left alone.
    return _SQLITE + sqlite.QUOTED.sub(lambda found: quote(found[0]), str(file.absolute()))


def shown(url: str) -> str:
    """The store of studies, as a user knows it: a file, or the URL of a database without its password."""
    return postgresql.shown(url) if sqlite_file(url) is None else str(sqlite_file(url))


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
    """Make the stores ready to be written: whole, and files in WAL mode, where readers do not block the writer.

    Raises:
        StorageFailure: for a folder, file or database that cannot be written, or is damaged or of another version;
            before anything is made, for a server that does not answer.
    """
    _reach(stores)
    if sqlite_file(stores.studies) is None:
        postgresql.prepare(stores.studies, lambda: _storage(stores.studies))
    sqlite.wait_longer()
    tracking, studies = (stores.tracking, sqlite.TRACKING, mlflow_tables.fill), (stores.studies, sqlite.STUDIES)
    for url, library, *fill in (tracking, studies):
        file = sqlite_file(url)
        if file is not None:
            sqlite.prepare(file, url, library, *fill)


def _reach(stores: Stores) -> None:
    if sqlite_file(stores.tracking) is None:
        from pipeline.tracking.server import reach

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
    sqlite.examine(file, stores.tracking, sqlite.TRACKING)


def tracking_is_writable(stores: Stores) -> bool:
    """Whether something can be added to the tracking store: a server will say so itself."""
    file = sqlite_file(stores.tracking)
    return file is None or _writable(file)


@contextmanager
def read_tracking(stores: Stores) -> Iterator[str]:
    """The URI of the tracking store for reading: a read-only folder will do, and what is written then is lost.

    Raises:
        UsageFailure: if there is none.
        StorageFailure: if it is damaged or of another version.
    """
    file = sqlite_file(stores.tracking)
    if file is None or not file.exists() or _writable(file):
        check_tracking(stores)
        yield stores.tracking
        return
    with _copied(file, stores.tracking, sqlite.TRACKING) as copy:
        yield copy


def open_studies(stores: Stores, held: postgresql.Held = None) -> Storage:
    """Open the store of studies for writing; `prepare` has made it ready, and `lock` holds the study."""
    return _storage(stores.studies, held)


@contextmanager
def read_studies(stores: Stores) -> Iterator[Storage]:
    """Open the store of studies for reading: nothing is made, and a read-only folder will do.

    Raises:
        UsageFailure: if there is none yet.
        StorageFailure: if it cannot be reached, is damaged or of another version.
    """
    file = sqlite_file(stores.studies)
    if not (file.exists() if file else postgresql.examine(stores.studies)):
        where = shown(stores.studies)
        raise UsageFailure(f"no studies in {where}: run `pipeline sweep` first, or name the folder's --storage")
    if file is None:
        yield _storage(stores.studies, read_only=True)
        return
    if _writable(file):
        sqlite.examine(file, stores.studies, sqlite.STUDIES)
        yield _storage(stores.studies)
        return
    with _copied(file, stores.studies, sqlite.STUDIES) as copy:
        yield _storage(copy)


def _writable(file: Path) -> bool:
    return os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)


@contextmanager
def _copied(file: Path, url: str, library: sqlite.Library) -> Iterator[str]:
    """The URL of a copy of a database: one in WAL mode cannot be opened where nothing can be written."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        for suffix in ("", "-wal"):
            if file.with_name(file.name + suffix).exists():
                shutil.copyfile(file.with_name(file.name + suffix), copy.with_name(copy.name + suffix))
        sqlite.examine(file, url, library, copy=copy)
        yield sqlite_url(copy)


def read_record(stores: Stores, name: str | None = None) -> StudyRecord:
    """Read a study; the one last opened, if none is named: that whose finalists were, rather than those.

    Raises:
        UsageFailure: if there is no such study.
        StorageFailure: if the store cannot be read.
    """
    from sweeps.analysis.finalists import SUFFIX
    from sweeps.search import stored

    with read_studies(stores) as storage, allocator.loading():
        try:
            known = stored.names(storage)
            if not known:
                raise UsageFailure(f"no study in {shown(stores.studies)}: run `pipeline sweep` first")
            return stored.read(storage, name or known[-1].removesuffix(SUFFIX))
        except stored.StudyNotFoundError as error:
            raise UsageFailure(str(error)) from None
        except stored.STORE_ERRORS as error:
            raise StorageFailure(f"cannot read {shown(stores.studies)}: {stored.cause(error)}") from None


def read_running(stores: Stores, name: str) -> tuple[Running, ...]:
    """How far the trials of a study are that have not ended."""
    from sweeps.search import stored

    with read_studies(stores) as storage:
        return stored.running(storage, name)


def read_names(stores: Stores) -> list[str]:
    """The names of the studies, the one last opened last."""
    from sweeps.search import stored

    with read_studies(stores) as storage:
        return stored.names(storage)


def read_fact(stores: Stores, name: str, key: str) -> Any:
    """What was kept with a study when it was made; None where there is no such study or fact."""
    from sweeps.search import stored

    try:
        with read_studies(stores) as storage:
            return stored.fact(storage, name, key)
    except UsageFailure:
        return None


def _storage(url: str, held: postgresql.Held = None, *, read_only: bool = False) -> Storage:
    from sweeps.search.stored import StorageError, open_storage

    engine = None if sqlite_file(url) else postgresql.engine(url, held, read_only=read_only)
    try:
        return open_storage(url, timeout=sqlite.LOCK_TIMEOUT, engine=engine, examined=held is not None)
    except StorageError as error:
        raise StorageFailure(f"cannot open the studies in {shown(url)}: {error}") from None


@contextmanager
def lock(stores: Stores, study: str) -> Iterator[postgresql.Held]:
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
