"""A study is held by one process, which its lock names, and is free when that process dies."""

import os
import subprocess
import sys

import pytest
from support.sourcecode import ROOT

from pipeline.stores import locations
from pipeline.stores.locations import locate
from pipeline.stores.locks import lock
from pipeline.system.errors import StorageFailure, StudyBusy


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


HOLD = """
import sys, time
from pipeline.stores import locations, locks
with locks.lock(locations.locate(), sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the study ``demo``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "demo"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_locked(holder):
    """A study that another process holds is refused with exit code 4, naming it; it is free the instant that dies."""
    with pytest.raises(
        StudyBusy, match=rf"'demo' is in use by process {holder.pid} on .* since .* UTC"
    ) as failure:
        hold("demo")
    assert failure.value.code == 4
    hold("another")
    holder.kill()
    holder.wait()
    hold("demo")


def hold(study):
    with lock(locate(), study):
        return (locations.locate().home / "checkpoints" / f"{study}.lock").read_text()


def test_lock_is_renewed(tmp_path):
    """The lock's file names its holder alone, however many held it before, and does not matter when it is damaged."""
    assert hold("demo").count("pid") == 1
    file = tmp_path / "checkpoints" / "demo.lock"
    file.write_text("{" * 1000)
    text = hold("demo")
    assert f'"pid": {os.getpid()}' in text
    assert text.count("{") == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "7"])
def test_holder_unknown(tmp_path, holder, text):
    """A holder that has not said who it is, or cannot be read, is another process."""
    (tmp_path / "checkpoints" / "demo.lock").write_text(text)
    with pytest.raises(StudyBusy, match="in use by another process"):
        hold("demo")


def test_lock_without_a_place(tmp_path):
    """Where no lock can be made, the command ends with exit code 5."""
    (tmp_path / "checkpoints").touch()
    with pytest.raises(StorageFailure, match=r"cannot use .*demo\.lock"):
        hold("demo")
