"""Where the stores are, what makes them unusable, and who holds a study."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from pipeline.stores import locations
from pipeline.stores.access import open_studies, prepare, read_studies
from pipeline.stores.locations import check_name, display_name, locate, sqlite_file
from pipeline.stores.locks import lock
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure

ROOT = Path(__file__).parents[2]
ODD = [
    "a folder",
    "100%",
    "%20",
    "a%2Fb",
    "{x}",
    "{0}",
    "é漢🙂",
    "it's",
    "a+b",
    "a#b",
    "a?b=c",
    "a;b",
    "a\\b",
    '"q"',
]


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_default(tmp_path):
    """Unless told otherwise, all is in the working folder, and looking makes nothing."""
    where = locate()
    assert (where.tracking, where.studies) == (
        f"sqlite:///{tmp_path}/mlflow.db",
        f"sqlite:///{tmp_path}/optuna.db",
    )
    assert where.home == tmp_path
    assert where.reports("demo") == tmp_path / "reports" / "demo"
    assert list(tmp_path.iterdir()) == []


def test_tracking_elsewhere(tmp_path, monkeypatch):
    """Where the tracking file is elsewhere, the studies, checkpoints and reports are beside it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///over/there/mlflow.db")
    where = locate()
    assert where.home == tmp_path / "over" / "there"
    assert sqlite_file(where.tracking) == where.home / "mlflow.db"
    assert sqlite_file(where.studies) == where.home / "optuna.db"


@pytest.mark.parametrize("uri", ["http://localhost:5000", "https://user:secret@host/path"])
def test_tracking_server(tmp_path, monkeypatch, uri):
    """With a tracking server, files are in the working folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    where = locate()
    assert where.tracking == uri
    assert (where.home, sqlite_file(where.studies)) == (tmp_path, tmp_path / "optuna.db")


def test_storage(tmp_path, monkeypatch):
    """The command line's storage comes before the environment's, and neither moves the rest."""
    monkeypatch.setenv("PIPELINE_STORAGE", "sqlite:///b/x.db")
    assert sqlite_file(locate().studies) == tmp_path / "b" / "x.db"
    where = locate("sqlite:////a/y.db")
    assert sqlite_file(where.studies) == Path("/a/y.db")
    assert where.home == tmp_path


@pytest.mark.parametrize(
    "uri", ["file:///tmp/mlruns", "./mlruns", "postgresql://me:secret@host/db", "databricks"]
)
def test_tracking_that_is_not_served(monkeypatch, uri):
    """Another kind of tracking store is refused with exit code 2, without showing a password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        UsageFailure, match="MLFLOW_TRACKING_URI must be sqlite:///FILE or http"
    ) as failure:
        locate()
    assert failure.value.code == 2
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("option", "variable", "message"),
    [
        (
            "postgresql://me:secret@host/db",
            None,
            "--storage must not hold a password.*PIPELINE_STORAGE",
        ),
        (
            "postgresql://host/db?password=secret",
            None,
            "--storage must not hold a password.*PIPELINE_STORAGE",
        ),
        ("mysql://me:secret@host/db", None, "--storage must not hold a password.*PIPELINE_STORAGE"),
        (None, "mysql://me:secret@host/db", "must be sqlite:///FILE or postgresql.*: got 'mysql'"),
        (None, "postgresql+psycopg2://host/db", r"must be .*: got 'postgresql\+psycopg2'"),
        (
            None,
            "postgresql://me:@secret@host/db",
            "must be .*: got an @ that is part of .*, which is written %40",
        ),
        (None, "postgresql://me:1@secret:2@host/db", "must be .*: got what is no URL"),
        ("optuna.db", None, "must be sqlite:///FILE or postgresql.*: got what is no URL"),
    ],
)
def test_storage_that_is_not_served(monkeypatch, option, variable, message):
    """Another kind of storage is refused, and so is any password on a command line, which is shown nowhere."""
    if variable:
        monkeypatch.setenv("PIPELINE_STORAGE", variable)
    with pytest.raises(UsageFailure, match=message) as failure:
        locate(option)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_storage_in_a_database(tmp_path, monkeypatch, scheme):
    """A database is named by its URL, with a password in the environment, which is not shown; the files stay here."""
    monkeypatch.setenv(
        "PIPELINE_STORAGE", f"{scheme}://me:s%40cret@host:6543/db?sslmode=require&password=secret"
    )
    where = locate()
    assert (
        where.studies
        == "postgresql+psycopg://me:s%40cret@host:6543/db?password=secret&sslmode=require"
    )
    assert where.home == tmp_path
    assert display_name(where.studies) == "postgresql+psycopg://me@host:6543/db?sslmode=require"
    assert locate(f"{scheme}://me@host/db").studies == "postgresql+psycopg://me@host/db"


