"""Creates a library's tables in a new SQLite file from a cached copy.

MLflow takes seconds to create its tables, and Optuna a third of a second. Each creates them once
for each of its versions, in the project's cache folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from pipeline.stores import making, sqlite
from pipeline.system import files
from pipeline.system.errors import StorageFailure


def create(file: Path, library: sqlite.Library, make: Callable[[Path], None]) -> None:
    """Create a file with a library's tables, if possible; else the library does so on opening it.

    Args:
        file: a new file.
        library: the owner of the tables.
        make: has the library create its tables in a new file, and close the file.
    """
    # Any trouble with the cached copy or its folder costs only time, so no error matters here.
    with contextlib.suppress(Exception):
        folder = files.cache_folder()
        version = importlib.metadata.version(library.package)
        cached = folder / f"{library.package}-{version}.tables.db"
        if making.is_unfinished(cached) or not is_complete(cached, library):
            if sqlite.SPECIAL_CHARACTERS.search(str(folder)):
                return  # the library would misread the URL, and try to open another file
            folder.mkdir(parents=True, exist_ok=True)
            _make(cached, library, make)
        shutil.copyfile(cached, file)


def _make(cached: Path, library: sqlite.Library, make: Callable[[Path], None]) -> None:
    """Make the cached copy, which appears whole or not."""
    with making.making(cached) as draft:
        if is_complete(cached, library):
            return  # another process has made it meanwhile
        make(draft)
        if is_complete(draft, library):
            draft.replace(cached)


def is_complete(file: Path, library: sqlite.Library) -> bool:
    """Whether a file is an undamaged database with a library's tables of the installed version."""
    if not file.is_file():
        return False
    try:
        with sqlite.connect_existing(file) as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        sqlite.check_version(file, "", library, version)
    except (sqlite3.Error, TypeError, StorageFailure):
        return False
    return bool(state == "ok")
