"""`pipeline data`: list, download, verify and show data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import Command, argument_or_option, config_options, data_dir_option
from pipeline.system.errors import UsageFailure

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.data.overview import Overview
    from pipeline.jobs.show_data import ShownData

_PIXELS = 16  # of an image in the terminal, a side
_NAME_WIDTH = 14  # characters before a row of images
_PRINTED_CLASSES = 10  # whose images are printed


@click.command(name="data", cls=Command, short_help="List, show, download or verify data sets.")
@click.argument("action", type=click.Choice(["verify", "download", "show"]), required=False)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The data set, instead of the argument.")
@config_options("split_seed", "split_file", "image_size")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the page of `show`.  [default: reports/data-NAME]",
)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data_command(
    action: str | None,
    name: str | None,
    name_option: str | None,
    data_dir: Path,
    *,
    as_json: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """List the data sets and whether they are there, download one, verify one's files (default: all
    there are), or show one's classes, sizes and images.

    Showing counts the images of all splits, and writes a page and contact sheets of training and
    validation images. Verifying reads every file and compares its SHA-256 with the lock file, which
    is written when there is none.

    \b
    Example: pipeline data show mnist
    """
    from pipeline.system.text import clean

    name = argument_or_option(name, name_option, "data set")
    if action == "show":
        _show(name, data_dir, options, out, as_json=as_json)
        return
    if out is not None or any(value is not None for value in options.values()):
        raise UsageFailure(
            "--out, --split-seed, --split-file and --image-size are for: pipeline data show NAME"
        )
    if action == "download":
        states = _download(name, data_dir)
    elif action == "verify":
        states = _verify(name, data_dir)
    else:
        states = _list(name, data_dir)
    if as_json:
        rows = [{"name": data_set, "state": state} for data_set, state in states.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    for data_set, state in states.items():
        click.echo(f"{clean(data_set):16} {clean(state)}")


def _show(
    name: str | None,
    data_dir: Path,
    options: Mapping[str, Any],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Show a data set: print its classes, and write its page and contact sheets."""
    from pipeline.data import overview
    from pipeline.jobs import show_data
    from pipeline.report.data_page import folder_name
    from pipeline.stores import locations

    if name is None:
        raise UsageFailure("show takes the name of a data set: pipeline data show mnist")
    _check(name)
    found = overview.look_at(
        name, data_dir, options["split_seed"] or 0, options["split_file"], options["image_size"]
    )
    shown = show_data.show(found)
    folder = out or locations.locate().reports(folder_name(name))
    page, sheet, *_ = show_data.write(shown, folder)
    if as_json:
        click.echo(json.dumps(show_data.values(found), indent=2))
    else:
        _print_overview(shown)
    click.echo(f"page: {page}", err=True)
    click.echo(f"contact sheet: {sheet}", err=True)
    click.echo(f"contact sheets of the classes: {folder / 'classes'}", err=True)


def _print_overview(shown: ShownData) -> None:
    """Print what is known of a data set, and some of its images where the terminal can."""
    from pipeline.report.data_page import class_grid
    from pipeline.report.grid import Section
    from pipeline.report.terminal import render_section
    from pipeline.system.console import make_console

    contents = shown.contents
    width = max(len(name) for name, _ in contents.facts)
    for name, text in contents.facts:
        click.echo(f"{name:{width}}  {text}")
    section = Section(title="Classes", grid=class_grid(contents), lines=tuple(contents.warnings))
    click.echo(f"\n{render_section(section)}\n")
    console = make_console()
    has_colours = console.color_system in ("256", "truecolor") and console.encoding == "utf-8"
    if console.is_terminal and has_colours:
        _print_images(console, shown.found)


def _print_images(console: Console, found: Overview) -> None:
    """Print some training images of the first classes: two pixels in each character."""
    from rich.text import Text

    from pipeline.data.overview import class_strip
    from pipeline.system.text import clip

    count = max(1, (console.width - _NAME_WIDTH) // (_PIXELS + 1))
    for label, one in enumerate(found.classes[:_PRINTED_CLASSES]):
        rows = class_strip(found.data, label, count, _PIXELS)
        for index in range(0, len(rows), 2):
            name = clip(one.name, _NAME_WIDTH - 1) if index == 0 else ""
            line = Text(f"{name:{_NAME_WIDTH}}")
            for upper, lower in zip(rows[index], rows[index + 1], strict=True):
                style = f"rgb({','.join(map(str, upper))}) on rgb({','.join(map(str, lower))})"
                line.append("▀", style=style)
            console.print(line)
        console.print()


def _list(name: str | None, data_dir: Path) -> dict[str, str]:
    """Describe the state of one data set, or of each."""
    from pipeline.data import datasets

    _check(name)
    names = [name] if name else list(datasets.DATASETS)
    return {name: datasets.describe_state(name, data_dir) for name in names}


def _download(name: str | None, data_dir: Path) -> dict[str, str]:
    """Download one data set, and describe its state."""
    from pipeline.data import datasets

    if name is None:
        raise UsageFailure("download takes the name of a data set: pipeline data download mnist")
    _check(name)
    count = datasets.read_all(name, data_dir)
    return {name: f"{count:,} images in {data_dir}"}


def _verify(name: str | None, data_dir: Path) -> dict[str, str]:
    """Verify the files of one data set, or of each that is there, and describe its state."""
    from pipeline.data import datasets, lockfile

    _check(name)
    if name:
        names = [name]
    else:
        names = [name for name in datasets.DATASETS if datasets.is_readable(name, data_dir)]
    states = {}
    for data_set in names:
        files = datasets.dataset_files(data_set, data_dir)
        if files is None:
            state = datasets.describe_state(data_set, data_dir)
            states[data_set] = f"{state}: no files of its own"
            continue
        if not files.sizes:
            raise UsageFailure(
                f"no data set {data_set} in {data_dir}: "
                f"`pipeline data download {data_set}` fetches it"
            )
        compared, lock_file = lockfile.verify(files)
        if compared:
            states[data_set] = f"{compared:,} files are what they were"
        else:
            count = len(files.sizes)
            states[data_set] = f"{count:,} files read for the first time; lock file: {lock_file}"
    return states


def _check(name: str | None) -> None:
    """Check that there is a data set of this name.

    Raises:
        UsageFailure: if there is none.
    """
    from pipeline.data import datasets

    try:
        datasets.get_source(name or "digits")
    except ValueError as error:
        raise UsageFailure(str(error)) from None