def test_a_database_without_its_package(tmp_path, monkeypatch):
    """Where psycopg is not installed, exit code 2 names the command that does it, and nothing is made."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    where = locate("postgresql://host/db")
    with pytest.raises(
        UsageFailure, match=r"need psycopg, which is not installed: pip install 'psycopg\[binary\]"
    ):
        prepare(where)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["default-digits", "a", "7", "a b_c.d-e", "x" * 100, "étude", "_x"]
)
def test_name(name):
    """Words of letters, digits, spaces and a few signs can name a study, and a folder."""
    assert check_name(name) == name
    Path(f"{name}.lock").touch()


@pytest.mark.parametrize(
    "name",
    ["", "../../etc", "..", ".", ".hidden", "-x", " x", "a/b", "a\\b", "a\0b", "a\nb", "a\n", "x" * 600, "x" * 101,
     "C++", "<b>", "a$b^$c", "[/foo]", "=cmd()", "\x1b[31m", "a'b", "a%b", "a{b}", "a#7"],
)  # fmt: skip
def test_refused_name(name):
    """A name that could lead out of its folder, or mean something to a terminal, filter or sheet, is refused."""
    with pytest.raises(UsageFailure, match="a study's name must be") as failure:
        check_name(name)
    assert "\x1b" not in str(failure.value)
    assert "\0" not in str(failure.value)


def test_prepare(tmp_path, monkeypatch):
    """Both stores are made in WAL mode, folders and all, and preparing them again does no harm."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///deep/er/mlflow.db")
    where = locate()
    for _ in range(2):
        prepare(where)
        for name in ("mlflow.db", "optuna.db"):
            with closing(sqlite3.connect(tmp_path / "deep" / "er" / name)) as database:
                assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                database.execute("CREATE TABLE IF NOT EXISTS kept (value)")
    assert {path.name.partition(".")[0] for path in (tmp_path / "deep" / "er").iterdir()} == {
        "mlflow",
        "optuna",
    }


def test_prepare_asks_a_server_first(tmp_path, monkeypatch):
    """A tracking server is asked whether it is there, before anything is made."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    with pytest.raises(StorageFailure, match="cannot reach the tracking server http://localhost:1"):
        prepare(locate())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.mkdir(),
        lambda file: file.write_bytes(b"no database at all " * 100),
        lambda file: file.symlink_to(file),
    ],
)
def test_unusable_file(tmp_path, name, spoil):
    """A folder or anything else in a store's place ends with exit code 5 and its name, and is left as it is."""
    file = tmp_path / name
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(StorageFailure, match=f"cannot use .*{name}") as failure:
        prepare(locate())
    assert failure.value.code == 5
    assert "\n" not in str(failure.value)
    assert before is None or file.read_bytes() == before


