"""Pure: whether a study's winner lies at an end of what was searched, so that there may be better beyond."""

from __future__ import annotations

import math
from itertools import islice

from pipeline.report.checks.base import Check, Level, Seen
from sweeps.analysis.naming import value_text
from sweeps.spec.dimension import Dimension
from sweeps.trial import TrialConfig, Value, config_fields

EDGE = 0.05  # of a range, on its own scale: a sampler puts one winner in twenty that close to an end by chance
OUTER = 0.25  # of a range: others of the best that lie there too speak for going further
FEW = 20  # whole numbers of a range: so few have a first and a last one
TOP = 5  # configurations, the winner among them
MOST = 4  # of those: of three choices, one in nine winners has so many beside it by chance


def edge(seen: Seen) -> Check | None:
    """Whether the winner lies at an end of what was searched, so that there may be better beyond.

    Of a layout, only one without conditions of its own (a grid, one factor at a time) has ends to speak of; ends that
    a field itself has (no dropout, one layer) do not count.
    """
    if seen.winner is None or seen.record.method in ("zip", "ablate"):
        return None
    config = seen.winner.config
    found = [(d, end) for d in seen.record.dimensions if (end := _end(d, config)) is not None]
    looked = [d.field for d in seen.record.dimensions if _position(d, config) is not None]
    if not looked:
        return None
    said: list[str] = []
    level: Level = "note"
    for dimension, upper in found:
        trend = _trend(seen, dimension, upper)
        if trend is None and seen.sampled and _values(dimension):
            continue  # one of a few values is often an end
        level = "warning" if trend else level
        value = value_text(getattr(config, dimension.field))
        span = " to ".join(map(value_text, _ends(dimension)))
        where, more = ("upper", "higher") if upper else ("lower", "lower")
        said.append(
            f"{dimension.field} {value} lies at the {where} end of {span}{trend or ''}: search {more}"
        )
    if said:
        return Check(
            name="edge", level=level, text=f"Trial {seen.winner.number}: {'; '.join(said)}."
        )
    names = ", ".join(dict.fromkeys(looked))
    return Check(
        name="edge",
        level="good",
        text=f"The winner lies at no end of a range that could be moved: {names}.",
    )


def _values(dimension: Dimension) -> tuple[float, ...]:
    """Its numbers in ascending order, where they are listed or few; a range has none."""
    if not dimension.choices:
        step = dimension.step or (1 if dimension.integer else 0)
        if (dimension.high or 0) - (dimension.low or 0) >= FEW * step:
            return ()
    return tuple(
        sorted(
            v for v in dimension.grid() if isinstance(v, int | float) and not isinstance(v, bool)
        )
    )


def _ends(dimension: Dimension) -> tuple[Value, Value]:
    values = _values(dimension)
    if values:
        return (values[0], values[-1])
    return (dimension.low or 0.0, dimension.high or 0.0)


def _position(dimension: Dimension, config: TrialConfig) -> float | None:
    """How far up a trial's value lies, from 0 to 1; None where it has none, or one of less than three."""
    value = getattr(config, dimension.field)
    applies = all(getattr(config, name) in allowed for name, allowed in dimension.when.items())
    if not applies or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    values = _values(dimension)
    if values or dimension.choices:
        if len(values) > 2 and value in values:
            return values.index(value) / (len(values) - 1)
        return None
    if dimension.low is None or dimension.high is None:
        return None
    low, high, at = (
        math.log(v) if dimension.log else v for v in (dimension.low, dimension.high, value)
    )
    return (at - low) / (high - low)


def _end(dimension: Dimension, config: TrialConfig) -> bool | None:
    """Whether a trial lies at the upper end of a dimension (else the lower); None where at neither, or it is final."""
    position = _position(dimension, config)
    (low, high) = config_fields()[dimension.field].bounds
    near = 0.0 if _values(dimension) else EDGE
    if position is None or near < position < 1 - near:
        return None
    upper = position > 0.5
    if _ends(dimension)[upper] in (low, high):
        return None
    return upper


def _trend(seen: Seen, dimension: Dimension, upper: bool) -> str | None:
    """In words, how many of the best lie towards an end, where they are most of them."""
    found = (_position(dimension, entry.trials[0].config) for entry in seen.complete)
    top = list(islice((position for position in found if position is not None), TOP))
    near = 0.0 if _values(dimension) else OUTER
    count = sum(position >= 1 - near if upper else position <= near for position in top)
    if count >= MOST:
        return f" (so do {count} of the {len(top)} best, or nearly)"
    return None
