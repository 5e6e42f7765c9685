"""MLflow's tables, copied: the same as MLflow makes, and made anew where the copy cannot be trusted."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from mlflow.tracking import _tracking_service
from support.sourcecode import ROOT

from pipeline.stores import access, cached_tables, locations, mlflow_tables, sqlite
from pipeline.system import files
from pipeline.tracking import server
from pipeline.tracking.tracker import Tracker


def tables(file):
    """What a database holds, but for its experiment; the order of indices and constraints is another each time."""
    with closing(sqlite3.connect(file)) as database:
        made = database.execute("SELECT name, sql FROM sqlite_master").fetchall()
        found = [
            (name, sorted(line.strip(" \t,") for line in (sql or "").splitlines()))
            for name, sql in made
        ]
        for name in [
            name
            for name, sql in made
            if (sql or "").startswith("CREATE TABLE")
            and name not in ("experiments", "experiment_tags")
        ]:
            found += [(name, list(row)) for row in database.execute(f"SELECT * FROM {name}")]
        return sorted(found, key=repr)


def experiments(folder):
    """The experiments of a folder's store, without their times."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM experiments")]
    for row in rows:
        assert row.pop("creation_time") == row.pop("last_update_time") > 0
        row["artifact_location"] = row["artifact_location"].removeprefix(str(folder))
    return rows


def opened(folder, monkeypatch):
    """A new tracking store in a folder, as a command makes it."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    where = locations.locate()
    access.prepare(where)
    before = tables(folder / "mlflow.db")
    with closing(Tracker(where.tracking)) as tracker:
        tracker.call(tracker.open_store)
    return before, tables(folder / "mlflow.db")


def test_a_copy_is_what_mlflow_makes(tmp_path, monkeypatch):
    """A store from the copy is the same as one that MLflow made all by itself; the copy is made once."""
    copied, whole = opened(tmp_path / "copied", monkeypatch)
    (kept,) = files.cache_folder().glob("mlflow-*.db")
    made = kept.stat().st_mtime_ns
    assert copied == whole
    assert opened(tmp_path / "again", monkeypatch) == (whole, whole)
    assert kept.stat().st_mtime_ns == made
    monkeypatch.setenv("PIPELINE_CACHE_DIR", "/dev/null/nowhere")  # where none can be kept
    assert opened(tmp_path / "by itself", monkeypatch) == (whole, whole)
    assert server.ARTIFACT_ROOT == _tracking_service.utils._SERVER_ARTIFACT_ROOT_ENV_VAR
    assert experiments(tmp_path / "copied") == experiments(tmp_path / "by itself")
    assert len(copied) > 100


def test_a_new_store_imports_neither_mlflow_nor_alembic(tmp_path, monkeypatch):
    """Once the copies are there, so that a sweep in a new folder trains as soon as one in an old folder."""
    monkeypatch.chdir(tmp_path)
    access.prepare(locations.locate())
    code = """
import os, sys
from pipeline.stores import access, locations
os.mkdir("new")
os.chdir("new")
access.prepare(locations.locate())
print(*sorted({"mlflow", "alembic", "torch"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "\n"
    assert (tmp_path / "new" / "optuna.db").exists()


def test_no_copy_is_made_where_a_url_leads_elsewhere(tmp_path, monkeypatch):
    """MLflow would try to open another file, for minutes; so it makes the tables in the store itself."""
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "a b%20{x}é"))
    monkeypatch.setattr(cached_tables, "_make", lambda kept, *_: pytest.fail(f"{kept} is made"))
    before, after = opened(tmp_path / "here", monkeypatch)
    assert before == after
    assert len(after) > 100


def test_a_copy_that_cannot_be_trusted_is_made_anew(tmp_path):
    """One that is cut short, is of another version or holds nothing is replaced, and never used."""
    mlflow_tables.create_tables(tmp_path / "first.db", tmp_path)
    (kept,) = files.cache_folder().glob("mlflow-*.db")
    good = kept.read_bytes()
    assert cached_tables.is_complete(kept, sqlite.TRACKING)
    kept.write_bytes(b"")
    assert not cached_tables.is_complete(kept, sqlite.TRACKING)
    kept.write_bytes(good[: len(good) // 2])
    assert not cached_tables.is_complete(kept, sqlite.TRACKING)
    kept.write_bytes(good)
    with closing(sqlite3.connect(kept)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")
        database.commit()
    assert not cached_tables.is_complete(kept, sqlite.TRACKING)
    mlflow_tables.create_tables(tmp_path / "second.db", tmp_path)
    assert tables(tmp_path / "second.db") == tables(tmp_path / "first.db")
    assert cached_tables.is_complete(kept, sqlite.TRACKING)
