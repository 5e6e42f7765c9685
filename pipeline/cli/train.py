"""`pipeline train`: train one configuration as one run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import (
    Command,
    config_options,
    data_dir_option,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.errors import Interrupted, UsageFailure


@click.command(name="train", cls=Command)
@config_options()
@data_dir_option
@click.option(
    "--objective",
    type=click.Choice(["val_acc", "val_loss", "balanced_acc", "macro_f1"]),
    help="What chooses the best epoch.  [default: val_acc]",
)
@click.option(
    "--keep-checkpoints",
    type=click.Choice(["each", "all"]),
    default="each",
    show_default=True,
    help="Keep the best epoch's weights, or all epochs'.",
)
@click.option("--resume", metavar="RUN_ID", help="Go on with an interrupted run.")
@click.option(
    "--from-run",
    metavar="ID|NAME#7",
    help="Train a trial again, and compare; other options change it.",
)
@click.option("--experiment", help="MLflow experiment.")
@storage_option
def train_command(data_dir: Path, resume: str | None, from_run: str | None, **values: Any) -> None:
    """Train one configuration as one MLflow run.

    \b
    Example: pipeline train --dataset mnist --family cnn --lr 1e-3 --epochs 3
    """
    with garbage.freeze_loaded():
        from rich.console import Console

        from pipeline.jobs import reproduce, train
        from pipeline.jobs.progress import ProgressDisplay
        from pipeline.stores import locations
        from pipeline.system.signals import SignalStopRequest

    where = locations.locate(values.pop("storage"))
    given = values.pop("objective")
    every_epoch = values.pop("keep_checkpoints") == "all"
    experiment = values.pop("experiment")
    trial = None
    if from_run:
        if resume:
            raise UsageFailure(
                "--resume goes on with a run and --from-run begins one: leave one of them out"
            )
        trial = reproduce.find_recorded_trial(where, from_run)
        changes = {name: value for name, value in values.items() if value is not None}
        values = reproduce.override_config(trial, changes)
        click.echo(
            _repeating(trial, {**changes, **({"objective": given} if given else {})}), err=True
        )
    objective = given or (trial.objective if trial else "val_acc")
    show = ProgressDisplay(Console(), objective, (), 1, 0)
    try:
        result = train.train_one(
            where,
            values,
            data_dir,
            objective=objective,
            resume=resume,
            experiment=experiment,
            every_epoch=every_epoch,
            display=show,
            repeats=trial,
            stop=SignalStopRequest(),
        )
    except Interrupted as stopped:
        place = shlex.join(["--data-dir", str(data_dir)])
        click.echo(
            f"interrupted; go on with: pipeline train --resume {stopped.run_id} {place}", err=True
        )
        sys.exit(stopped.code)
    click.echo(
        f"run {result.run_id}: {objective} {result.value:.4f} at epoch {result.best_epoch}, {result.checkpoint}"
    )
    if trial is not None:
        click.echo(reproduce.compare(trial, result, data_dir))


def _repeating(trial: Any, changes: dict[str, Any]) -> str:
    """Say what is trained again, and with what instead."""
    if trial.first:
        duplicate = f"a duplicate, of which {trial.first} is the first: "
    else:
        duplicate = ""
    instead = ", ".join(f"{name} {value}" for name, value in changes.items())
    return f"{duplicate}trains {trial.name} again" + (f", with {instead}" if instead else "")
