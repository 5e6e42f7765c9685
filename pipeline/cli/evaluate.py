"""`pipeline evaluate`: score finished networks on a split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    Command,
    chosen_network_option,
    data_dir_option,
    network_reference,
    network_source_options,
    storage_option,
)
from pipeline.system import garbage
from pipeline.system.console import print_message
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip

if TYPE_CHECKING:
    from pipeline.inference.evaluate import Evaluation
    from pipeline.report.grid import Grid, Row


_CLASS_CLIP = 6  # characters of the name of a class, in the table of epochs
_USUAL_WIDTH = 120  # characters of that table, without a terminal


@click.command(
    name="evaluate", cls=Command, short_help="Score a finished network, say on the test split."
)
@network_source_options
@click.option("--all", "use_all", is_flag=True, help="Score every complete trial of the study.")
@click.option(
    "--each-epoch", is_flag=True, help="Score every epoch's checkpoint, where all were kept."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    show_default=True,
    help="The images to score on.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="The format of the output.",
)
@click.option("--dataset", help="Where your own images are now, if they have moved.")
@data_dir_option
@storage_option
def evaluate_command(
    use_all: bool, each_epoch: bool, split: str, fmt: str, data_dir: Path, **options: Any
) -> None:
    """Score finished networks on the test split, as one looks in the end, on the validation split
    again, or on the training split in evaluation mode: without dropout and augmentation.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline.inference import evaluate, find
    from pipeline.jobs import sources
    from pipeline.stores import locations

    option = chosen_network_option({**options, "all": use_all}, "all")
    has_no_run = option in ("model", "checkpoint")
    if each_epoch and has_no_run:
        raise UsageFailure(
            "--each-epoch scores the epochs that a run kept: name the run with --run, --best or "
            f"--all, not with --{option}"
        )
    sources.remember_code({"dataset": options["dataset"]})
    stores = locations.locate(options["storage"])
    run_ids: list[str | None]
    with garbage.freeze_loaded():
        if use_all:
            run_ids = [trial.run_id for trial in find.complete_trials(stores, options["name"])]
        elif has_no_run:
            run_ids = [None]
        else:
            # The refit has seen the validation images, and kept the weights of its end alone.
            takes_refit = split != "val" and not each_epoch
            reference = network_reference(stores, options, takes_refit=takes_refit)
            run_ids = [find.find_run_id(stores, reference)]
    as_json = fmt == "json"
    rows = []
    for run_id in run_ids:
        if each_epoch:
            epochs = evaluate.evaluate_epochs(
                stores, data_dir, split=split, run_id=run_id, dataset=options["dataset"]
            )
            row = _epochs_row(epochs)
        else:
            evaluation = evaluate.evaluate(
                stores,
                data_dir,
                split=split,
                run_id=run_id,
                model=options["model"],
                checkpoint=options["checkpoint"],
                dataset=options["dataset"],
            )
            row = _evaluation_row(evaluation)
        rows.append(row)
        if not as_json:
            _print(row, by_class=not use_all)
    if as_json:
        click.echo(json.dumps(rows if use_all else rows[0], indent=2))


def _evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores of a network as JSON data."""
    scores = evaluation.scores
    row = {
        "split": evaluation.split,
        "acc": scores.accuracy,
        "loss": scores.loss,
        "run": evaluation.run_id,
        "macro_f1": scores.macro_f1,
        "per_class": _by_class(evaluation, scores.per_class),
        "right_by_class": _by_class(evaluation, scores.confusion.diagonal().tolist()),
        "images_by_class": _by_class(evaluation, scores.confusion.sum(dim=1).tolist()),
    }
    if scores.top5_accuracy is not None:
        row["top5_acc"] = scores.top5_accuracy
    return row


def _by_class(evaluation: Evaluation, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(evaluation.card.classes, values, strict=True))


def _epochs_row(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the scores after each epoch of a run as JSON data."""
    highest = max(evaluation.scores.accuracy for evaluation in evaluations)
    epochs = [
        {
            "epoch": evaluation.card.epoch,
            "acc": evaluation.scores.accuracy,
            "loss": evaluation.scores.loss,
            "best": evaluation.scores.accuracy == highest,
            "per_class": _by_class(evaluation, evaluation.scores.per_class),
        }
        for evaluation in evaluations
    ]
    return {"split": evaluations[0].split, "run": evaluations[0].run_id, "epochs": epochs}


