"""Lists the studies of a store: the job behind `pipeline list`. Reads no run of MLflow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.report import terminal
from pipeline.report.formats import csv_cell, csv_table, json_text
from pipeline.report.grid import Row, make_grid
from pipeline.report.scores import unit_of
from pipeline.report.status import state_of, unfinished_finalists
from pipeline.stores import access, locks, mlflow_runs, relocation
from pipeline.stores.locations import Stores, is_stored_name, sqlite_file
from pipeline.system.console import format_size
from pipeline.system.files import folder_size
from pipeline.system.text import clip
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.search.decisions import DamagedStudyError
from sweeps.search.stored import ReadableStorage
from sweeps.trial import ended_at

FORMATS = ("table", "json", "csv")
_NAME_LIMITS = (40, 32, 26, 20, 16, 12)  # characters of a name, until the table fits
_WHOLE_NAME = 300  # characters of a name without a terminal
_ERROR_LIMIT = 300  # characters
_REMARKABLE = ("running", "interrupted")  # states that the table shows


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study in the list."""

    name: str
    size: int  # bytes of its checkpoints, artifacts and reports, with those of its finalists
    error: str | None = None  # why nothing more is known
    dataset: str | None = None
    state: str | None = None  # as of `pipeline.report.status.state_of`
    ended: int | None = None  # trials
    trials: int | None = None  # the declared total; None where a budget alone decides
    # Ended and declared runs of the finalists, as "2/9", if the search has ended and they have not.
    finalists: str | None = None
    objective: str | None = None
    best: float | None = None  # of the first-ranked configuration, or finalist
    used: float | None = None  # when a command last trained it: seconds since 1970


def list_studies(stores: Stores) -> list[ListedStudy]:
    """List the studies of a store, those last used first; finalists are part of their study.

    Raises:
        UsageFailure: if there is no store yet.
        StorageFailure: if the store cannot be read.
    """
    file = sqlite_file(stores.tracking)
    artifacts = {} if file is None else mlflow_runs.artifact_locations(file)
    with access.study_errors(), access.look_into_studies(stores) as storage:
        names = [name for name in stored.study_names(storage) if is_stored_name(name)]
        origins = {f"{name}{FINALISTS_SUFFIX}" for name in names}
        listed = [
            _list_one(stores, storage, name, artifacts) for name in names if name not in origins
        ]
    return sorted(listed, key=lambda study: study.used or -math.inf, reverse=True)


def _list_one(
    stores: Stores, storage: ReadableStorage, name: str, artifacts: Mapping[str, str]
) -> ListedStudy:
    try:
        record = stored.read_record(storage, name)
    except DamagedStudyError as error:
        size = folder_size(*_folders(stores, name))
        return ListedStudy(name=name, size=size, error=str(error))
    records = [record] if record.finalists is None else [record, record.finalists]
    folders = [folder for each in records for folder in _folders(stores, each.name)]
    runs = {run for each in records for run in _runs(each) if run in artifacts}
    locations = (relocation.find_checkpoint(artifacts[run], stores.home) for run in runs)
    paths = (relocation.local_path(location) for location in locations)
    folders += [Path(path) for path in paths if path is not None]
    # As `StudyRecord.decided_finalists` has it, whose verdict would take a second.
    decided = record.finalists if record.finalists and record.finalists.is_finished else record
    ranked = decided.whole_configurations or record.whole_configurations
    unfinished = unfinished_finalists(record)
    return ListedStudy(
        name=name,
        size=folder_size(*folders),
        dataset=record.dataset,
        state=state_of(record, locks.holder_of_any(stores, name)),
        ended=record.ended,
        trials=None if record.has_only_budget else record.trials,
        finalists=None if unfinished is None else f"{unfinished.ended}/{unfinished.trials}",
        objective=record.objective,
        best=ranked[0].value if ranked else None,
        used=max(_last_use(storage, each) for each in records),
    )


def _folders(stores: Stores, name: str) -> list[Path]:
    return [stores.home / "checkpoints" / name, stores.reports(name)]


def _runs(record: StudyRecord) -> Iterator[str]:
    """The runs of a study, as its store has them."""
    found = [record.parent_run_id, *(result.run_id for result in record.results)]
    if record.refit is not None:
        found.append(record.refit.run_id)
    yield from (run for run in found if run is not None)


def _last_use(storage: ReadableStorage, record: StudyRecord) -> float:
    """When a command last opened a study, or a trial of it ended: seconds since 1970."""
    ends = [ended_at(result) or 0 for result in record.results]
    return max(stored.opened_at(storage, record.name), max(ends, default=0) / 1000)


_COLUMNS = [field.name for field in dataclasses.fields(ListedStudy)]


# -- as text ---------------------------------------------------------------------------------------


def render(studies: Sequence[ListedStudy], fmt: str, width: int | None) -> str:
    """Write a list of studies in a format of `FORMATS`.

    Args:
        studies: the list.
        fmt: the format.
        width: of the terminal in characters; None leaves names whole, for `grep`.
    """
    if fmt == "json":
        return json_text([_values(study) for study in studies])
    if fmt == "csv":
        rows = [_values(study) for study in studies]
        lines = [[csv_cell(name, row[name]) for name in _COLUMNS] for row in rows]
        return csv_table([_COLUMNS, *lines])
    text = _table(studies, _WHOLE_NAME)
    for limit in _NAME_LIMITS:
        if width is None or max(map(len, text.splitlines())) <= width:
            break
        text = _table(studies, limit)
    errors = [clip(study.error, _ERROR_LIMIT) for study in studies if study.error is not None]
    return "\n".join([text, *errors])


def _values(study: ListedStudy) -> dict[str, Any]:
    values = dataclasses.asdict(study)
    if study.used is not None:
        values["used"] = datetime.fromtimestamp(study.used, UTC).isoformat(timespec="seconds")
    return values


def _table(studies: Sequence[ListedStudy], limit: int) -> str:
    rows: list[Row] = [
        {
            "name": clip(study.name, limit),
            "data": "" if study.dataset is None else clip(study.dataset, limit),
            "ended": _ended_text(study),
            "best": _best_text(study),
            "size": format_size(study.size),
            "last used": _time_text(study.used),
        }
        for study in studies
    ]
    return terminal.render_grid(make_grid(list(rows[0]), rows))


def _ended_text(study: ListedStudy) -> str:
    """How many trials of how many have ended, and what is remarkable."""
    if study.error is not None:
        return "damaged"
    total = "" if study.trials is None else f"/{study.trials}"
    state = f" {study.state}" if study.state in _REMARKABLE else ""
    finalists = "" if study.finalists is None else f", finalists {study.finalists}"
    return f"{study.ended}{total}{finalists}{state}"


def _best_text(study: ListedStudy) -> str:
    """The best value, with the objective where that is not the accuracy."""
    if study.best is None:
        return ""
    value = unit_of(study.objective or "").value(study.best)
    return value if study.objective == "val_acc" else f"{value} {study.objective}"


def _time_text(used: float | None) -> str:
    """A time as the clock on the wall showed it, to the minute."""
    if used is None:
        return ""
    return datetime.fromtimestamp(used).astimezone().strftime("%Y-%m-%d %H:%M")
