"""`pipeline export`: write a network as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import (
    NETWORK_OPTIONS,
    Command,
    chosen_network_option,
    data_dir_option,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.errors import UsageFailure


@click.command(name="export", cls=Command)
@network_source_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write.",
)
@click.option(
    "--format", "fmt", type=click.Choice(["pt2", "onnx"]), help="[default: what the file is called]"
)
@data_dir_option
@storage_option
def export_command(out: Path, fmt: str | None, **options: Any) -> None:
    """Write a network as one file: torch.export's pt2, or ONNX. Raw uint8 images in, probabilities out.

    It is checked on 100 validation images against the network itself; a file that answers otherwise is not written.

    \b
    Example: pipeline export --best --out winner.onnx
    """
    suffix = out.suffix.lower().removeprefix(".")
    fmt = fmt or suffix
    if fmt not in ("pt2", "onnx"):
        raise UsageFailure(
            f"--out must end in .pt2 or .onnx, or --format say which it is: got {out.name!r}"
        )
    way = chosen_network_option(options)
    from pipeline.inference import export, find, networks
    from pipeline.stores import locations

    which = networks.NetworkReference(**{key: options[key] for key in NETWORK_OPTIONS})
    with garbage.freeze_loaded():
        found = find.find_network(locations.locate(options["storage"]), which)
    made = export.export(found, options["data_dir"], fmt)
    export.write(out, made.content)
    height, width, channels = made.example.shape[1:]
    click.echo(f"{out}: {len(made.content) / 1e3:,.0f} kB, {describe_origin(way, found)}")
    click.echo(
        f"takes uint8 images (batch, {height}, {width}, {channels}), gives probabilities (batch, classes)"
    )
    click.echo(f"checked on {made.checked_on}: the largest difference is {made.difference:.1e}")


def describe_origin(way: str, found: Any) -> str:
    """Say where a network comes from: its run, or how it was named."""
    if found.run_id:
        return f"from run {found.run_id}"
    return f"from a {way}"
