"""Creates and checks the SQLite files of both stores, before MLflow or Optuna opens them.

Both libraries change a file of another version by merely opening it, hence the check.

Two effects of this module reach all of the process, because MLflow and Optuna create their own
SQLAlchemy engines and offer no setting:

- `remember_connections` begins to remember all connections of SQLAlchemy, for `close_files`.
- `wait_longer` changes the lock timeout of all sessions of MLflow.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote
from weakref import WeakSet

from pipeline.stores import making
from pipeline.system.errors import StorageFailure
from pipeline.system.files import may_never_end

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy.pool import ConnectionPoolEntry

LOCK_TIMEOUT = 60  # seconds that a write waits for another process to release its lock

# Characters of a file name that SQLAlchemy, Optuna or MLflow would misread in a URL.
SPECIAL_CHARACTERS = re.compile(r"[%?#{}]")

READ_ONLY = ", copy the folder to one of your own and go on there"
_DAMAGED = ": it was damaged or replaced, put back a copy"

# What a migration makes of the tables, and what it begins from: one earlier version, or none.
_REVISION = re.compile(r"""^revision\b[^=\n]*=\s*["']([^"'\n]+)["']\s*(?:#.*)?$""", re.MULTILINE)
_DOWN_REVISION = re.compile(
    r"""^down_revision\b[^=\n]*=\s*(?:None|["']([^"'\n]+)["'])\s*(?:#.*)?$""", re.MULTILINE
)


@dataclass(frozen=True)
class Library:
    """A library with tables in a store, and how to find the version of its tables."""

    package: str
    migrations: str  # the folder of its Alembic migrations, inside the package
    last_table: str  # has a row as soon as the library has created all of its tables
    upgrade: str  # the command that upgrades the tables, without the URL


TRACKING = Library("mlflow", "store/db_migrations", "experiments", "mlflow db upgrade")
STUDIES = Library(
    "optuna", "storages/_rdb/alembic", "version_info", "optuna storage upgrade --storage"
)


_pool_entries: WeakSet[ConnectionPoolEntry] = WeakSet()


@functools.cache
def remember_connections() -> None:
    """Begin to remember all connections of SQLAlchemy, for `close_files`."""
    from sqlalchemy import event  # with SQLAlchemy's pool, a fifth of a second
    from sqlalchemy.pool import Pool

    event.listen(Pool, "connect", lambda _, entry: _pool_entries.add(entry))


@contextlib.contextmanager
def connect_existing(
    file: Path, mode: Literal["ro", "rw"] = "ro", *, immutable: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open a database without SQLAlchemy, for as long as the block runs; a missing one is not made.

    Args:
        file: the database.
        mode: to read only, or also to write.
        immutable: whether it is read without a lock or a file beside it, as in a folder that is
            read-only; what another process has just written may be missed.

    Raises:
        sqlite3.Error: if it cannot be opened.
    """
    uri = f"file:{quote(str(file))}?mode={mode}{'&immutable=1' if immutable else ''}"
    with closing(sqlite3.connect(uri, timeout=LOCK_TIMEOUT, uri=True)) as database:
        yield database


def close_files() -> None:
    """Close all SQLite connections of SQLAlchemy in this process, at the end of a command.

    SQLite empties a file's write-ahead log into the file when its last connection is closed.
    """
    for entry in list(_pool_entries):
        if isinstance(entry.dbapi_connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.Error):
                entry.dbapi_connection.close()


def wait_longer() -> None:
    """Make MLflow wait as long for another process's lock as Optuna does: `LOCK_TIMEOUT`.

    MLflow sets 20 seconds at the begin of each session, and has no option for it.
    """
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "before_cursor_execute", _replace_busy_timeout):
        event.listen(Engine, "before_cursor_execute", _replace_busy_timeout, retval=True)


def _replace_busy_timeout(
    _connection: object, _cursor: object, statement: str, parameters: object, *_: object
) -> tuple[str, object]:
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {1000 * LOCK_TIMEOUT}"
    return statement, parameters


def _create_nothing(_file: Path) -> None:
    """Leave the tables to the library, which creates them on opening the file."""


def prepare(
    file: Path,
    url: str,
    library: Library,
    complete_tables: Callable[[], None],
    create_tables: Callable[[Path], None] = _create_nothing,
) -> None:
    """Make a file ready for writing: existing, whole, of the installed version, and in WAL mode.

    In WAL mode readers do not block the writer. Several processes may do this at once.

    Args:
        file: the database; created with its folders if missing.
        url: the URL of the file, for the command to upgrade it.
        library: the owner of the tables.
        complete_tables: has the library open the file, and thereby create missing tables and rows.
            Called by a single process at a time: two at once would both try to create them.
        create_tables: creates a new file with the library's tables, if it can.

    Raises:
        StorageFailure: if the file is damaged or of another version, or if it or its folder cannot
            be written. The file stays as it is.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
        check_writable(file)
        if making.is_unfinished(file) or not file.exists() or not examine(file, url, library):
            with making.making(file) as draft:
                if not file.exists():
                    _create(file, draft, create_tables)
                if not examine(file, url, library):
                    complete_tables()
        with closing(sqlite3.connect(file, timeout=LOCK_TIMEOUT)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            # If the file cannot be written, fail here and not in a trial.
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = READ_ONLY if getattr(error, "errno", None) in (errno.EACCES, errno.EROFS) else ""
        raise StorageFailure(f"cannot use {file}: {reason}{remedy}") from None


def check_writable(file: Path) -> None:
    """Check that a file, if it is there, may be written. SQLite would notice it much later.

    Raises:
        StorageFailure: if it may not.
    """
    if file.exists() and not os.access(file, os.W_OK):
        raise StorageFailure(f"cannot use {file}: it is read-only{READ_ONLY}")


def examine(file: Path, url: str, library: Library, *, copy: Path | None = None) -> bool:
    """Check that a file is a whole database of the installed version, without changing the file.

    Args:
        file: the database, named in errors.
        url: the URL of the file, for the command to upgrade it.
        library: the owner of the tables.
        copy: a copy of the file to look at instead.

    Returns:
        Whether the library has created all of its tables.

    Raises:
        StorageFailure: if the file is empty, unreadable, damaged, or of another version.
    """
    examined = copy or file
    try:
        if may_never_end(examined):
            raise StorageFailure(f"cannot use {file}: it is no regular file")
        if examined.is_file() and not examined.stat().st_size:
            raise StorageFailure(
                f"cannot use {file}: it is empty, put back a copy of it; remove it to begin anew"
            )
        # A journal is what a crash left behind. Only a writable connection rolls it back.
        has_journal = examined.with_name(f"{examined.name}-journal").exists()
        with connect_existing(examined, "rw" if has_journal else "ro") as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            version = _read_version(database, library) if state == "ok" else None
    except sqlite3.DatabaseError as error:
        remedy = "" if isinstance(error, sqlite3.OperationalError) else _DAMAGED
        raise StorageFailure(f"cannot use {file}: {error}{remedy}") from None
    except OSError as error:
        raise StorageFailure(f"cannot use {file}: {error.strerror}") from None
    if state != "ok":
        problem = " ".join(state.split())
        raise StorageFailure(f"cannot use {file}: {problem}{_DAMAGED}")
    if version is None:
        return False
    check_version(file, url, library, version)
    return True


def is_current(file: Path, library: Library) -> bool:
    """Tell quickly whether a file has all tables of the installed version of a library."""
    if not file.exists():
        return False
    try:
        with connect_existing(file) as database:
            version = _read_version(database, library)
    except sqlite3.Error:
        return False
    return version is not None and version == _newest_version(library)


def _create(file: Path, draft: Path, create_tables: Callable[[Path], None]) -> None:
    """Create a database as a whole, so that an empty file is never an unfinished one of ours."""
    create_tables(draft)
    with closing(sqlite3.connect(draft)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    with contextlib.suppress(FileExistsError):  # another program was quicker
        os.link(draft, file)


def _read_version(database: sqlite3.Connection, library: Library) -> str | None:
    """The version of the tables, or None before the library has created all of its tables.

    The library completes such a database on opening.
    """
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in rows}
    if not {"alembic_version", library.last_table} <= tables:
        return None
    query = f"SELECT 1 FROM {library.last_table} LIMIT 1"  # noqa: S608 - one of our two names
    is_complete = database.execute(query).fetchone()
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if is_complete and row else None


def check_version(database: object, url: str, library: Library, version: str) -> None:
    """Check that the tables of a library are of its installed version.

    Args:
        database: the file or database, named in errors.
        url: the URL of the database, for the command to upgrade it.
        library: the owner of the tables.
        version: the Alembic revision of the tables.

    Raises:
        StorageFailure: if an older or newer version made the tables. The message has the command to
            upgrade the tables or the library.
    """
    if version == _newest_version(library):
        return
    scripts = _migration_scripts(library)
    if scripts is None or version in scripts.get_heads():
        return
    revisions = {script.revision for script in scripts.walk_revisions()}
    if version in revisions:
        age = "an older"
        command = f"{library.upgrade} {shlex.quote(url)}"
    else:
        age = "a newer"
        command = f"pip install --upgrade {library.package}"
    raise StorageFailure(
        f"cannot use {database}: {age} {library.package} made it (its tables are of "
        f"version {version}): back it up first, then run: {command}"
    )


@functools.cache
def _newest_version(library: Library) -> str | None:
    """The version of the tables that the installed library makes.

    Reads the migrations as text: Alembic would import every one of them, with itself, at the start
    of each command. None if they are of another form; then Alembic has to say.
    """
    folder = _migrations(library)
    if folder is None:
        return None
    made = set()
    left = set()
    for file in sorted((folder / "versions").glob("[!_]*.py")):
        text = file.read_text(encoding="utf-8")
        revisions = _REVISION.findall(text)
        begins_from = _DOWN_REVISION.findall(text)
        if len(revisions) != 1 or len(begins_from) != 1:
            return None
        made.update(revisions)
        left.update(begins_from)
    newest = made - left
    return newest.pop() if len(newest) == 1 else None


@functools.cache
def _migration_scripts(library: Library) -> ScriptDirectory | None:
    """The migrations of the installed version, or None if the library is not installed."""
    folder = _migrations(library)
    if folder is None:
        return None
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(folder))


def _migrations(library: Library) -> Path | None:
    """The folder of the migrations of the installed version; None if it is not installed."""
    package = importlib.util.find_spec(library.package)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / library.migrations
