"""Sweeps on a Ray cluster, end to end: a node that is lost, a driver that is killed or stopped, and what is refused."""

import re
import signal
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from support.commands import wait_until
from support.endtoend import check_invariant, children, pipeline, record
from support.forks import Fork, trials
from support.networks import FINE

from pipeline.checkpoints import trial_folder
from sweeps.search.stored_trial import is_paused

pytestmark = pytest.mark.slow

# A network whose epochs take a second while a file beside it says so; and one with a call that never returns.
MODULE = f"""
import ctypes, time
from pathlib import Path
{FINE}

SLOW = Path(__file__).with_name("slow")


class Slow(Fine):
    def step(self):
        if SLOW.exists():
            time.sleep(0.2)


class Stuck(Slow):
    def step(self):
        ctypes.PyDLL(None).sleep(600)
"""
STUDY = """
dataset: digits
trials: 3
epochs: 60
pruner: none
search:
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
fixed: {family: "far:Slow", batch_size: 256}
"""
NAME = "tiny-digits"


@pytest.fixture
def folder(folder):
    """A folder with the study and its network, which is slow at first."""
    (folder / "tiny.yaml").write_text(STUDY)
    (folder / "far.py").write_text(MODULE)
    (folder / "slow").touch()
    return folder


@pytest.fixture
def command(ray_cluster):
    """The sweep on the cluster, which has two nodes."""
    while len(ray_cluster.nodes) < 2:
        ray_cluster.add()
    return ("sweep", "tiny.yaml", "--engine", "ray", "--address", ray_cluster.address)


def kept(folder):
    """The trials under way of which the driver has a state to go on from, and after how many epochs the newest is."""
    running = [trial.number for trial in trials(folder, NAME) if not trial.state.is_finished()]
    states = {
        number: trial_folder(folder, NAME, number).glob("epoch-*.safetensors") for number in running
    }
    epochs = {
        number: max((int(path.stem[-5:]) for path in found), default=0)
        for number, found in states.items()
    }
    return {number: newest for number, newest in epochs.items() if newest}


def begin(folder, command):
    """A sweep with two trials under way, of each of which the driver has a state; those, and when that was."""
    began = Fork(folder, *command)
    wait_until(lambda: len(kept(folder)) == 2, seconds=120)
    return began, kept(folder), time.time() * 1000


def check_gone_on_with(folder, before, moment):
    """Each trial has all its epochs, and those that a state held were trained before."""
    check_invariant(folder, NAME, total=3)
    results = record(folder, NAME).results
    assert [len(result.history) for result in results] == [60, 60, 60]
    for number, epochs in before.items():
        assert all(row.time < moment for row in results[number].history[:epochs])


def test_a_lost_node(folder, command, ray_cluster):
    """The trial of a node that is lost goes on from its last checkpoint on the other; the total is reached."""
    began, before, moment = begin(folder, command)
    ray_cluster.lose(ray_cluster.nodes[0])
    (folder / "slow").unlink()
    output = began.wait(0)
    check_gone_on_with(folder, before, moment)
    where = f"2 at a time on the Ray cluster at {ray_cluster.address}"
    assert f"{where}, as they end: the list of trials may be another each time" in output
    (died,) = [trial for trial in trials(folder, NAME) if "died after" in trial.user_attrs]
    assert died.number in before
    assert f"the process of trial #{died.number} died after epoch " in output
    assert "; it begins again there, the others go on" in output


def test_paused_trials_go_on(folder, command, ray_cluster):
    """A trial is paused and goes on, after the loss of a node too, to the values that it has on one machine."""
    promoting = STUDY.replace("pruner: none", "pruner: asha").replace("trials: 3", "trials: 6")
    (folder / "tiny.yaml").write_text(promoting.replace("epochs: 60", "epochs: 4"))
    began = Fork(folder, *command)
    wait_until(lambda: any(is_paused(trial) for trial in trials(folder, NAME)))
    ray_cluster.lose(ray_cluster.nodes[0])
    (folder / "slow").unlink()
    began.wait(0)
    check_invariant(folder, NAME, total=6)
    Fork(folder, "sweep", "tiny.yaml", "--name", "local", "--workers", "1").wait(0)
    pairs = zip(record(folder, NAME).results, record(folder, "local").results, strict=True)
    for far, near in pairs:
        assert far.config == near.config
        rows = zip(far.history, near.history, strict=False)
        assert all(a.metrics["val/loss"] == b.metrics["val/loss"] for a, b in rows)
    assert {result.state for result in record(folder, NAME).results} == {"complete", "pruned"}


def temporary(pid):
    """The temporary folders that a process holds, see `pipeline.system.files`."""
    opened = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [path for path in opened if re.fullmatch(r"sweep-pipeline-\w+\.tmp", path.name)]


def test_a_killed_driver(folder, command, ray_cluster):
    """Nothing trains on when the driver is killed; the same command goes on, from the checkpoints, to the total."""
    began, before, moment = begin(folder, command)
    folders = [folder for process, _ in ray_cluster.trials() for folder in temporary(process.pid)]
    assert len(folders) == 2
    began.send(signal.SIGKILL)
    began.wait(-signal.SIGKILL)
    wait_until(lambda: not ray_cluster.trials())
    (folder / "slow").unlink()
    assert "going on with 2 interrupted trials: #0, #1" in Fork(folder, *command).wait(0)
    check_gone_on_with(folder, before, moment)
    assert not any(path.exists() for path in folders), "their folders on the nodes are gone"


