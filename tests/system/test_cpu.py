"""How many cores a process may use."""

import os

from pipeline.system import cpu


def test_cores_of_a_container():
    """There is at least one core, and none that this process may not use."""
    assert 1 <= cpu.available_cores() <= len(os.sched_getaffinity(0))
