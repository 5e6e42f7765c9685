"""Runs a PostgreSQL server for the tests, with databases and roles as needed."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

REQUIRED = "REQUIRE_POSTGRES"  # set where a test must not be skipped for want of a server
PASSWORD = "s3cret/@:% pass"  # of every role; no output may hold it
OWNER = "sweeper"
# The databases do not outlive the tests: safety from a power cut would only cost time. Commits are
# still handed to the system at once, or `stop` would lose them.
FAST = {"fsync": "off", "full_page_writes": "off"}


class Cluster:
    """A server in a new folder on a free port of 127.0.0.1, run by a user who is not root."""

    def __init__(self, binaries: Path):
        self.binaries = binaries
        self.user = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.folder / "password").write_text(PASSWORD)
        for path in (self.folder, self.folder / "password"):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        encoding = ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        self._run(
            "initdb",
            "--username",
            OWNER,
            "--pwfile",
            "password",
            "--auth",
            "scram-sha-256",
            *encoding,
        )

    def _run(self, program: str, *arguments: str) -> None:
        who = (
            {}
            if os.geteuid()
            else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        )
        command = [self.binaries / program, "--pgdata", "data", *arguments]
        with (self.folder / "log.txt").open("a") as log:
            done = subprocess.run(
                command, cwd=self.folder, stdout=log, stderr=log, check=False, **who
            )
        assert done.returncode == 0, (self.folder / "log.txt").read_text()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            **FAST,
        }
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            "--options",
            " ".join(f"-c {k}={v}" for k, v in options.items()),
        )

    def stop(self) -> None:
        """Stop it at once, in the midst of what it does."""
        self._run("pg_ctl", "stop", "--mode", "immediate")

    def remove(self) -> None:
        """Stop it, and remove all of it."""
        with contextlib.suppress(AssertionError):
            self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str, *, user: str = OWNER, password: str | None = PASSWORD) -> str:
        """The URL of a database, as it is given to the product."""
        login = f"{user}:{quote(password, safe='')}" if password else user
        return f"postgresql+psycopg://{login}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect to a database as its owner."""
        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        return psycopg.connect(**where, user=OWNER, password=PASSWORD, autocommit=True)

    def execute(self, command: str, database: str = "postgres") -> list:
        """Have a command done; its rows."""
        with self.connect(database) as connection:
            found = connection.execute(command)
            return found.fetchall() if found.description else []

    def database(self, template: str = "template1") -> str:
        """Make a database, and return its name."""
        name = f"d{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def dump(self, database: str) -> str:
        """Everything that a database holds, as text."""
        where = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": OWNER,
            "PGPASSWORD": PASSWORD,
        }
        command = [self.binaries / "pg_dump", database]
        return subprocess.run(
            command, env=os.environ | where, capture_output=True, text=True, check=True
        ).stdout


def binaries() -> Path | None:
    """Find PostgreSQL's programs: beside the initdb on PATH, or the newest version of Debian."""
    found = shutil.which("initdb")
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    return Path(found).resolve().parent if found else next(reversed(folders), None)


def running() -> Cluster:
    """A server that runs; where none can, the test is skipped, or fails if that must not be."""
    found = binaries()
    if found is None:
        why = "no initdb on PATH or in /usr/lib/postgresql: Debian's package is postgresql"
        assert not os.environ.get(REQUIRED), why
        pytest.skip(why)
    made = Cluster(found)
    made.start()
    return made
