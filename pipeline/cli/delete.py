"""`pipeline delete`: delete studies with all that belongs to them."""

from __future__ import annotations

import click

from pipeline.cli.options import Command, agree, storage_option, yes_option
from pipeline.cli.stored_names import complete_study
from pipeline.system.console import print_message


@click.command(
    name="delete", cls=Command, short_help="Delete studies, with their runs and weights."
)
@click.argument("names", nargs=-1, required=True, shell_complete=complete_study)
@yes_option
@storage_option
def delete_command(names: tuple[str, ...], yes: bool, storage: str | None) -> None:
    """Delete studies: trials, runs, weights, checkpoints, reports, and their finalists. There is no
    way back but `pipeline archive` before.

    \b
    Example: pipeline delete first-look second-look
    """
    from pipeline.jobs.keeping import delete
    from pipeline.stores import locations

    stores = locations.locate(storage)
    deletions = delete.plan(stores, names)
    for deletion in deletions:
        for line in deletion.describe():
            print_message(line)
    if deletions:
        agree("delete", yes=yes)
    for deletion in deletions:
        delete.delete(stores, deletion, print_message)
