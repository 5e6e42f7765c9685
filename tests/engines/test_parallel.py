"""A sweep with two workers, end to end: killed, stopped and gone on with, it is the sweep that nothing disturbed."""

import contextlib
import io
import os
import signal
import time

import pytest
from support.commands import LAST_LINE, Sweep, gone, wait_until, workers
from support.endtoend import check_invariant, client, furnish, pipeline, record, trial_list
from support.forks import Fork, serve, trials, weights
from support.networks import MISBEHAVING

pytestmark = pytest.mark.slow

STUDY = """
dataset: digits
trials: 6
epochs: 8
pruner: none
search:
  family: ["pair:Slower", "pair:Held"]
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {batch_size: 256}
"""
NAME = "tiny-digits"
COMMAND = ("sweep", "tiny.yaml", "--workers", "2")
NETWORKS = f"""import ctypes
from pathlib import Path
{MISBEHAVING}

HOLD = Path(__file__).with_name("hold")


class Held(Fine):  # after two epochs, each step waits as long as a file says, or until it is gone
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.steps = 0

    def step(self):
        self.steps += 1
        if self.steps > 2 * 5 and HOLD.exists():
            end = time.monotonic() + float(HOLD.read_text())
            while HOLD.exists() and time.monotonic() < end:
                time.sleep(0.01)


class Slower(Held):
    def step(self):
        super().step()
        time.sleep(0.05)


class Stuck(Fine):  # in a call that neither ends nor lets Python run
    def step(self):
        ctypes.PyDLL(None).sleep(600)
"""


def begin(folder):
    """Put the study and its networks into a folder."""
    (folder / "tiny.yaml").write_text(STUDY)
    (folder / "pair.py").write_text(NETWORKS)
    return folder


def sweep(folder, *arguments):
    """Sweep in this process, for which workers are forked from the tests' own server; what it prints."""
    serve()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        assert pipeline(*COMMAND, *arguments) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, template):
    """The list and the weights of the sweep that nothing disturbs, and what it printed."""
    folder = begin(furnish(tmp_path_factory.mktemp("unbroken"), template))
    output = sweep(folder)
    check_invariant(folder, NAME, total=6)
    return trial_list(folder, NAME), weights(folder, NAME), output, folder


def check_the_same(folder, unbroken):
    """It is the sweep that nothing disturbed."""
    check_invariant(folder, NAME, total=6)
    assert (trial_list(folder, NAME), weights(folder, NAME)) == unbroken[:2]


def hold(folder, seconds):
    """Have each trial's steps after two epochs take so long, so that a test meets two trials under way."""
    (folder / "hold").write_text(str(seconds))


def release(folder):
    """Have the steps take no longer than usual."""
    (folder / "hold").unlink()


def under_way(folder, epochs=2):
    """Whether two trials are, each with so many epochs."""
    running = [trial for trial in trials(folder, NAME) if not trial.state.is_finished()]
    return len(running) == 2 and all(len(trial.intermediate_values) >= epochs for trial in running)


def test_two_at_a_time(unbroken):
    """It says that two are trained at a time, what that means for the list, and how long the workers waited."""
    lines = unbroken[2].splitlines()
    assert "2 at a time; the list of trials is the same each time, for 2" in lines
    assert any(line.startswith("each of 2 workers waited ") for line in lines)
    parent = client(unbroken[3]).get_run(record(unbroken[3], NAME).parent_run_id)
    assert parent.data.metrics["sweep/idle_seconds"] >= 0
    assert parent.data.params["plan.workers"] == "2"
    curve = client(unbroken[3]).get_metric_history(parent.info.run_id, "sweep/best_val_acc")
    assert [point.step for point in curve] == list(range(1, 7))
    assert [point.value for point in curve] == sorted(point.value for point in curve)


