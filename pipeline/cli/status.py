"""`pipeline status`: where a study's sweep stands."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Command, argument_or_option, storage_option
from pipeline.system import garbage
from pipeline.system.console import format_size
from pipeline.system.files import folder_size

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
    """Say where a study's sweep stands (default: the one last run, and a line for each other that
    is under way).

    Reads the store of studies alone, while a sweep writes it too, and writes nothing.

    \b
    Example: pipeline status networks-few_digits
    """
    from pipeline.report import status
    from pipeline.stores import access, locations, locks

    stores = locations.locate(storage)
    name = argument_or_option(name, name_option)
    shown = read_status(stores, name)
    if as_json:
        click.echo(json.dumps(status.status_values(shown), indent=2))
        return
    click.echo(status.status_text(shown, shutil.get_terminal_size().columns))
    if name is not None:
        return
    for study in access.read_names(stores):
        if study != shown.record.name and locks.holder(stores, study):
            click.echo(f"also {status.status_line(read_status(stores, study))}")


def read_status(stores: Stores, name: str | None) -> Status:
    """Read the status of a study, or of the study last opened."""
    from pipeline.report.status import Status
    from pipeline.stores import access, locations, locks

    with garbage.freeze_loaded():
        record = access.read_record(stores, name)
    checkpoints = stores.home / "checkpoints" / record.name
    return Status(
        record=record,
        running=access.read_running(stores, record.name),
        holder=locks.holder(stores, record.name),
        places={
            "record": locations.display_name(stores.tracking),
            "studies": locations.display_name(stores.studies),
            "checkpoints": f"{checkpoints}, {format_size(folder_size(checkpoints))}",
            "report": str(stores.reports(record.name)),
        },
        now=time.time(),
    )
