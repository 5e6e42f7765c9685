"""MLflow's tables, copied: the same as MLflow makes, and made anew where the copy cannot be trusted."""

import sqlite3
from contextlib import closing

import pytest

from pipeline.stores import access, locations, mlflow_tables
from pipeline.system import files
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


def opened(folder, monkeypatch):
    """A new tracking store in a folder, as a command makes it."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    where = locations.locate()
    access.prepare(where)
    before = tables(folder / "mlflow.db")
    Tracker(where.tracking).close()
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
    assert len(copied) > 100


def test_no_copy_is_made_where_a_url_leads_elsewhere(tmp_path, monkeypatch):
    """MLflow would try to open another file, for minutes; so it makes the tables in the store itself."""
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "a b%20{x}é"))
    monkeypatch.setattr(mlflow_tables, "_make", lambda kept: pytest.fail(f"{kept} is made"))
    before, after = opened(tmp_path / "here", monkeypatch)
    assert before == after
    assert len(after) > 100


def test_a_copy_that_cannot_be_trusted_is_made_anew(tmp_path):
    """One that is cut short, is of another version or holds nothing is replaced, and never used."""
    mlflow_tables.create_tables(tmp_path / "first.db")
    (kept,) = files.cache_folder().glob("mlflow-*.db")
    good = kept.read_bytes()
    assert mlflow_tables.is_complete(kept)
    kept.write_bytes(b"")
    assert not mlflow_tables.is_complete(kept)
    kept.write_bytes(good[: len(good) // 2])
    assert not mlflow_tables.is_complete(kept)
    kept.write_bytes(good)
    with closing(sqlite3.connect(kept)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")
        database.commit()
    assert not mlflow_tables.is_complete(kept)
    mlflow_tables.create_tables(tmp_path / "second.db")
    assert tables(tmp_path / "second.db") == tables(tmp_path / "first.db")
    assert mlflow_tables.is_complete(kept)
