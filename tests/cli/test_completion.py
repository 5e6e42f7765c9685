"""What a shell completes: commands, options, and the names that the stores hold."""

import sqlite3
from contextlib import closing

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli.program import cli


def completions(words, begun):
    """The completions of what is being typed, as a shell would ask for them."""
    complete = ShellComplete(cli, {}, "pipeline", "_PIPELINE_COMPLETE")
    return [item.value for item in complete.get_completions(words, begun)]


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A working folder with two studies, one of them of three trials, and a name that is none."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        database.execute("CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name TEXT)")
        database.execute("CREATE TABLE trials (study_id INTEGER, number INTEGER)")
        names = [("pets",), ("digits-first",), ("pets$(touch x)\n",)]
        database.executemany("INSERT INTO studies (study_name) VALUES (?)", names)
        database.executemany("INSERT INTO trials VALUES (1, ?)", [(0,), (1,), (10,)])
        database.commit()


def test_commands_and_options_are_completed():
    """The beginnings of a command and of an option lead to their names."""
    assert completions([], "fin") == ["finalists"]
    assert "--learning-rate" not in completions(["train"], "--l")
    assert "--lr" in completions(["train"], "--l")
    assert completions(["sweep", "--method"], "g") == ["gp", "grid"]


@pytest.mark.usefixtures("studies")
def test_names_of_studies_and_trials_are_completed():
    """Names come from the store; what no command could have named is not offered."""
    assert completions(["report"], "") == ["digits-first", "pets"]
    assert completions(["status"], "p") == ["pets"]
    assert completions(["predict", "--run"], "pe") == ["pets#"]
    assert completions(["predict", "--run"], "pets#1") == ["pets#1", "pets#10"]
    assert "mnist_fast" in completions(["sweep"], "mnist_f")


def test_without_a_store_nothing_is_completed_and_nothing_made(tmp_path, monkeypatch):
    """In an empty folder, with a damaged store, or with one on a server there are no names."""
    monkeypatch.chdir(tmp_path)
    assert completions(["report"], "") == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "optuna.db").write_text("no database")
    assert completions(["report"], "") == []
    assert completions(["report", "--storage", "postgresql+psycopg://host/studies"], "") == []
