"""Durations as people write them: ``90``, ``45s``, ``10m``, ``1h30m``, ``1.5h``, ``2d``."""

from __future__ import annotations

import math
import re

_UNIT_SECONDS = {
    "d": 86400.0,
    "h": 3600.0,
    "min": 60.0,
    "m": 60.0,
    "s": 1.0,
}
_YEAR = 365 * 24 * 3600  # seconds
_PART = r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(min|d|h|m|s)"


def parse_duration(value: object) -> float:
    """Parse a duration.

    Args:
        value: a number of seconds, or a text with units.

    Returns:
        Seconds.

    Raises:
        ValueError: for anything else.
    """
    text = str(value).strip().lower()
    if re.fullmatch(rf"(?:{_PART}\s*)+", text):
        parts = re.findall(_PART, text)
        return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a duration such as 90 (seconds), 10m or 1h30m: got {value!r}") from None


def check_seconds(value: object) -> float:
    """Check a time limit.

    Args:
        value: a number of seconds, or a text such as ``600``, ``10m`` or ``1h30m``.

    Returns:
        Seconds.

    Raises:
        ValueError: if it is not above 0 and at most a year.
    """
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _YEAR:  # nan is neither above nor below
        raise ValueError(
            "a time above 0 and at most a year, in seconds or such as 90s, 10m or 1h30m: "
            f"got {value!r}; without a limit, leave it out"
        )
    return seconds
