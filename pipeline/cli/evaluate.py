"""`pipeline evaluate`: score finished networks on a split."""

from __future__ import annotations

import json
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
def evaluate_command(use_all: bool, **options: Any) -> None:
    """Score finished networks on the test split, as one looks in the end, or on the validation split again.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline.inference import evaluate, find, networks
    from pipeline.stores import locations

    way = chosen_network_option({**options, "all": use_all}, "all")
    split = options["split"]
    data_dir = options["data_dir"]
    as_json = options["fmt"] == "json"
    elsewhere = {key: options[key] for key in ("model", "checkpoint")}
    if options["each_epoch"] and way in elsewhere:
        raise UsageFailure(
            "--each-epoch is of runs, which kept all epochs: name them with --run, --best or --all"
        )
    where = locations.locate(options["storage"])
    with garbage.freeze_loaded():
        if use_all:
            runs = [trial.run_id for trial in find.complete_trials(where, options["name"])]
        else:
            which = networks.NetworkReference(**{key: options[key] for key in NETWORK_OPTIONS})
            runs = [None if way in elsewhere else find.find_run_id(where, which)]
    rows: list[Any] = []
    for run_id in runs:
        if options["each_epoch"]:
            epochs = evaluate.evaluate_epochs(where, data_dir, split=split, run_id=run_id)
            rows.append(_epochs(epochs))
        else:
            found = evaluate.evaluate(where, data_dir, split=split, run_id=run_id, **elsewhere)
            rows.append(_evaluation(found))
        if not as_json:
            _print(rows[-1], by_class=not use_all)
    if as_json:
        click.echo(json.dumps(rows if use_all else rows[0], indent=2))


def _evaluation(found: Any) -> dict[str, Any]:
    scores = found.scores
    classes = dict(zip(found.card.classes, scores.per_class, strict=True))
    figures = {
        "split": found.split,
        "acc": scores.accuracy,
        "loss": scores.loss,
        "run": found.run_id,
    }
    return {**figures, "per_class": classes}


def _epochs(found: Any) -> dict[str, Any]:
    rows = [{"epoch": e.card.epoch, "acc": e.scores.accuracy, "loss": e.scores.loss} for e in found]
    top = max(row["acc"] for row in rows)
    epochs = [{**row, "best": row["acc"] == top} for row in rows]
    return {"split": found[0].split, "run": found[0].run_id, "epochs": epochs}


def _print(figures: dict[str, Any], *, by_class: bool) -> None:
    from pipeline.system.text import clean

    split = figures["split"]
    run = f" of run {figures['run']}" if figures["run"] else ""
    if "epochs" in figures:
        click.echo(f"epoch  {split} accuracy    loss{run}")
        for row in figures["epochs"]:
            mark = "  best" if row["best"] else ""
            click.echo(
                f"{row['epoch']:5}  {row['acc']:{len(split) + 9}.4f}  {row['loss']:.4f}{mark}"
            )
        return
    click.echo(f"{split} accuracy {figures['acc']:.4f}, loss {figures['loss']:.4f}{run}")
    for label, accuracy in figures["per_class"].items() if by_class else ():
        click.echo(f"  {clean(label)}: {'no images' if accuracy is None else f'{accuracy:.4f}'}")
