"""`pipeline status`: where a study's sweep stands."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Command, argument_or_option, storage_option
from pipeline.cli.stored_names import complete_study
from pipeline.system import garbage
from pipeline.system.console import print_message, stream_width
from pipeline.system.errors import Interrupted, UsageFailure

if TYPE_CHECKING:
    from pipeline.report.status import Status
    from pipeline.stores.locations import Stores

_CLEAR = "\x1b[H\x1b[2J"  # clears a terminal
_POLL_INTERVAL = 0.2  # seconds


@click.command(name="status", cls=Command, short_help="Show how far a sweep is.")
@click.argument("name", required=False, shell_complete=complete_study)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch", is_flag=True, help="Go on printing until the sweep has ended; Ctrl-C ends it."
)
@storage_option
def status_command(
    name: str | None, name_option: str | None, as_json: bool, watch: bool, storage: str | None
) -> None:
    """Say where a study's sweep stands (default: the one last run, and a line for each other that
    is under way).

    Reads the store of studies alone, while a sweep writes it too, and writes nothing.

    \b
    Example: pipeline status networks-few_digits
    """
    from pipeline.stores import locations

    if watch and as_json:
        raise UsageFailure("--watch prints text, not JSON: leave out --watch or --json")
    stores = locations.locate(storage)
    name = argument_or_option(name, name_option)
    if watch:
        _watch(stores, name)
    else:
        _print_status(stores, name, as_json=as_json)


def _print_status(stores: Stores, name: str | None, *, as_json: bool) -> None:
    """Print the status of a study and, if none is named, of others that are under way."""
    from pipeline.report import status
    from pipeline.stores import access, locks

    shown = read_status(stores, name)
    if as_json:
        click.echo(json.dumps(status.status_values(shown), indent=2))
        return
    click.echo(status.status_text(shown, stream_width(sys.stdout)))
    if name is not None:
        return
    for study in access.read_names(stores):
        if study != shown.record.name and locks.holder_of_any(stores, study):
            print_message(f"also {status.status_line(read_status(stores, study))}")


def read_status(stores: Stores, name: str | None) -> Status:
    """Read the status of a study, or of the study last opened."""
    from pipeline.jobs import watch

    with garbage.freeze_loaded():
        return watch.read_status(stores, name)


def _watch(stores: Stores, name: str | None) -> None:
    """Print the status of a study again and again, until no process goes on with it.

    On a terminal it stays in place. Elsewhere each change is a line.
    """
    from pipeline.jobs import watch
    from pipeline.report import status
    from pipeline.system.signals import stop_requests

    width = stream_width(sys.stdout)
    printed = ""
    with stop_requests() as stop:
        try:
            while True:
                began = time.monotonic()
                shown = read_status(stores, name)
                name = shown.record.name
                if width is None:
                    text = status.status_line(shown)
                else:
                    text = _CLEAR + status.status_text(shown, width)
                if text != printed:
                    click.echo(text)
                    printed = text
                if shown.holder is None:
                    return
                ended = time.monotonic()
                while time.monotonic() < ended + watch.pause_after(ended - began):
                    stop.check()
                    time.sleep(_POLL_INTERVAL)
        except Interrupted:
            return
