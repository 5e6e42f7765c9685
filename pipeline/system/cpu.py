"""Counts the CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path


def available_cores() -> int:
    """Count the usable cores, also inside a container with a limited share of them."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # there is no such file, or the file states no limit
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores
