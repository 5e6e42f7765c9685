"""Tables of text, for every output format of a report to lay out.

A part of a report builds rows of exact values. `make_grid` turns the rows into text cells, and a
`Section` adds a title and sentences to the table.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pipeline.system.text import clip
from sweeps.spec.reference import FIGURES
from sweeps.spec.study_spec import OBJECTIVES

Row = dict[str, object]  # a table row: exact values by column name; None is an empty cell

CLIP = 40  # characters of a text cell
_NOTES_CLIP = 160  # characters of a cell of the column "notes", at least

# Objectives that are shares of images: people read them in per cent.
SHARES = ("val_acc", "balanced_acc")
# All columns whose numbers are shown in per cent.
_PERCENT = frozenset({*SHARES, "train_acc", "test_acc", "accuracy"})

# Columns whose numbers are shown with 4 decimals.
_SCORES = frozenset(
    {
        *OBJECTIVES,
        *FIGURES,
        "spread",
        "mean",
        "value",
        "accuracy",
        "published",
        "acc",
        "loss",
        "acc_spread",
        "acc_mean",
    }
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as text: its cells are safe to print and short enough to lay out."""

    columns: tuple[str, ...]  # names as shown; of shares with their unit, ``val_acc (%)``
    keys: tuple[str, ...]  # names in the rows of values
    rows: tuple[tuple[str, ...], ...]  # cells, in the order of the columns
    numeric: tuple[bool, ...]  # by column; numbers are aligned on the right

    def only(self, keys: Collection[str]) -> Grid:
        """Some of the columns, in their order."""
        kept = [position for position, key in enumerate(self.keys) if key in keys]
        return Grid(
            columns=tuple(self.columns[position] for position in kept),
            keys=tuple(self.keys[position] for position in kept),
            rows=tuple(tuple(row[position] for position in kept) for row in self.rows),
            numeric=tuple(self.numeric[position] for position in kept),
        )


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: a title, a table, and sentences below."""

    title: str
    grid: Grid
    lines: tuple[str, ...] = ()


def make_grid(
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    thousands: bool = True,
    limit: int = CLIP,
    shares: Collection[str] = (),
) -> Grid:
    """Turn rows of values into a table of text, in which shares of images are in per cent.

    Args:
        columns: the names of the columns to show, in order.
        rows: each has a value for every column; further values are ignored.
        thousands: separate the thousands of parameter counts by commas.
        limit: the longest text of a cell, in characters.
        shares: further columns of shares, besides accuracies.
    """
    numeric = {name: _all_numbers(row[name] for row in rows) for name in columns}
    percent = {name for name in columns if numeric[name] and (name in _PERCENT or name in shares)}
    heads = {name: f"{name} (%)" if name in percent else name for name in columns}
    limits = dict.fromkeys(columns, limit)
    if "notes" in limits:
        limits["notes"] = max(limit, _NOTES_CLIP)
    cells = []
    for row in rows:
        values = {name: _times_100(row[name]) if name in percent else row[name] for name in columns}
        texts = {
            name: cell_text(heads[name], values[name], thousands=thousands) for name in columns
        }
        cells.append(tuple(clip(text, limits[name]) for name, text in texts.items()))
    return Grid(
        columns=tuple(heads.values()),
        keys=tuple(columns),
        rows=tuple(cells),
        numeric=tuple(numeric.values()),
    )


def _all_numbers(values: Iterable[object]) -> bool:
    return all(value is None or _is_number(value) for value in values)


def _times_100(value: object) -> object:
    return 100 * value if isinstance(value, int | float) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def cell_text(name: str, value: object, *, thousands: bool = False) -> str:
    """A value of a column as text.

    Scores have 4 decimals, seconds have one, other fractions have 4 digits.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:{_number_format(name, value, thousands=thousands)}}"
    return str(value)


def _number_format(name: str, value: float, *, thousands: bool) -> str:
    """The format specification of a column's numbers."""
    if name in _SCORES:
        return ".4f"
    if name.endswith("(%)"):
        return ".2f"
    if name == "seconds":
        return ".1f"
    if isinstance(value, float):
        return ".4g"
    if thousands and name == "parameters":
        return ","
    return ""


def finite_value(value: object) -> object:
    """The value itself, or None for a number that is infinite or not a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
