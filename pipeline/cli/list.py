"""`pipeline list`: the studies of the store."""

from __future__ import annotations

import sys

import click

from pipeline.cli.options import Command, storage_option
from pipeline.system import garbage
from pipeline.system.console import print_message, stream_width


@click.command(name="list", cls=Command, short_help="List your studies.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="The format of the output.",
)
@storage_option
def list_command(fmt: str, storage: str | None) -> None:
    """List your studies, those last used first: data, ended trials, the best value, the size on
    disk, and when a command last trained them.

    Finalists are part of their study. `pipeline studies` lists the shipped study files.

    \b
    Example: pipeline list --format json
    """
    with garbage.freeze_loaded():
        from pipeline.jobs.keeping import listing
        from pipeline.stores import locations, pending

    stores = locations.locate(storage)
    with garbage.freeze_loaded():
        studies = listing.list_studies(stores)
    if studies or fmt != "table":
        click.echo(listing.render(studies, fmt, stream_width(sys.stdout)))
    else:
        print_message("no study yet: run `pipeline sweep` first", err=True)
    for begun in pending.find(stores):
        print_message(pending.describe(stores, begun), err=True)
