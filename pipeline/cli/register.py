"""`pipeline register`: make a network a version of a registered model."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

import click

from pipeline.cli.export import describe_origin
from pipeline.cli.options import (
    NETWORK_OPTIONS,
    Command,
    chosen_network_option,
    data_dir_option,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage


@click.command(name="register", cls=Command)
@network_source_options
@click.option(
    "--as",
    "called",
    metavar="NAME",
    help="The model's name.  [default: the study's, or the data set's]",
)
@click.option(
    "--alias", default="champion", show_default=True, help="By which the newest version is found."
)
@data_dir_option
@storage_option
def register_command(called: str | None, alias: str, **options: Any) -> None:
    """Make a network the next version of a model in MLflow's registry, ready for `mlflow models serve`.

    \b
    Example: pipeline register --best --as digits
    """
    way = chosen_network_option(options)
    from pipeline.inference import export, find, networks, registry
    from pipeline.stores import access, locations
    from pipeline.tracking import server

    registry.check_names(called or "model", alias)
    where = locations.locate(options["storage"])
    which = networks.NetworkReference(**{key: options[key] for key in NETWORK_OPTIONS})
    with garbage.freeze_loaded():
        found = find.find_network(where, which)
    name = called or found.study or found.card.config.dataset.partition(":")[0]
    made = export.export(found, options["data_dir"], "pt2")
    access.prepare(where)
    version = registry.register(where, found, made, name, alias)
    request = where.reports(name) / "request.json"
    export.write(request, json.dumps(registry.example_request(made)).encode())
    click.echo(
        f"{name} version {version.version} is {version.uri}{_before(version)}, {describe_origin(way, found)}"
    )
    click.echo(f"checked on {made.checked_on}: the largest difference is {made.difference:.1e}")
    elsewhere = "MLFLOW_TRACKING_URI" in os.environ
    if elsewhere:
        store = f"MLFLOW_TRACKING_URI={shlex.quote(server.without_password(where.tracking))} "
    else:
        store = ""
    kind = shlex.quote("Content-Type: application/json")
    click.echo(
        f"serve:   {store}mlflow models serve --env-manager local -m {shlex.quote(version.uri)} --port 5001"
    )
    click.echo("predict: pipeline predict --url http://127.0.0.1:5001 IMAGE")
    click.echo(
        f"curl:    curl -H {kind} -d @{shlex.quote(str(request))} http://127.0.0.1:5001/invocations"
    )


def _before(version: Any) -> str:
    if version.moved is None:
        return ""
    return f" (which was version {version.moved})"
