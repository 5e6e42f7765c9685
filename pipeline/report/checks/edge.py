"""Checks whether a study's winner lies at an end of a searched range."""

from __future__ import annotations

import math
from typing import Literal, TypeGuard

from pipeline.report.checks.base import Check, Level, is_sampled
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.trial import TrialConfig, Value, config_fields

# Share of a range, on its own scale. A sampler puts one winner in twenty this close to an end by
# chance.
EDGE = 0.05
# Share of a range. If other good configurations lie here too, better values may lie beyond.
OUTER = 0.25
FEW = 20  # a range of so few integers has a first and a last one, as a list of choices has
TOP = 5  # configurations, including the winner
# Of those, towards the end. With three choices, one winner in nine has as many by chance.
MOST = 4

_End = Literal["upper", "lower"]


def edge(record: StudyRecord) -> Check | None:
    """Check the winner against the ends of the searched ranges: better values may lie beyond.

    Layouts with conditions of their own (zip, ablation) are not judged. Bounds of the field itself
    (no dropout, one layer) do not count as ends.
    """
    winner = record.best_trial
    if winner is None or record.method in ("zip", "ablate"):
        return None
    config = winner.config
    judged = [d for d in record.dimensions if _position(d, config) is not None]
    if not judged:
        return None
    findings: list[str] = []
    level: Level = "note"
    for dimension in judged:
        end = _nearest_end(dimension, config)
        if end is None:
            continue
        trend = _trend(record, dimension, end)
        if trend is None and is_sampled(record) and _listed_values(dimension):
            continue  # with few values, the winner often has the first or the last one
        if trend:
            level = "warning"
        findings.append(_finding(dimension, config, end, trend))
    if findings:
        text = f"Trial {winner.number}: {'; '.join(findings)}."
        return Check(name="edge", level=level, text=text)
    names = ", ".join(dict.fromkeys(dimension.field for dimension in judged))
    text = f"The winner lies at no end of a range that could be moved: {names}."
    return Check(name="edge", level="good", text=text)


def _finding(dimension: Dimension, config: TrialConfig, end: _End, trend: str | None) -> str:
    value = value_text(getattr(config, dimension.field))
    low, high = _ends(dimension)
    span = f"{value_text(low)} to {value_text(high)}"
    direction = "higher" if end == "upper" else "lower"
    return (
        f"{dimension.field} {value} lies at the {end} end of {span}{trend or ''}: "
        f"search {direction}"
    )


def _listed_values(dimension: Dimension) -> tuple[float, ...]:
    """Return the numbers of a dimension that has a list or few of them, ascending; else none."""
    if not dimension.choices:
        smallest_step = 1 if dimension.integer else 0
        step = dimension.step or smallest_step
        width = (dimension.high or 0) - (dimension.low or 0)
        if width >= FEW * step:
            return ()
    return tuple(sorted(value for value in dimension.grid() if _is_number(value)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ends(dimension: Dimension) -> tuple[Value, Value]:
    values = _listed_values(dimension)
    if values:
        return values[0], values[-1]
    return dimension.low or 0.0, dimension.high or 0.0


def _position(dimension: Dimension, config: TrialConfig) -> float | None:
    """Locate a configuration's value between the ends of a dimension, from 0 to 1.

    None if the dimension does not apply or has no order, and if it has fewer than three values.
    """
    value = getattr(config, dimension.field)
    applies = all(getattr(config, name) in allowed for name, allowed in dimension.when.items())
    if not applies or not _is_number(value):
        return None
    values = _listed_values(dimension)
    if values or dimension.choices:
        if len(values) < 3 or value not in values:
            return None
        return values.index(value) / (len(values) - 1)
    if dimension.low is None or dimension.high is None:
        return None
    scale = math.log if dimension.log else float
    low = scale(dimension.low)
    high = scale(dimension.high)
    return (scale(value) - low) / (high - low)


def _nearest_end(dimension: Dimension, config: TrialConfig) -> _End | None:
    """Return the end of a dimension near a configuration.

    None if neither is near, or if the end is a bound of the field itself.
    """
    position = _position(dimension, config)
    margin = _margin(dimension, EDGE)
    if position is None or margin < position < 1 - margin:
        return None
    low, high = _ends(dimension)
    bounds = config_fields()[dimension.field].bounds
    if position > 0.5:
        return None if high in bounds else "upper"
    return None if low in bounds else "lower"


def _margin(dimension: Dimension, share: float) -> float:
    """Return a share of a range; of a list, only the first and the last value are at an end."""
    if _listed_values(dimension):
        return 0.0
    return share


def _trend(record: StudyRecord, dimension: Dimension, end: _End) -> str | None:
    """Count how many of the best configurations lie towards an end, if most of them do."""
    positions: list[float] = []
    for entry in record.complete_configurations:
        position = _position(dimension, entry.trials[0].config)
        if position is not None:
            positions.append(position)
        if len(positions) == TOP:
            break
    margin = _margin(dimension, OUTER)
    if end == "upper":
        count = sum(position >= 1 - margin for position in positions)
    else:
        count = sum(position <= margin for position in positions)
    if count < MOST:
        return None
    return f" (so do {count} of the {len(positions)} best, or nearly)"
