"""`pipeline export`: write a network as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from pipeline.system.errors import UsageFailure


@click.command(
    name="export", cls=Command, short_help="Write a network as one file: torch.export or ONNX."
)
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
    """Write a network as one file: torch.export's pt2, or ONNX. Raw uint8 images in, probabilities
    out.

    It is checked on 100 validation images against the network itself; a file that answers otherwise
    is not written.

    \b
    Example: pipeline export --best --out winner.onnx
    """
    fmt = fmt or out.suffix.lower().removeprefix(".")
    if fmt not in ("pt2", "onnx"):
        raise UsageFailure(
            f"--out must end in .pt2 or .onnx, or --format say which it is: got {out.name!r}"
        )
    option = chosen_network_option(options)
    from pipeline.inference import export, find
    from pipeline.stores import locations

    export.check_target(out)
    stores = locations.locate(options["storage"])
    with garbage.freeze_loaded():
        network = find.find_network(stores, network_reference(stores, options))
    exported = export.export(network, options["data_dir"], fmt)
    export.write(out, exported.content)
    kilobytes = len(exported.content) / 1e3
    height, width, channels = exported.example.shape[1:]
    print_message(f"{out}: {kilobytes:,.0f} kB, {describe_origin(option, network.run_id)}")
    print_message(
        f"takes uint8 images (batch, {height}, {width}, {channels}), "
        "gives probabilities (batch, classes)"
    )
    print_message(
        f"checked on {exported.checked_on}: the largest difference is {exported.difference:.1e}"
    )
