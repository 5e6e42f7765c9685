"""What a store says is somebody's input: names, paths and values are checked as if they were typed."""

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.endtoend import client, furnish, pipeline
from support.forks import Fork
from support.mutations import Database, mutated_json
from support.sourcecode import ROOT

from pipeline.checkpoints import BEST, load, save

STUDY = """
description: Two trials.
dataset: digits
trials: 2
epochs: 1
search: {lr: [0.001, 0.01]}
fixed: {family: mlp, width: 8, depth: 1, batch_size: 256}
"""
NAME = "tiny-digits"


@pytest.fixture(scope="module")
def swept(tmp_path_factory, template):
    """A folder with a study that was swept."""
    made = furnish(tmp_path_factory.mktemp("swept"), template, STUDY)
    with contextlib.chdir(made):
        assert pipeline("sweep", "tiny.yaml") == 0
    return made


@pytest.fixture
def place(swept, tmp_path, monkeypatch):
    """The working folder: a copy of the swept study's store, and its runs."""
    folder = tmp_path / "place"
    shutil.copytree(swept, folder)
    monkeypatch.chdir(folder)
    return folder


def change(folder, statement, *values):
    """Change the store of studies as somebody with a database program would."""
    with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as database:
        assert database.execute(statement, values).rowcount > 0
        database.commit()


COMMANDS = (
    ("report",),
    ("status",),
    ("sync",),
    ("finalists",),
    ("evaluate", "--best"),
    ("export", "--best", "--out", "exported.pt2"),
    ("register", "--best"),
)


