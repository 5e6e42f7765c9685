"""A table of text: column names, cells, and which columns are numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.report.problems import Row
from pipeline.system.text import clean
from sweeps.spec.reference import FIGURES
from sweeps.spec.study_spec import OBJECTIVES

CLIP = 40  # characters of a text cell


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows as text, ready to be laid out in any format."""

    names: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]  # by column: numbers stand on the right


def grid(
    names: Sequence[str], values: Sequence[Row], *, thousands: bool = True, clip: int = CLIP
) -> Grid:
    """Lay out rows under the names."""
    most = {name: max(clip, _NOTES) if name == "notes" else clip for name in names}
    return Grid(
        names=tuple(names),
        lines=tuple(
            tuple(clean(cell_text(n, row[n], thousands=thousands), most[n]) for n in names)
            for row in values
        ),
        right=tuple(_numbers(row[name] for row in values) for name in names),
    )


def _numbers(values: Iterable[object]) -> bool:
    return all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    )


def cell_text(name: str, value: object, *, thousands: bool = False) -> str:
    """A value of a column as text: scores with 4 decimals, seconds with one, other fractions with 4 digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:{_number_format(name, value, thousands=thousands)}}"
    return clean(value)


def _number_format(name: str, value: float, *, thousands: bool) -> str:
    """The format specification of a column's numbers."""
    if name in _SCORES:
        return ".4f"
    if name == "seconds":
        return ".1f"
    if isinstance(value, float):
        return ".4g"
    if thousands and name == "parameters":
        return ","
    return ""


def plain_value(value: object) -> object:
    """A value that every format can take: text cleaned, and None for a number that is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return clean(value)
    return value


_NOTES = 160  # of a note


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
