"""`pipeline status`: where a study's sweep stands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Command, argument_or_option, storage_option
from pipeline.system import garbage

if TYPE_CHECKING:
    from pipeline.report.status import Status
    from pipeline.stores.locations import Stores


@click.command(name="status", cls=Command)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@storage_option
def status_command(
    name: str | None, name_option: str | None, as_json: bool, storage: str | None
) -> None:
    """Say where a study's sweep stands (default: the one last run, and a line for each other that is under way).

    Reads the store of studies alone, while a sweep writes it too, and writes nothing.

    \b
    Example: pipeline status default-digits
    """
    import shutil

    from pipeline.report import status
    from pipeline.stores import access, locations, locks

    where = locations.locate(storage)
    name = argument_or_option(name, name_option)
    found = _look(where, name)
    if as_json:
        click.echo(json.dumps(status.status_values(found), indent=2))
        return
    click.echo(status.status_text(found, shutil.get_terminal_size().columns))
    if name is None:
        for other in access.read_names(where):
            if other != found.record.name and locks.holder(where, other):
                click.echo(f"also {status.status_line(_look(where, other))}")


def _look(where: Stores, name: str | None) -> Status:
    from pipeline.report.status import Status
    from pipeline.stores import access, locations, locks

    with garbage.freeze_loaded():
        record = access.read_record(where, name)
    checkpoints = where.home / "checkpoints" / record.name
    places = {
        "record": locations.display_name(where.tracking),
        "studies": locations.display_name(where.studies),
        "checkpoints": f"{checkpoints}, {_size(checkpoints) / 1e6:.1f} MB",
        "report": str(where.reports(record.name)),
    }
    running = access.read_running(where, record.name)
    return Status(
        record=record,
        running=running,
        holder=locks.holder(where, record.name),
        places=places,
        now=time.time(),
    )


def _size(folder: Path) -> int:
    """Bytes of the files below a folder, as far as they stay while one looks."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
