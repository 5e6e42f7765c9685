"""The commands that look at a study: parse, call, print. Everything heavy is imported inside them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Command, once, storage_option

if TYPE_CHECKING:
    from pipeline.report.status import Status
    from pipeline.stores.locations import Stores


@click.command(name="status", cls=Command)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@storage_option
def status_command(name: str | None, name_option: str | None, as_json: bool, storage: str | None) -> None:
    """Say where a study's sweep stands (default: the one last run, and a line for each other that is under way).

    Reads the store of studies alone, while a sweep writes it too, and writes nothing.

    \b
    Example: pipeline status default-digits
    """
    import shutil

    from pipeline.report import status
    from pipeline.stores import locations

    where, name = locations.locate(storage), once(name, name_option)
    found = _look(where, name)
    if as_json:
        click.echo(json.dumps(status.facts(found), indent=2))
        return
    click.echo(status.text(found, shutil.get_terminal_size().columns))
    if name is None:
        for other in locations.read_names(where):
            if other != found.record.name and locations.holder(where, other):
                click.echo(f"also {status.line(_look(where, other))}")


def _look(where: Stores, name: str | None) -> Status:
    from pipeline.report.status import Status
    from pipeline.stores import locations

    record = locations.read_record(where, name)
    checkpoints = where.home / "checkpoints" / record.name
    places = {
        "record": locations.shown(where.tracking),
        "studies": locations.shown(where.studies),
        "checkpoints": f"{checkpoints}, {_size(checkpoints) / 1e6:.1f} MB",
        "report": str(where.reports(record.name)),
    }
    running = locations.read_running(where, record.name)
    return Status(
        record=record, running=running, holder=locations.holder(where, record.name), places=places, now=time.time()
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


@click.command(name="ui", cls=Command)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of the server.")
@click.option("--open", "browse", is_flag=True, help="Open the comparison in a browser, too.")
@storage_option
def ui_command(name: str | None, name_option: str | None, port: int, browse: bool, storage: str | None) -> None:
    """Start MLflow's UI on the right store, on 127.0.0.1, and print the link to the comparison. Ctrl-C ends it.

    The comparison is of a study's trials (default: the one last run).

    \b
    Example: pipeline ui --port 5001
    """
    import threading
    import webbrowser

    from pipeline.stores import locations
    from pipeline.tracking import comparison_view, tracker, ui

    where = locations.locate(storage)
    record = locations.read_record(where, once(name, name_option))
    locations.check_tracking(where)
    experiment = tracker.experiment_of(where.tracking, record.parent_run_id)
    is_server = where.tracking.startswith("http")
    host = where.tracking if is_server else f"http://{ui.HOST}:{port}"
    comparison = f"{host}{comparison_view.link(experiment, record.name)}"

    def ready() -> None:
        click.echo(f"comparison of {record.name}: {comparison}")
        if record.parent_run_id:
            click.echo(
                f"its run, description and report: {host}{comparison_view.run_link(experiment, record.parent_run_id)}"
            )
        if browse:  # some browsers are waited for
            threading.Thread(target=webbrowser.open, args=(comparison,), daemon=True).start()

    if is_server:
        ready()
        return
    ui.check_port(port)
    click.echo(f"starting MLflow's UI on {host}; Ctrl-C ends it", err=True)
    ui.serve(where.tracking, port, ready)
