"""Lets a project folder go on where it is, after it was copied, moved, renamed or carried away.

MLflow keeps the locations of artifacts as absolute paths. The tracking file therefore remembers its
*home*: the folder in which a command last wrote it. In another folder, a location below the
recorded home is that of the same file beside the store, even while the recorded home still exists:
a copy never touches the folder that it was copied from. Locations elsewhere stay as they are.

The first command that writes changes the locations in the store. Until then, a command that only
reads reads a changed copy of the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pipeline.stores import sqlite
from pipeline.system.errors import IntegrityFailure, StorageFailure, StudyBusy
from pipeline.tracking import home_tags
from sweeps.analysis.record import StudyRecord

_ARTIFACTS = "mlruns"  # MLflow's own folder for the artifacts of all experiments
_RUN_ID = re.compile(r"[0-9a-f]{32}")

# Every column of MLflow's tables that holds the location of files, and which rows of it.
_COLUMNS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("workspaces", "default_artifact_root", ""),
    ("workspaces", "trace_archival_location", ""),
    ("trace_tags", "value", "mlflow.artifactLocation"),
    ("trace_tags", "value", "mlflow.trace.archiveLocation"),
)


@dataclass(frozen=True)
class Relocation:
    """The way from a recorded home to the present one."""

    former: Path
    present: Path

    @property
    def _root(self) -> Path:
        """The folder whose files move along. Below ``/`` are those of others, too."""
        return self.former / _ARTIFACTS if self.former == Path("/") else self.former

    @property
    def is_of_name_only(self) -> bool:
        """Whether both are one folder, by a link or a mount."""
        return _is_same(self.former, self.present)

    def locate(self, location: str) -> str:
        """Return the location beside the store of what was below the recorded home.

        A location elsewhere, or relative, or not of a file, is returned as it is. MLflow reads
        ``%20`` in a plain path as a space: below a folder with a ``%`` in its name, a location
        is a URI.

        Args:
            location: an absolute path, or a ``file:`` URI.
        """
        path = local_path(location)
        if path is None:
            return location
        path = PurePosixPath(os.path.normpath(path))
        if not path.is_relative_to(self._root):
            return location
        moved = self.present / path.relative_to(self.former)
        if location.startswith("/") and "%" not in str(self.present):
            return str(moved)
        return moved.as_uri()


def local_path(location: str) -> PurePosixPath | None:
    """Return the path of an absolute path or a ``file:`` URI; None for any other location."""
    path = location
    if not location.startswith("/"):
        parts = urlsplit(location)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            return None
        path = unquote(parts.path)
    if not path.startswith("/"):
        return None
    return PurePosixPath("/" + path.lstrip("/"))  # two slashes at the begin would stay two


# -- MLflow's tables -------------------------------------------------------------------------------


def is_due(file: Path) -> bool:
    """Whether a tracking file was moved since it was last written, so that locations are stale.

    Args:
        file: the tracking file, which exists and is whole.

    Raises:
        StorageFailure: if the file cannot be read.
    """
    with _open(file) as database:
        relocation = _find(database, file, file.parent)
    return relocation is not None and not relocation.is_of_name_only


def settle(file: Path, find_user: Callable[[], str | None]) -> None:
    """Make a tracking file at home where it is: its locations are those of the files beside it.

    All locations change in one transaction. A file that was not moved only gets its home recorded.

    Args:
        file: the tracking file, ready for writing.
        find_user: describes a process that writes to the folder; None if there is no such process.

    Raises:
        StudyBusy: if a process uses the folder under another name.
        IntegrityFailure: if the folder shares files with that from which it was copied.
        StorageFailure: if the file cannot be written.
    """
    with _open(file) as database:
        relocation = _find(database, file, file.parent)
    if relocation is not None:
        user = find_user()
        if user is not None and relocation.is_of_name_only:
            return  # the locations are right under either name: leave them to that process
        if user is not None:
            raise StudyBusy(
                f"this folder was {relocation.former} for {user}, which still writes to it: "
                "wait for its end, or stop it, then repeat the command"
            )
        _check_not_shared(relocation, file)
    settle_copy(file, file)


def settle_copy(copy: Path, file: Path) -> None:
    """Change the locations in a copy of a tracking file, which may be read only.

    Args:
        copy: the file to change.
        file: the tracking file, beside which the artifacts are.

    Raises:
        StorageFailure: if the copy cannot be written.
    """
    home = file.parent
    with _open(copy) as database:
        if not _columns(database, "experiment_tags"):
            return  # MLflow has yet to create its tables
        if _read_home(database) == home:
            return
        database.execute("BEGIN IMMEDIATE")
        relocation = _find(database, file, home)  # another process may have been quicker
        if relocation is not None:
            _change_locations(database, relocation)
            if _is_copy(relocation, file.name):
                _tag(database, home_tags.COPY_OF, relocation.former)
                _tag(database, home_tags.COPIED, time.time_ns() // 1_000_000)
        _tag(database, home_tags.HOME, home)
        database.commit()


@contextlib.contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a tracking file.

    Raises:
        StorageFailure: if that fails, or anything in the block.
    """
    try:
        with sqlite.connect_existing(file, "rw") as database:
            database.isolation_level = None  # transactions begin where the code says so
            yield database
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot use {file}: {error}") from None


def _tag(database: sqlite3.Connection, key: str, value: Path | int) -> None:
    database.execute(
        "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
        (key, str(value), home_tags.EXPERIMENT),
    )


