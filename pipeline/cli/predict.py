"""`pipeline predict`: classify image files."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    NETWORK_OPTIONS,
    Command,
    chosen_network_option,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.errors import IntegrityFailure

if TYPE_CHECKING:
    from pipeline.inference.predict import Prediction

_HEADER = ("path", "class", "probability", "top")
_CLIP = 60  # characters of a class in a table


@click.command(name="predict", cls=Command)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--path",
    "more",
    multiple=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The same.",
)
@network_source_options
@click.option(
    "--url", help="Of a server that runs `mlflow models serve`, instead of a network here."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Classes told of each image.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="How it is printed.",
)
@storage_option
def predict_command(
    paths: tuple[Path, ...], more: tuple[Path, ...], top: int, fmt: str, **options: Any
) -> None:
    """Classify image files, and those below folders, of any size and mode; - reads a list of paths.

    \b
    Example: pipeline predict --best --format csv photos/
    """
    way = chosen_network_option(options, "url")
    from pipeline.inference import find, networks, predict, remote
    from pipeline.stores import locations

    given = [path for path in (*paths, *more) if path != Path("-")]
    given += predict.read_path_list() if len(given) < len(paths) + len(more) else []
    files = predict.find_images(given)
    if way == "url":
        judge = remote.connect(options["url"])
    else:
        which = networks.NetworkReference(**{key: options[key] for key in NETWORK_OPTIONS})
        with garbage.freeze_loaded():
            found = find.find_network(locations.locate(options["storage"]), which)
        judge = predict.network_predictor(found)
    unread: list[Path] = []

    def failed(path: Path, message: str) -> None:
        unread.append(path)
        click.echo(f"error: {message}", err=True)

    predictions = predict.predict(judge, files, top, failed)
    try:
        for text in _lines(fmt, predictions, files, judge.classes):
            click.echo(text, nl=False)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if unread:
        some = ", ".join(map(str, unread[:3])) + (", ..." if len(unread) > 3 else "")
        raise IntegrityFailure(f"{len(unread)} of {len(files)} files are not predicted: {some}")


def _lines(
    fmt: str, found: Iterable[Prediction], files: Iterable[Path], classes: Iterable[str]
) -> Iterator[str]:
    if fmt == "json":
        return _json(found)
    if fmt == "csv":
        return _csv(found)
    return _table(found, files, classes)


def _json(found: Iterable[Prediction]) -> Iterator[str]:
    """One list, a line for each image: it can be read as it grows, too."""
    opening = "[\n"
    for one in found:
        label, share = one.top[0]
        top = [{"class": name, "probability": likely} for name, likely in one.top]
        yield opening + json.dumps(
            {"path": str(one.path), "class": label, "probability": share, "top": top}
        )
        opening = ",\n"
    yield "\n]\n" if opening != "[\n" else "[]\n"


def _csv(found: Iterable[Prediction]) -> Iterator[str]:
    from pipeline.system.text import csv_text

    yield _csv_line(_HEADER)
    for one in found:
        label, share = one.top[0]
        yield _csv_line((csv_text(one.path), csv_text(label), share, csv_text(_top(one))))


def _csv_line(cells: Iterable[object]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow(cells)
    return file.getvalue()


def _table(
    found: Iterable[Prediction], files: Iterable[Path], classes: Iterable[str]
) -> Iterator[str]:
    from pipeline.system.text import clean

    names = (clean(path) for path in files), (clean(name, _CLIP) for name in classes)
    widths = [
        max(len(head), *map(_width, texts)) for head, texts in zip(_HEADER, names, strict=False)
    ]
    yield f"{_padded('path', widths[0])}  {_padded('class', widths[1])}  probability  top\n"
    for one in found:
        label, share = one.top[0]
        path = _padded(clean(one.path), widths[0])
        yield f"{path}  {_padded(clean(label, _CLIP), widths[1])}  {share:11.4f}  {_top(one)}\n"


def _top(one: Prediction) -> str:
    from pipeline.system.text import clean

    return ", ".join(f"{clean(name, _CLIP)} {share:.4f}" for name, share in one.top)


def _width(text: str) -> int:
    """The columns of a terminal that text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