def test_it_says_how_many_are_trained_at_a_time(folder):
    """More workers than a study was made for are of use only where any order may decide; either is said."""
    sweep(begin(folder), "--trials", "2")
    said = "made for 2 at a time, which decides its list of trials: so many are trained; with --no-deterministic 3, and"
    assert f"\n{said} the list may be another each time\n" in sweep(
        folder, "--workers", "3", "--trials", "3"
    )
    out = sweep(folder, "--workers", "3", "--no-deterministic", "--trials", "5")
    assert "\n3 at a time, as they end: the list of trials may be another each time\n" in out
    assert "workers waited" not in out
    check_invariant(folder, NAME, total=5)


def test_one_at_a_time_the_list_is_the_same(folder, unbroken):
    """A study that was begun with two workers and is gone on with in one process has the list of its two workers."""
    sweep(begin(folder), "--trials", "2")
    sweep(folder, "--workers", "1")
    check_the_same(folder, unbroken)


def test_a_killed_worker(folder, unbroken):
    """A worker that is killed costs its trial the way from its last checkpoint; the sweep goes on beside it."""
    hold(begin(folder), 600)
    begun = Fork(folder, *COMMAND)
    wait_until(lambda: under_way(folder))
    workers(begun.process.pid)[0][0].kill()
    release(folder)
    assert "; it begins again there, the others go on" in begun.wait(0)
    check_the_same(folder, unbroken)
    (died,) = [trial for trial in trials(folder, NAME) if "died after" in trial.user_attrs]
    had_checkpoint = died.user_attrs["died after"] > 0
    assert died.user_attrs["deaths"] == (0 if had_checkpoint else 1)


def test_killed_and_killed_again(folder, unbroken):
    """Killed between the stores, and again with both workers training, nothing is left of it, and nothing is lost."""
    Fork(begin(folder), *COMMAND, PIPELINE_FAILPOINT="between_stores:2").wait(-signal.SIGKILL)
    hold(folder, 600)
    begun = Fork(folder, *COMMAND)
    wait_until(lambda: under_way(folder))
    _, found = workers(begun.process.pid)
    begun.send(signal.SIGKILL)
    begun.wait(-signal.SIGKILL)
    release(folder)
    wait_until(lambda: gone(found))
    assert "going on with 2 interrupted trials: #" in sweep(folder)
    check_the_same(folder, unbroken)


def test_stopped(folder, unbroken):
    """Ctrl-C, which reaches the workers too, and the signal that `mlflow run` sends after it are one request.

    All processes end within 10 s, as promised for Ctrl-C.
    """
    hold(begin(folder), 0.5)  # it is between two steps that a trial stops
    begun = Sweep(folder, *COMMAND)
    try:
        wait_until(lambda: under_way(folder))
        _, found = workers(begun.process.pid)
        os.killpg(begun.process.pid, signal.SIGINT)
        time.sleep(0.25)
        begun.process.send_signal(signal.SIGTERM)
        assert begun.process.wait(timeout=10) == 130
        wait_until(lambda: gone(found), seconds=10)
    finally:
        begun.kill()
    assert f"{LAST_LINE} --workers 2" in begun.log.read_text().splitlines()
    assert not client(folder).search_runs(["0"], "attributes.status = 'RUNNING'")
    running = [trial for trial in trials(folder, NAME) if not trial.state.is_finished()]
    assert [trial.user_attrs["interrupted"] for trial in running] == [True, True]
    release(folder)
    sweep(folder)
    check_the_same(folder, unbroken)
    assert not any(trial.user_attrs.get("deaths") for trial in trials(folder, NAME))


def test_trials_that_misbehave(folder):
    """What takes its process with it, hangs inside a library, or wants too much memory costs itself and no other."""
    ends = {
        "Fine": "complete",
        "Poison": "poison",
        "Stuck": "timeout",
        "Huge": "oom",
        "Nan": "diverged",
    }
    names = ", ".join(f"'pair:{name}'" for name in ends)
    (begin(folder) / "tiny.yaml").write_text(
        f"method: grid\nepochs: 2\nsearch: {{family: [{names}]}}\n"
    )
    output = sweep(folder, "--trial-timeout", "2", "--max-failures", "9")
    assert {
        r.config.family.removeprefix("pair:"): r.end for r in record(folder, NAME).results
    } == ends
    check_invariant(folder, NAME, total=len(ends))
    assert output.count("the process of trial #1 died") == 3
