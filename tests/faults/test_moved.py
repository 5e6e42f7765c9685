"""A project folder that is copied, moved or carried elsewhere goes on there, and touches nothing outside it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils
from support.datasets import save
from support.endtoend import (
    NAME,
    TWO_TRIALS,
    check_invariant,
    digests,
    furnish,
    pipeline,
    record,
    trial_list,
)

from pipeline.stores import locations, sqlite

COPY_OF = ("experiment_tags", "value")  # the one place where a copy names its original


def command(*arguments: str) -> None:
    """Run a command as in a process of its own, which has open what it opens, and remembers nothing."""
    utils._artifact_repos_cache.clear()
    assert pipeline(*arguments) == 0
    sqlite.close_files()


def names(file: Path, text: str) -> list[tuple[str, str]]:
    """The columns of a database that hold a text."""
    found = []
    with closing(sqlite3.connect(file)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                query = f"""SELECT COUNT(*) FROM "{table}" WHERE INSTR("{row[1]}", ?)"""
                if database.execute(query, (text,)).fetchone() != (0,):
                    found.append((table, row[1]))
    return found


def check_reading(folder: Path, picture: str) -> None:
    """Check that all that reads finds the weights, and writes nothing but the report."""
    before = digests(folder)
    for which in (["--best"], ["--model", "models:/digits@champion"], ["--run", f"{NAME}#0"]):
        command("predict", *which, picture)
    command("evaluate", "--best", "--split", "val")
    assert digests(folder) == before
    command("report")
    assert f"{folder}/mlruns" in (folder / "reports" / NAME / "report.md").read_text()


def check_writing(folder: Path, picture: str, former: Path) -> None:
    """Check that a sweep goes on, that the record is complete, and that MLflow itself finds all."""
    command("sweep", "tiny.yaml", "--trials", "3", "--keep-checkpoints", "best")
    command("sync")
    check_invariant(folder, NAME, total=3)
    assert set(names(folder / "mlflow.db", str(former))) <= {COPY_OF}
    command("evaluate", "--best", "--split", "test")
    command("predict", "--model", "models:/digits@champion", picture)
    client = MlflowClient(locations.sqlite_url(folder / "mlflow.db"))
    results = record(folder, NAME).results
    for result in results:
        run = client.get_run(result.run_id)
        assert run.info.artifact_uri == f"{folder}/mlruns/0/{result.run_id}/artifacts"
        files = {file.path for file in client.list_artifacts(result.run_id)}
        assert {"per_class.csv", "confusion.csv", "config.yaml"} <= files
        assert ("checkpoint" in files) == (result.checkpoint is not None)
    assert sum(result.checkpoint is not None for result in results) == 1


@pytest.mark.slow
def test_a_folder_goes_on_wherever_it_is(tmp_path, template, monkeypatch, capfd):
    """A copy, and then the original under another path, are read and gone on with, to the same trials.

    Nothing of the original changes by the copy, though its weights are dropped. The moved folder
    makes nothing where it was: a file is there now, as on a machine whose folders are others.
    """
    picture = str(save(tmp_path / "it.png"))
    original = furnish(tmp_path / "original", template, TWO_TRIALS)
    monkeypatch.chdir(original)
    command("sweep", "tiny.yaml")
    command("register", "--best", "--as", "digits")
    copy = tmp_path / "a copy"
    shutil.copytree(original, copy)
    before = digests(original)

    monkeypatch.chdir(copy)
    check_reading(copy, picture)
    check_writing(copy, picture, original)
    assert digests(original) == before

    carried = tmp_path / "elsewhere" / "original 2"
    carried.parent.mkdir()
    original.rename(carried)
    original.write_text("nothing can be made below a file")
    monkeypatch.chdir(carried)
    check_reading(carried, picture)
    check_writing(carried, picture, original)
    assert trial_list(carried, NAME) == trial_list(copy, NAME)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", locations.sqlite_url(carried / "mlflow.db"))
    utils._artifact_repos_cache.clear()
    served = mlflow.pyfunc.load_model("models:/digits@champion")
    assert len(served.predict(np.zeros((1, 8, 8, 1), dtype=np.uint8))) == 1
    assert str(original) not in capfd.readouterr().err
