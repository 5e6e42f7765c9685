"""The SQLite files of the stores: made, and looked at before a library opens them. Knows no study and no run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from pipeline.system.errors import StorageFailure

LOCK_TIMEOUT = 60  # seconds that a write waits for another process's

SPECIAL_CHARACTERS = re.compile(
    r"[%?#{}]"
)  # in the name of a file: SQLAlchemy, Optuna or MLflow would read its URL otherwise

_DAMAGED = ": it was damaged or replaced, put back a copy"
_REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=\s*[\"'](.+?)[\"']", re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """Whose tables a file holds. Both libraries change a file of another version by merely opening it."""

    package: str
    migrations: str  # the folder of its revisions, inside the package
    made: str  # a table that has a row once the library has made all of its own
    upgrade: str  # the command, without the URL


TRACKING = Library("mlflow", "store/db_migrations/versions", "experiments", "mlflow db upgrade")
STUDIES = Library(
    "optuna", "storages/_rdb/alembic/versions", "version_info", "optuna storage upgrade --storage"
)


_opened: WeakSet[ConnectionPoolEntry] = WeakSet()
event.listen(Pool, "connect", lambda _, entry: _opened.add(entry))


def close_files() -> None:
    """Close all files that a library has open: the last to do so empties a file's write-ahead log into it."""
    for entry in list(_opened):
        if isinstance(entry.dbapi_connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.Error):
                entry.dbapi_connection.close()


def wait_longer() -> None:
    """Have MLflow wait as long for another process's write as Optuna does: at each session it says 20 s, unasked."""
    if not event.contains(Engine, "before_cursor_execute", _patient):
        event.listen(Engine, "before_cursor_execute", _patient, retval=True)


def _patient(
    _: object, __: object, statement: str, parameters: object, *___: object
) -> tuple[str, object]:
    hasty = statement.startswith("PRAGMA busy_timeout")
    return f"PRAGMA busy_timeout = {1000 * LOCK_TIMEOUT}" if hasty else statement, parameters


def prepare(
    file: Path, url: str, library: Library, fill: Callable[[Path], None] = lambda _: None
) -> None:
    """Make a file ready to be written: there, whole, of this version, and in WAL mode: readers do not block there.

    Args:
        file: the file.
        url: of it, for the command that upgrades it.
        library: whose tables it holds.
        fill: makes a new file with the tables, if it can; the library makes those that are not there.

    Raises:
        StorageFailure: for a file that is not, or a folder that cannot be written; the file is as it was.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
        if not file.exists():
            _make(file, fill)
        examine(file, url, library)
        with closing(sqlite3.connect(file, timeout=LOCK_TIMEOUT)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(
                "BEGIN IMMEDIATE"
            )  # a file that cannot be written fails here, and not in a trial
            database.rollback()
    except (OSError, sqlite3.Error) as error:
        raise StorageFailure(
            f"cannot use {file}: {getattr(error, 'strerror', None) or error}"
        ) from None


def examine(file: Path, url: str, library: Library, *, copy: Path | None = None) -> None:
    """See that a file is a whole database of the installed version, without changing it.

    Args:
        file: named in errors.
        url: of the file, for the command that upgrades it.
        library: whose tables it holds.
        copy: to be looked at instead.

    Raises:
        StorageFailure: if it is not.
    """
    place = copy or file
    try:
        if place.is_file() and not place.stat().st_size:
            raise StorageFailure(
                f"cannot use {file}: it is empty, put back a copy of it; remove it to begin anew"
            )
        # what a crash left is undone
        if place.with_name(f"{place.name}-journal").exists():
            mode = "rw"
        else:
            mode = "ro"
        with closing(
            sqlite3.connect(f"file:{quote(str(place))}?mode={mode}", timeout=LOCK_TIMEOUT, uri=True)
        ) as found:
            (state,) = found.execute("PRAGMA quick_check(1)").fetchone()
            version = _version(found, library) if state == "ok" else None
    except sqlite3.DatabaseError as error:
        remedy = "" if isinstance(error, sqlite3.OperationalError) else _DAMAGED
        raise StorageFailure(f"cannot use {file}: {error}{remedy}") from None
    except OSError as error:
        raise StorageFailure(f"cannot use {file}: {error.strerror}") from None
    if state != "ok":
        raise StorageFailure(f"cannot use {file}: {' '.join(state.split())}{_DAMAGED}")
    if version is not None:
        check_version(file, url, library, version)


def _make(file: Path, fill: Callable[[Path], None]) -> None:
    """Make an empty database that is whole from its first moment: an empty file is then never one of ours."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        draft = Path(folder) / file.name
        fill(draft)
        with closing(sqlite3.connect(draft)) as database:
            database.execute("PRAGMA journal_mode=WAL")
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(draft, file)


def _version(database: sqlite3.Connection, library: Library) -> str | None:
    """The version of the tables; None where they are not all made yet, which their library goes on with."""
    known = {
        name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not {"alembic_version", library.made} <= known:
        return None
    made = database.execute(f"SELECT 1 FROM {library.made} LIMIT 1").fetchone()  # noqa: S608 - one of our two names
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    if made and row:
        return str(row[0])
    return None


def check_version(place: object, url: str, library: Library, version: str) -> None:
    """See that a library's tables are of the installed version.

    Args:
        place: named in errors.
        url: of the database, for the command that upgrades it.
        library: whose tables they are.
        version: the tables'.

    Raises:
        StorageFailure: with that command, if they are not.
    """
    package = importlib.util.find_spec(library.package)
    if package:
        folder = Path(package.origin or "").parent / library.migrations
    else:
        folder = Path()
    found = [
        match
        for path in folder.glob("*.py")
        for match in _REVISION.findall(path.read_text(encoding="utf-8"))
    ]
    revisions = {name for down, name in found if not down}
    if version in revisions - {name for down, name in found if down} or not revisions:
        return
    older = version in revisions
    if older:
        command = f"{library.upgrade} {shlex.quote(url)}"
    else:
        command = f"pip install --upgrade {library.package}"
    raise StorageFailure(
        f"cannot use {place}: {'an older' if older else 'a newer'} {library.package} made it (its tables are of "
        f"version {version}): back it up first, then run: {command}"
    )
