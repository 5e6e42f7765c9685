"""Tables of text, for every output format of a report to lay out.

A part of a report builds rows of exact values. `make_grid` turns the rows into text cells, and a
`Section` adds a title and sentences to the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.system.text import clip
from sweeps.spec.reference import FIGURES
from sweeps.spec.study_spec import OBJECTIVES

Row = dict[str, object]  # a table row: exact values by column name; None is an empty cell

CLIP = 40  # characters of a text cell
_NOTES_CLIP = 160  # characters of a cell of the column "notes", at least

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

    columns: tuple[str, ...]  # names
    rows: tuple[tuple[str, ...], ...]  # cells, in the order of the columns
    numeric: tuple[bool, ...]  # by column; numbers are aligned on the right


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: a title, a table, and sentences below."""

    title: str
    grid: Grid
    lines: tuple[str, ...] = ()


def make_grid(
    columns: Sequence[str], rows: Sequence[Row], *, thousands: bool = True, limit: int = CLIP
) -> Grid:
    """Turn rows of values into a table of text.

    Args:
        columns: the names of the columns to show, in order.
        rows: each has a value for every column; further values are ignored.
        thousands: separate the thousands of parameter counts by commas.
        limit: the longest text of a cell, in characters.
    """
    limits = dict.fromkeys(columns, limit)
    if "notes" in limits:
        limits["notes"] = max(limit, _NOTES_CLIP)
    cells = []
    for row in rows:
        texts = {name: cell_text(name, row[name], thousands=thousands) for name in columns}
        cells.append(tuple(clip(text, limits[name]) for name, text in texts.items()))
    return Grid(
        columns=tuple(columns),
        rows=tuple(cells),
        numeric=tuple(_all_numbers(row[name] for row in rows) for name in columns),
    )


def _all_numbers(values: Iterable[object]) -> bool:
    return all(value is None or _is_number(value) for value in values)


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
