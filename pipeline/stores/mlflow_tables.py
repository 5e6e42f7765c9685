"""Creates a new tracking store without an import of MLflow, from a cached copy of its tables."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import warnings
from contextlib import closing
from pathlib import Path

from pipeline.stores import cached_tables, sqlite
from pipeline.tracking import home_tags
from pipeline.tracking.server import ARTIFACT_ROOT, artifact_root

_INSERT = """
    INSERT INTO experiments
    (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time,
    workspace)
    VALUES
    (:experiment_id, :name, :artifact_location, :lifecycle_stage, :creation_time,
    :last_update_time, :workspace)
"""
# MLflow writes the locations in a folder of such a name as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_./ -]+")


def create_tables(file: Path, folder: Path) -> None:
    """Create a file with MLflow's tables, if possible; otherwise MLflow creates them on opening.

    Args:
        file: a draft of the store.
        folder: of the store.
    """
    cached_tables.create(file, sqlite.TRACKING, _make)
    if file.exists():
        _add_experiment(file, folder)


def _make(draft: Path) -> None:
    """Have MLflow create its tables, as `mlflow db upgrade` does."""
    from mlflow.db import upgrade

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's migrations use SQLAlchemy in deprecated ways
        upgrade.callback(f"sqlite:///{draft}")  # type: ignore[misc]


def _add_experiment(file: Path, folder: Path) -> None:
    """Add MLflow's first experiment as MLflow does, unless its rows are of another form."""
    if ARTIFACT_ROOT in os.environ or not _PLAIN.fullmatch(str(folder)):
        return
    now = int(time.time() * 1000)
    row = {
        "experiment_id": home_tags.EXPERIMENT,
        "name": "Default",
        "artifact_location": f"{artifact_root(folder)}/{home_tags.EXPERIMENT}",
        "lifecycle_stage": "active",
        "creation_time": now,
        "last_update_time": now,
        "workspace": "default",
    }
    with closing(sqlite3.connect(file)) as database, database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(experiments)")]
        if sorted(columns) == sorted(row):
            database.execute(_INSERT, row)
