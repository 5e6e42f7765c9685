"""`pipeline report`: rank the trials of studies, and write tables, plots and a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    Command,
    WholeNumber,
    argument_or_option,
    check_within,
    storage_option,
    within_option,
)
from pipeline.cli.status import read_status
from pipeline.cli.stored_names import complete_study
from pipeline.system import garbage
from pipeline.system.console import print_message
from pipeline.system.errors import Interrupted, UsageFailure

if TYPE_CHECKING:
    from pipeline.stores.locations import Stores
    from sweeps.analysis.record import StudyRecord

_ROWS_OF_A_TABLE = 20
_FIRST_PORT = 5010  # of the page that renews itself
_PORTS = 20
_FORMATS = click.Choice(["table", "json", "csv", "md", "latex"])
_DATA_FORMATS = ("json", "csv", "md")  # which are printed for other programs and documents
PLOT_FORMATS = ("png", "svg", "pdf")
_STYLES = click.Choice(["screen", "paper"])


def _read_plots(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[str, ...]:
    """Read the value of ``--plots``: formats, separated by commas."""
    formats = [one.strip() for one in (text or "").split(",") if one.strip()]
    unknown = [one for one in formats if one not in PLOT_FORMATS]
    if unknown or (text is not None and not formats):
        raise click.BadParameter(
            f"{', '.join(map(repr, unknown)) or 'nothing'} is no format of a plot; "
            f"choose from {', '.join(PLOT_FORMATS)}, separated by commas"
        )
    return tuple(dict.fromkeys(formats))


@click.command(
    name="report", cls=Command, short_help="Rank trials, compare studies; write tables and plots."
)
@click.argument("names", nargs=-1, shell_complete=complete_study)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--best", "show_best", is_flag=True, help="Show the winner in detail.")
@within_option
@click.option(
    "--top", type=WholeNumber(1), help="Show at most so many trials.  [default: 20 in a table]"
)
@click.option(
    "--format",
    "fmt",
    type=_FORMATS,
    default="table",
    show_default=True,
    help="The format of the output.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the report.  [default: reports/NAME; none for json, csv and md]",
)
@click.option(
    "--plots",
    callback=_read_plots,
    metavar="FORMATS",
    help="Draw the plots for print, too, into figures/: png (300 dpi), svg, pdf, or several.",
)
@click.option(
    "--style",
    type=_STYLES,
    default="screen",
    show_default=True,
    help="The style of the plots for print; paper: without titles, as wide as a page's text. "
    "Without --plots, it draws pdf.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Show the page on 127.0.0.1 and renew it while the sweep runs; Ctrl-C ends it.",
)
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    help=f"The port of the page of --watch.  [default: {_FIRST_PORT}, or the next that is free]",
)
@storage_option
def report_command(
    names: tuple[str, ...],
    name_option: str | None,
    show_best: bool,
    within: float | None,
    top: int | None,
    fmt: str,
    plots: tuple[str, ...],
    style: str,
    **options: Any,
) -> None:
    """Rank the trials of studies (default: the one last run), and write tables, plots and an HTML
    page. With --format json, csv or md it prints alone, unless --out is given.

    Several studies are compared as well, in a folder beside theirs. For a thesis, --format latex
    prints methods and tables, and writes them as files; --plots pdf --style paper draws the plots.
    With --watch nothing is printed or written: the page of a study is shown, as it is while its
    sweep goes on.

    \b
    Example: pipeline report networks-few_digits --best
    """
    check_within(within, is_best=show_best)
    if options["watch"]:
        given = {"--best": show_best, "--top": top, "--out": options["out"], "--plots": plots}
        _check_watch(names, [option for option, value in given.items() if value], fmt)
        study = argument_or_option(names[0] if names else None, name_option)
        _watch(study, options["storage"], options["port"])
        return
    if options["port"] is not None:
        raise UsageFailure("--port is the port of --watch: add --watch, or leave --port out")
    with garbage.freeze_loaded():
        from pipeline.report import comparison, render
        from pipeline.stores import access, locations
        from pipeline.system import forkserver

    stores = locations.locate(options["storage"])
    with garbage.freeze_loaded():
        records = [
            access.read_record(stores, argument_or_option(name, name_option))
            for name in dict.fromkeys(names) or (None,)
        ]
    if top is None and fmt == "table":
        top = _ROWS_OF_A_TABLE
    out = options["out"]
    has_figures = bool(plots) or style == "paper"
    is_written = fmt not in _DATA_FORMATS or out is not None or has_figures
    reports = _folders(records, stores, out)
    current = [is_written and render.is_current(*report) for report in reports]
    if is_written and not all(current):
        forkserver.warm_up(forkserver.DRAWING_PRELOAD)  # while the text is made and printed
    click.echo(_text(records, fmt, top, within=within, show_best=show_best))
    if not is_written:
        return
    write = partial(_write_report, fmt=fmt, top=top, plots=plots, paper=style == "paper")
    for (record, folder), is_current in zip(reports, current, strict=True):
        _write_files(folder, partial(write, record, is_current=is_current))
    if len(records) > 1:
        folder = (out or stores.home / "reports") / comparison.folder_name(records)
        _write_files(folder, partial(_write_comparison, records, fmt=fmt))


def _text(
    records: Sequence[StudyRecord],
    fmt: str,
    top: int | None,
    *,
    within: float | None,
    show_best: bool,
) -> str:
    """Write what is printed: the winners, a study's table, or the comparison of several."""
    from pipeline.report import comparison, render

    if show_best:
        return "\n".join(render.render_winner(record, fmt, within=within) for record in records)
    if len(records) > 1:
        return comparison.render(records, fmt, top)
    return render.render(records[0], fmt, top)


