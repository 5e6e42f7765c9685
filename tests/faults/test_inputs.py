"""What a store says is somebody's input: names, paths and values are checked as if they were typed."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from support.endtoend import client, furnish, pipeline
from support.forks import Fork

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
