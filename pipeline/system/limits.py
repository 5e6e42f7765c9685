"""Limits on the numbers that users give, whether as options or as arguments."""

from __future__ import annotations


def check_count(value: object) -> int:
    """Check a number of things.

    Raises:
        ValueError: if it is no whole number above 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"a whole number above 0: got {value!r}")
    return value
