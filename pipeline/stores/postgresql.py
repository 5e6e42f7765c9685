"""Keeps studies in a PostgreSQL database: checks, connections, and locks of studies.

No error message shows a password.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline.stores import sqlite
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.engine import URL

    # The connection that holds the lock of a study; None if the studies are in an SQLite file.
    StudyConnection: TypeAlias = psycopg.Connection | None

URL_FORM = "postgresql+psycopg://USER@HOST/DATABASE"

_CONNECT_TIMEOUT = 3  # seconds in which a server must answer, as a tracking server must
_DRIVER = "postgresql+psycopg"
# Options in the query of a URL. Only those that say where the database is are ever shown.
_SHOWN = {"host", "hostaddr", "port", "dbname", "sslmode", "service"}
_SECRET = re.compile("password|secret|token", re.IGNORECASE)
_INSTALL = "pip install 'psycopg[binary]>=3.2'"

# After idle + count * interval seconds, a client notices that the server is dead, and the server
# notices that a client is dead and releases its locks.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_CONNECT_OPTIONS = {"connect_timeout": _CONNECT_TIMEOUT, "tcp_user_timeout": 25_000, **_KEEPALIVES}
_SERVER_SETTINGS = {
    **{f"tcp_{key}": str(value) for key, value in _KEEPALIVES.items()},
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",  # an epoch may take hours
    "lock_timeout": f"{sqlite.LOCK_TIMEOUT}s",
}

# Seconds in which the server notices that the process behind a connection was killed.
_LOCK_PATIENCE = 2.0
_RETRY_INTERVAL = 0.1  # seconds

# The name of a connection that holds a study tells other users who holds it.
_HOLDER_NAME = re.compile(r"sweep (?P<pid>\d+)@(?P<host>.+) (?P<since>\S+ \S+)")


def parse(text: str, *, secret: bool) -> str:
    """Check the URL of a database, and complete its scheme.

    Args:
        text: a URL of the form `URL_FORM`, or with the bare scheme ``postgresql``.
        secret: whether the URL may hold a password.

    Raises:
        UsageFailure: for any other URL. The message shows little of it, because a password may
            stand in a wrong place.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    rule = f"the storage of studies must be sqlite:///FILE or {URL_FORM}"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageFailure(f"{rule}: got what is no URL") from None
    if not secret and (url.password or any(map(_SECRET.search, url.query))):
        raise UsageFailure(
            "--storage must not hold a password, which would be logged: "
            "set PIPELINE_STORAGE instead"
        )
    if url.drivername not in ("postgresql", _DRIVER):
        raise UsageFailure(f"{rule}: got {url.drivername!r}")
    if "@" in f"{url.host}{url.database}":
        raise UsageFailure(
            f"{rule}: got an @ that is part of a name or password, which is written %40"
        )
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


def without_password(text: str) -> str:
    """The URL of a database without its password, and without options that may hold secrets."""
    from sqlalchemy.engine import URL, make_url

    url = make_url(text)
    query = {key: value for key, value in url.query.items() if key in _SHOWN}
    return str(
        URL.create(
            url.drivername,
            username=url.username,
            host=url.host,
            port=url.port,
            database=url.database,
            query=query,
        )
    )


def prepare(url: str, create_tables: Callable[[], object]) -> None:
    """Make a database ready for writing: with Optuna's tables, of the installed version.

    Args:
        url: the URL of the database.
        create_tables: creates the tables. Called by a single process at a time.

    Raises:
        StorageFailure: if the database cannot be used or written, or is of another version. It
            stays as it is.
    """
    with _storage_errors(url), closing(_connect(url)) as database:
        if not _has_tables(database, url):
            database.execute("SELECT pg_advisory_lock(%s)", (_lock_key("tables"),))
            if not _has_tables(database, url):  # another process may have created them meanwhile
                create_tables()
        # If the database is read-only for this user, fail here and not in a trial.
        database.execute("LOCK TABLE studies IN ROW EXCLUSIVE MODE")


def examine(url: str) -> bool:
    """Check that a database answers and is of the installed version, without changing it.

    Returns:
        Whether the database has Optuna's tables.

    Raises:
        StorageFailure: if the database cannot be used, or is of another version.
    """
    with _storage_errors(url), closing(_connect(url, read_only=True)) as database:
        return _has_tables(database, url)


def engine_options(
    url: str, connection: StudyConnection = None, *, read_only: bool = False
) -> dict[str, Any]:
    """SQLAlchemy's options for a connection to a database.

    Args:
        url: the URL of the database.
        connection: holds the lock of a study. SQLAlchemy then uses this connection alone: after
            its loss a process cannot write, so that two processes never write the same study.
            Otherwise SQLAlchemy opens a new connection each time.
        read_only: whether new connections refuse to write.
    """
    from sqlalchemy.pool import NullPool

    if connection is not None:
        return {"creator": lambda: connection, "pool_size": 1, "max_overflow": 0}
    return {"creator": partial(_connect, url, read_only=read_only), "poolclass": NullPool}


