"""Reads studies from Optuna's tables in an SQLite file, without Optuna.

Optuna and SQLAlchemy take half a second to import, which is longer than all else that a command
takes to show a study. Here a study is opened and read as by `optuna.load_study`, and nothing can be
written. Sweeps, and databases on servers, use Optuna.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum, auto
from functools import cached_property
from typing import Any, Protocol

# What the tables say of a trial, a row each; the first column is the trial.
_VALUES = "SELECT trial_id, objective, value, value_type FROM trial_values"
_REPORTS = (
    "SELECT trial_id, step, intermediate_value, intermediate_value_type "
    "FROM trial_intermediate_values"
)
_ATTRIBUTES = "SELECT trial_id, key, value_json FROM trial_user_attributes"
_DISTRIBUTIONS = "SELECT trial_id, distribution_json FROM trial_params"
_OF_A_STUDY = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"

_NO_NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


class TrialState(IntEnum):
    """The states of a trial; the numbers are those of `optuna.trial.TrialState`."""

    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3
    WAITING = 4


class Direction(Enum):
    """The directions of an objective; the names are those of `optuna.study.StudyDirection`."""

    NOT_SET = auto()
    MINIMIZE = auto()
    MAXIMIZE = auto()


class TrialData(Protocol):
    """A trial as its store has it: `TableTrial`, or Optuna's ``FrozenTrial``."""

    @property
    def number(self) -> int:
        """Its number in the study."""

    @property
    def state(self) -> int:
        """One of `TrialState`."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Its attributes."""

    @property
    def values(self) -> list[float] | None:
        """The values that it was told; None if it has none."""

    @property
    def intermediate_values(self) -> dict[int, float]:
        """The values that it reported, by the epoch."""

    @property
    def datetime_start(self) -> datetime | None:
        """When it began, as the clock of the machine said."""


class StudyData(Protocol):
    """A study as its store has it: `TableStudy`, or Optuna's ``Study``."""

    @property
    def study_name(self) -> str:
        """Its name."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Its attributes."""

    @property
    def directions(self) -> Sequence[Enum]:
        """The direction of each objective."""

    def get_trials(self, *, deepcopy: bool) -> Sequence[TrialData]:
        """Read its trials, by number."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Write an attribute."""


@dataclass(frozen=True, kw_only=True)
class TableTrial:
    """A trial as the tables have it."""

    number: int
    state: TrialState
    user_attrs: dict[str, Any]
    values: list[float] | None
    intermediate_values: dict[int, float]
    datetime_start: datetime | None


class TableStudy:
    """A study as the tables have it."""

    def __init__(self, database: sqlite3.Connection, study_id: int, name: str) -> None:
        """Read the attributes of a study.

        Args:
            database: with Optuna's tables.
            study_id: of the study in these tables.
            name: of the study.

        Raises:
            sqlite3.Error, LookupError, TypeError, ValueError: if the tables are damaged.
        """
        self._database = database
        self._id = study_id
        self.study_name = name
        query = "SELECT key, value_json FROM study_user_attributes WHERE study_id = ?"
        rows = database.execute(query, (study_id,))
        self.user_attrs = {key: json.loads(text) for key, text in rows}

    @cached_property
    def directions(self) -> list[Direction]:
        """The direction of each objective."""
        query = "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective"
        return [Direction[text] for (text,) in self._database.execute(query, (self._id,))]

    def get_trials(self, *, deepcopy: bool = False) -> list[TableTrial]:
        """Read the trials, by number, as they are at one moment.

        Args:
            deepcopy: has no effect: each call reads anew.

        Raises:
            sqlite3.Error, LookupError, TypeError, ValueError: if the tables are damaged.
        """
        del deepcopy
        trials = "SELECT trial_id, number, state, datetime_start FROM trials WHERE study_id = ?"
        with _one_moment(self._database):
            rows = self._database.execute(f"{trials} ORDER BY number", (self._id,)).fetchall()
            attributes = self._by_trial(_ATTRIBUTES)
            values = self._by_trial(_VALUES)
            reports = self._by_trial(_REPORTS)
            distributions = self._by_trial(_DISTRIBUTIONS)
        _check_distributions({text for texts in distributions.values() for (text,) in texts})
        return [
            TableTrial(
                number=number,
                state=TrialState[state],
                user_attrs={key: json.loads(text) for key, text in attributes.get(trial, ())},
                values=_values(values.get(trial, ())),
                intermediate_values={
                    step: _number(value, kind) for step, value, kind in reports.get(trial, ())
                },
                datetime_start=None if start is None else datetime.fromisoformat(start),
            )
            for trial, number, state, start in rows
        ]

    def set_user_attr(self, key: str, value: Any) -> None:
        """Refuse to write.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{self.study_name!r} was opened to be read: cannot set {key!r} to {value!r}"
        )

    def _by_trial(self, query: str) -> dict[int, list[tuple[Any, ...]]]:
        """Read the rows of all trials, by the id of the trial."""
        found: dict[int, list[tuple[Any, ...]]] = {}
        for trial, *row in self._database.execute(f"{query} {_OF_A_STUDY}", (self._id,)):
            found.setdefault(trial, []).append(tuple(row))
        return found


class TableStorage:
    """The studies of an SQLite file with Optuna's tables."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Read studies over a connection, which stays the caller's.

        Args:
            database: of which the tables are of the installed version.
        """
        database.execute("PRAGMA query_only = ON")
        self._database = database

    def load_study(self, name: str) -> TableStudy:
        """Open a study.

        Raises:
            KeyError: if there is none of this name.
            sqlite3.Error, LookupError, TypeError, ValueError: if the tables are damaged.
        """
        query = "SELECT study_id FROM studies WHERE study_name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return TableStudy(self._database, row[0], name)

    def get_all_studies(self) -> list[TableStudy]:
        """Open all studies, in the order in which they were made.

        Raises:
            sqlite3.Error, LookupError, TypeError, ValueError: if the tables are damaged.
        """
        query = "SELECT study_id, study_name FROM studies ORDER BY study_id"
        rows = self._database.execute(query).fetchall()
        return [TableStudy(self._database, study_id, name) for study_id, name in rows]


@contextmanager
def _one_moment(database: sqlite3.Connection) -> Iterator[None]:
    """Have all queries of a block see the database as it is at the first, whoever writes."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.rollback()


def _check_distributions(texts: set[Any]) -> None:
    """Check that the distributions of sampled values have the form that Optuna gives them.

    Raises:
        LookupError, TypeError, ValueError: if one has not.
    """
    for text in texts:
        distribution: Mapping[str, Any] = json.loads(text)
        _ = distribution["name"], distribution["attributes"]


def _values(rows: Sequence[tuple[Any, ...]]) -> list[float] | None:
    """The values of a trial, from rows of the objective, the value and its type."""
    values = {objective: _number(value, kind) for objective, value, kind in rows}
    return [values[objective] for objective in range(len(values))] if values else None


def _number(value: float | None, kind: str) -> float:
    """The number that a value and its type stand for."""
    if kind == "FINITE" and value is not None:
        return value
    if value is None:
        return _NO_NUMBERS[kind]
    raise ValueError(f"a value of the type {kind} is {value}")