def _folders(
    records: Sequence[StudyRecord], stores: Stores, out: Path | None
) -> list[tuple[StudyRecord, Path]]:
    """Return each study with the folder of its report."""
    if len(records) > 1 and out is not None:
        return [(record, out / record.name) for record in records]
    return [(record, out or stores.reports(record.name)) for record in records]


def _write_comparison(records: Sequence[StudyRecord], folder: Path, *, fmt: str) -> None:
    """Write the comparison of studies and, if that was asked for, its tables for LaTeX."""
    from pipeline.report import comparison

    comparison.write(records, folder)
    if fmt == "latex":
        comparison.write_latex(records, folder)


def _write_report(
    record: StudyRecord,
    folder: Path,
    *,
    is_current: bool,
    fmt: str,
    top: int | None,
    plots: tuple[str, ...],
    paper: bool,
) -> None:
    """Write the report of a study, and what was asked for besides: LaTeX, and plots for print."""
    from pipeline.report import render
    from pipeline.report.plots.base import PRINT_DPI, Output

    if not is_current:
        render.write(record, folder)
    if fmt == "latex":
        render.write_latex(record, folder, top)
    if paper and not plots:
        plots = ("pdf",)
    if plots:
        output = Output(formats=plots, paper=paper, dpi=PRINT_DPI)
        render.write_figures(record, folder, output)


def _check_watch(names: Sequence[str], given: Sequence[str], fmt: str) -> None:
    """Check that nothing is asked for that a page which renews itself does not have."""
    if len(names) > 1:
        raise UsageFailure(f"--watch shows one study: got {', '.join(names)}")
    if fmt != "table":
        given = [*given, "--format"]
    if given:
        raise UsageFailure(f"--watch only shows a page: leave out {', '.join(given)}")


def _watch(name: str | None, storage: str | None, port: int | None) -> None:
    """Show the page of a study until Ctrl-C."""
    with garbage.freeze_loaded():
        from pipeline.jobs import watch
        from pipeline.stores import locations
        from pipeline.system import forkserver, local_page
        from pipeline.system.signals import stop_requests

    stores = locations.locate(storage)
    if port is None:
        port = local_page.first_free_port(_FIRST_PORT, _PORTS)
    else:
        local_page.check_port(port)
    forkserver.warm_up(forkserver.DRAWING_PRELOAD)
    address = f"http://{local_page.HOST}:{port}/"

    def print_address() -> None:
        print_message(f"the report, renewed while this runs: {address} (Ctrl-C ends it)")

    with stop_requests() as stop:
        try:
            watch.watch(lambda: read_status(stores, name), port, print_address, stop)
        except Interrupted:
            return


def _write_files(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a report's files if possible: the printed report is worth having without them."""
    try:
        write(folder)
    except OSError as error:
        print_message(f"no files written in {folder}: {error.strerror or error}", err=True)
    else:
        click.echo(f"files: {folder}", err=True)
