"""`pipeline report`: rank the trials of studies, and write tables, plots and a page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import (
    Command,
    argument_or_option,
    check_within,
    storage_option,
    within_option,
)
from pipeline.system import garbage

_ROWS_OF_A_TABLE = 20
_FORMATS = click.Choice(["table", "json", "csv", "md"])


@click.command(name="report", cls=Command)
@click.argument("names", nargs=-1)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--best", "show_best", is_flag=True, help="The winner in detail.")
@within_option
@click.option("--top", type=click.IntRange(1), help="Rows at most.  [default: 20 in a table]")
@click.option(
    "--format", "fmt", type=_FORMATS, default="table", show_default=True, help="How it is printed."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder.  [default: reports/NAME]",
)
@storage_option
def report_command(
    names: tuple[str, ...],
    name_option: str | None,
    show_best: bool,
    within: float | None,
    top: int | None,
    fmt: str,
    **options: Any,
) -> None:
    """Rank the trials of studies (default: the one last run), and write tables, plots and an HTML
    page.

    Several studies are compared as well, in a folder beside theirs.

    \b
    Example: pipeline report networks-few_digits --best
    """
    check_within(within, is_best=show_best)
    with garbage.freeze_loaded():
        from pipeline.report import comparison, render
        from pipeline.stores import access, locations
        from pipeline.system import forkserver

    stores = locations.locate(options["storage"])
    forkserver.warm_up(forkserver.DRAWING_PRELOAD)
    with garbage.freeze_loaded():
        records = [
            access.read_record(stores, argument_or_option(name, name_option))
            for name in dict.fromkeys(names) or (None,)
        ]
    if top is None and fmt == "table":
        top = _ROWS_OF_A_TABLE
    out = options["out"]
    if len(records) > 1:
        if show_best:
            for record in records:
                click.echo(render.render_winner(record, fmt, within=within))
        else:
            click.echo(comparison.render(records, fmt, top))
        reports = out or stores.home / "reports"
        for record in records:
            _write_files(reports / record.name, partial(render.write, record))
        folder = reports / comparison.folder_name(records)
        _write_files(folder, partial(comparison.write, records))
        return
    record = records[0]
    if show_best:
        click.echo(render.render_winner(record, fmt, within=within))
    else:
        click.echo(render.render(record, fmt, top))
    _write_files(out or stores.reports(record.name), partial(render.write, record))


def _write_files(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a report's files if possible: the printed report is worth having without them."""
    try:
        write(folder)
    except OSError as error:
        click.echo(f"no files written in {folder}: {error.strerror or error}", err=True)
    else:
        click.echo(f"files: {folder}", err=True)
