"""The option --then: a command of the user's after a sweep, which learns how the sweep ended."""

import dataclasses
import signal
import sys

import pytest
from support.records import make_record, make_result

from pipeline.cli import then
from pipeline.cli.options import recorded_command
from pipeline.report.status import Status
from pipeline.stores.locations import Stores
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure

TELL = 'echo "$PIPELINE_EXIT_CODE ${PIPELINE_BEST-none}" >> told'


def end_with(error):
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "0 none\n"),
        (SystemExit(130), "130 none\n"),
        (StorageFailure("the disk is full"), "5 none\n"),
        (KeyboardInterrupt(), "130 none\n"),
        (ZeroDivisionError(), "1 none\n"),
        (UsageFailure("a mistake"), None),
        (StudyBusy("another sweep"), None),
    ],
)
def test_however_it_ends(tmp_path, monkeypatch, error, told):
    """It is run after success, interruption and failure, but not after a refusal; the end stays what it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_BEST", "of an outer sweep")
    expected = pytest.raises(type(error)) if error is not None else None
    if expected is None:
        with then.followed_by(TELL):
            pass
    else:
        with expected as ended, then.followed_by(TELL):
            end_with(error)
        assert ended.value is error
    file = tmp_path / "told"
    assert (file.read_text() if file.exists() else None) == told


def test_its_failure_is_told_and_changes_nothing(capfd):
    """A command that fails is one line on standard error, and its output does not mix with JSON."""
    with then.followed_by("echo said; exit 7", printed_to_stderr=True):
        pass
    printed = capfd.readouterr()
    assert printed.out == ""
    line = "the command of --then has ended with 7; this one ends with 0"
    assert printed.err.splitlines() == ["said", line]


def test_it_can_be_stopped():
    """It ignores no signal, though the sweep ignores them after a request to stop, and they return."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        command = (
            f'{sys.executable} -c "import signal as s; exit(s.getsignal(s.SIGTERM) is s.SIG_IGN)"'
        )
        with pytest.MonkeyPatch.context() as patch:
            said = []
            patch.setattr(then.click, "echo", lambda text, **_: said.append(text))
            with then.followed_by(command):
                pass
        assert said == []
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_it_learns(tmp_path):
    """The study, a sentence, the best trial as `--run` takes it, its value and run, and the report's folder."""
    results = [make_result(0, 0.5), make_result(1, 0.75, run_id="abc")]
    record = dataclasses.replace(make_record(results, name="s"), trials=2)
    status = Status(record=record, running=(), holder=None, places={}, now=0.0)
    stores = Stores("sqlite:///mlflow.db", "sqlite:///optuna.db", tmp_path)
    stores.reports("s").mkdir(parents=True)
    values = then._outcome(status, stores)
    assert values == {
        "PIPELINE_STUDY": "s",
        "PIPELINE_SUMMARY": "s: done; 2 of 2 trials ended, best val_acc 75.00 % (#1)",
        "PIPELINE_OBJECTIVE": "val_acc",
        "PIPELINE_BEST": "s#1",
        "PIPELINE_BEST_VALUE": "0.75",
        "PIPELINE_BEST_RUN": "abc",
        "PIPELINE_REPORT": str(stores.reports("s")),
    }
    assert set(values) | {"PIPELINE_EXIT_CODE"} == set(then.VARIABLES)


@pytest.mark.parametrize("words", [["--then", "curl -H $KEY x"], ["--then=curl -H $KEY x"]])
def test_it_is_not_recorded(monkeypatch, words):
    """The stores keep the command that goes on without it: it may hold what is for nobody else's eyes."""
    monkeypatch.setattr(sys, "argv", ["pipeline", "sweep", "tiny.yaml", *words, "--trials", "5"])
    assert recorded_command() == "pipeline sweep tiny.yaml --trials 5"
