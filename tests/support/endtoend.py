"""Runs commands in a folder with ready stores, and checks what they leave in both."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import click
import optuna
import pytest
from mlflow import MlflowClient

from pipeline.cli import program
from pipeline.stores import access, locations
from pipeline.system.errors import Failure
from pipeline.tracking.tracker import Tracker
from support.commands import wait_until
from sweeps.search import stored
from sweeps.search.decisions import DRAWN_BY
from sweeps.search.stored_trial import is_paused

STUDY = """
description: A study that takes a second.
dataset: digits
trials: 5
epochs: 2
search:
  family: [mlp, cnn]
  lr: {low: 1.0e-3, high: 1.0e-2, log: true}
  layer_order: [conv-norm-act-pool-drop, conv-act-norm-pool-drop]
fixed: {width: 8, depth: 1}
start_with:
  - {family: cnn}
"""

TWO_TRIALS = """
dataset: digits
trials: 2
epochs: 1
search: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}
fixed: {family: mlp, width: 8, depth: 1}
"""
NAME = "tiny-digits"  # of either study in the stores

ONE_PLOT = "learning_curves"


def make_template(folder: Path) -> None:
    """Make both stores once: their tables take seconds."""
    where = locations.Stores(
        f"sqlite:///{folder / 'mlflow.db'}", f"sqlite:///{folder / 'optuna.db'}", folder
    )
    access.prepare(where)
    Tracker(where.tracking).close()
    access.open_studies(where)
    for name in (
        "mlflow.db",
        "optuna.db",
    ):  # what is still in the write-ahead log is not in the copies
        with contextlib.closing(sqlite3.connect(folder / name)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def furnish(folder: Path, template: Path, study: str = STUDY) -> Path:
    """Put ready stores and a study file into a folder."""
    folder.mkdir(exist_ok=True)
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(template / name, folder / name)
    with contextlib.closing(
        sqlite3.connect(folder / "mlflow.db")
    ) as database:  # the copy names the template's folder
        database.execute(
            "UPDATE experiments SET artifact_location = ?", (str(folder / "mlruns" / "0"),)
        )
        database.commit()
    (folder / "tiny.yaml").write_text(study)
    return folder


def draw_one_plot(patch: pytest.MonkeyPatch) -> None:
    """Have this process's reports draw one plot: all take two thirds of a small sweep's time."""
    from pipeline.report.plots import files  # once imported, no other process draws

    patch.setattr(files, "PLOTS", {ONE_PLOT: files.PLOTS[ONE_PLOT]})


def pipeline(*arguments: str, all_plots: bool = False) -> int:
    """Run a command in this process, in the working folder; its exit code.

    Args:
        arguments: the command's words.
        all_plots: whether its report draws every plot, and not one alone.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not all_plots:
            draw_one_plot(patch)
        return _run(*arguments)


def _run(*arguments: str) -> int:
    try:
        program.cli.main(list(arguments), prog_name="pipeline", standalone_mode=False)
    except click.ClickException as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except Failure as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


def digests(folder: Path) -> dict[str, str]:
    """Every file of a folder, with its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def client(folder: Path) -> MlflowClient:
    """Read a folder's tracking store."""
    return MlflowClient(locations.sqlite_url(folder / "mlflow.db"))


def children(folder: Path, study: str) -> dict[int, object]:
    """The runs of a study's trials, by number; fails on two runs of one trial."""
    runs = client(folder).search_runs(["0"], f"tags.`sweep.study` = '{study}'", max_results=1000)
    trials = [run for run in runs if "sweep.trial" in run.data.tags]
    numbers = [int(run.data.tags["sweep.trial"]) for run in trials]
    assert len(set(numbers)) == len(numbers)
    return dict(sorted(zip(numbers, trials, strict=True)))


def studies(folder: Path) -> stored.Storage:
    """The store of a folder's studies; the one that the environment names, where it does."""
    url = os.environ.get("PIPELINE_STORAGE") or locations.sqlite_url(folder / "optuna.db")
    return access.open_studies(locations.Stores("", url, folder))


