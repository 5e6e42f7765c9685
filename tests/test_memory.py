"""Memory that training keeps from step to step."""

import platform
import resource
import subprocess
import sys

import pytest

STEPS = """
import resource, torch
from pipeline import memory
if {keep}:
    memory.keep()
def step():
    for _ in range(3):
        kept = [torch.ones(2**18 * n) for n in range(1, 17)]
        del kept
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_kept():
    """What one step has freed serves the next without being fetched anew, unlike by default."""
    asked, kept = (
        int(subprocess.run([sys.executable, "-c", STEPS.format(keep=k)], check=True, capture_output=True).stdout)
        for k in (False, True)
    )
    pages = 3 * 2**20 * sum(range(1, 17)) // resource.getpagesize()
    assert asked > pages / 10
    assert kept < pages / 100
