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

if TYPE_CHECKING:
    from pipeline.inference.evaluate import Evaluation


@click.command(name="evaluate", cls=Command)
@network_source_options
@click.option("--all", "use_all", is_flag=True, help="Every complete trial of the study.")
@click.option(
    "--each-epoch", is_flag=True, help="Score every epoch's checkpoint, where all were kept."
)
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="What to score on.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
@data_dir_option
@storage_option
def evaluate_command(
    use_all: bool, each_epoch: bool, split: str, fmt: str, data_dir: Path, **options: Any
) -> None:
    """Score finished networks on the test split, as one looks in the end, or on the validation
    split again.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline.inference import evaluate, find
    from pipeline.stores import locations

    option = chosen_network_option({**options, "all": use_all}, "all")
    has_no_run = option in ("model", "checkpoint")
    if each_epoch and has_no_run:
        raise UsageFailure(
            "--each-epoch is of runs, which kept all epochs: name them with --run, --best or --all"
        )
    stores = locations.locate(options["storage"])
    run_ids: list[str | None]
    with garbage.freeze_loaded():
        if use_all:
            run_ids = [trial.run_id for trial in find.complete_trials(stores, options["name"])]
        elif has_no_run:
            run_ids = [None]
        else:
            run_ids = [find.find_run_id(stores, network_reference(stores, options))]
    as_json = fmt == "json"
    rows = []
    for run_id in run_ids:
        if each_epoch:
            epochs = evaluate.evaluate_epochs(stores, data_dir, split=split, run_id=run_id)
            row = _epochs_row(epochs)
        else:
            evaluation = evaluate.evaluate(
                stores,
                data_dir,
                split=split,
                run_id=run_id,
                model=options["model"],
                checkpoint=options["checkpoint"],
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
    return {
        "split": evaluation.split,
        "acc": scores.accuracy,
        "loss": scores.loss,
        "run": evaluation.run_id,
        "per_class": dict(zip(evaluation.card.classes, scores.per_class, strict=True)),
    }


def _epochs_row(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the scores after each epoch of a run as JSON data."""
    highest = max(evaluation.scores.accuracy for evaluation in evaluations)
    epochs = [
        {
            "epoch": evaluation.card.epoch,
            "acc": evaluation.scores.accuracy,
            "loss": evaluation.scores.loss,
            "best": evaluation.scores.accuracy == highest,
        }
        for evaluation in evaluations
    ]
    return {"split": evaluations[0].split, "run": evaluations[0].run_id, "epochs": epochs}


def _print(row: Mapping[str, Any], *, by_class: bool) -> None:
    """Print the scores of a network, or of each epoch of a run, as a table."""
    from pipeline.system.text import clean

    split = row["split"]
    run = f" of run {row['run']}" if row["run"] else ""
    if "epochs" in row:
        click.echo(f"epoch  {split} accuracy    loss{run}")
        width = len(f"{split} accuracy")
        for epoch in row["epochs"]:
            mark = "  best" if epoch["best"] else ""
            accuracy = f"{epoch['acc']:{width}.4f}"
            click.echo(f"{epoch['epoch']:5}  {accuracy}  {epoch['loss']:.4f}{mark}")
        return
    click.echo(f"{split} accuracy {row['acc']:.4f}, loss {row['loss']:.4f}{run}")
    if by_class:
        for label, accuracy in row["per_class"].items():
            text = "no images" if accuracy is None else f"{accuracy:.4f}"
            click.echo(f"  {clean(label)}: {text}")
