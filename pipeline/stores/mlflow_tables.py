"""Creates MLflow's tables in a new SQLite file from a cached copy.

MLflow takes seconds to create its tables. They are created once for each version of MLflow, in the
project's cache folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

from pipeline.stores import making, sqlite
from pipeline.system import files
from pipeline.system.errors import StorageFailure


def create_tables(file: Path) -> None:
    """Create a file with MLflow's tables, if possible; otherwise MLflow creates them on opening."""
    # Any trouble with the cached copy or its folder costs only time, so no error matters here.
    with contextlib.suppress(Exception):
        folder = files.cache_folder()
        cached = folder / f"mlflow-{importlib.metadata.version('mlflow')}.tables.db"
        if making.is_unfinished(cached) or not is_complete(cached):
            if sqlite.SPECIAL_CHARACTERS.search(str(folder)):
                return  # MLflow would misread the URL, and try to open another file for minutes
            folder.mkdir(parents=True, exist_ok=True)
            _make(cached)
        shutil.copyfile(cached, file)


def _make(cached: Path) -> None:
    """Have MLflow create its tables, as `mlflow db upgrade` does. The file appears whole or not."""
    from mlflow.db import upgrade

    with making.making(cached) as draft, warnings.catch_warnings():
        if is_complete(cached):
            return  # another process has made it meanwhile
        warnings.simplefilter("ignore")  # MLflow's migrations use SQLAlchemy in deprecated ways
        upgrade.callback(f"sqlite:///{draft}")  # type: ignore[misc]
        if is_complete(draft):
            draft.replace(cached)


def is_complete(file: Path) -> bool:
    """Whether a file is an undamaged database with MLflow's tables of the installed version."""
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(file)) as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        sqlite.check_version(file, "", sqlite.TRACKING, version)
    except (sqlite3.Error, TypeError, StorageFailure):
        return False
    return bool(state == "ok")
