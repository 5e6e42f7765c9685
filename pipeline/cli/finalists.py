"""`pipeline finalists`: retrain a study's top configurations with new seeds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import (
    ENGINE_OPTIONS,
    Command,
    WholeNumber,
    argument_or_option,
    command_line,
    config_options,
    data_dir_option,
    engine_options,
    preload_workers,
    recorded_command,
    storage_option,
)
from pipeline.cli.stored_names import complete_study
from pipeline.cli.then import Ending, followed_by, then_option
from pipeline.system import garbage
from pipeline.system.console import print_message
from pipeline.system.errors import Interrupted


@click.command(
    name="finalists", cls=Command, short_help="Train the best configurations again with new seeds."
)
@click.argument("name", required=False, shell_complete=complete_study)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option(
    "--top",
    type=WholeNumber(1, 100),
    help="How many configurations, from the best down.  [default: 3]",
)
@click.option(
    "--seeds",
    type=WholeNumber(1, 100),
    help="How many new seeds each is trained with.  [default: 3]",
)
@click.option(
    "--split-seeds",
    type=WholeNumber(2, 100),
    help="Instead of --seeds: so many seeds, each with its own random draw of training and "
    "validation images.",
)
@click.option(
    "--folds",
    type=WholeNumber(2, 100),
    help="Instead of --seeds: so many folds of the training and validation images "
    "(cross-validation).",
)
@click.option(
    "--refit",
    is_flag=True,
    help="Then train the winner once on training and validation images together.",
)
@engine_options
@config_options("device")
@data_dir_option
@storage_option
@then_option
def finalists_command(
    name: str | None,
    name_option: str | None,
    then: str | None,
    **options: Any,
) -> None:
    """Train the best configurations of a study (default: the one last run) again, with seeds it has
    not used.

    Says which is the best by its mean, whether the others are told apart from it, and how many more
    seeds or images would tell; scores each run once on the test split. Promising trials that the
    search had paused are trained to their end first, so that they can be chosen. The finalists are
    a study of their own, NAME.finalists. Which they are is settled the first time, while no sweep
    goes on with the study; the same command again goes on to the end, and trains nothing twice.
    More --seeds or --split-seeds than before are added to those of the same finalists.

    \b
    Example: pipeline finalists networks-few_digits --top 3 --seeds 3
    """
    with followed_by(then) as ending:
        ending.study = argument_or_option(name, name_option)
        _train(ending, **options)


def _train(
    ending: Ending,
    *,
    top: int | None,
    seeds: int | None,
    split_seeds: int | None,
    folds: int | None,
    data_dir: Path,
    **options: Any,
) -> None:
    """Choose and train the finalists of a study, and print the outcome."""
    preload_workers(options)
    with garbage.freeze_loaded():
        from pipeline.jobs import finalists, sweep
        from pipeline.report import terminal
        from pipeline.stores import locations
        from pipeline.system.signals import SignalStopRequest

    stores = locations.locate(options["storage"])
    ending.stores = stores
    repeats = finalists.asked_repeats(seeds, split_seeds, folds)
    request = sweep.Request(
        data_dir=data_dir,
        storage=options["storage"],
        command=recorded_command(),
        **{key: options[key] for key in ENGINE_OPTIONS},
    )
    try:
        outcome = finalists.choose_and_train(
            stores,
            ending.study,
            request,
            print_message,
            top=top,
            repeats=repeats,
            device=options["device"],
            refit=options["refit"],
            stop=SignalStopRequest(),
            loading=garbage.freeze_loaded,
        )
    except Interrupted as interrupted:
        print_message(f"interrupted; go on with: {command_line()}", err=True)
        sys.exit(interrupted.code)
    click.echo("\n" + terminal.render_finalists(outcome.record))
    click.echo(f"\nreport: {outcome.report}")
    click.echo(f"winner: pipeline report {shlex.quote(outcome.record.name)} --best")
