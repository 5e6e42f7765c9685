"""MLflow's tables in a new file: made once for each version, which takes seconds, then copied. Knows no run."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import closing
from pathlib import Path

from pipeline.stores import sqlite
from pipeline.system.errors import StorageFailure


def create_tables(draft: Path) -> None:
    """Put the tables into a file that is not there yet, if that is possible: else MLflow does when it opens it."""
    from pipeline.system import files

    with contextlib.suppress(
        Exception
    ):  # whatever is wrong with a copy, or with the folder of copies
        folder = files.cache_folder()
        kept = folder / f"mlflow-{importlib.metadata.version('mlflow')}.db"
        if not is_complete(kept):
            if sqlite.SPECIAL_CHARACTERS.search(str(folder)):
                return  # MLflow would try for minutes to open another file
            folder.mkdir(parents=True, exist_ok=True)
            _make(kept)
        shutil.copyfile(kept, draft)


def _make(kept: Path) -> None:
    """Have MLflow make them, as `mlflow db upgrade` does; they appear whole or not at all."""
    from mlflow.db import upgrade

    with tempfile.TemporaryDirectory(dir=kept.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow does not do as SQLAlchemy likes it
        file = Path(folder) / kept.name
        upgrade.callback(f"sqlite:///{file}")  # type: ignore[misc]
        if is_complete(file):
            file.replace(kept)


def is_complete(kept: Path) -> bool:
    """Whether a file holds the tables of the installed version, and nothing wrong."""
    if not kept.is_file():
        return False
    try:
        with closing(sqlite3.connect(kept)) as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        sqlite.check_version(kept, "", sqlite.TRACKING, version)
    except (sqlite3.Error, TypeError, StorageFailure):
        return False
    return bool(state == "ok")
