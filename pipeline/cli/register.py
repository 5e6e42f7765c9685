"""`pipeline register`: make a network a version of a registered model."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    Command,
    chosen_network_option,
    data_dir_option,
    describe_origin,
    network_reference,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.console import print_message

if TYPE_CHECKING:
    from pipeline.stores.locations import Stores


@click.command(name="register", cls=Command, short_help="Add a network to MLflow's model registry.")
@network_source_options
@click.option(
    "--as",
    "called",
    metavar="NAME",
    help="The model's name.  [default: the study's, or the data set's]",
)
@click.option(
    "--alias",
    default="champion",
    show_default=True,
    help="The alias of the new version: models:/NAME@ALIAS.",
)
@data_dir_option
@storage_option
def register_command(called: str | None, alias: str, **options: Any) -> None:
    """Make a network the next version of a model in MLflow's registry, ready for `mlflow models
    serve`.

    \b
    Example: pipeline register --best --as digits
    """
    option = chosen_network_option(options)
    from pipeline.inference import export, find, registry
    from pipeline.stores import access, locations

    registry.check_names(called or "model", alias)
    stores = locations.locate(options["storage"])
    with garbage.freeze_loaded():
        network = find.find_network(stores, network_reference(stores, options))
    name = called or network.study or network.card.config.dataset.partition(":")[0]
    registry.check_names(name, alias)  # also a name that a tag of the run has
    request = stores.reports(name) / "request.json"
    exported = export.export(network, options["data_dir"], "pt2")
    access.prepare(stores)
    version = registry.register(stores, network, exported, name, alias)
    export.write(request, json.dumps(registry.example_request(exported)).encode())
    previous = "" if version.moved is None else f" (which was version {version.moved})"
    print_message(
        f"{name} version {version.version} is {version.uri}{previous}, "
        f"{describe_origin(option, network.run_id)}"
    )
    print_message(
        f"checked on {exported.checked_on}: the largest difference is {exported.difference:.1e}"
    )
    _print_usage(stores, version.uri, request)


def _print_usage(stores: Stores, uri: str, request: Path) -> None:
    """Print the commands that serve the model and classify an image with the server."""
    from pipeline.tracking import server

    variable = ""
    if "MLFLOW_TRACKING_URI" in os.environ:
        tracking = shlex.quote(server.without_password(stores.tracking))
        variable = f"MLFLOW_TRACKING_URI={tracking} "
    header = shlex.quote("Content-Type: application/json")
    click.echo(
        f"serve:   {variable}mlflow models serve --env-manager local "
        f"-m {shlex.quote(uri)} --port 5001"
    )
    click.echo("predict: pipeline predict --url http://127.0.0.1:5001 IMAGE")
    click.echo(
        f"curl:    curl -H {header} -d @{shlex.quote(str(request))} "
        "http://127.0.0.1:5001/invocations"
    )
