"""`pipeline run`: run an entry point of MLproject through MLflow."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli.options import Command
from pipeline.system.errors import UsageFailure


@click.command(name="run", cls=Command, short_help="Run a command through `mlflow run`.")
@click.option(
    "-e",
    "--entry-point",
    "entry",
    default="main",
    show_default=True,
    help="The entry point of MLproject: sweep, train, report, ...",
)
@click.option(
    "-P",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the command: trials=4 becomes --trials 4.",
)
@click.option(
    "--env-manager",
    type=click.Choice(["local", "conda", "uv", "virtualenv"]),
    help="[default: conda if there is one, else local]",
)
@click.option("--backend", default="local", show_default=True, help="MLflow's backend.")
@click.option("--backend-config", help="A .json file for the backend.")
@click.option("--experiment", help="The MLflow experiment to record in.")
def run_command(entry: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Run an entry point of this project through `mlflow run`.

    \b
    Example: pipeline run -e sweep -P trials=4
    """
    from pipeline.tracking import projects

    values = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not key or not equals:
            raise UsageFailure(f"-P takes KEY=VALUE: got {key!r}")
        values[key] = value
    try:
        sys.exit(projects.run(entry, values, **options))
    except ValueError as error:
        raise UsageFailure(str(error)) from None
