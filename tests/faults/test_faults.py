"""Kills and interrupts a real sweep in its own process, goes on with the same command, and reads both stores."""

import signal
import time

import pytest
from support.commands import Sweep
from support.endtoend import (
    check_invariant,
    children,
    client,
    furnish,
    record,
    trial_list,
    wait_for_epochs,
)

pytestmark = pytest.mark.slow

STUDY = """
dataset: digits
trials: 6
epochs: 9
search:
  activation: [relu, elu]
  dropout: {low: 0.0, high: 0.4}
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
fixed: {family: cnn, width: 32, depth: 2, schedule: cosine}
start_with:
  - {lr: 1.0e-3}
"""
NAME = "tiny-digits"


@pytest.fixture
def place(folder, monkeypatch, request):
    """A working folder with the study, and the checkout as the place of the modules."""
    monkeypatch.chdir(request.config.rootpath)
    (folder / "tiny.yaml").write_text(STUDY)
    return folder


@pytest.fixture
def unbroken(place, template, tmp_path_factory):
    """The trial list of the same sweep, undisturbed, in another folder."""
    other = furnish(tmp_path_factory.mktemp("unbroken"), template, STUDY)
    Sweep(other, "sweep", "tiny.yaml").wait(0)
    return trial_list(other, NAME)


def test_killed_three_times_it_reaches_the_same_total_and_list(place, unbroken):
    """SIGKILL thrice, then the same command: the total is reached, nothing ran twice, the list is an unbroken one's."""
    for ended in (1, 3, 4):
        sweep = Sweep(place, "sweep", "tiny.yaml")
        wait_for_epochs(place, ended)
        sweep.kill()
    output = Sweep(place, "sweep", "tiny.yaml").wait(0)
    assert "going on with 1 interrupted trial: #" in output
    check_invariant(place, NAME, total=6)
    assert trial_list(place, NAME) == unbroken
    assert not client(place).search_runs(["0"], "attributes.status = 'RUNNING'")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_stops_within_ten_seconds_and_says_how_to_go_on(place, signum, code):
    """A signal ends the sweep with its code; the trial waits for the same command, the parent says KILLED."""
    sweep = Sweep(place, "sweep", "tiny.yaml")
    wait_for_epochs(place, 1)
    sweep.process.send_signal(signum)
    began = time.monotonic()
    output = sweep.wait(code)
    assert time.monotonic() - began < 10
    assert output.splitlines()[-1] == "interrupted; go on with: pipeline sweep tiny.yaml"
    found = record(place, NAME)
    assert client(place).get_run(found.parent_run_id).info.status == "KILLED"
    assert [run.info.status for run in children(place, NAME).values()][-1] == "KILLED"
    Sweep(place, "sweep", "tiny.yaml").wait(0)
    check_invariant(place, NAME, total=6)
    assert client(place).get_run(found.parent_run_id).info.status == "FINISHED"


def test_a_second_sweep_of_the_study_is_refused(place):
    """The second of two sweeps exits 4, naming the first's process."""
    command = (
        "sweep",
        "tiny.yaml",
        "--trials",
        "500",
    )  # more than it gets done before the second has started
    first = Sweep(place, *command)
    try:
        wait_for_epochs(place, 0)
        output = Sweep(place, *command).wait(4)
    finally:
        first.kill()
    assert f"is in use by process {first.process.pid} on " in output


def test_mlflow_run_twice_is_one_tree(place, request):
    """`mlflow run . -e sweep` adopts its run; again with more trials it is nested, and the tree stays one."""
    arguments = ["run", str(request.config.rootpath), "-e", "sweep", "--env-manager", "local"]
    arguments += ["-P", f"study={place / 'tiny.yaml'}"]
    for trials in (2, 3):
        Sweep(place, *arguments, "-P", f"trials={trials}", program=("mlflow",)).wait(0)
    check_invariant(place, NAME, total=3)
    found = record(place, NAME)
    roles = [run.data.tags.get("sweep.role") for run in client(place).search_runs(["0"])]
    assert (roles.count("parent"), roles.count("invocation")) == (1, 1)
    assert client(place).get_run(found.parent_run_id).info.status == "FINISHED"