def _print(row: Mapping[str, Any], *, by_class: bool) -> None:
    """Print the scores of a network, or of each epoch of a run."""
    if "epochs" in row:
        _print_epochs(row)
        return
    from pipeline.report.scores import PERCENT
    from sweeps.analysis.intervals import wilson_interval

    right = sum(count or 0 for count in row["right_by_class"].values())
    images = sum(row["images_by_class"].values())
    low, high = wilson_interval(row["acc"], images)
    of_all = f"{right:,} of {images:,} images"
    interval = f"95 % interval {PERCENT.interval(low, high)}"
    parts = [f"{row['split']} accuracy {PERCENT.value(row['acc'])} ({of_all}, {interval})"]
    if "top5_acc" in row:
        parts.append(f"the class among the first five answers {PERCENT.value(row['top5_acc'])}")
    parts.append(f"loss {row['loss']:.4f}")
    if row["run"]:
        parts.append(f"run {row['run']}")
    print_message(", ".join(parts))
    if by_class:
        _print_classes(row)


def _print_classes(row: Mapping[str, Any]) -> None:
    """Print the accuracy of each class."""
    from pipeline.report.grid import make_grid
    from pipeline.report.terminal import render_grid

    rows = [
        {
            "class": label,
            "accuracy": accuracy,
            "right": row["right_by_class"][label],
            "images": row["images_by_class"][label],
        }
        for label, accuracy in row["per_class"].items()
    ]
    grid = make_grid(["class", "accuracy", "right", "images"], rows)
    click.echo(render_grid(grid))


def _print_epochs(row: Mapping[str, Any]) -> None:
    """Print the scores of each epoch of a run, with those of the classes unless they are many."""
    from pipeline.report.grid import make_grid
    from pipeline.report.terminal import render_grid, terminal_width

    split = row["split"]
    classes = list(row["epochs"][0]["per_class"])
    rows: list[Row] = [
        {
            "epoch": epoch["epoch"],
            f"{split}_acc": epoch["acc"],
            f"{split}_loss": epoch["loss"],
            "": "best" if epoch["best"] else "",
        }
        for epoch in row["epochs"]
    ]
    grid = make_grid(list(rows[0]), rows)
    with_classes = _beside(grid, classes, [epoch["per_class"] for epoch in row["epochs"]])
    print_message(f"run {row['run']}; accuracies in per cent")
    text = render_grid(with_classes)
    has_room = max(map(len, text.splitlines())) <= (terminal_width() or _USUAL_WIDTH)
    click.echo(text if has_room else render_grid(grid))
    if not has_room:
        print_message(f"the {len(classes)} classes are in the run's artifact {split}_epochs.csv")


def _beside(
    grid: Grid, classes: Sequence[str], accuracies: Sequence[Mapping[str, float | None]]
) -> Grid:
    """Set the accuracies of the classes beside the table of epochs, in per cent."""
    from pipeline.report.grid import Grid

    cells = [
        tuple("-" if value is None else f"{100 * value:.1f}" for value in by_class.values())
        for by_class in accuracies
    ]
    return Grid(
        columns=(*grid.columns, *(clip(name, _CLASS_CLIP) for name in classes)),
        keys=(*grid.keys, *classes),
        rows=tuple((*row, *more) for row, more in zip(grid.rows, cells, strict=True)),
        numeric=(*grid.numeric, *(True for _ in classes)),
    )
