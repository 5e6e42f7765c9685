"""Renames, removes, reads and inserts whole studies as rows of Optuna's tables.

Optuna offers no renaming, and copies or deletes study by study and trial by trial. Here each change
of a study, with that of its finalists, is a single transaction: it is made or it is not.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import optuna
from optuna.storages._rdb import models
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from sweeps.search.stored import Storage
from sweeps.trial import problem

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

_STUDIES: Table = models.StudyModel.__table__
_DIRECTIONS: Table = models.StudyDirectionModel.__table__
_USER_ATTRS: Table = models.StudyUserAttributeModel.__table__
_SYSTEM_ATTRS: Table = models.StudySystemAttributeModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_TRIAL_USER_ATTRS: Table = models.TrialUserAttributeModel.__table__
_TRIAL_SYSTEM_ATTRS: Table = models.TrialSystemAttributeModel.__table__
_PARAMS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_INTERMEDIATE: Table = models.TrialIntermediateValueModel.__table__
_HEARTBEATS: Table = models.TrialHeartbeatModel.__table__

_OF_A_STUDY = (_DIRECTIONS, _USER_ATTRS, _SYSTEM_ATTRS)
_OF_A_TRIAL = (
    *(_TRIAL_USER_ATTRS, _TRIAL_SYSTEM_ATTRS),
    *(_PARAMS, _VALUES, _INTERMEDIATE, _HEARTBEATS),
)


_NAMING_ATTRS = ("facts", "spec", "command")  # attributes that may name studies


_STRICTLY = ConfigDict(strict=True, extra="forbid")
_Direction = Literal["NOT_SET", "MINIMIZE", "MAXIMIZE"]
_State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"]
_Kind = Literal["FINITE", "INF_POS", "INF_NEG"]
_Step = Annotated[int, Field(ge=-(2**31), lt=2**31)]  # what a column can hold


class DamagedRowsError(ValueError):
    """What should be the rows of a study is not."""


@dataclass(frozen=True, kw_only=True)
class TrialRows:
    """A trial as Optuna stores it. Attributes are JSON."""

    __pydantic_config__: ClassVar = _STRICTLY

    number: _Step
    state: _State
    start: datetime | None
    complete: datetime | None
    user_attrs: Mapping[str, str]
    system_attrs: Mapping[str, str]
    params: tuple[tuple[str, float, str], ...]  # name, value, distribution
    values: tuple[tuple[_Step, float | None, _Kind], ...]  # objective, value, type
    # Step, value, type.
    intermediate: tuple[tuple[_Step, float | None, _Kind | Literal["NAN"]], ...]


@dataclass(frozen=True, kw_only=True)
class StudyRows:
    """A study as Optuna stores it. Attributes are JSON."""

    __pydantic_config__: ClassVar = _STRICTLY

    name: str
    directions: tuple[_Direction, ...]
    user_attrs: Mapping[str, str]
    system_attrs: Mapping[str, str]
    trials: tuple[TrialRows, ...]

    def renamed(self, names: Mapping[str, str]) -> StudyRows:
        """Return the rows with other names of studies, as `rename_studies` gives them.

        Args:
            names: the new name of each study.
        """
        attrs = dict(self.user_attrs)
        for key in _NAMING_ATTRS:
            if key in attrs:
                value = json.loads(attrs[key])
                attrs[key] = json.dumps(_renamed_attribute(key, value, names, is_own=True))
        return dataclasses.replace(self, name=names.get(self.name, self.name), user_attrs=attrs)

    def to_json(self) -> bytes:
        """Write the rows as JSON."""
        return _reader().dump_json(self)

    @staticmethod
    def from_json(data: bytes) -> StudyRows:
        """Read what `to_json` has written.

        Raises:
            DamagedRowsError: if it is something else.
        """
        try:
            return _reader().validate_json(data)
        except ValidationError as error:
            raise DamagedRowsError(problem(error)) from None


def _reader() -> TypeAdapter[StudyRows]:
    return TypeAdapter(StudyRows)


def names(storage: Storage) -> set[str]:
    """Return the names of all studies in a store, those of other programs among them."""
    with _engine(storage).connect() as database:
        return set(database.scalars(select(_STUDIES.c.study_name)))


def attributes(storage: Storage, name: str) -> dict[str, Any]:
    """Return those attributes of a study that can be read, even if others are damaged."""
    attrs = {}
    with _engine(storage).connect() as database:
        for key, text in _attributes(database, _ids(database, [name])):
            try:
                attrs[key] = json.loads(text)
            except (TypeError, ValueError):
                continue
    return attrs


# -- changes ---------------------------------------------------------------------------------------


def rename_studies(storage: Storage, renamed: Mapping[str, str]) -> None:
    """Give studies other names, also in what other studies say of them, at once or not at all.

    Args:
        storage: the store.
        renamed: the new name of each.
    """
    with _engine(storage).begin() as database:
        for former, new in renamed.items():
            database.execute(
                update(_STUDIES).where(_STUDIES.c.study_name == former).values(study_name=new)
            )
        own = set(_ids(database, renamed.values()))
        query = select(_USER_ATTRS).where(_USER_ATTRS.c.key.in_(_NAMING_ATTRS))
        for row in database.execute(query).all():
            try:
                value = json.loads(row.value_json)
            except (TypeError, ValueError):
                continue  # it is damaged, or another program's
            changed = _renamed_attribute(row.key, value, renamed, is_own=row.study_id in own)
            if changed != value:
                database.execute(
                    update(_USER_ATTRS)
                    .where(_USER_ATTRS.c.study_user_attribute_id == row.study_user_attribute_id)
                    .values(value_json=json.dumps(changed))
                )


def _renamed_attribute(key: str, value: Any, renamed: Mapping[str, str], *, is_own: bool) -> Any:
    """Return an attribute of a study with the new names of studies.

    Args:
        key: of the attribute.
        value: of the attribute.
        renamed: the new name of each study.
        is_own: whether the attribute is of a renamed study.
    """
    if key == "command":
        return _renamed_command(value, renamed) if is_own and isinstance(value, str) else value
    if not isinstance(value, dict):
        return value
    changed = dict(value)
    if key == "spec":
        _rename_at(changed, "of", renamed)
        sources = changed.get("warm_start")
        if isinstance(sources, list):
            changed["warm_start"] = [renamed.get(name, name) for name in sources]
        return changed
    finalists = changed.get("finalists")
    if isinstance(finalists, dict):
        changed["finalists"] = {**finalists}
        _rename_at(changed["finalists"], "of", renamed)
        _rename_at(changed, "study", renamed)
    start = changed.get("warm_start")
    if isinstance(start, dict) and isinstance(start.get("sources"), list):
        sources = [dict(source) for source in start["sources"]]
        for source in sources:
            _rename_at(source, "name", renamed)
        changed["warm_start"] = {**start, "sources": sources}
    return changed


def _rename_at(data: dict[str, Any], key: str, renamed: Mapping[str, str]) -> None:
    name = data.get(key)
    if isinstance(name, str) and name in renamed:
        data[key] = renamed[name]


def _renamed_command(command: str, renamed: Mapping[str, str]) -> str:
    """Return a command with which a study goes on, with the study's new name."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if words[:2] == ["pipeline", "finalists"] and len(words) > 2 and words[2] in renamed:
        words[2] = renamed[words[2]]
        return shlex.join(words)
    for index, word in enumerate(words):
        option, equals, name = word.partition("=")
        if option != "--name":
            continue
        if equals:
            words[index] = f"--name={renamed.get(name, name)}"
        elif index + 1 < len(words):
            words[index + 1] = renamed.get(words[index + 1], words[index + 1])
        return shlex.join(words)
    if words:  # the name came from the study's file and its data set
        words += ["--name", next(iter(renamed.values()))]
    return shlex.join(words)