def contents(folder: Path) -> dict[str, bytes | None]:
    """What is in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("name", ["{}", "../../victim", "..", "a\x1b[31m/b"])
def test_a_name_that_is_a_path_is_no_name(place, tmp_path, capsys, name):
    """No command writes or removes anything by it: exit 6 in one line, and other studies go on."""
    victim = tmp_path / "victim"
    (victim / "0000").mkdir(parents=True)
    for file in ("0000/mine", "report.html", "trials.csv"):
        (victim / file).write_text("mine")
    before = contents(victim)
    change(place, "UPDATE studies SET study_name = ?", name.format(victim))
    for command in COMMANDS:
        assert pipeline(*command) == 6, command
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1), command
        assert "the store has a study that no command names" in err
        assert "\x1b" not in err
    assert contents(victim) == before
    assert sorted(path.name for path in (place / "reports").iterdir()) == [NAME]


@pytest.mark.slow
def test_a_removed_store_leaves_no_run_behind(folder):
    """Killed while it trained, and optuna.db removed: the same command ends the former runs and sweeps anew."""
    Fork(folder, "sweep", "tiny.yaml", PIPELINE_FAILPOINT="mid_epoch").wait(-9)
    for path in folder.glob("optuna.db*"):
        path.unlink()
    Fork(folder, "sweep", "tiny.yaml", "--trials", "2").wait(0)
    for status in ("RUNNING", "SCHEDULED"):
        assert not client(folder).search_runs(["0"], f"attributes.status = '{status}'")


# Attributes of studies and trials, edited by hand or written by a newer version

_TABLES = ("study_user_attributes", "trial_user_attributes")


def attributes(folder):
    """Every attribute of the store: its table, its row, its key and its text."""
    found = []
    with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as database:
        for table in _TABLES:
            rows = database.execute(f"SELECT rowid, key, value_json FROM {table} ORDER BY rowid")
            found += [(table, *row) for row in rows]
    return found


def write(folder, rows):
    """Write attributes back."""
    with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as database:
        for table, row, _, text in rows:
            database.execute(f"UPDATE {table} SET value_json = ? WHERE rowid = ?", (text, row))
        database.commit()


def mutate(folder, data):
    """Mutate an attribute of the store; its key."""
    rows = attributes(folder)
    keys = sorted({re.sub("[0-9]+", "", key) for _, _, key, _ in rows})
    chosen = data.draw(st.sampled_from(keys))
    alike = [row for row in rows if re.sub("[0-9]+", "", row[2]) == chosen]
    table, row, key, text = data.draw(st.sampled_from(alike))
    mutated = data.draw(mutated_json(json.loads(text)))
    write(folder, [(table, row, key, json.dumps(mutated))])
    return key


def check_answer(folder, capsys, command, *expected):
    """A command works, or refuses in one line that names the study; nothing is left running.

    With an expected code and words, it ends so.
    """
    capsys.readouterr()
    code = pipeline(*command)
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("files: ")
    ]
    assert code in (expected[:1] or (0, 2, 5, 6))
    assert all(words in lines[0] for words in expected[1:])
    if code:
        assert len(lines) == 1
        assert NAME in lines[0]
        assert not client(folder).search_runs(["0"], "attributes.status = 'RUNNING'")


@pytest.fixture(scope="module")
def edited(swept, tmp_path_factory):
    """A copy of the swept study whose attributes tests edit."""
    folder = tmp_path_factory.mktemp("edited") / "place"
    shutil.copytree(swept, folder)
    return folder


_ONE_PLACE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=20, suppress_health_check=_ONE_PLACE)
@given(data=st.data())
def test_an_edited_attribute_is_read_or_named(edited, monkeypatch, capsys, data):
    """`report` works or refuses in one line, whatever somebody has made of an attribute."""
    monkeypatch.chdir(edited)
    before = attributes(edited)
    mutate(edited, data)
    try:
        check_answer(edited, capsys, ("report", NAME, "--format", "json"))
    finally:
        write(edited, before)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=_ONE_PLACE)
@given(data=st.data())
def test_a_study_with_an_edited_attribute_goes_on_or_is_refused(edited, monkeypatch, capsys, data):
    """`sweep` does so, too, before anything is recorded as running."""
    monkeypatch.chdir(edited)
    before = attributes(edited)
    mutate(edited, data)
    try:
        check_answer(edited, capsys, ("sweep", "tiny.yaml"))
    finally:
        write(edited, before)


@pytest.mark.parametrize(
    ("table", "key", "where"),
    [
        ("study_user_attributes", "facts", "attribute 'facts'"),
        ("study_user_attributes", "spec", "attribute 'spec'"),
        ("trial_user_attributes", "config", "attribute 'config' of trial 0"),
        ("trial_user_attributes", "result", "attribute 'result' of trial 0"),
    ],
)
def test_a_key_of_a_newer_version_is_named(place, capsys, table, key, where):
    """Exit 5, with the study, the attribute, the trial and the key; the store stays as it is."""
    found = next(row for row in attributes(place) if (row[0], row[2]) == (table, key))
    text = json.dumps({**json.loads(found[3]), "newer": 1})
    write(place, [(*found[:3], text)])
    edited = attributes(place)
    for command in (("report",), ("sweep", "tiny.yaml"), ("finalists",)):
        assert pipeline(*command) == 5
        line = capsys.readouterr().err
        assert len(line.splitlines()) == 1
        assert all(
            word in line for word in (f"study '{NAME}'", where, "'newer', which this version")
        )
    assert attributes(place) == edited


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("optuna.db", ("report",)),
        ("optuna.db", ("sweep", "tiny.yaml")),
        ("mlflow.db", ("evaluate", "--best")),
        ("mlflow.db", ("sweep", "tiny.yaml")),
    ],
)
def test_a_store_that_never_ends_is_refused(place, capsys, kind, name, command):
    """A pipe or an endless device in the place of a database is not read."""
    for path in place.glob(f"{name}*"):
        path.unlink()
    put_endless(place / name, kind)
    assert pipeline(*command) == 5
    assert "it is no regular file" in capsys.readouterr().err


def put_endless(path, kind):
    """Put a pipe or an endless device in the place of a file."""
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


# Optuna's own tables


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM study_directions", "its direction is missing, not maximize"),
        ("UPDATE study_directions SET direction = 'MINIMIZE'", "its direction is minimize"),
        ("DELETE FROM study_user_attributes WHERE key = 'goal'", "attribute 'goal' is missing"),
        ("UPDATE study_user_attributes SET key = NULL WHERE key = 'goal'", "has no name"),
        ("UPDATE trials SET state = 'x' WHERE number = 1", "Optuna cannot read its trials"),
        ("UPDATE trials SET number = 7 WHERE number = 1", "a trial 7 in the place of trial 1"),
        ("UPDATE trial_values SET value = NULL", "Optuna cannot read its trials"),
        ("DELETE FROM trial_values", "trial 0 is complete, and has no value"),
        ("UPDATE trial_values SET value = 0.5", "the value of trial 0 is 0.5, and its result's"),
        ("UPDATE trial_intermediate_values SET intermediate_value = 'x'", "trial 0 is no number"),
        ("UPDATE trials SET datetime_start = 'x'", "Optuna cannot read its trials"),
        ("UPDATE trial_params SET distribution_json = '{}'", "Optuna cannot read its trials"),
    ],
)
def test_a_damaged_table_is_named(place, capsys, statement, words):
    """Exit 5 with the study and what is wrong; nothing is recorded."""
    change(place, statement)
    for command in (("report", NAME), ("sweep", "tiny.yaml")):
        check_answer(place, capsys, command, 5, words)


READING = (
    ("report", NAME, "--format", "json"),
    ("report", NAME, "--best"),
    ("status", NAME),
    ("sync", "--check"),
    ("evaluate", "--run", f"{NAME}#0"),
    ("evaluate", "--best"),
    ("predict", "--best", "image.png"),
    ("export", "--best", "--out", "exported.pt2"),
    ("register", "--best"),
    ("train", "--from-run", f"{NAME}#0"),
    ("sync",),
    ("sweep", "tiny.yaml"),
)


NOTICE = re.compile("files: |Trial 0 of ")  # of a command that goes on


@pytest.fixture(scope="module")
def databases(edited):
    """Both databases of the edited folder, which tests mutate."""
    Image.new("L", (8, 8)).save(edited / "image.png")
    with (
        contextlib.closing(Database(edited / "optuna.db")) as studies,
        contextlib.closing(Database(edited / "mlflow.db")) as runs,
    ):
        yield studies, runs


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples // 5, suppress_health_check=_ONE_PLACE)
@given(data=st.data())
def test_a_mutated_database_is_read_or_refused(edited, databases, monkeypatch, capsys, data):
    """Any cell of any table may be another, or a row be lost: no traceback, and nothing left running.

    ``--hypothesis-profile thorough`` tries more of them, and other ones each time.
    """
    monkeypatch.chdir(edited)
    try:
        done = data.draw(st.sampled_from(databases)).mutate(data.draw)
        running = count_running(edited)
        command = data.draw(st.sampled_from(READING))
        capsys.readouterr()
        code = pipeline(*command)
        lines = [line for line in capsys.readouterr().err.splitlines() if not NOTICE.match(line)]
        assert code in (0, 2, 3, 5, 6), (command, done)
        assert not code or len(lines) == 1, (command, done, lines)
        assert count_running(edited) <= running, (command, done)
    finally:
        for database in databases:
            database.mend()


def count_running(folder):
    """Count the runs that MLflow shows as running."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        query = "SELECT count(*) FROM runs WHERE status = 'RUNNING'"
        return database.execute(query).fetchone()[0]


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(swept):
    """The folder of a trained network's checkpoint."""
    return next(swept.glob("mlruns/**/checkpoint"))


