"""Real sweeps stop in time when asked once, twice or through `mlflow run`, and can be resumed."""

import json
import os
import signal
import time

import pytest
from support.commands import LAST_LINE, Sweep, wait_until
from support.endtoend import check_invariant, children, client, record
from support.forks import Fork, trials
from support.networks import FINE

pytestmark = pytest.mark.slow

# A network that is slow in each step while a file says so, or stays in one step for ten minutes.
MODULE = f"""
import time
from pathlib import Path
{FINE}

SLOW, STUCK, REACHED = (Path(__file__).with_name(name) for name in ("slow", "stuck", "reached"))


class Slow(Fine):
    def step(self):
        if STUCK.exists():
            STUCK.rename(REACHED)
            time.sleep(600)
        if SLOW.exists():
            time.sleep(0.05)
"""
STUDY = """
dataset: digits
epochs: 30
trials: 3
pruner: none
search:
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {family: "mine:Slow", batch_size: 256}
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml")


def training(folder, number):
    """Whether a trial has had an epoch."""
    found = trials(folder, NAME)
    return len(found) > number and bool(found[number].intermediate_values)


def check_stopped(folder, code, status="KILLED"):
    """The sweep's record says that it was interrupted, and so does the trial's, which no death is counted for."""
    parent = client(folder).get_run(record(folder, NAME).parent_run_id)
    assert (parent.info.status, parent.data.tags["sweep.exit_code"]) == (status, str(code))
    last = list(children(folder, NAME).values())[-1]
    assert (last.info.status, last.data.tags["sweep.end"]) == ("KILLED", "interrupted")
    assert trials(folder, NAME)[-1].user_attrs["interrupted"] is True
    assert not client(folder).search_runs(["0"], "attributes.status = 'RUNNING'")


@pytest.fixture
def folder(folder):
    """A folder with the study and its network, which is slow at first."""
    (folder / "tiny.yaml").write_text(STUDY)
    (folder / "mine.py").write_text(MODULE)
    (folder / "slow").touch()
    return folder


@pytest.mark.parametrize(
    ("once", "twice"), [(signal.SIGINT, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM)]
)
def test_once_and_twice(folder, once, twice):
    """A first signal stops it between two steps, a second one inside a step, each within 10 s.

    The end of the terminal (SIGHUP) is such a signal.
    Nobody waits longer for Ctrl-C: the bound is the promise. The same command goes on from both.
    """
    sweep = Fork(folder, *COMMAND)
    wait_until(lambda: training(folder, 0))
    began = time.monotonic()
    sweep.send(once)
    assert sweep.wait(128 + once).splitlines()[-1] == LAST_LINE
    assert time.monotonic() - began < 10
    check_stopped(folder, 128 + once)

    (folder / "slow").unlink()
    (folder / "stuck").touch()
    sweep = Fork(folder, *COMMAND)
    wait_until((folder / "reached").exists)
    sweep.send(twice)
    sweep.process.join(timeout=1.3)
    assert sweep.process.exitcode is None, "the first is a polite request"
    began = time.monotonic()
    sweep.send(twice)
    assert sweep.wait(128 + twice).splitlines()[-1] == LAST_LINE
    assert time.monotonic() - began < 10
    check_stopped(folder, 128 + twice)

    assert "going on with 1 interrupted trial: #0" in Fork(folder, *COMMAND).wait(0)
    check_invariant(folder, NAME, total=3)
    assert not trials(folder, NAME)[0].user_attrs.get("deaths")
    parent = client(folder).get_run(record(folder, NAME).parent_run_id)
    assert parent.info.status == "FINISHED"


def alive(folder):
    """Whether the process that holds the study is there."""
    holder = json.loads((folder / "checkpoints" / f"{NAME}.lock").read_text())
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    return True


def test_through_mlflow_run(folder, request):
    """Ctrl-C to all of `mlflow run` is one request; a signal to it alone stops its command too.

    Each ends within 10 s, as promised for Ctrl-C, and closes all runs.
    """
    root = request.config.rootpath
    arguments = [
        "run",
        str(root),
        "-e",
        "sweep",
        "--env-manager",
        "local",
        "-P",
        f"study={folder / 'tiny.yaml'}",
    ]

    def interrupt(send, status, code):
        before = len(trials(folder, NAME)[0].intermediate_values) if trials(folder, NAME) else 0
        sweep = Sweep(folder, *arguments, program=("mlflow",))
        try:
            wait_until(
                lambda: (
                    training(folder, 0)
                    and len(trials(folder, NAME)[0].intermediate_values) > before
                )
            )
            send(sweep.process)
            wait_until(lambda: not alive(folder), seconds=10)
            assert sweep.process.wait(timeout=10) != 0
        finally:
            sweep.kill()
        check_stopped(folder, code, status)

    # To `mlflow run`, which has the last word if it lives, whatever is not 0 is a failure.
    interrupt(lambda process: os.killpg(process.pid, signal.SIGINT), "FAILED", 130)
    interrupt(lambda process: process.send_signal(signal.SIGTERM), "KILLED", 143)
    runs = client(folder).search_runs(["0"], "tags.`sweep.role` != ''")
    assert sorted((run.data.tags["sweep.role"], run.info.status) for run in runs) == [
        ("invocation", "KILLED"),
        ("parent", "KILLED"),
    ]
    (folder / "slow").unlink()
    Fork(folder, *COMMAND).wait(0)
    check_invariant(folder, NAME, total=3)
