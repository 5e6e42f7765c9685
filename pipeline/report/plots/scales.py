"""Where the values of a searched field lie on an axis, and the axis's ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps a field's values to places from 0 to 1."""

    name: str
    categories: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False

    @staticmethod
    def numeric(name: str, values: Sequence[float], *, log: bool, integer: bool = False) -> Scale:
        """The scale of an axis of numbers."""
        return Scale(
            name=name,
            low=min(values),
            high=max(values),
            log=log and min(values) > 0,
            integer=integer,
        )

    def place(self, value: Value) -> float:
        """The place of a value, from 0 to 1."""
        if self.categories:
            return share_of_range(self.categories.index(value), 0, len(self.categories) - 1)
        number = float(value)
        if self.log:
            return share_of_range(math.log(number), math.log(self.low), math.log(self.high))
        return share_of_range(number, self.low, self.high)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels of the axis's ticks."""
        if self.categories:
            shown = self.categories[:: math.ceil(len(self.categories) / 20)]
            return [
                (self.place(c), str(c).lower() if isinstance(c, bool) else str(c)) for c in shown
            ]
        nice = _nice(self.low, self.high, log=self.log)
        return [(self.place(v), f"{v:.4g}") for v in nice if not self.integer or v == round(v)]


def scale_of(record: StudyRecord, name: str, results: Sequence[TrialResult]) -> Scale:
    """The scale of a searched field: categories for a list of choices that are no numbers, else numbers."""
    dimensions: list[Dimension] = [d for d in record.dimensions if d.field == name]
    used = [value for r in results if (value := getattr(r.config, name)) is not None]
    choices = [choice for d in dimensions for choice in d.choices]
    if choices and not any(d.low is not None for d in dimensions):
        categories = list(dict.fromkeys(choices + used))
        if not any(isinstance(c, (str, bool)) for c in categories):
            categories.sort()
        return Scale(name=name, categories=tuple(categories))
    bounds = [bound for d in dimensions for bound in (d.low, d.high) if bound is not None]
    values = [*bounds, *map(float, choices + used)]
    integer = all(d.integer for d in dimensions)
    return Scale.numeric(name, values, log=any(d.log for d in dimensions), integer=integer)


def share_of_range(value: float, low: float, high: float) -> float:
    """How far a value lies from ``low`` to ``high``, from 0 to 1; 0.5 where the two are equal."""
    if high > low:
        return (value - low) / (high - low)
    return 0.5


def _nice(low: float, high: float, *, log: bool) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    if low == high:
        return [low]
    if log:
        powers = [
            10.0**k
            for k in range(
                math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1
            )
        ]
        if len(powers) >= 3:
            return [min(max(p, low), high) for p in powers[:: math.ceil(len(powers) / 6)]]
        return [low, *(float(f"{v:.2g}") for v in np.geomspace(low, high, 4)[1:-1]), high]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [
        step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
