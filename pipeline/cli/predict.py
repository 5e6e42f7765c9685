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
    Command,
    WholeNumber,
    chosen_network_option,
    network_reference,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.console import print_message
from pipeline.system.errors import IntegrityFailure

if TYPE_CHECKING:
    from pipeline.inference.predict import Prediction

_HEADER = ("path", "class", "probability", "top")
_CLASS_LIMIT = 60  # characters of the name of a class in a table
_STANDARD_INPUT = Path("-")  # as an argument: read a list of paths from there


@click.command(name="predict", cls=Command, short_help="Classify image files.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--path",
    "more",
    multiple=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="An image file or folder, instead of the argument; several are allowed.",
)
@network_source_options
@click.option(
    "--url",
    help="Ask the server at this address (`mlflow models serve`) instead of a network here.",
)
@click.option(
    "--top",
    type=WholeNumber(1),
    default=3,
    show_default=True,
    help="How many classes to show for each image, the most probable first.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="The format of the output.",
)
@storage_option
def predict_command(
    paths: tuple[Path, ...], more: tuple[Path, ...], top: int, fmt: str, **options: Any
) -> None:
    """Classify image files, and those below folders, of any size and mode; - reads a list of paths.

    \b
    Example: pipeline predict --best --format csv photos/
    """
    option = chosen_network_option(options, "url")
    from pipeline.inference import find, predict, remote
    from pipeline.stores import locations

    given = [*paths, *more]
    named = [path for path in given if path != _STANDARD_INPUT]
    if len(named) < len(given):
        named += predict.read_path_list()
    files = predict.find_images(named)
    if option == "url":
        predictor = remote.connect(options["url"])
    else:
        with garbage.freeze_loaded():
            stores = locations.locate(options["storage"])
            network = find.find_network(stores, network_reference(stores, options))
        predictor = predict.network_predictor(network)
    unreadable: list[Path] = []

    def report_unreadable(path: Path, message: str) -> None:
        unreadable.append(path)
        print_message(f"error: {message}", err=True)

    predictions = predict.predict(predictor, files, top, report_unreadable)
    try:
        for text in _render(fmt, predictions, files, predictor.classes):
            click.echo(text, nl=False)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if unreadable:
        examples = ", ".join(str(path) for path in unreadable[:3])
        if len(unreadable) > 3:
            examples += ", ..."
        raise IntegrityFailure(
            f"{len(unreadable)} of {len(files)} files are not predicted: {examples}"
        )


def _render(
    fmt: str, predictions: Iterable[Prediction], files: Iterable[Path], classes: Iterable[str]
) -> Iterator[str]:
    """Render predictions piece by piece, as they come."""
    if fmt == "json":
        return _render_json(predictions)
    if fmt == "csv":
        return _render_csv(predictions)
    return _render_table(predictions, files, classes)


def _render_json(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Render a list with a line for each image, so that it can be read while it grows."""
    opening = "[\n"
    for prediction in predictions:
        label, probability = prediction.top[0]
        item = {
            "path": str(prediction.path),
            "class": label,
            "probability": probability,
            "top": [{"class": name, "probability": share} for name, share in prediction.top],
        }
        yield opening + json.dumps(item)
        opening = ",\n"
    yield "\n]\n" if opening != "[\n" else "[]\n"


def _render_csv(predictions: Iterable[Prediction]) -> Iterator[str]:
    from pipeline.system.text import csv_text

    yield _csv_line(_HEADER)
    for prediction in predictions:
        label, probability = prediction.top[0]
        path = csv_text(prediction.path)
        yield _csv_line((path, csv_text(label), probability, csv_text(_top_text(prediction))))


def _csv_line(cells: Iterable[object]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow(cells)
    return file.getvalue()


def _render_table(
    predictions: Iterable[Prediction], files: Iterable[Path], classes: Iterable[str]
) -> Iterator[str]:
    from pipeline.system.text import clean, clip

    path_width = _column_width("path", (clean(path) for path in files))
    class_width = _column_width("class", (clip(name, _CLASS_LIMIT) for name in classes))
    yield f"{_pad('path', path_width)}  {_pad('class', class_width)}  probability  top\n"
    for prediction in predictions:
        label, probability = prediction.top[0]
        path_cell = _pad(clean(prediction.path), path_width)
        class_cell = _pad(clip(label, _CLASS_LIMIT), class_width)
        yield f"{path_cell}  {class_cell}  {probability:11.4f}  {_top_text(prediction)}\n"


def _top_text(prediction: Prediction) -> str:
    """Write the likeliest classes with their probabilities."""
    from pipeline.system.text import clip

    return ", ".join(f"{clip(name, _CLASS_LIMIT)} {share:.4f}" for name, share in prediction.top)


def _column_width(title: str, cells: Iterable[str]) -> int:
    return max(len(title), *map(_terminal_width, cells))


def _terminal_width(text: str) -> int:
    """Count the columns that text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combining = sum(unicodedata.combining(character) > 0 for character in text)
    return len(text) + wide - combining


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _terminal_width(text))
