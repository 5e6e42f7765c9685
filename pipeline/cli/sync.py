"""`pipeline sync`: complete a study's record in MLflow."""

from __future__ import annotations

import sys

import click

from pipeline.cli.options import Command, argument_or_option, command_line, storage_option
from pipeline.cli.stored_names import complete_study
from pipeline.system.console import print_message
from pipeline.system.errors import Interrupted


@click.command(name="sync", cls=Command, short_help="Complete MLflow's record of a study.")
@click.argument("name", required=False, shell_complete=complete_study)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option(
    "--experiment", help="The MLflow experiment for a parent run that has to be created again."
)
@click.option(
    "--check", is_flag=True, help="Only say what is missing; the exit code is 6 if anything is."
)
@storage_option
def sync_command(
    name: str | None,
    name_option: str | None,
    experiment: str | None,
    check: bool,
    storage: str | None,
) -> None:
    """Complete MLflow's record of a study (default: the one last run) from what the studies' store
    has kept.

    For a tracking server that was away when the sweep ended, or a tracking store that was lost or
    damaged. Each run is compared with its trial: status, params, tags, metrics and artifacts, and
    what is lacking is sent. Trains nothing, and what is complete stays as it is.

    \b
    Example: pipeline sync networks-few_digits
    """
    from pipeline.jobs import sync
    from pipeline.stores import locations
    from pipeline.system.signals import SignalStopRequest

    stores = locations.locate(storage)
    study = argument_or_option(name, name_option)
    if check:
        sync.check(stores, study, say=print_message)
        return
    try:
        sync.sync(
            stores,
            study,
            experiment=experiment,
            say=print_message,
            stop=SignalStopRequest(),
        )
    except Interrupted as interrupted:
        print_message(f"interrupted; go on with: {command_line()}", err=True)
        sys.exit(interrupted.code)
