"""Workers where there is neither a server to fork them nor a file without a name, as on Windows."""

import multiprocessing
import os
from contextlib import closing

import pytest
from support.commands import wait_until
from support.trainings import outcome, task

from pipeline.engines import shared_data
from pipeline.engines.local import InlineEngine, WorkerEngine
from pipeline.system import forkserver
from pipeline.system.errors import KILL
from pipeline.system.shared_file import NamedFile
from pipeline.training.epochs import Hooks

pytestmark = pytest.mark.slow


def test_a_spawned_worker_trains_alike(tiny, tmp_path, monkeypatch):
    """It gives the same result to the bit; when it is killed, its trial has none, and nothing is left running."""
    monkeypatch.setattr(forkserver, "CONTEXT", multiprocessing.get_context("spawn"))
    monkeypatch.setattr(shared_data, "make_shared_file", NamedFile)
    here = task(tmp_path / "here")
    with closing(InlineEngine(tiny)) as engine:
        engine.begin(here, Hooks())
        _, expected = engine.wait()
    with closing(WorkerEngine(tiny, 1)) as engine:
        there = task(tmp_path / "there")
        engine.begin(there, Hooks())
        _, found = engine.wait()
        assert outcome(found, there.folder) == outcome(expected, here.folder)
        [worker] = multiprocessing.active_children()
        engine.begin(task(tmp_path / "killed", 1), Hooks())
        os.kill(worker.pid, KILL)
        assert engine.wait() == (1, None)
    wait_until(lambda: not multiprocessing.active_children())