CARDS = {
    "mean": [[float("nan")], [float("inf")], [None], ["x"], [], "x", None, [0.5, 0.5]],
    "std": [[float("nan")], [float("inf")], [0], [-1.0], [None], ["x"], 1],
    "classes": [[1, 2], [None] * 10, [], "0123456789", {"a": 1}, [["a"]]],
    "shape": [[1, 4096, 4096], [4096, 4096, 4096], [1, 10**9, 8], [1, 8], ["1", 8, "x"], None],
    "epoch": ["x", None, 1.5, []],
    "metrics": [None, [], {"val/acc": "x"}, {"val/acc": float("nan")}],
    "judged": ["x", []],
    "newer": [1],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in CARDS.items() for value in values]
)
def test_a_card_that_no_command_wrote_is_refused(checkpoint, tmp_path, capsys, key, value):
    """Exit 6 in one line, before a network of its shape is built."""
    tensors, facts = load(checkpoint / BEST)
    save(tmp_path / BEST, tensors, {**facts, key: value})
    assert pipeline("evaluate", "--checkpoint", str(tmp_path)) == 6
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_checkpoint_that_never_ends_is_refused(tmp_path, capsys, kind):
    """A pipe or an endless device in the place of a file is not read."""
    path = tmp_path / BEST
    put_endless(path, kind)
    assert pipeline("evaluate", "--checkpoint", str(path)) == 6
    assert "is no regular file" in capsys.readouterr().err


