"""`pipeline ui`: start MLflow's user interface on the right store."""

from __future__ import annotations

import threading
import webbrowser

import click

from pipeline.cli.options import Command, WholeNumber, argument_or_option, storage_option
from pipeline.cli.stored_names import complete_study
from pipeline.system import garbage
from pipeline.system.console import print_message


@click.command(name="ui", cls=Command, short_help="Open MLflow's UI on the prepared comparison.")
@click.argument("name", required=False, shell_complete=complete_study)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    default=5000,
    show_default=True,
    help="The port of MLflow's server.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address of MLflow's server. Any but this machine's own needs passwords: "
    "see SECURITY.md.",
)
@click.option("--open", "browse", is_flag=True, help="Open the comparison in a browser, too.")
@storage_option
def ui_command(
    name: str | None,
    name_option: str | None,
    port: int,
    host: str,
    browse: bool,
    storage: str | None,
) -> None:
    """Start MLflow's UI on the right store, on this machine only, and print the link to the
    comparison. Ctrl-C ends it.

    The comparison is of a study's trials (default: the one last run).

    \b
    Example: pipeline ui --port 5001
    """
    from pipeline.stores import access, locations
    from pipeline.system import local_page
    from pipeline.tracking import comparison_view, tracker, ui

    ui.check_host(host)
    stores = locations.locate(storage)
    with garbage.freeze_loaded():
        record = access.read_record(stores, argument_or_option(name, name_option))
    is_server = stores.tracking.startswith("http")
    server = stores.tracking if is_server else f"http://{host}:{port}"

    def print_links(tracking: str) -> None:
        experiment = tracker.experiment_of(tracking, record.parent_run_id)
        comparison = f"{server}{comparison_view.comparison_link(experiment, record.name)}"
        click.echo(f"comparison of {record.name}: {comparison}")
        if record.parent_run_id:
            run = f"{server}{comparison_view.run_link(experiment, record.parent_run_id)}"
            click.echo(f"its run, description and report: {run}")
        if browse:
            # In a thread, because the call waits until some browsers are closed.
            threading.Thread(target=webbrowser.open, args=(comparison,), daemon=True).start()

    with access.read_tracking(stores, writes=True) as tracking:
        if is_server:
            print_links(tracking)
            return
        local_page.check_port(port)
        if tracking != stores.tracking:
            print_message("the store is read-only: what is changed in the UI is not kept", err=True)
        print_message(f"starting MLflow's UI on {server}; Ctrl-C ends it", err=True)
        ui.serve(tracking, host, port, lambda: print_links(tracking))
