"""Places the values of a searched field along an axis, and chooses the axis's ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult, Value

_MAX_CATEGORIES = 20  # with a tick of their own
_TOLERANCE = 1e-9  # of the rounding errors of logarithms and quotients


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps a field's values to places from 0 to 1: by category, or from ``low`` to ``high``."""

    name: str
    categories: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False

    @staticmethod
    def numeric(name: str, values: Sequence[float], *, log: bool, integer: bool = False) -> Scale:
        """The scale of an axis of numbers, logarithmic only if all values are positive."""
        low = min(values)
        return Scale(name=name, low=low, high=max(values), log=log and low > 0, integer=integer)

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
        """The places of the axis's ticks, with their labels."""
        if self.categories:
            step = math.ceil(len(self.categories) / _MAX_CATEGORIES)
            return [(self.place(value), _category_text(value)) for value in self.categories[::step]]
        numbers = _round_numbers(self.low, self.high, log=self.log)
        if self.integer:
            numbers = [number for number in numbers if number == round(number)]
        return [(self.place(number), f"{number:.4g}") for number in numbers]


def scale_of(record: StudyRecord, name: str, results: Sequence[TrialResult]) -> Scale:
    """The scale of a searched field.

    A field that was searched by choices alone has categories: in the order of the choices, or
    sorted if they are numbers. Any other field has an axis of numbers.

    Args:
        record: the study.
        name: the field.
        results: the trials whose values must lie on the axis.
    """
    dimensions = [dimension for dimension in record.dimensions if dimension.field == name]
    configured = [result.config.value(name) for result in results]
    used = [value for value in configured if value is not None]
    choices = [choice for dimension in dimensions for choice in dimension.choices]
    values = choices + used
    if choices and all(dimension.low is None for dimension in dimensions):
        categories = list(dict.fromkeys(values))
        if not any(isinstance(category, (str, bool)) for category in categories):
            categories.sort()
        return Scale(name=name, categories=tuple(categories))
    numbers = [float(value) for value in values]
    for dimension in dimensions:
        numbers += [bound for bound in (dimension.low, dimension.high) if bound is not None]
    return Scale.numeric(
        name,
        numbers,
        log=any(dimension.log for dimension in dimensions),
        integer=all(dimension.integer for dimension in dimensions),
    )


def share_of_range(value: float, low: float, high: float) -> float:
    """How far a value lies from ``low`` to ``high``: from 0 to 1, and 0.5 if the two are equal."""
    if high > low:
        return (value - low) / (high - low)
    return 0.5


def _category_text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _round_numbers(low: float, high: float, *, log: bool) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    if low == high:
        return [low]
    if log:
        return _log_round_numbers(low, high)
    rough_step = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough_step))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough_step)
    first = math.ceil(low / step - _TOLERANCE)
    last = math.floor(high / step + _TOLERANCE)
    return [step * multiple for multiple in range(first, last + 1)]


def _log_round_numbers(low: float, high: float) -> list[float]:
    """The powers of ten if there are three; else four numbers of two digits, the ends exact."""
    first = math.ceil(math.log10(low) - _TOLERANCE)
    last = math.floor(math.log10(high) + _TOLERANCE)
    powers = [10.0**exponent for exponent in range(first, last + 1)]
    if len(powers) >= 3:
        step = math.ceil(len(powers) / 6)
        return [min(max(power, low), high) for power in powers[::step]]
    between = [float(f"{number:.2g}") for number in np.geomspace(low, high, 4)[1:-1]]
    return [low, *between, high]