def delete_studies(storage: Storage, deleted: Iterable[str]) -> None:
    """Delete studies, all at once or none; those that are not there are passed over."""
    with _engine(storage).begin() as database:
        studies = _ids(database, deleted)
        trials = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id.in_(studies))
        for table in _OF_A_TRIAL:
            database.execute(delete(table).where(table.c.trial_id.in_(trials)))
        for table in (_TRIALS, *_OF_A_STUDY, _STUDIES):
            database.execute(delete(table).where(table.c.study_id.in_(studies)))


def others_that_name(storage: Storage, name: str) -> list[str]:
    """Return the studies that began from a study: its ablations, and those it has warmed."""
    others = []
    with _engine(storage).connect() as database:
        query = (
            select(_STUDIES.c.study_name, _USER_ATTRS.c.value_json)
            .join(_USER_ATTRS, _USER_ATTRS.c.study_id == _STUDIES.c.study_id)
            .where(_USER_ATTRS.c.key == "spec")
            .order_by(_STUDIES.c.study_name)
        )
        for other, text in database.execute(query):
            try:
                spec = json.loads(text)
            except (TypeError, ValueError):
                continue
            if isinstance(spec, dict) and (
                spec.get("of") == name or name in (spec.get("warm_start") or ())
            ):
                others.append(str(other))
    return others


# -- a study as portable rows ----------------------------------------------------------------------


def read_rows(storage: Storage, name: str) -> StudyRows | None:
    """Read a study as portable rows; None if there is none."""
    with _engine(storage).connect() as database:
        ids = _ids(database, [name])
        if not ids:
            return None
        directions = database.execute(
            select(_DIRECTIONS.c.direction)
            .where(_DIRECTIONS.c.study_id.in_(ids))
            .order_by(_DIRECTIONS.c.objective)
        )
        return StudyRows(
            name=name,
            directions=tuple(direction.name for (direction,) in directions),
            user_attrs=dict(_attributes(database, ids)),
            system_attrs=dict(_attributes(database, ids, _SYSTEM_ATTRS)),
            trials=tuple(_read_trials(database, ids)),
        )


