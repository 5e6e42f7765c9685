"""Changes what a finished study has left, as somebody with an editor or a newer version would."""

import contextlib
import copy
import json
import sqlite3
from pathlib import Path

from hypothesis import strategies as st

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, -1, 1, 3, 10**9, 10**30, -(10**30), 0.5, 1e308, float("inf"), float("nan")]
    ),
    st.sampled_from(["", "x", "../../x", "1", "nan", "\x1b[31m", "a" * 10_000]),
    st.sampled_from([[], [1], ["a"], [[1]], {}, {"a": 1}, {"a": {"b": [1]}}]),
)
# What a column of a database can hold. The words are states of trials and runs, and directions.
CELLS = st.one_of(
    st.none(),
    st.sampled_from([0, -1, 1, 3, 10**9, 2**63 - 1, 0.5, 1e308, float("inf"), b"\0\xff"]),
    st.sampled_from(["", "x", "../../x", "1", "nan", "\x1b[31m", "a" * 10_000, "2020-01-01"]),
    st.sampled_from(
        ["RUNNING", "COMPLETE", "FAIL", "WAITING", "PRUNED", "FINISHED", "deleted", "MAXIMIZE"]
    ),
)
_JSON_COLUMNS = ("value_json", "distribution_json")


def places(value, path=()):
    """The paths to all parts of JSON data."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value[:3]):
            yield from places(part, (*path, index))


@st.composite
def mutated_json(draw, value):
    """JSON data with one part replaced, removed or added."""
    path = draw(st.sampled_from(list(places(value))))
    new = draw(VALUES)
    if not path:
        return new
    value = copy.deepcopy(value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    kind = draw(st.sampled_from(["replaced", "removed", "added"]))
    part = holder[path[-1]]
    if kind == "removed":
        del holder[path[-1]]
    elif kind == "added" and isinstance(part, dict):
        part["newer"] = new
    elif kind == "added" and isinstance(part, list):
        part.append(new)
    else:
        holder[path[-1]] = new
    return value


class Database:
    """A SQLite file that is mutated, and mended by what it was at first."""

    def __init__(self, path: Path):
        self.path = path
        self._first = sqlite3.connect(":memory:", check_same_thread=False)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.backup(self._first)
        tables = self._first.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%version%'"
        )
        self._tables = [name for (name,) in tables if self._count(name)]

    def close(self):
        """Forget what it was."""
        self._first.close()

    def _count(self, table):
        return self._first.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def mend(self):
        """Make it what it was."""
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            self._first.backup(database)

    def mutate(self, draw) -> str:
        """Change a cell, or remove a row; what was done."""
        table = draw(st.sampled_from(self._tables))
        cursor = self._first.execute(f"SELECT rowid AS place, * FROM {table} ORDER BY place")
        columns = [name for name, *_ in cursor.description][1:]
        place, *row = draw(st.sampled_from(cursor.fetchall()))
        if draw(st.integers(0, 9)) == 0:
            return self._execute(f"DELETE FROM {table} WHERE rowid = ?", place)
        column = draw(st.sampled_from(columns))
        old = row[columns.index(column)]
        if column in _JSON_COLUMNS:
            new = json.dumps(draw(mutated_json(json.loads(old))))
        else:
            new = draw(CELLS)
        return self._execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new, place)

    def _execute(self, statement, *values) -> str:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            with contextlib.suppress(sqlite3.IntegrityError):  # what the tables do not allow
                database.execute(statement, values)
            database.commit()
        return f"{self.path.name}: {statement} {repr(values)[:200]}"
