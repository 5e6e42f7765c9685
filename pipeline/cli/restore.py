"""`pipeline restore`: put an archived study into the stores."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import Command, storage_option
from pipeline.system.console import print_message


@click.command(name="restore", cls=Command, short_help="Read a study from an archive.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call the study here.  [default: its own name]")
@storage_option
def restore_command(file: Path, name: str | None, storage: str | None) -> None:
    """Put a study that `pipeline archive` has packed into the stores of this folder. It goes on
    from there.

    The file is checked first, by sizes and sums; from a damaged one nothing is restored.

    \b
    Example: pipeline restore first-look.zip --name first-look-again
    """
    from pipeline.jobs.keeping import restore
    from pipeline.stores import locations

    restore.restore(locations.locate(storage), file, name, print_message)
