"""What signals ask of a process: once politely, twice at once, and a pair from `mlflow run` is one request."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.system import signals
from pipeline.system.errors import Interrupted
from pipeline.system.signals import stop_requests

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers():
    """Whoever runs the tests can stop them as before; nohup, which ignores SIGHUP, counts for nothing here."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def test_nothing_asked():
    """Unasked, training goes on."""
    with stop_requests() as request:
        request.check()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_asked(number, code):
    """A signal stops nothing by itself: each check from then on raises, with the exit code of that signal."""
    with stop_requests() as request:
        send(number)
        for _ in range(2):
            with pytest.raises(Interrupted) as stopped:
                request.check()
            assert stopped.value.code == code


def test_nohup():
    """Under `nohup`, which ignores SIGHUP, the end of the terminal asks for nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_requests() as request:
        send(signal.SIGHUP)
        request.check()
        send(signal.SIGTERM)
        with pytest.raises(Interrupted):
            request.check()


def test_pair_is_one_request():
    """SIGINT and, a quarter of a second later, SIGTERM are one request, and count as the first."""
    with stop_requests() as request:
        send(signal.SIGINT)
        time.sleep(0.25)
        send(signal.SIGTERM)
        with pytest.raises(Interrupted) as stopped:
            request.check()
    assert stopped.value.code == 130


def test_the_other_half_comes_late():
    """The second of the pair does no harm either when the sweep has stopped, and says how to go on."""
    with pytest.raises(Interrupted), stop_requests() as request:
        send(signal.SIGINT)
        request.check()
    send(signal.SIGTERM)


def test_asked_again(monkeypatch):
    """A second request, later than that, stops at once, wherever the process is."""
    monkeypatch.setattr(signals, "SAME_REQUEST", 0.05)
    with stop_requests():
        send(signal.SIGINT)
        time.sleep(0.1)
        with pytest.raises(Interrupted) as stopped:
            send(signal.SIGTERM)
    assert stopped.value.code == 143


def test_a_second_is_the_same_request():
    """Requests within a second are one: less than that, and Ctrl-C under `mlflow run` would stop at once."""
    assert signals.SAME_REQUEST == 1.0


@pytest.mark.parametrize("error", [None, KeyError])
def test_handlers_are_restored(error):
    """Afterwards signals mean what they meant before, also after an error."""
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with stop_requests():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            if error:
                raise error
    except KeyError:
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


CHILD = """
import sys, time
from pathlib import Path
from pipeline.system.errors import Interrupted
from pipeline.system.signals import stop_requests
with stop_requests() as request:
    Path("ready").touch()
    try:
        for _ in range(500):
            request.check()
            time.sleep(0.01)
        Path("ended").write_text("never asked")
    except Interrupted as stopped:
        Path("ended").write_text(str(stopped.code))
"""
PARENT = """
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
while not Path("ready").exists():
    time.sleep(0.01)
print(child.pid)
"""


DIRECTLY = (sys.executable, "-c", CHILD)
IN_A_SHELL = (
    "bash",
    "-c",
    '"$0" -c "$1"; true',
    sys.executable,
    CHILD,
)  # which stays while its command runs


@pytest.mark.parametrize(
    ("under_mlflow", "command"), [(True, DIRECTLY), (True, IN_A_SHELL), (False, DIRECTLY)]
)
def test_death_of_mlflow_run(tmp_path, under_mlflow, command):
    """When the `mlflow run` that started it dies, the command stops as by SIGTERM; without `mlflow run` it goes on."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | (
        {"MLFLOW_RUN_ID": "0"} if under_mlflow else {}
    )
    done = subprocess.run(
        [sys.executable, "-c", PARENT, *command],
        cwd=tmp_path,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    if not under_mlflow:
        time.sleep(0.2)
        assert not (tmp_path / "ended").exists()
        os.kill(int(done.stdout), signal.SIGTERM)
    for _ in range(500):
        if (tmp_path / "ended").exists() and (tmp_path / "ended").read_text():
            break
        time.sleep(0.01)
    assert (tmp_path / "ended").read_text() == "143"