@contextmanager
def hold(url: str, study: str) -> Iterator[psycopg.Connection]:
    """Hold the lock of a study. It is released at the end of the block, or if this process dies.

    Yields:
        The connection that holds the lock.

    Raises:
        StudyBusy: if another process holds the study, with its name.
        StorageFailure: if the database cannot be used.
    """
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    host = socket.gethostname()[:28]  # PostgreSQL keeps 63 bytes of a connection's name
    name = f"sweep {os.getpid()}@{host} {since}"
    with contextlib.ExitStack() as stack:
        with _storage_errors(url):
            database = stack.enter_context(closing(_connect(url, name=name)))
            key = _lock_key(f"study {study}")
            if not _try_lock(database, key):
                user = _find_holder(database, key) or "another process"
                raise StudyBusy(f"study {study!r} is in use by {user}")
        yield database


def _try_lock(database: psycopg.Connection, key: int) -> bool:
    """Take a lock, and give the server time to notice the death of a killed holder."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while database.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() != (True,):
        database.commit()
        if time.monotonic() > deadline:
            return False
        time.sleep(_RETRY_INTERVAL)
    database.commit()
    return True


def holder(url: str, study: str) -> str | None:
    """Describe the process that holds a study; None if the study is free.

    Raises:
        StorageFailure: if the database cannot be used.
    """
    with _storage_errors(url), closing(_connect(url, read_only=True)) as database:
        return _find_holder(database, _lock_key(f"study {study}"))


def _import_driver() -> ModuleType:
    try:
        return importlib.import_module("psycopg")
    except ImportError:  # of psycopg itself, or of the libpq that it loads
        raise UsageFailure(
            f"studies in PostgreSQL need psycopg, which is not installed: {_INSTALL}"
        ) from None


@contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    """Turn an error of the database into a `StorageFailure` of one line."""
    from sqlalchemy.engine import make_url

    try:
        yield
    except _import_driver().Error as error:
        text = error.diag.message_primary or str(error)
        message = " ".join(_hide_secrets(text, make_url(url)).split())
        raise StorageFailure(
            f"cannot use the studies in {without_password(url)}: {message[:300]}"
        ) from None


def _hide_secrets(message: str, url: URL) -> str:
    """Return a message of the driver without what the URL of its database holds in secret."""
    secrets = [value for key, value in url.query.items() if key not in _SHOWN]
    for secret in [url.password, *secrets]:
        for text in (secret,) if isinstance(secret, str) else secret or ():
            if len(text) > 1:
                message = message.replace(text, "***")
    return message


def _connect(text: str, *, name: str = "pipeline", read_only: bool = False) -> psycopg.Connection:
    from sqlalchemy.engine import make_url

    driver = _import_driver()
    url = make_url(text)
    _, url_options = url.get_dialect()().create_connect_args(url)
    options = {
        **_CONNECT_OPTIONS,
        **url_options,
        "application_name": name,
        "client_encoding": "utf8",
    }
    connection: psycopg.Connection = driver.connect(**options)
    settings = dict(_SERVER_SETTINGS)
    settings["default_transaction_read_only"] = "on" if read_only else "off"
    for setting, value in settings.items():
        # Selecting from pg_settings skips a setting that this version of the server does not have.
        connection.execute(
            "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, setting)
        )
    connection.commit()
    return connection


def _has_tables(database: psycopg.Connection, url: str) -> bool:
    """Whether Optuna's tables are there and complete. Optuna completes tables itself.

    Raises:
        StorageFailure: if the tables are another program's, or of another version.
    """
    library = sqlite.STUDIES
    name = without_password(url)
    if not _table_exists(database, "alembic_version"):
        return False
    if not _table_exists(database, library.last_table):
        raise StorageFailure(
            f"{name} holds another program's tables: give the studies a database of their own"
        )
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        return False
    sqlite.check_version(f"the studies in {name}", name, library, row[0])
    return True


def _table_exists(database: psycopg.Connection, table: str) -> bool:
    return database.execute("SELECT to_regclass(%s)::text", (table,)).fetchone() != (None,)


def _lock_key(purpose: str) -> int:
    """The 64-bit key of an advisory lock of this project."""
    digest = hashlib.sha256(f"sweep-pipeline: {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _find_holder(database: psycopg.Connection, key: int) -> str | None:
    """Describe the process that holds a lock; None if the lock is free.

    The process is known by the name of its connection, which every user may read.
    """
    row = database.execute(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
        "AND (classid::bigint << 32) | objid::bigint = %s "
        "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (key,),
    ).fetchone()
    if row is None:
        return None
    match = _HOLDER_NAME.fullmatch(row[0])
    if match is None:
        return "another process"
    return "process {pid} on {host} since {since} UTC".format(**match.groupdict())
