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
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean, clip

if TYPE_CHECKING:
    from pipeline.inference.evaluate import Evaluation


_PRINTED_CLASSES = 12  # with more, the table of epochs has no column for each
_CLASS_WIDTH = 6  # characters of such a column


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
            "--each-epoch is of runs, which kept all epochs: name them with --run, --best or --all"
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
    """Print the scores of a network, or of each epoch of a run, as a table."""
    if "epochs" in row:
        _print_epochs(row)
        return
    run = f" of run {row['run']}" if row["run"] else ""
    top5 = f", among the first five answers {row['top5_acc']:.4f}" if "top5_acc" in row else ""
    click.echo(f"{row['split']} accuracy {row['acc']:.4f}{top5}, loss {row['loss']:.4f}{run}")
    if not by_class:
        return
    for label, accuracy in row["per_class"].items():
        text = "no images"
        if accuracy is not None:
            right = row["right_by_class"][label]
            text = f"{accuracy:.4f} ({right}/{row['images_by_class'][label]})"
        click.echo(f"  {clean(label)}: {text}")


def _print_epochs(row: Mapping[str, Any]) -> None:
    """Print the scores of each epoch of a run, with those of the classes unless they are many."""
    split = row["split"]
    classes = list(row["epochs"][0]["per_class"])
    are_few = len(classes) <= _PRINTED_CLASSES
    names = [clip(name, _CLASS_WIDTH) for name in classes] if are_few else []
    heads = "".join(f" {name:>{_CLASS_WIDTH}}" for name in names)
    width = len(f"{split} accuracy")
    click.echo(f"run {row['run']}")
    click.echo(f"epoch  {split} accuracy    loss{heads}")
    for epoch in row["epochs"]:
        line = f"{epoch['epoch']:5}  {epoch['acc']:{width}.4f}  {epoch['loss']:.4f}"
        if are_few:
            line += "".join(f" {_cell(value)}" for value in epoch["per_class"].values())
        click.echo(f"{line}  best" if epoch["best"] else line)
    if not are_few:
        click.echo(f"the {len(classes)} classes are in the run's artifact {split}_epochs.csv")


def _cell(accuracy: float | None) -> str:
    """The accuracy of a class, as wide as the column; a dash for a class without images."""
    text = "-" if accuracy is None else f"{accuracy:.4f}"
    return f"{text:>{_CLASS_WIDTH}}"
