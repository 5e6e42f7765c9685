"""The commands on finished networks: parse, call, print. Everything heavy is imported inside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.errors import UsageFailure
from pipeline.options import Command, data_dir_option, storage_option


@click.command(name="evaluate", cls=Command)
@click.option("--run", "run", help="A run id, or NAME#7: trial 7 of a study.")
@click.option("--best", "use_best", is_flag=True, help="The best trial of the study.")
@click.option("--all", "use_all", is_flag=True, help="Every complete trial of the study.")
@click.option("--name", help="The study.  [default: the one last run]")
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="A checkpoint file or folder.")
@click.option("--each-epoch", is_flag=True, help="Score every epoch's checkpoint, where all were kept.")
@click.option(
    "--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="What to score on."
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
    run: str | None, use_best: bool, use_all: bool, name: str | None, checkpoint: Path | None, **options: Any
) -> None:
    """Score finished networks on the test split, as one looks in the end, or on the validation split again.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline import stores, winner

    if sum([bool(run), use_best, use_all, bool(checkpoint)]) != 1:
        raise UsageFailure("name networks in one way: --run ID, --best, --all or --checkpoint FILE")
    split, data_dir, as_json = options["split"], options["data_dir"], options["fmt"] == "json"
    if options["each_epoch"] and checkpoint:
        raise UsageFailure("--each-epoch is of runs, which kept all epochs: name them with --run, --best or --all")
    where = stores.locate(options["storage"])
    if use_all:
        trials = winner.complete_trials(where, name)
        runs = [trial.run_id for trial in trials]
    else:
        trials = [winner.named_trial(where, run)] if run and "#" in run else []
        trials = [winner.best_trial(where, name)] if use_best else trials
        runs = [trial.run_id for trial in trials] or [run]
    rows: list[Any] = []
    for run_id in runs:
        if options["each_epoch"]:
            epochs = winner.evaluate_epochs(where, data_dir, split=split, run_id=run_id)
            rows.append(_epochs(epochs))
        else:
            found = winner.evaluate(where, data_dir, split=split, run_id=run_id, checkpoint=checkpoint)
            rows.append(_evaluation(found))
        if not as_json:
            _print(rows[-1], by_class=not use_all)
    if as_json:
        click.echo(json.dumps(rows if use_all else rows[0], indent=2))


def _evaluation(found: Any) -> dict[str, Any]:
    scores = found.scores
    classes = dict(zip(found.card.classes, scores.per_class, strict=True))
    figures = {"split": found.split, "acc": scores.accuracy, "loss": scores.loss, "run": found.run_id}
    return {**figures, "per_class": classes}


def _epochs(found: Any) -> dict[str, Any]:
    rows = [{"epoch": e.card.epoch, "acc": e.scores.accuracy, "loss": e.scores.loss} for e in found]
    top = max(row["acc"] for row in rows)
    epochs = [{**row, "best": row["acc"] == top} for row in rows]
    return {"split": found[0].split, "run": found[0].run_id, "epochs": epochs}


def _print(figures: dict[str, Any], *, by_class: bool) -> None:
    from pipeline.text import clean

    split, run = figures["split"], f" of run {figures['run']}" if figures["run"] else ""
    if "epochs" in figures:
        click.echo(f"epoch  {split} accuracy    loss{run}")
        for row in figures["epochs"]:
            mark = "  best" if row["best"] else ""
            click.echo(f"{row['epoch']:5}  {row['acc']:{len(split) + 9}.4f}  {row['loss']:.4f}{mark}")
        return
    click.echo(f"{split} accuracy {figures['acc']:.4f}, loss {figures['loss']:.4f}{run}")
    for label, accuracy in figures["per_class"].items() if by_class else ():
        click.echo(f"  {clean(label)}: {'no images' if accuracy is None else f'{accuracy:.4f}'}")
