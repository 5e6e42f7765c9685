"""`pipeline data`: list, download and verify data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    """List the data sets and whether they are there, download one, or verify one's files (default: all there are).

    Verifying reads every file and compares its SHA-256 with the lock file, which is written when there is none.

    \b
    Example: pipeline data verify mnist
    """
    name = argument_or_option(name, name_option, "data set")
    if action == "download":
        rows = [_download(name, data_dir)]
    elif action == "verify":
        rows = _verify(name, data_dir)
    else:
        rows = _list(name, data_dir)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from pipeline.system.text import clean

    for row in rows:
        click.echo(f"{clean(row['name']):16} {clean(row['state'])}")


def _list(name: str | None, data_dir: Path) -> list[dict[str, Any]]:
    from pipeline.data import datasets

    _check(name)
    return [
        _row(known, datasets.describe_state(known, data_dir))
        for known in ([name] if name else datasets.DATASETS)
    ]


def _download(name: str | None, data_dir: Path) -> dict[str, Any]:
    from pipeline.data import datasets

    if name is None:
        raise UsageFailure("download takes the name of a data set: pipeline data download mnist")
    _check(name)
    return _row(name, f"{datasets.read_all(name, data_dir):,} images in {data_dir}")


def _verify(name: str | None, data_dir: Path) -> list[dict[str, Any]]:
    from pipeline.data import datasets, lockfile

    _check(name)
    rows = []
    for known in (
        [name]
        if name
        else [known for known in datasets.DATASETS if datasets.is_readable(known, data_dir)]
    ):
        holding = datasets.dataset_files(known, data_dir)
        if holding is None:
            rows.append(_row(known, "bundled with scikit-learn: no files of its own"))
            continue
        if not holding.sizes:
            raise UsageFailure(
                f"no data set {known} in {data_dir}: pipeline data download {known} fetches it"
            )
        compared, written = lockfile.verify(holding)
        if compared:
            rows.append(_row(known, f"{compared:,} files are what they were"))
        else:
            rows.append(
                _row(
                    known,
                    f"{len(holding.sizes):,} files read for the first time; lock file: {written}",
                )
            )
    return rows


def _check(name: str | None) -> None:
    from pipeline.data import datasets

    try:
        datasets.get_source(name or "digits")
    except ValueError as error:
        raise UsageFailure(str(error)) from None


def _row(name: str, state: str) -> dict[str, Any]:
    return {"name": name, "state": state}