def test_swapped_checkpoints_are_refused(place, capsys):
    """The network of another configuration is not taken for the best: exit 6 names the run."""
    config = json.loads(next(row[3] for row in attributes(place) if row[2] == "config"))
    for folder in place.glob("mlruns/**/checkpoint"):
        tensors, facts = load(folder / BEST)
        save(folder / BEST, tensors, {**facts, "config": {**config, "lr": 0.5}})
    for command in (("evaluate", "--best"), ("register", "--best")):
        assert pipeline(*command) == 6
        assert "is another configuration's" in capsys.readouterr().err


# Modules in the working folder

POISON = """
with open({marks!r}, "a") as marks:
    marks.write(__name__ + chr(10))
raise ImportError(__name__)
"""
SCRIPT = "from pipeline.cli import main\nif __name__ == '__main__': main()\n"  # as an installed `pipeline` is


@pytest.fixture
def poisoned(place, tmp_path):
    """A swept folder with a namesake of each module of Python, of some libraries, and of ours."""
    marks = tmp_path / "marks.txt"
    libraries = ["yaml", "numpy", "torch", "mlflow", "optuna", "PIL", "matplotlib"]
    for name in [*sys.stdlib_module_names, *libraries, "models", "sweeps", "pipeline"]:
        if name not in sys.builtin_module_names:
            (place / f"{name}.py").write_text(POISON.format(marks=str(marks)))
    (tmp_path / "pipeline").write_text(SCRIPT)
    yield place
    assert not marks.exists(), marks.read_text()


@contextlib.contextmanager
def started(folder, *command):
    """A command of an installed `pipeline` in a folder; nothing of it is left."""
    process = subprocess.Popen(
        [sys.executable, folder.parent / "pipeline", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def run(folder, *command):
    """Run a command to its end; it has succeeded, and no helper has complained."""
    with started(folder, *command) as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err.decode()
    assert b"Error" not in err


@pytest.mark.slow
def test_no_module_of_the_working_folder_is_run(poisoned):
    """Neither a command nor its helpers import one: workers, drawers of plots, MLflow's server."""
    image = poisoned.parent / "image.png"
    Image.new("L", (8, 8)).save(image)
    run(poisoned, "sweep", "tiny.yaml", "--trials", "3", "--workers", "2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with started(poisoned, "ui", "--port", port) as server:
        run(poisoned, "report")
        run(poisoned, "predict", "--best", str(image))
        answers = False
        while server.poll() is None and not answers:
            time.sleep(0.2)
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}"):
                answers = True
    assert answers


def test_python_m_imports_nothing_from_the_working_folder(poisoned):
    """Python itself finds the package `pipeline` there, but nothing else is imported from there."""
    (poisoned / "pipeline.py").unlink()
    command = [sys.executable, "-m", "pipeline", "studies"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=poisoned, env=environment, check=True)
