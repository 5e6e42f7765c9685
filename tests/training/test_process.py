"""Memory that training keeps from step to step; and garbage, which is not looked for among what was loaded."""

import gc
import platform
import resource
import subprocess
import sys

import pytest

from pipeline.system import garbage

STEPS = """
import resource, torch
from pipeline.training import process
process.keep_freed_memory()
def step():
    for _ in range(3):
        kept = [torch.ones(2**18 * n) for n in range(1, 17)]
        del kept
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are"
)
def test_freed_memory_is_kept():
    """What one step has freed serves the next without being fetched anew; left alone, the library often fetches it."""
    ran = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True)
    pages = 3 * 2**20 * sum(range(1, 17)) // resource.getpagesize()
    assert int(ran.stdout) < pages / 100


def test_what_is_loaded_is_not_looked_through():
    """Neither the end of loading nor a collection after it goes through what was loaded; new garbage is found."""
    collections = []
    watch = lambda phase, info: collections.append((phase, info["generation"]))  # noqa: E731
    gc.callbacks.append(watch)
    try:
        with garbage.freeze_loaded():
            loaded = [[] for _ in range(100_000)]
        assert collections == []
    finally:
        gc.callbacks.remove(watch)
    assert gc.isenabled()
    assert not {id(each) for each in gc.get_objects()} & {id(each) for each in loaded}
    circle = [None]
    circle[0] = circle
    del circle
    assert gc.collect() > 0