def epochs(folder: Path, number: int) -> int:
    """Count the epochs that a trial has reported.

    The database is read directly: the first reading by Optuna may take longer than an epoch.
    """
    query = """
        SELECT COUNT(*) FROM trial_intermediate_values
        JOIN trials USING (trial_id) WHERE number = ?
    """
    with contextlib.closing(sqlite3.connect(folder / "optuna.db", timeout=30)) as database:
        found: int = database.execute(query, (number,)).fetchone()[0]
    return found


def wait_for_epochs(folder: Path, number: int, count: int = 1) -> None:
    """Wait until a trial of the only study has reported so many epochs."""
    wait_until(lambda: epochs(folder, number) >= count)


def record(folder: Path, study: str):
    """Read a folder's study."""
    return stored.read_record(studies(folder), study)


def trial_list(folder: Path, study: str) -> list[tuple[dict, str, float | None]]:
    """What must be equal between two runs of one command: configurations, ends, values."""
    return [
        (result.config.to_dict(), result.end, result.value)
        for result in record(folder, study).results
    ]


def decisions(folder: Path, study: str) -> dict[str, object]:
    """The log of a study's decisions: its draws, and its promotions."""
    found = optuna.load_study(storage=studies(folder), study_name=study)
    promotions = {key: value for key, value in found.user_attrs.items() if key.startswith("go ")}
    draws = {
        f"draw {trial.number}": trial.user_attrs.get(DRAWN_BY)
        for trial in found.get_trials(deepcopy=False)
    }
    return draws | promotions


def check_paused(folder: Path, study: str) -> list[int]:
    """Check that the paused trials of an interrupted sweep are paused in both stores; their numbers."""
    trials = optuna.load_study(storage=studies(folder), study_name=study).get_trials(deepcopy=False)
    paused = [trial for trial in trials if is_paused(trial)]
    for trial in paused:
        run = children(folder, study)[trial.number]
        assert trial.state == optuna.trial.TrialState.RUNNING
        assert (run.info.status, run.data.tags["sweep.end"]) == ("SCHEDULED", "paused")
    return [trial.number for trial in paused]


def check_invariant(folder: Path, study: str, total: int, *, ends_before: int = 0) -> None:
    """Check the promises about both stores and the files, after a fault and the next command.

    Args:
        folder: of the stores.
        study: the name of the study.
        total: the number of its trials.
        ends_before: how often the study had reached a smaller total.
    """
    trials = optuna.load_study(storage=studies(folder), study_name=study).get_trials(deepcopy=False)
    runs = children(folder, study)
    assert len(trials) == total == len(runs), "the total is reached, and not exceeded"
    for status in ("RUNNING", "SCHEDULED"):
        left = client(folder).search_runs(["0"], f"attributes.status = '{status}'")
        assert not left, "nobody runs anything"
    parent = client(folder).get_run(record(folder, study).parent_run_id)
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    for trial in trials:
        run = runs[trial.number]
        assert trial.state.is_finished()
        assert run.info.status in ("FINISHED", "FAILED")
        if trial.value is not None:
            assert run.info.status == "FINISHED"
            assert run.data.metrics["best/val_acc"] == trial.value, "the last end counts"
            history = client(folder).get_metric_history(run.info.run_id, "val/acc")
            steps = [metric.step for metric in history]
            assert sorted(steps) == sorted(set(steps)), "no doubled steps"
            ends = client(folder).get_metric_history(run.info.run_id, "best/val_acc")
            assert len(ends) <= 1 + ends_before, "it ended once"
    left = [
        path for pattern in ("*.tmp", ".artifact.uploading.*") for path in folder.rglob(pattern)
    ]
    left += [path for path in (folder / "checkpoints" / study).rglob("*") if path.is_file()]
    assert not left, "no temporary file, and no state of a trial that has ended"
