"""`pipeline data`: list, download and verify data sets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.cli.options import Command, argument_or_option, data_dir_option
from pipeline.system.errors import UsageFailure


@click.command(name="data", cls=Command)
@click.argument("action", type=click.Choice(["verify", "download"]), required=False)
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The data set, instead of the argument.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data_command(
    action: str | None, name: str | None, name_option: str | None, data_dir: Path, *, as_json: bool
) -> None:
    """List the data sets and whether they are there, download one, or verify one's files (default:
    all there are).

    Verifying reads every file and compares its SHA-256 with the lock file, which is written when
    there is none.

    \b
    Example: pipeline data verify mnist
    """
    from pipeline.system.text import clean

    name = argument_or_option(name, name_option, "data set")
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
            states[data_set] = "bundled with scikit-learn: no files of its own"
            continue
        if not files.sizes:
            raise UsageFailure(
                f"no data set {data_set} in {data_dir}: "
                f"pipeline data download {data_set} fetches it"
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
