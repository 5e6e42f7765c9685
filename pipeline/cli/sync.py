"""`pipeline sync`: complete a study's record in MLflow."""

from __future__ import annotations

import sys

import click

from pipeline.cli.options import Command, argument_or_option, command_line, storage_option
from pipeline.system.errors import Interrupted


@click.command(name="sync", cls=Command)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option(
    "--experiment", help="MLflow experiment, where the study's parent run has to be made anew."
)
@storage_option
def sync_command(
    name: str | None, name_option: str | None, experiment: str | None, storage: str | None
) -> None:
    """Complete MLflow's record of a study (default: the one last run) from what the studies' store
    has kept.

    For a tracking server that was away when the sweep ended, or a tracking store that was lost.
    Trains nothing, and what is complete stays as it is.

    \b
    Example: pipeline sync default-digits
    """
    from pipeline.jobs import sync
    from pipeline.stores import locations
    from pipeline.system.signals import SignalStopRequest

    try:
        sync.sync(
            locations.locate(storage),
            argument_or_option(name, name_option),
            experiment=experiment,
            say=click.echo,
            stop=SignalStopRequest(),
        )
    except Interrupted as interrupted:
        click.echo(f"interrupted; go on with: {command_line()}", err=True)
        sys.exit(interrupted.code)
