"""Limits on the numbers that users give, whether as options or as arguments."""

from __future__ import annotations

import math

from sweeps.spec.durations import parse_duration

_YEAR = 365 * 24 * 3600  # seconds


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


def check_count(value: object) -> int:
    """Check a number of things.

    Raises:
        ValueError: if it is no whole number above 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"a whole number above 0: got {value!r}")
    return value
