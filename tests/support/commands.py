"""Starts sweeps as commands in processes of their own, waits for them and kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from support.sourcecode import ROOT


class Sweep:
    """A sweep in a process group of its own; what it prints goes to a file.

    It finds the modules of this checkout, and those in its folder.
    """

    def __init__(self, folder, *arguments, program=(sys.executable, "-m", "pipeline")):
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        search_path = os.pathsep.join((str(ROOT), str(folder)))
        programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        changes = {"PYTHONPATH": search_path, "PATH": programs, "PYTHONUNBUFFERED": "1"}
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [*program, *arguments],
                cwd=folder,
                env={**os.environ, **changes},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait(self, code):
        """Wait for its end, and expect a code."""
        try:
            assert self.process.wait(timeout=240) == code, self.log.read_text()
        finally:
            self.kill()
        return self.log.read_text()

    def kill(self):
        """Kill the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)


LAST_LINE = "interrupted; go on with: pipeline sweep tiny.yaml"


def wait_until(condition, seconds=120):
    """Wait until something holds. A test that waits for so many seconds has hung."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def workers(pid):
    """The worker processes of a sweep, and the server that they are forked from."""
    found = psutil.Process(pid).children(recursive=True)
    return [child for child in found if child.ppid() != pid], found


def gone(processes):
    """Whether processes have ended."""
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )
