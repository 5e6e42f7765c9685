"""Counts the CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_CORES = Path("/sys/devices/system/cpu")


def available_cores() -> int:
    """Count the usable cores, also inside a container with a limited share of them.

    A core that runs two threads at a time counts twice, and a part of a core as a whole one.
    """
    return math.ceil(min(len(_usable()), _share()))


def thread_cores() -> int:
    """Count the cores on which threads that wait for one another can all run at full speed.

    A core that runs two threads at a time counts once, and a part of a core not at all: the thread
    that has less of a core would hold up the others.
    """
    cores = {_core_of(number) for number in _usable()}
    return max(1, math.floor(min(len(cores), _share())))


def _usable() -> set[int]:
    """The numbers of the logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _core_of(number: int) -> tuple[str, ...]:
    """Name the physical core of a logical core; that itself where the system does not say."""
    topology = _CORES / f"cpu{number}" / "topology"
    try:
        names = ("physical_package_id", "core_id")
        return tuple((topology / name).read_text("ascii").strip() for name in names)
    except OSError:
        return (str(number),)


def _share() -> float:
    """The cores of which this process and its groups may use the whole time; at most infinite."""
    shares = [math.inf]
    for folder in _group_folders():
        with suppress(OSError, ValueError):  # there is no such file, or it states no limit
            quota, period = (folder / "cpu.max").read_text("ascii").split()
            shares.append(int(quota) / int(period))
        with suppress(OSError, ValueError):  # the same of the first version of groups
            quota = (folder / "cpu.cfs_quota_us").read_text("ascii")
            period = (folder / "cpu.cfs_period_us").read_text("ascii")
            shares.append(int(quota) / int(period))
    return min(share for share in shares if share > 0)  # a quota of -1 is none


def _group_folders() -> Iterator[Path]:
    """The folders of the groups that may limit this process: its own, and those around it."""
    groups = [(_GROUPS, "/"), (_GROUPS / "cpu", "/")]
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                groups.append((_GROUPS, path))
            elif "cpu" in controllers.split(","):
                groups.append((_GROUPS / "cpu", path))
    for root, path in dict.fromkeys(groups):
        parts = PurePosixPath(path.lstrip("/"))
        for folder in (parts, *parts.parents):
            yield root / folder
