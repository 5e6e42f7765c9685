"""`pipeline archive`: pack a study into one file."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import Command, storage_option
from pipeline.cli.stored_names import complete_study
from pipeline.system.console import print_message


@click.command(name="archive", cls=Command, short_help="Write a study as one file.")
@click.argument("name", shell_complete=complete_study)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: NAME.study.zip]",
)
@storage_option
def archive_command(name: str, out: Path | None, storage: str | None) -> None:
    """Pack a study into one file, for another folder or computer: trials, runs with all metrics,
    weights, checkpoints, report, and its finalists. The study stays as it is.

    `pipeline restore` unpacks it, and `pipeline delete` makes room afterwards.

    \b
    Example: pipeline archive networks-few_digits --out first-look.zip
    """
    from pipeline.jobs.keeping import archive
    from pipeline.stores import locations

    print_message(archive.archive(locations.locate(storage), name, out))
