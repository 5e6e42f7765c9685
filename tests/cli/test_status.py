"""What `pipeline status` says of a study: under way, cut, stopped, done; on one screen, and as JSON."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import wait_until
from support.endtoend import pipeline
from support.records import MIXED, make_record, make_result, mixed_study

from pipeline.jobs.keeping.listing import ListedStudy, render
from pipeline.report.status import Status, seconds_left, status_line, status_text, status_values
from pipeline.stores import locations, locks
from sweeps.analysis.record import Promotions
from sweeps.search.stored import RunningTrial
from sweeps.spec.study_spec import MAX_TRIALS

NOW = 1_800_000_000.0
SEARCHED = {"holder": None, "running": 0, "reason": "done", "trials": 2}
ROOT = Path(__file__).parents[2]
PATH = {"PYTHONPATH": str(ROOT)}
PLACES = {"record": "/studies/mlflow.db", "studies": "/studies/optuna.db"}


def under_way(*, trials=4, running=1, holder="process 7 on host since then", **changes):
    """Two trials have ended after 4.5 s each (3 epochs); others were begun 2 s ago and have ended one epoch."""
    results = [make_result(0, 0.9), make_result(1, 0.5, state="pruned")]
    results += [make_result(2 + n, 0.8, state="running", epochs=9) for n in range(running)]
    record = dataclasses.replace(
        make_record(results, dimensions=MIXED[:3]), trials=trials, **changes
    )
    begun = tuple(RunningTrial(number=2 + n, epoch=1, since=NOW - 2) for n in range(running))
    return Status(record=record, running=begun, holder=holder, places=PLACES, now=NOW)


def test_of_a_sweep_under_way():
    """Trials by how they ended, those under way with epoch and start, the best, the time left, who holds it."""
    assert status_text(under_way(), 80).splitlines() == [
        "test: running",
        "  ended       2 of 4: 1 complete, 1 pruned",
        "  training    #2 cnn lr=0.001 dropout=0.1: epoch 1 of 10 done, begun 2 s ago,",
        "              07:59:58 UTC, val_acc 80.00 % so far",
        "  best        val_acc 90.00 % at epoch 3: #0 cnn lr=0.001 dropout=0.1",
        "  left        2 trials, about 7 s",
        "  held by     process 7 on host since then",
        "  record      /studies/mlflow.db",
        "  studies     /studies/optuna.db",
    ]
    assert (
        status_line(under_way())
        == "test: running; 2 of 4 trials ended, best val_acc 90.00 % (#0), about 7 s left"
    )


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 4.5 * 2 - 2),
        ({"running": 2}, (4.5 * 2 - 4) / 2),  # two at once
        ({"trials": 3}, 4.5 - 2),
        ({"holder": None}, None),
        ({"trials": 2, "running": 0}, None),
    ],
)
def test_time_left(changes, seconds):
    """The trials to come take as long as those before, less what those under way have had, shared among them."""
    assert seconds_left(under_way(**changes)) == seconds


def test_time_left_is_unknown_at_first():
    """Before a trial has ended nothing is said of the time; a duplicate, which took none, is not one."""
    twin = make_result(1, 0.9, duplicate_of=0)
    status = under_way()
    record = dataclasses.replace(status.record, results=(twin, *status.record.results[2:]))
    assert seconds_left(dataclasses.replace(status, record=record)) is None


@pytest.mark.parametrize(
    ("changes", "title", "rows"),
    [
        (
            {"holder": None, "command": "pipeline sweep my.yaml"},
            "test: interrupted",
            {"held by": "nobody", "go on": "pipeline sweep my.yaml", "left": "2 trials"},
        ),
        (
            {"holder": None},
            "test: interrupted",
            {"go on": "the command that began it, or pipeline sweep test --name test"},
        ),
        (
            {"holder": None, "running": 0, "reason": "until"},
            "test: stopped by its --timeout",
            {"left": "2 trials"},
        ),
        (
            {"holder": None, "running": 0, "reason": "target 0.9 reached"},
            "test: stopped by target 0.9 reached",
            {},
        ),
        (
            {**SEARCHED, "finalists_wanted": True, "command": "pipeline sweep my.yaml"},
            "test: search done, finalists not begun",
            {"go on": "pipeline sweep my.yaml"},
        ),
        (SEARCHED, "test: done", {}),
    ],
)
def test_of_one_that_nobody_goes_on_with(changes, title, rows):
    """One that was cut says so and with which command to go on; one that is done asks for nothing."""
    found = status_text(under_way(**changes)).splitlines()
    assert found[0] == title
    said = {row[2:14].strip(): row[14:] for row in found[1:]}
    assert rows.items() <= said.items()
    assert ("go on" in said) == (title != "test: done")
    assert "training" not in said


def test_of_one_that_is_ending():
    """Between its last trial and its end, a sweep completes the record and the report, and says so."""
    found = status_text(under_way(running=0, trials=2), 100).splitlines()
    assert found[0] == "test: all trials ended, completing the record and the report"
    assert "  held by     process 7 on host since then" in found


def test_other_names_and_finalists():
    """A study that is called otherwise than its file says so; its finalists have a line."""
    record = dataclasses.replace(
        under_way().record, study="my", finalists=make_record([make_result(0, 0.9)], trials=1)
    )
    found = status_text(dataclasses.replace(under_way(), record=record), 200)
    assert "test: running (study my on digits)" in found
    assert "finalists   1 of 1: 1 complete" in found


@pytest.mark.parametrize(
    ("holder", "search", "finalists", "state", "title"),
    [
        (None, {}, {"command": "pipeline sweep my.yaml"}, "interrupted", "done, finalists interrupted"),
        (None, {}, {}, "interrupted", "done, finalists interrupted"),
        (None, {}, {"reason": "until"}, "stopped", "done, finalists stopped by its --timeout"),
        (None, {"trials": 9, "reason": "rule"}, {}, "interrupted", "stopped by rule, finalists interrupted"),
        ("process 7", {}, {}, "running", "done, finalists running"),
    ],
)  # fmt: skip
def test_of_finalists_that_have_not_ended(holder, search, finalists, state, title):
    """A search whose finalists were cut is not done: it says so, how many have ended, and the command for them."""
    runs = [make_result(0, 0.9), make_result(1, 0.8), make_result(2, 0.8, state="running")]
    record = dataclasses.replace(make_record(runs), trials=9, **finalists)
    changes = {"trials": 2, "reason": "done", "command": "pipeline sweep", **search}
    status = under_way(running=0, holder=holder, finalists=record, **changes)
    found = status_text(status, 100).splitlines()
    command = None if holder else finalists.get("command", "pipeline finalists test")
    assert found[0] == f"test: search {title} (2 of 9 ended)"
    assert "  finalists   2 of 9: 2 complete" in found
    assert [line[14:] for line in found if line.startswith("  go on")] == [command] * bool(command)
    values = status_values(status)
    assert (values["state"], values["go_on"]) == (state, command)
    listed = ListedStudy(name="test", size=0, state=state, ended=2, trials=2, finalists="2/9")
    shown = "" if state == "stopped" else f" {state}"
    assert f"2/2, finalists 2/9{shown} " in render([listed], "table", 200)
    # What is left of the search itself comes first.
    cut = under_way(holder=None, finalists=record, command="pipeline sweep")
    assert status_text(cut).startswith("test: interrupted")
    assert status_values(cut)["go_on"] == "pipeline sweep"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_terminal(width):
    """Only a whole word is wider than the terminal, and no line carries control characters of what it shows."""
    results = mixed_study(24).results
    hostile = dataclasses.replace(results[-1].config, family="\x1b[31m<b>fett\x1b[0m" + "x" * 300)
    record = make_record(
        [*results[:-1], dataclasses.replace(results[-1], config=hostile)], dimensions=MIXED
    )
    running = (RunningTrial(number=23, epoch=0, since=None),)
    status = Status(record=record, running=running, holder="a" * 90, places=PLACES, now=NOW)
    lines = status_text(status, width).splitlines()
    beginnings = [line.rpartition(" ")[0] for line in lines]
    assert max(map(len, beginnings)) < width
    assert "\x1b" not in "".join(lines)
    assert "\x1b" not in status_line(status)


def test_as_json():
    """The same as data, which any program reads."""
    found = json.loads(json.dumps(status_values(under_way()), allow_nan=False))
    assert (found["state"], found["ended"], found["trials"]) == ("running", 2, 4)
    assert found["ends"] == {"complete": 1, "pruned": 1}
    (running,) = found["running"]
    assert (running["number"], running["epoch"], running["epochs"], running["value"]) == (
        2,
        1,
        10,
        0.8,
    )
    assert found["best"]["number"] == 0
    assert found["places"] == PLACES


def test_holder_is_asked_without_taking(tmp_path, monkeypatch):
    """Who holds a study is told by the lock, not by its file; nothing is made, and nobody is kept from it."""
    monkeypatch.chdir(tmp_path)
    where = locations.locate()
    assert locks.holder(where, "demo") is None
    assert list(tmp_path.iterdir()) == []
    code = "from pipeline.stores import locations, locks\n"
    code += "with locks.lock(locations.locate(), 'demo'): print(1, flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=PATH, **pipes) as process:
        process.stdout.readline()
        found = locks.holder(where, "demo")
        assert found.startswith(f"process {process.pid} on ")
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "checkpoints" / "demo.lock").exists()
    assert locks.holder(where, "demo") is None
    with locks.lock(where, "demo"):
        pass


@pytest.mark.slow
def test_command(folder, capsys):
    """The command finds the study last run, or the named one; the store stays as it is."""
    assert pipeline("sweep", "tiny.yaml", "--trials", "2") == 0
    capsys.readouterr()
    before = (folder / "optuna.db").read_bytes()
    assert pipeline("status") == 0
    found = capsys.readouterr().out
    assert found.startswith("tiny-digits: done (study tiny on digits)\n  ended       2 of 2: ")
    assert str(folder / "optuna.db") in found
    assert pipeline("status", "--name", "tiny-digits", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert pipeline("status", "nothing") == 2
    assert "no study 'nothing'; there are: tiny-digits" in capsys.readouterr().err
    assert (folder / "optuna.db").read_bytes() == before


@pytest.mark.slow
def test_while_sweeps_run(folder, capsys):
    """Two sweeps under way: one screen of the last, one line of the other; killed, it says how to go on."""
    words = [sys.executable, "-m", "pipeline", "sweep", "tiny.yaml", "--epochs", "5000", "--name"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = []
    try:
        for name in ("first", "second"):
            processes.append(subprocess.Popen([*words, name], cwd=folder, env=PATH, **quiet))
            _wait_for(capsys, name, "so far")
        assert pipeline("status") == 0
        found = capsys.readouterr().out
        assert f"held by     process {processes[1].pid} on " in found
        assert found.splitlines()[-1].startswith("also first: running; 0 of 5 trials ended")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert pipeline("status", "second") == 0
    found = capsys.readouterr().out
    assert found.startswith("second: interrupted")
    assert "go on       pipeline sweep tiny.yaml --epochs 5000 --name second" in found


def _wait_for(capsys, name, what):
    wait_until(lambda: pipeline("status", name) == 0 and what in capsys.readouterr().out)


def promoting(*, holder="process 7 on host since then", trials=6, **changes):
    """One trial is complete, three are paused after an epoch, one is in its second; each took 1.5 s an epoch."""
    results = [make_result(0, 0.9, epochs=10)]
    results += [make_result(1 + n, 0.5 + n / 10, state="paused", epochs=1) for n in range(4)]
    results += [make_result(5, 0.8, state="running", epochs=1)]
    promoted = Promotions(promotions=4, pauses=9, expected_epochs=30)
    record = dataclasses.replace(
        make_record(results, dimensions=MIXED[:1], promoted=promoted), trials=trials, **changes
    )
    running = (RunningTrial(number=5, epoch=2, since=None),) if holder else ()
    return Status(record=record, running=running, holder=holder, places=PLACES, now=NOW)


def test_of_paused_trials():
    """Paused trials are counted, and the best are named; what is left is told in epochs."""
    assert status_text(promoting(), 80).splitlines()[:7] == [
        "test: running",
        "  ended       1 of 6: 1 complete",
        "  training    #5 cnn: epoch 2 of 10 done, val_acc 80.00 % so far",
        "  paused      4; the best: #4 80.00 % after epoch 1 of 10, #3 70.00 % after",
        "              epoch 1 of 10, #2 60.00 % after epoch 1 of 10",
        "  best        val_acc 90.00 % at epoch 10: #0 cnn",
        "  left        5 trials, about 14 epochs, about 21 s",
    ]
    assert seconds_left(promoting()) == pytest.approx((30 - 16) * 1.5)
    assert "1 of 6 trials ended, 4 paused, best" in status_line(promoting())


def test_paused_trials_go_on_after_an_interruption():
    """An interrupted sweep is not done while trials are paused, and says that they go on."""
    status = promoting(holder=None, trials=1, command="pipeline sweep")
    assert status.state == "interrupted"
    found = status_text(status, 200)
    assert "paused      4, which go on with the sweep; the best: #4" in found
    assert "go on       pipeline sweep" in found


def test_paused_trials_as_json():
    """Data has the paused trials, the best first, and the epochs trained and expected."""
    found = json.loads(json.dumps(status_values(promoting()), allow_nan=False))
    assert [(one["number"], one["epoch"], one["epochs"]) for one in found["paused"]][:2] == [
        (4, 1, 10),
        (3, 1, 10),
    ]
    assert found["epochs"] == {"trained": 16, "expected": 30}
    assert (found["ended"], found["ends"]) == (1, {"complete": 1})


def test_of_a_budget():
    """Where a budget alone says how many trials are drawn, no total is told."""
    status = promoting(trials=MAX_TRIALS, budget="3")
    found = status_text(status, 200)
    assert "ended       1: 1 complete" in found
    assert "left        what is left of the budget 3, about 14 epochs, about 21 s" in found
    assert "; 1 trial ended, 4 paused" in status_line(status)
    assert status_values(status)["trials"] is None
    ended = [result for result in status.record.results if result.has_ended]
    record = dataclasses.replace(status.record, results=tuple(ended), reason="done")
    done = Status(record=record, running=(), holder=None, places=PLACES, now=NOW)
    assert done.state == "done"