def test_damaged_database(tmp_path):
    """A database with damage inside, as a bad disk leaves it, is refused."""
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        database.execute("CREATE TABLE t (value)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 100)
        database.commit()
    content = bytearray((tmp_path / "optuna.db").read_bytes())
    content[4096:12288] = b"\xee" * 8192
    (tmp_path / "optuna.db").write_bytes(content)
    with pytest.raises(StorageFailure, match="cannot use"):
        prepare(locate())


def test_unusable_folder(tmp_path, monkeypatch):
    """A file in the place of the stores' folder ends with exit code 5."""
    (tmp_path / "taken").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///taken/mlflow.db")
    with pytest.raises(StorageFailure, match="cannot use"):
        prepare(locate())


@pytest.mark.parametrize("folder", ODD)
def test_odd_paths(tmp_path, monkeypatch, folder):
    """Stores work in folders of any name: what is written there is read back, and lies there."""
    inside = tmp_path / folder
    inside.mkdir()
    monkeypatch.chdir(inside)
    where = locate()
    prepare(where)
    writer = open_studies(where)  # kept: SQLite empties the log when the last connection closes
    optuna.create_study(storage=writer, study_name="demo")
    with read_studies(where) as storage:
        assert optuna.get_all_study_names(storage) == ["demo"]
    assert (inside / "optuna.db-wal").stat().st_size > 4096
    assert sqlite_file(where.tracking) == inside / "mlflow.db"
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder]


def test_nothing_to_read(tmp_path):
    """Reading before there is a study says what to run, and makes nothing."""
    with pytest.raises(UsageFailure, match="run `pipeline sweep` first"), read_studies(locate()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_read_only(tmp_path, monkeypatch):
    """Where nothing may be written, the studies are read from a copy with what is still in the WAL; no file changes."""
    where = locate()
    prepare(where)
    storage = open_studies(where)
    optuna.create_study(storage=storage, study_name="demo")
    assert (tmp_path / "optuna.db-wal").stat().st_size > 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with read_studies(where) as copy:
        assert optuna.get_all_study_names(copy) == ["demo"]
        optuna.create_study(storage=copy, study_name="only in the copy")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert optuna.get_all_study_names(storage) == ["demo"]


def test_store_of_another_version(tmp_path):
    """A store that Optuna refuses ends with exit code 5, one line, and its path."""
    where = locate()
    prepare(where)
    optuna.create_study(storage=open_studies(where))
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
        database.commit()
    with pytest.raises(StorageFailure, match=r"cannot open the studies in .*optuna\.db") as failure:
        open_studies(where)
    assert failure.value.code == 5
    assert "\n" not in str(failure.value)


HOLD = """
import sys, time
from pipeline.stores import locations, locks
with locks.lock(locations.locate(), sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the study ``demo``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "demo"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_locked(holder):
    """A study that another process holds is refused with exit code 4, naming it; it is free the instant that dies."""
    with pytest.raises(
        StudyBusy, match=rf"'demo' is in use by process {holder.pid} on .* since .* UTC"
    ) as failure:
        hold("demo")
    assert failure.value.code == 4
    hold("another")
    holder.kill()
    holder.wait()
    hold("demo")


def hold(study):
    with lock(locate(), study):
        return (locations.locate().home / "checkpoints" / f"{study}.lock").read_text()


def test_lock_is_renewed(tmp_path):
    """The lock's file names its holder alone, however many held it before, and does not matter when it is damaged."""
    assert hold("demo").count("pid") == 1
    file = tmp_path / "checkpoints" / "demo.lock"
    file.write_text("{" * 1000)
    text = hold("demo")
    assert f'"pid": {os.getpid()}' in text
    assert text.count("{") == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "7"])
def test_holder_unknown(tmp_path, holder, text):
    """A holder that has not said who it is, or cannot be read, is another process."""
    (tmp_path / "checkpoints" / "demo.lock").write_text(text)
    with pytest.raises(StudyBusy, match="in use by another process"):
        hold("demo")


def test_lock_without_a_place(tmp_path):
    """Where no lock can be made, the command ends with exit code 5."""
    (tmp_path / "checkpoints").touch()
    with pytest.raises(StorageFailure, match=r"cannot use .*demo\.lock"):
        hold("demo")
