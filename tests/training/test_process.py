"""How a process is set up for training: retained memory, garbage collection, and threads."""

import dataclasses
import gc
import platform
import resource
import subprocess
import sys

import pytest
import torch
from support.trainings import task

from pipeline.system import garbage
from pipeline.training.epochs import Hooks
from pipeline.training.process import thread_count

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


def test_a_number_of_threads_is_given_back():
    """Whatever happens meanwhile, the process has its own number of threads afterwards."""
    before = torch.get_num_threads()

    def compute():
        with thread_count(before + 1):
            assert torch.get_num_threads() == before + 1
            raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        compute()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ({"device": "cuda", "cudnn_deterministic": True}, (True, False)),
        ({"device": "cuda", "cudnn_deterministic": False}, (False, True)),
        ({"device": "cuda"}, (False, True)),
        ({"device": "cpu", "cudnn_deterministic": True}, (False, True)),
    ],
)
def test_cudnn_is_deterministic_for_a_trial_alone(values, inside, tiny, tmp_path, monkeypatch):
    """Whatever happens meanwhile, the next trial of the process finds cuDNN as it was."""
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "deterministic", False)
    monkeypatch.setattr(cudnn, "benchmark", True)
    seen = []

    def train(*_, **__):
        seen.append((cudnn.deterministic, cudnn.benchmark))
        raise OSError("unreadable")

    monkeypatch.setattr("pipeline.engines.base.train", train)
    one = task(tmp_path)
    one = dataclasses.replace(one, config=dataclasses.replace(one.config, **values))
    with pytest.raises(OSError, match="unreadable"):
        one.train(tiny, Hooks())
    assert seen == [inside]
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
