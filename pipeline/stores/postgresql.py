"""The PostgreSQL database of the studies: connections, a look before a library opens it, and who holds a study there.

Knows no trial and no run. Says no password.
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
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from pipeline.stores import sqlite
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure

if TYPE_CHECKING:
    import psycopg

    StudyConnection = (
        psycopg.Connection | None
    )  # the connection that holds a study of a database; None for a file's

START = 3  # seconds in which a server must answer at the start, as a tracking server must
URL_FORM = "postgresql+psycopg://USER@HOST/DATABASE"

_DRIVER = "postgresql+psycopg"
_SECRETS = {"password", "sslpassword"}  # which may also stand among the options of a URL
_INSTALL = "pip install 'psycopg[binary]>=3.2'"
# A dead server is noticed, and what a dead host held is free, after idle + count * interval seconds.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_WAITS = {"connect_timeout": START, "tcp_user_timeout": 25_000, **_KEEPALIVES}
_SETTINGS = {
    **{f"tcp_{key}": str(value) for key, value in _KEEPALIVES.items()},
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",  # an epoch may take hours
    "lock_timeout": f"{sqlite.LOCK_TIMEOUT}s",
}
_FAREWELL = 2.0  # seconds that a server is given to see that a connection's process has been killed
_RETRY = 0.1
_HOLDER = re.compile(r"sweep (?P<pid>\d+)@(?P<host>.+) (?P<since>\S+ \S+)")


def parse(text: str, *, secret: bool) -> str:
    """Read the URL of a database, and return it as it is used.

    Args:
        text: of the form `URL_FORM`, or with the bare scheme postgresql.
        secret: whether it may hold a password.

    Raises:
        UsageFailure: for another; little of it is shown, a password may stand in a wrong place.
    """
    rule = f"the storage of studies must be sqlite:///FILE or {URL_FORM}"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageFailure(f"{rule}: got what is no URL") from None
    if not secret and (url.password or _SECRETS & url.query.keys()):
        raise UsageFailure(
            "--storage must not hold a password, which would be logged: set PIPELINE_STORAGE instead"
        )
    if url.drivername not in ("postgresql", _DRIVER):
        raise UsageFailure(f"{rule}: got {url.drivername!r}")
    if "@" in f"{url.host}{url.database}":
        raise UsageFailure(
            f"{rule}: got an @ that is part of a name or password, which is written %40"
        )
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


def without_password(text: str) -> str:
    """The URL of a database without its password."""
    url = make_url(text)
    options = {key: value for key, value in url.query.items() if key not in _SECRETS}
    return str(
        URL.create(url.drivername, url.username, None, url.host, url.port, url.database, options)
    )


def prepare(text: str, make: Callable[[], object]) -> None:
    """Make a database ready to be written: with its tables, and of the installed version.

    Args:
        text: its URL.
        make: makes the tables where there are none; called by one process at a time.

    Raises:
        StorageFailure: for one that cannot be; it is as it was.
    """
    with _errors(text), closing(_connect(text)) as database:
        if not _examined(database, text):
            database.execute("SELECT pg_advisory_lock(%s)", (_key("tables"),))
            if not _examined(database, text):
                make()
        database.execute(
            "LOCK TABLE studies IN ROW EXCLUSIVE MODE"
        )  # where nothing may be written, it fails here


def examine(text: str) -> bool:
    """See that a database answers and is of the installed version, without changing it; whether it has its tables.

    Raises:
        StorageFailure: if it does not, or is not.
    """
    with _errors(text), closing(_connect(text, read_only=True)) as database:
        return _examined(database, text)


def engine_options(
    text: str, held: StudyConnection = None, *, read_only: bool = False
) -> dict[str, Any]:
    """How SQLAlchemy connects: through the one connection that holds a study, or else anew each time.

    Who loses that connection can write no more, so two never write one study.
    """
    if held is not None:
        return {"creator": lambda: held, "pool_size": 1, "max_overflow": 0}
    return {"creator": partial(_connect, text, read_only=read_only), "poolclass": NullPool}


@contextmanager
def hold(text: str, study: str) -> Iterator[psycopg.Connection]:
    """Hold a study, and yield the connection that does: it is free the instant this ends, as by its holder's death.

    Raises:
        StudyBusy: naming who holds it.
        StorageFailure: if the database cannot be used.
    """
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    name = f"sweep {os.getpid()}@{socket.gethostname():.28} {since}"  # PostgreSQL keeps 63 bytes
    with contextlib.ExitStack() as stack:
        with _errors(text):
            database = stack.enter_context(closing(_connect(text, name=name)))
            key = _key(f"study {study}")
            if not _taken(database, key):
                raise StudyBusy(
                    f"study {study!r} is in use by {_holder(database, key) or 'another process'}"
                )
        yield database


def _taken(database: psycopg.Connection, key: int) -> bool:
    """Take a lock, unless it is held for longer than the server needs to see that its holder has been killed."""
    end = time.monotonic() + _FAREWELL
    while database.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() != (True,):
        database.commit()
        if time.monotonic() > end:
            return False
        time.sleep(_RETRY)
    database.commit()
    return True


def holder(text: str, study: str) -> str | None:
    """Who holds a study, in words; None if nobody does.

    Raises:
        StorageFailure: if the database cannot be used.
    """
    with _errors(text), closing(_connect(text, read_only=True)) as database:
        return _holder(database, _key(f"study {study}"))


def _driver() -> ModuleType:
    try:
        return importlib.import_module("psycopg")
    except ImportError:  # of it, or of its library of the protocol
        raise UsageFailure(
            f"studies in PostgreSQL need psycopg, which is not installed: {_INSTALL}"
        ) from None


@contextmanager
def _errors(text: str) -> Iterator[None]:
    """Turn what the database raises into one line."""
    try:
        yield
    except _driver().Error as error:
        said = " ".join((error.diag.message_primary or str(error)).split())
        raise StorageFailure(
            f"cannot use the studies in {without_password(text)}: {said[:300]}"
        ) from None


def _connect(text: str, *, name: str = "pipeline", read_only: bool = False) -> psycopg.Connection:
    driver = _driver()
    url = make_url(text)
    _, given = url.get_dialect()().create_connect_args(url)
    connection: psycopg.Connection = driver.connect(
        **{**_WAITS, **given, "application_name": name, "client_encoding": "utf8"}
    )
    settings = _SETTINGS | {"default_transaction_read_only": "on" if read_only else "off"}
    for setting, value in settings.items():  # those that this version of the server knows
        connection.execute(
            "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, setting)
        )
    connection.commit()
    return connection


def _examined(database: psycopg.Connection, text: str) -> bool:
    """Whether the tables are there; not, where they are not all made yet, which Optuna goes on with."""
    library = sqlite.STUDIES
    versions, made = (
        database.execute("SELECT to_regclass(%s)::text", (table,)).fetchone() != (None,)
        for table in ("alembic_version", library.made)
    )
    if versions and not made:
        raise StorageFailure(
            f"{without_password(text)} holds another program's tables: give the studies a database of their own"
        )
    if not versions:
        return False
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    if row:
        sqlite.check_version(
            f"the studies in {without_password(text)}", without_password(text), library, row[0]
        )
    return bool(row)


def _key(what: str) -> int:
    """A number by which PostgreSQL locks something of ours."""
    return int.from_bytes(
        hashlib.sha256(f"sweep-pipeline: {what}".encode()).digest()[:8], signed=True
    )


def _holder(database: psycopg.Connection, key: int) -> str | None:
    """Who holds a study: what the connection that does is named, which every user may see. None if nobody does."""
    row = database.execute(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
        "AND granted AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = %s "
        "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (key,),
    ).fetchone()
    if row is None:
        return None
    known = _HOLDER.fullmatch(row[0])
    if known:
        return "process {pid} on {host} since {since} UTC".format(**known.groupdict())
    return "another process"
