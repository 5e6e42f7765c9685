"""Limits on the numbers that users give, whether as options or as arguments."""

from __future__ import annotations

import math

_YEAR = 365 * 24 * 3600  # seconds


def check_seconds(value: object) -> float:
    """Check a time limit.

    Args:
        value: a number of seconds, or its text.

    Raises:
        ValueError: if it is not above 0 and at most a year.
    """
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _YEAR:  # nan is neither above nor below
        raise ValueError(
            f"a number of seconds above 0, at most {_YEAR} (a year): got {value!r}; "
            "without a limit, leave it out"
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
