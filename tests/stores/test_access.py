"""Stores are prepared, opened and read in any folder; damaged ones are refused."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import optuna
import pytest
from support.sourcecode import ROOT

from pipeline.stores import sqlite
from pipeline.stores.access import open_studies, prepare, read_studies
from pipeline.stores.locations import locate, sqlite_file
from pipeline.system.errors import StorageFailure, UsageFailure

# Names that may be misread, each alone in the slow tests; together in the others, for a store
# takes a second to make.
ODD_TOGETHER = ["100% é漢🙂 it's a+b", "a%2Fb {x}%20{0};", 'a#b?c=d\\e"q"']
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


@pytest.fixture
def made(template, tmp_path):
    """Both stores, ready."""
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(template / name, tmp_path / name)


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


FIRST_START = """
import os, sys
from pipeline.stores import access, locations, making
if sys.argv[1] == "killed":
    def kill(draft, *_):
        draft.write_bytes(b"half a database")
        draft.with_name(draft.name + "-journal").touch()
        os.kill(os.getpid(), 9)
    access.mlflow_tables.create_tables = kill
access.prepare(locations.locate())
where = locations.locate()
with access.read_studies(where) as storage:
    assert storage.get_all_studies() == []
"""


def first_start(how):
    """Another process that makes both stores in the working folder, or is killed while it does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", FIRST_START, how], env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_several_first_starts_at_once(tmp_path):
    """Three commands that begin in an empty folder all find their stores; what a killed one left is gone."""
    with first_start("killed") as killed:
        assert killed.wait() == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2, "a folder with a draft, and its lock"
    starts = [first_start("whole") for _ in range(3)]
    for start in starts:
        _, errors = start.communicate()
        assert start.returncode == 0, errors
    left = {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()}
    assert left - {"mlruns"} == {"mlflow.db", "optuna.db"}


def test_what_is_not_ours_is_kept(tmp_path):
    """A file of another name among the drafts of one that died is kept, and is in nobody's way."""
    unfinished = tmp_path / ".optuna.db.making"
    unfinished.mkdir()
    (unfinished / "optuna.db").write_bytes(b"half")
    (unfinished / "thesis.txt").write_text("mine")
    prepare(locate())
    assert [path.name for path in unfinished.iterdir()] == ["thesis.txt"]
    prepare(locate())
    assert (tmp_path / "optuna.db").exists()


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
def test_unusable_file(tmp_path, made, name, spoil):
    """A folder or anything else in a store's place ends with exit code 5 and its name, and is left as it is."""
    file = tmp_path / name
    file.unlink()
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(StorageFailure, match=f"cannot use .*{name}") as failure:
        prepare(locate())
    assert failure.value.code == 5
    assert "\n" not in str(failure.value)
    assert before is None or file.read_bytes() == before


def test_damaged_database(tmp_path, made):
    """A database with damage inside, as a bad disk leaves it, is refused."""
    (tmp_path / "optuna.db").unlink()
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


@pytest.mark.parametrize(
    "folder", [*ODD_TOGETHER, *(pytest.param(name, marks=pytest.mark.slow) for name in ODD)]
)
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


def test_read_only(tmp_path, made, monkeypatch):
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


def test_stores_of_the_installed_versions_are_known_without_alembic(made, monkeypatch):
    """Alembic would import every migration of MLflow and Optuna, at the start of each command."""
    monkeypatch.setattr(sqlite, "_migration_scripts", None)  # fails if it is called
    where = locate()
    prepare(where)
    with read_studies(where) as storage:
        assert optuna.get_all_study_names(storage) == []


def test_store_of_another_version(tmp_path, made):
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