def _is_copy(relocation: Relocation, name: str) -> bool:
    """Whether a store was copied, and the original is still there."""
    return not relocation.is_of_name_only and os.access(relocation.former / name, os.F_OK)


def _change_locations(database: sqlite3.Connection, relocation: Relocation) -> None:
    database.create_function("relocated", 1, relocation.locate, deterministic=True)
    for table, column, key in _COLUMNS:
        if column not in _columns(database, table):  # another version of MLflow may lack it
            continue
        condition = f"{column} IS NOT NULL AND relocated({column}) <> {column}"
        if key:
            condition += f" AND key = '{key}'"
        database.execute(  # all names are from `_COLUMNS`
            f"UPDATE {table} SET {column} = relocated({column}) WHERE {condition}"  # noqa: S608
        )


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def _read_home(database: sqlite3.Connection) -> Path | None:
    """Return the recorded home."""
    row = database.execute(
        "SELECT value FROM experiment_tags WHERE key = ? AND experiment_id = ?",
        (home_tags.HOME, home_tags.EXPERIMENT),
    ).fetchone()
    if row is None or not str(row[0]).startswith("/"):
        return None
    return Path(row[0])


def _find(database: sqlite3.Connection, file: Path, home: Path) -> Relocation | None:
    """Return how the locations in a tracking file have to change; None if they are right."""
    if not _columns(database, "experiment_tags"):
        return None
    former = _read_home(database)
    if former is None:
        former = _infer_home(database, file)
    if former is None or former == home:
        return None
    return Relocation(former, home)


# A store of version 0.1.0 has no recorded home.


def _infer_home(database: sqlite3.Connection, file: Path) -> Path | None:
    """Return the folder in which MLflow created a store, unless its artifacts are there by choice.

    MLflow puts the artifacts of experiment 0 into ``mlruns/0`` of its working folder. That need
    not be the folder of the store: artifacts which are there only, without a copy of the store, are
    the store's own, and stay where they are.
    """
    created = _folder_of_creation(database)
    if created is None or created == file.parent:
        return created
    relocation = Relocation(created, file.parent)
    runs = database.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
    locations = [location for _, location in runs if location]
    if any(_exists(relocation.locate(location)) for location in locations):
        return created
    if any(_exists(location) for location in locations):
        is_copy = _holds_run(created / file.name, [run_id for run_id, _ in runs])
        return created if is_copy else None
    return created


def _folder_of_creation(database: sqlite3.Connection) -> Path | None:
    query = "SELECT experiment_id, artifact_location FROM experiments ORDER BY experiment_id"
    for experiment, location in database.execute(query):
        path = local_path(location or "")
        if path is not None and path.parts[-2:] == (_ARTIFACTS, str(experiment)):
            return Path(path.parents[1])
    return None


def _exists(location: str) -> bool:
    """Whether the folder of a run's artifacts exists."""
    path = local_path(location)
    return path is not None and os.path.isdir(path)  # noqa: PTH112 - False also without permission


def _holds_run(file: Path, run_ids: list[str]) -> bool:
    """Whether another tracking file holds one of some runs. The file's folder is not touched."""
    wanted = set(run_ids)
    try:
        with sqlite.connect_existing(file, immutable=True) as database:
            return any(run in wanted for (run,) in database.execute("SELECT run_uuid FROM runs"))
    except sqlite3.Error:
        return False


def _check_not_shared(relocation: Relocation, file: Path) -> None:
    """Check that a copied folder shares nothing with the former one, by links of any kind."""
    former = relocation.former
    present = relocation.present
    if relocation.is_of_name_only:
        return
    names = [file.name, "optuna.db", "checkpoints", _ARTIFACTS]
    with contextlib.suppress(OSError):
        names += [f"{_ARTIFACTS}/{entry.name}" for entry in (present / _ARTIFACTS).iterdir()]
    for name in names:
        if _is_same(former / name, present / name):
            command = shlex.join(["rm", str(present / name)])
            command += " && " + shlex.join(["cp", "-rL", str(former / name), str(present / name)])
            raise IntegrityFailure(
                f"{present / name} is the same as {former / name}, by a link: a copied folder "
                f"must have its own, or both would change the same files: {command}"
            )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


# -- results in the store of studies ---------------------------------------------------------------


def find_checkpoint(location: str, home: Path) -> str:
    """Return where the weights of a trial are now.

    A run's id is unique: a folder of that name beside the store is the run's, wherever the
    result says that it was.

    Args:
        location: as the result of the trial has it: a folder, or a URI.
        home: the folder of the store.
    """
    path = local_path(location)
    if path is None or ".." in path.parts or path.is_relative_to(home):
        return location
    runs = [index for index, part in enumerate(path.parts) if _RUN_ID.fullmatch(part)]
    if not runs:
        return location
    for start in range(1, runs[-1] + 1):
        candidate = home.joinpath(*path.parts[start:])
        if _exists(str(candidate)):
            return str(candidate)
    return location


def find_checkpoints(record: StudyRecord, home: Path) -> StudyRecord:
    """Return a study whose results say where their weights are now."""
    changed = False
    results = []
    for result in record.results:
        if result.checkpoint is not None:
            location = find_checkpoint(result.checkpoint, home)
            if location != result.checkpoint:
                result = dataclasses.replace(result, checkpoint=location)  # noqa: PLW2901
                changed = True
        results.append(result)
    if changed:
        record = dataclasses.replace(record, results=tuple(results))
    if record.finalists is not None:
        finalists = find_checkpoints(record.finalists, home)
        if finalists is not record.finalists:
            record = dataclasses.replace(record, finalists=finalists)
    return record
