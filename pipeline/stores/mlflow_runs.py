"""Removes, renames, reads and inserts whole runs as rows of MLflow's tables in an SQLite file.

MLflow only marks runs as deleted, and offers no import. Here each change of a study's runs is a
single transaction.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.stores import sqlite
from pipeline.system.errors import IntegrityFailure, StorageFailure
from sweeps.trial import problem

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_NAME_TAGS = ("sweep.study", "sweep.refit_of", "mlflow.runName")  # may name a study
_PARENT = "mlflow.parentRunId"
_RUN_ID = re.compile("[0-9a-f]{32}")
_Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what a column can hold
_STRICTLY = ConfigDict(strict=True, extra="forbid")
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class DatasetRows:
    """A data set that a run has used."""

    __pydantic_config__: ClassVar = _STRICTLY

    name: str
    digest: str
    source_type: str
    source: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunRows:
    """A run as MLflow stores it, without its experiment and the place of its artifacts."""

    __pydantic_config__: ClassVar = _STRICTLY

    run_id: RunId
    name: str | None
    status: Status
    start_time: _Whole | None  # milliseconds since 1970
    end_time: _Whole | None
    user_id: str | None
    source_type: str | None
    source_name: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    # Key, value, time in milliseconds, step, and whether the value is not a number.
    metrics: tuple[tuple[str, float, _Whole, _Whole, bool], ...]
    datasets: tuple[DatasetRows, ...]

    def renamed(self, names: Mapping[str, str]) -> RunRows:
        """Return the rows with other names of studies.

        Args:
            names: the new name of each study.
        """
        tags = {
            key: names.get(value, value) if key in _NAME_TAGS else value
            for key, value in self.tags.items()
        }
        return dataclasses.replace(self, name=names.get(self.name or "", self.name), tags=tags)

    def below(self, parents: Collection[str]) -> RunRows:
        """Return the rows of a run that is nested under one of some runs, or under none."""
        tags = {
            key: value for key, value in self.tags.items() if key != _PARENT or value in parents
        }
        return dataclasses.replace(self, tags=tags)

    def to_json(self) -> bytes:
        """Write the rows as JSON, on one line."""
        return _reader().dump_json(self)

    @staticmethod
    def from_json(line: bytes) -> RunRows:
        """Read what `to_json` has written.

        Raises:
            IntegrityFailure: if it is something else.
        """
        try:
            return _reader().validate_json(line)
        except ValidationError as error:
            raise IntegrityFailure(f"what should be a run {problem(error)}") from None


def is_run_id(text: str) -> bool:
    """Whether a text is an id as MLflow gives to runs."""
    return _RUN_ID.fullmatch(text) is not None


def _reader() -> TypeAdapter[RunRows]:
    return TypeAdapter(RunRows)


@contextlib.contextmanager
def _changing(file: Path, run_ids: Iterable[str] = ()) -> Iterator[sqlite3.Connection]:
    """Change a tracking file in one transaction.

    Args:
        file: the tracking file.
        run_ids: of the runs in the table `chosen`.

    Raises:
        StorageFailure: if it cannot be changed.
    """
    try:
        with sqlite.connect_existing(file, "rw") as database:
            database.isolation_level = None
            database.execute(_CHOOSE)
            database.executemany(
                "INSERT OR IGNORE INTO chosen VALUES (?)", [(run_id,) for run_id in run_ids]
            )
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot use {file}: {error}") from None


# -- changes ---------------------------------------------------------------------------------------

# The ids of the runs that a change is about are in a table of this connection alone.
_CHOOSE = "CREATE TEMP TABLE chosen (run TEXT PRIMARY KEY)"
_DELETIONS = (
    """DELETE FROM input_tags WHERE input_uuid IN (
    SELECT input_uuid FROM inputs WHERE destination_type = 'RUN' AND destination_id IN chosen)""",
    "DELETE FROM inputs WHERE destination_type = 'RUN' AND destination_id IN chosen",
    "DELETE FROM latest_metrics WHERE run_uuid IN chosen",
    "DELETE FROM metrics WHERE run_uuid IN chosen",
    "DELETE FROM params WHERE run_uuid IN chosen",
    "DELETE FROM tags WHERE run_uuid IN chosen",
    "DELETE FROM runs WHERE run_uuid IN chosen",
)
_RENAMINGS = (
    """UPDATE tags SET value = ? WHERE value = ? AND run_uuid IN chosen
    AND key IN ('sweep.study', 'sweep.refit_of', 'mlflow.runName')""",
    "UPDATE runs SET name = ? WHERE name = ? AND run_uuid IN chosen",
)


def delete_runs(file: Path, run_ids: Iterable[str], views: Iterable[str]) -> None:
    """Delete runs with all that is said of them, and saved views. Registered models stay.

    Args:
        file: the tracking file.
        run_ids: the runs; those that are not there are passed over.
        views: the tags of experiments that hold views.

    Raises:
        StorageFailure: if the file cannot be changed.
    """
    with _changing(file, run_ids) as database:
        for statement in _DELETIONS:
            database.execute(statement)
        if database.execute("PRAGMA table_info(logged_model_metrics)").fetchone():
            database.execute("DELETE FROM logged_model_metrics WHERE run_id IN chosen")
        _drop_views(database, views)


def rename_runs(
    file: Path, run_ids: Iterable[str], renamed: Mapping[str, str], views: Iterable[str]
) -> None:
    """Write the new names of studies into the tags and names of their runs.

    Args:
        file: the tracking file.
        run_ids: the runs of the studies.
        renamed: the new name of each study.
        views: the tags of experiments that hold the views of the former names.

    Raises:
        StorageFailure: if the file cannot be changed.
    """
    with _changing(file, run_ids) as database:
        for former, new in renamed.items():
            for statement in _RENAMINGS:
                database.execute(statement, (new, former))
        _drop_views(database, views)


def _drop_views(database: sqlite3.Connection, views: Iterable[str]) -> None:
    database.executemany("DELETE FROM experiment_tags WHERE key = ?", [(key,) for key in views])


_INSERT_PARAM = "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)"
_INSERT_TAG = "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
_INSERT_METRIC = (
    "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_LATEST = (
    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


def insert_runs(
    file: Path, runs: Iterable[RunRows], experiment: int, locations: Mapping[str, str]
) -> None:
    """Insert runs into an experiment.

    Args:
        file: the tracking file.
        runs: none of them is in the file.
        experiment: the number of the experiment.
        locations: of the artifacts of each run, by its id.
    """
    with _changing(file) as database:
        for run in runs:
            _insert(database, run, experiment, locations[run.run_id])


def _insert(database: sqlite3.Connection, run: RunRows, experiment: int, location: str) -> None:
    database.execute(
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, user_id, source_type, "
        "source_name, source_version, entry_point_name, lifecycle_stage, artifact_uri, "
        "experiment_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '', 'active', ?, ?)",
        (
            *(run.run_id, run.name, run.status, run.start_time, run.end_time, run.user_id),
            *(run.source_type, run.source_name, location, experiment),
        ),
    )
    for statement, values in ((_INSERT_PARAM, run.params), (_INSERT_TAG, run.tags)):
        rows = [(key, value, run.run_id) for key, value in values.items()]
        database.executemany(statement, rows)
    latest: dict[str, tuple[str, float, int, int, bool]] = {}
    for row in run.metrics:
        before = latest.get(row[0])
        if before is None or (row[3], row[2], row[1]) >= (before[3], before[2], before[1]):
            latest[row[0]] = row
    for statement, metrics in (
        (_INSERT_METRIC, run.metrics),
        (_INSERT_LATEST, tuple(latest.values())),
    ):
        database.executemany(statement, [(*row, run.run_id) for row in metrics])
    for dataset in run.datasets:
        _insert_dataset(database, dataset, experiment, run.run_id)


def _insert_dataset(
    database: sqlite3.Connection, dataset: DatasetRows, experiment: int, run_id: str
) -> None:
    found = database.execute(
        "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?",
        (experiment, dataset.name, dataset.digest),
    ).fetchone()
    key = uuid.uuid4().hex if found is None else found[0]
    if found is None:
        database.execute(
            "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, "
            "dataset_source_type, dataset_source) VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(key, experiment, dataset.name, dataset.digest),
                *(dataset.source_type, dataset.source),
            ),
        )
    of_run = uuid.uuid4().hex
    database.execute(
        "INSERT OR IGNORE INTO inputs "
        "(input_uuid, source_type, source_id, destination_type, destination_id) "
        "VALUES (?, 'DATASET', ?, 'RUN', ?)",
        (of_run, key, run_id),
    )
    database.executemany(
        "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?)",
        [(of_run, name, value) for name, value in dataset.tags.items()],
    )


# -- reading ---------------------------------------------------------------------------------------


_PARAMS_OF = "SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key"
_TAGS_OF = "SELECT key, value FROM tags WHERE run_uuid = ? ORDER BY key"


def read_runs(file: Path, run_ids: Sequence[str]) -> Iterator[RunRows]:
    """Read runs, one after the other.

    Raises:
        StorageFailure: if the file cannot be read.
        IntegrityFailure: if a run is damaged.
    """
    try:
        with sqlite.connect_existing(file) as database:
            for run_id in run_ids:
                yield _read(database, run_id)
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot read {file}: {error}") from None


def _read(database: sqlite3.Connection, run_id: str) -> RunRows:
    (row,) = database.execute(
        "SELECT name, status, start_time, end_time, user_id, source_type, source_name "
        "FROM runs WHERE run_uuid = ?",
        (run_id,),
    ).fetchall()
    names = ("name", "status", "start_time", "end_time", "user_id", "source_type", "source_name")
    metrics = database.execute(
        "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? "
        "ORDER BY key, step, timestamp",
        (run_id,),
    )
    run = RunRows(
        run_id=run_id,
        **dict(zip(names, row, strict=True)),
        params=dict(database.execute(_PARAMS_OF, (run_id,))),
        tags=dict(database.execute(_TAGS_OF, (run_id,))),
        metrics=tuple((*figures, bool(is_nan)) for *figures, is_nan in metrics),
        datasets=tuple(_read_datasets(database, run_id)),
    )
    return RunRows.from_json(run.to_json())  # anybody may have edited the file


def _read_datasets(database: sqlite3.Connection, run_id: str) -> Iterator[DatasetRows]:
    rows = database.execute(
        "SELECT input_uuid, name, digest, dataset_source_type, dataset_source "
        "FROM inputs JOIN datasets ON source_id = dataset_uuid "
        "WHERE destination_type = 'RUN' AND destination_id = ? ORDER BY name",
        (run_id,),
    ).fetchall()
    for key, name, digest, source_type, source in rows:
        tags = database.execute("SELECT name, value FROM input_tags WHERE input_uuid = ?", (key,))
        yield DatasetRows(
            name=name, digest=digest, source_type=source_type, source=source, tags=dict(tags)
        )


def known_runs(file: Path, run_ids: Iterable[str]) -> set[str]:
    """Return those of some ids that are of runs in a tracking file, deleted ones among them.

    Raises:
        StorageFailure: if the file cannot be read.
    """
    try:
        return set(_locations(file)) & set(run_ids)
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot read {file}: {error}") from None


def artifact_locations(file: Path) -> dict[str, str]:
    """Return where a tracking file says that the artifacts of each run are; empty if it cannot."""
    for immutable in (False, True):  # the latter also in a folder that is read-only
        with contextlib.suppress(sqlite3.Error):
            return _locations(file, immutable=immutable)
    return {}


def _locations(file: Path, *, immutable: bool = False) -> dict[str, str]:
    with sqlite.connect_existing(file, immutable=immutable) as database:
        rows = database.execute("SELECT run_uuid, artifact_uri FROM runs")
        return {run: location for run, location in rows if location}