def test_stopped(folder, command, ray_cluster):
    """Ctrl-C ends all trials within 10 s, as promised. They go on anywhere, with workers too."""
    began, before, moment = begin(folder, command)
    asked = time.monotonic()
    began.send(signal.SIGINT)
    last = began.wait(130).splitlines()[-1]
    wait_until(lambda: not ray_cluster.trials(), seconds=10)
    assert time.monotonic() - asked < 10
    assert last == f"interrupted; go on with: pipeline {' '.join(command)}"
    assert [run.info.status for run in children(folder, NAME).values()] == ["KILLED", "KILLED"]
    assert [trial.user_attrs["interrupted"] for trial in trials(folder, NAME)] == [True, True]
    (folder / "slow").unlink()
    output = Fork(folder, "sweep", "tiny.yaml", "--workers", "2").wait(0)
    assert "going on with 2 interrupted trials: #0, #1" in output
    check_gone_on_with(folder, before, moment)
    assert not any(trial.user_attrs.get("deaths") for trial in trials(folder, NAME))


def test_a_trial_that_hangs(folder, command, ray_cluster):
    """A trial in a call that never returns is ended, with its process, and the next one is trained."""
    families = "search: {family: ['far:Stuck', 'far:Slow']}"
    (folder / "tiny.yaml").write_text(
        f"method: grid\nepochs: 1\nfixed: {{batch_size: 256}}\n{families}\n"
    )
    (folder / "slow").unlink()
    output = Fork(
        folder, *command, "--trial-timeout", "8", "--workers", "1", "--deterministic"
    ).wait(0)
    assert f"study {NAME}: 0 of 2 trials ended" in output
    assert [result.end for result in record(folder, NAME).results] == ["timeout", "complete"]
    check_invariant(folder, NAME, total=2)
    wait_until(lambda: not ray_cluster.trials())


def test_one_cluster_of_this_machine(folder):
    """Without an address one is begun for the sweep, and ends with it; `finalists` takes the same options."""
    (folder / "tiny.yaml").write_text(STUDY.replace("epochs: 60", "epochs: 20"))
    began = Fork(
        folder, "sweep", "tiny.yaml", "--engine", "ray", "--trials", "2", "--deterministic"
    )
    wait_until(lambda: any(trial.intermediate_values for trial in trials(folder, NAME)))
    found = psutil.Process(began.process.pid).children(recursive=True)
    assert [child for child in found if child.name() == "raylet"]
    (folder / "slow").unlink()
    output = began.wait(0)
    assert (
        "at a time on a Ray cluster of this machine; the list of trials is the same each time"
        in output
    )
    check_invariant(folder, NAME, total=2)
    wait_until(lambda: not any(child.is_running() for child in found))


@pytest.fixture
def finished(folder, command):
    """A folder with a study of two trials."""
    (folder / "tiny.yaml").write_text(STUDY.replace("epochs: 60", "epochs: 1"))
    Fork(folder, "sweep", "tiny.yaml", "--trials", "2").wait(0)
    return folder


def test_finalists(finished, ray_cluster):
    """The finalists of a study are trained on the cluster as well, and scored here."""
    options = ("--engine", "ray", "--address", ray_cluster.address)
    output = Fork(finished, "finalists", "--top", "1", "--seeds", "2", *options).wait(0)
    assert f"2 at a time on the Ray cluster at {ray_cluster.address}" in output
    assert "scored 2 runs on the test split" in output
    check_invariant(finished, f"{NAME}.finalists", total=2)


# What is refused


def refused(capsys, *arguments):
    """The code and the one line of a command that is refused, and leaves the folder as it was."""
    before = sorted(Path().iterdir())
    code = pipeline("sweep", *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert sorted(Path().iterdir()) == before
    return code, line


@pytest.mark.parametrize(
    "address", ["nowhere", "ray://127.0.0.1:10001", "127.0.0.1:", "127.0.0.1:99999", ":6379"]
)
def test_an_address_that_is_none(folder, capsys, address):
    """An address is auto or HOST:PORT."""
    code, line = refused(capsys, "--engine", "ray", "--address", address)
    assert (code, line) == (
        2,
        f"--address must be auto or HOST:PORT of a Ray cluster's head: got {address!r}",
    )


def test_no_cluster(folder, capsys):
    """Where nothing listens, or something else, that is said at once."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, line = refused(capsys, "--engine", "ray", "--address", f"127.0.0.1:{port}")
    assert (code, line) == (5, f"no Ray cluster answers at 127.0.0.1:{port}: Connection refused")
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=rebuff, args=(other,)).start()
        port = other.getsockname()[1]
        code, line = refused(capsys, "--engine", "ray", "--address", f"127.0.0.1:{port}")
    assert (code, line) == (5, f"what answers at 127.0.0.1:{port} is no Ray cluster")


def rebuff(server):
    """Answer who connects as a web server would."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.recv(1024)


def test_another_version(folder, capsys, command, monkeypatch):
    """A cluster of another version of Ray is not joined."""
    import ray

    version = ray.__version__
    monkeypatch.setattr(ray, "__version__", "2.50.0")
    code, line = refused(capsys, *command[2:])
    assert code == 2
    assert f"Ray: {version}" in line
    assert "Ray: 2.50.0" in line
    assert line.endswith(f"use the versions of the Ray cluster at {command[-1]}")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("--set", "threads=64"),
            "has 64 CPU for a trial: add one, or wait for it with --workers N",
        ),
        (("--device", "cuda"), "device cuda is not there: no node on the Ray cluster at"),
    ],
)
def test_no_room(folder, capsys, command, options, why):
    """A trial that no node has room for is not begun."""
    code, line = refused(capsys, *command[2:], *options)
    assert (code, why in line) == (2, True), line