def _read_trials(database: Connection, studies: Sequence[int]) -> Iterator[TrialRows]:
    """Read the trials of studies, by number."""
    trials = database.execute(
        select(_TRIALS).where(_TRIALS.c.study_id.in_(studies)).order_by(_TRIALS.c.number)
    ).all()
    ids = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id.in_(studies))
    rows: dict[Table, dict[int, list[Any]]] = {}
    for table in _OF_A_TRIAL:
        rows[table] = {}
        for row in database.execute(select(table).where(table.c.trial_id.in_(ids))):
            rows[table].setdefault(row.trial_id, []).append(row)
    for trial in trials:
        own = {table: found.get(trial.trial_id, []) for table, found in rows.items()}
        yield TrialRows(
            number=trial.number,
            state=trial.state.name,
            start=trial.datetime_start,
            complete=trial.datetime_complete,
            user_attrs={row.key: row.value_json for row in own[_TRIAL_USER_ATTRS]},
            system_attrs={row.key: row.value_json for row in own[_TRIAL_SYSTEM_ATTRS]},
            params=tuple(
                (row.param_name, row.param_value, row.distribution_json) for row in own[_PARAMS]
            ),
            values=tuple((row.objective, row.value, row.value_type.name) for row in own[_VALUES]),
            intermediate=tuple(
                (row.step, row.intermediate_value, row.intermediate_value_type.name)
                for row in own[_INTERMEDIATE]
            ),
        )


def insert_studies(storage: Storage, studies: Iterable[StudyRows]) -> None:
    """Insert studies, all at once or none.

    Raises:
        DamagedRowsError: if rows hold what Optuna does not, or a name is taken.
    """
    try:
        with _engine(storage).begin() as database:
            for study in studies:
                _insert(database, study)
    except (SQLAlchemyError, LookupError) as error:
        if isinstance(error, SQLAlchemyError) and not _is_of_values(error):
            raise
        raise DamagedRowsError(" ".join(str(error).split())[:200]) from None


def _is_of_values(error: SQLAlchemyError) -> bool:
    """Whether an error is of the values to insert, and not of the database."""
    cause = getattr(error, "orig", None)
    return isinstance(cause, LookupError | ValueError | TypeError | OverflowError) or type(
        cause
    ).__name__ in ("IntegrityError", "DataError")


def _insert(database: Connection, study: StudyRows) -> None:
    study_id = _key(database, _STUDIES, study_name=study.name)
    _insert_all(
        database,
        _DIRECTIONS,
        [
            {"study_id": study_id, "objective": objective, "direction": direction}
            for objective, direction in enumerate(study.directions)
        ],
    )
    for table, attrs in ((_USER_ATTRS, study.user_attrs), (_SYSTEM_ATTRS, study.system_attrs)):
        _insert_all(database, table, _attribute_rows("study_id", study_id, attrs))
    for trial in study.trials:
        trial_id = _key(
            database,
            _TRIALS,
            number=trial.number,
            study_id=study_id,
            state=trial.state,
            datetime_start=trial.start,
            datetime_complete=trial.complete,
        )
        own = {"trial_id": trial_id}
        _insert_all(
            database, _TRIAL_USER_ATTRS, _attribute_rows("trial_id", trial_id, trial.user_attrs)
        )
        _insert_all(
            database, _TRIAL_SYSTEM_ATTRS, _attribute_rows("trial_id", trial_id, trial.system_attrs)
        )
        _insert_all(
            database,
            _PARAMS,
            [
                {**own, "param_name": name, "param_value": value, "distribution_json": kind}
                for name, value, kind in trial.params
            ],
        )
        _insert_all(
            database,
            _VALUES,
            [
                {**own, "objective": objective, "value": value, "value_type": kind}
                for objective, value, kind in trial.values
            ],
        )
        _insert_all(
            database,
            _INTERMEDIATE,
            [
                {
                    **own,
                    "step": step,
                    "intermediate_value": value,
                    "intermediate_value_type": kind,
                }
                for step, value, kind in trial.intermediate
            ],
        )


def _key(database: Connection, table: Table, **values: Any) -> int:
    """Insert a row, and return its key."""
    inserted = database.execute(insert(table).values(**values).returning(*table.primary_key))
    return int(inserted.scalar_one())


def _insert_all(database: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        database.execute(insert(table), rows)


def _attribute_rows(owner: str, key: int, attrs: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{owner: key, "key": name, "value_json": text} for name, text in attrs.items()]


# -- reading ---------------------------------------------------------------------------------------


def _engine(storage: Storage) -> Engine:
    if not isinstance(storage, optuna.storages.RDBStorage):
        raise TypeError(f"the studies must be in a database: got {type(storage).__name__}")
    return storage.engine


def _ids(database: Connection, wanted: Iterable[str]) -> list[int]:
    query = select(_STUDIES.c.study_id).where(_STUDIES.c.study_name.in_(list(wanted)))
    return list(database.scalars(query))


def _attributes(
    database: Connection, studies: Sequence[int], table: Table = _USER_ATTRS
) -> list[tuple[str, str]]:
    """Return the attributes of studies, as JSON."""
    query = select(table.c.key, table.c.value_json).where(table.c.study_id.in_(studies))
    return [(key, text) for key, text in database.execute(query)]
