"""`pipeline train`: train one configuration as one run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    Command,
    config_options,
    data_dir_option,
    debug_option,
    parse_settings,
    storage_option,
    try_out,
)
from pipeline.system import garbage
from pipeline.system.console import print_message
from pipeline.system.errors import Interrupted, UsageFailure

if TYPE_CHECKING:
    from pipeline.jobs.reproduce import RecordedTrial


@click.command(name="train", cls=Command, short_help="Train one network.")
@config_options()
@data_dir_option
@click.option(
    "--objective",
    type=click.Choice(["val_acc", "val_loss", "balanced_acc", "macro_f1"]),
    help="The metric that chooses the best epoch.  [default: val_acc]",
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
    help="Train a trial again and compare the results; other options change its settings.",
)
@click.option(
    "--set", "settings", multiple=True, help="Options of your own network: key=value,key=value"
)
@click.option("--experiment", help="The MLflow experiment to record in.")
@storage_option
@debug_option
def train_command(
    data_dir: Path, resume: str | None, from_run: str | None, debug: bool, **values: Any
) -> None:
    """Train one configuration as one MLflow run.

    \b
    Example: pipeline train --dataset mnist --family cnn --lr 1e-3 --epochs 3
    """
    with garbage.freeze_loaded():
        from rich.console import Console

        from pipeline.jobs import reproduce, train
        from pipeline.jobs.progress import ProgressDisplay
        from pipeline.report.scores import unit_of
        from pipeline.stores import locations
        from pipeline.system.signals import SignalStopRequest
        from sweeps.spec import yamlfile

    stores = locations.locate(values.pop("storage"))
    given_objective = values.pop("objective")
    objective = given_objective or "val_acc"
    every_epoch = values.pop("keep_checkpoints") == "all"
    experiment = values.pop("experiment")
    for key, value in parse_settings(values.pop("settings")).items():
        values[key] = yamlfile.parse_word(value)
    trial = None
    if from_run:
        if resume:
            raise UsageFailure(
                "--resume goes on with a run and --from-run begins one: leave one of them out"
            )
        with garbage.freeze_loaded():
            trial = reproduce.find_recorded_trial(stores, from_run)
        changes = {name: value for name, value in values.items() if value is not None}
        values = reproduce.override_config(trial, changes)
        if given_objective:
            changes["objective"] = given_objective
        else:
            objective = trial.objective
        print_message(_describe_repetition(trial, changes), err=True)
    if debug:
        if resume:
            raise UsageFailure(
                "--debug records nothing, so that nothing can be resumed: "
                "leave out --debug or --resume"
            )
        given = {name: value for name, value in values.items() if value is not None}
        config, data = train.prepare(given, data_dir, trial)
        try_out([config], data)
        return
    try:
        result = train.train_one(
            stores,
            values,
            data_dir,
            objective=objective,
            resume=resume,
            experiment=experiment,
            every_epoch=every_epoch,
            display=ProgressDisplay(Console(), objective, (), 1, 0),
            repeats=trial,
            stop=SignalStopRequest(),
        )
    except Interrupted as interrupted:
        data_option = shlex.join(["--data-dir", str(data_dir)])
        print_message(
            f"interrupted; go on with: pipeline train --resume {interrupted.run_id} {data_option}",
            err=True,
        )
        sys.exit(interrupted.code)
    value = unit_of(objective).value(result.value or 0.0)
    print_message(
        f"run {result.run_id}: {objective} {value} at epoch {result.best_epoch}, "
        f"{result.checkpoint}"
    )
    if trial is not None:
        print_message(reproduce.compare(trial, result, data_dir))


def _describe_repetition(trial: RecordedTrial, changes: Mapping[str, Any]) -> str:
    """Write which trial is trained again, and with which changes."""
    text = f"trains {trial.name} again"
    if trial.first:
        text = f"a duplicate, of which {trial.first} is the first: {text}"
    if changes:
        text += ", with " + ", ".join(f"{name} {value}" for name, value in changes.items())
    return text
