"""Keeps the memory that a step has freed for the next one, and garbage collections from loading. Knows no network."""

from __future__ import annotations

import ctypes
from functools import cache

# M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
_TRIM = -1
_MMAP = -3
_KEPT = 2**29  # bytes that stay with the process at most, when they are free at the end of its heap
_LARGE = (
    2**25
)  # bytes from which memory is asked for, and given back, each for itself: the most that glibc takes


@cache
def keep_freed_memory() -> None:
    """Let the C library hold on to freed memory, up to half a gigabyte; nothing where that is not glibc.

    By default, it gives the activations of every step back to the system, which hands them out again page by page,
    each filled with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM, _KEPT)
        mallopt(_MMAP, _LARGE)
