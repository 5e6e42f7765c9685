"""`pipeline rename`: give a study another name."""

from __future__ import annotations

import click

from pipeline.cli.options import Command, storage_option
from pipeline.cli.stored_names import complete_study
from pipeline.system.console import print_message


@click.command(name="rename", cls=Command, short_help="Give a study another name.")
@click.argument("name", shell_complete=complete_study)
@click.argument("new")
@storage_option
def rename_command(name: str, new: str, storage: str | None) -> None:
    """Give a study another name, in both stores and in its files; its finalists go along.

    Whatever names it is changed with it: the command that goes on with it, and the studies that
    began from it. Its report is written anew.

    \b
    Example: pipeline rename networks-few_digits first-look
    """
    from pipeline.jobs.keeping import rename
    from pipeline.stores import locations

    rename.rename(locations.locate(storage), name, new, print_message)
