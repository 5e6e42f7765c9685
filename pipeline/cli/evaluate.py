"""The commands on finished networks: parse, call, print. Everything heavy is imported inside them."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import NETWORK, Command, choosing_options, data_dir_option, one_way, storage_option
from pipeline.system.errors import UsageFailure


@click.command(name="evaluate", cls=Command)
@choosing_options
@click.option("--all", "use_all", is_flag=True, help="Every complete trial of the study.")
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
def evaluate_command(use_all: bool, **options: Any) -> None:
    """Score finished networks on the test split, as one looks in the end, or on the validation split again.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline.inference import find
    from pipeline.stores import locations

    way = one_way({**options, "all": use_all}, "all")
    split, data_dir, as_json = options["split"], options["data_dir"], options["fmt"] == "json"
    elsewhere = {key: options[key] for key in ("model", "checkpoint")}
    if options["each_epoch"] and way in elsewhere:
        raise UsageFailure("--each-epoch is of runs, which kept all epochs: name them with --run, --best or --all")
    where = locations.locate(options["storage"])
    if use_all:
        runs = [trial.run_id for trial in find.complete_trials(where, options["name"])]
    else:
        which = find.Which(**{key: options[key] for key in NETWORK})
        runs = [None if way in elsewhere else find.run_of(where, which)]
    rows: list[Any] = []
    for run_id in runs:
        if options["each_epoch"]:
            epochs = find.evaluate_epochs(where, data_dir, split=split, run_id=run_id)
            rows.append(_epochs(epochs))
        else:
            found = find.evaluate(where, data_dir, split=split, run_id=run_id, **elsewhere)
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
    from pipeline.system.text import clean

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


@click.command(name="export", cls=Command)
@choosing_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--format", "fmt", type=click.Choice(["pt2", "onnx"]), help="[default: what the file is called]")
@data_dir_option
@storage_option
def export_command(out: Path, fmt: str | None, **options: Any) -> None:
    """Write a network as one file: torch.export's pt2, or ONNX. Raw uint8 images in, probabilities out.

    It is checked on 100 validation images against the network itself; a file that answers otherwise is not written.

    \b
    Example: pipeline export --best --out winner.onnx
    """
    suffix = out.suffix.lower().removeprefix(".")
    fmt = fmt or suffix
    if fmt not in ("pt2", "onnx"):
        raise UsageFailure(f"--out must end in .pt2 or .onnx, or --format say which it is: got {out.name!r}")
    way = one_way(options)
    from pipeline.inference import export, find
    from pipeline.stores import locations

    found = find.find(locations.locate(options["storage"]), find.Which(**{key: options[key] for key in NETWORK}))
    made = export.export(found, options["data_dir"], fmt)
    export.write(out, made.content)
    height, width, channels = made.example.shape[1:]
    click.echo(f"{out}: {len(made.content) / 1e3:,.0f} kB, {_origin(way, found)}")
    click.echo(f"takes uint8 images (batch, {height}, {width}, {channels}), gives probabilities (batch, classes)")
    click.echo(f"checked on {made.checked_on}: the largest difference is {made.difference:.1e}")


@click.command(name="register", cls=Command)
@choosing_options
@click.option("--as", "called", metavar="NAME", help="The model's name.  [default: the study's, or the data set's]")
@click.option("--alias", default="champion", show_default=True, help="By which the newest version is found.")
@data_dir_option
@storage_option
def register_command(called: str | None, alias: str, **options: Any) -> None:
    """Make a network the next version of a model in MLflow's registry, ready for `mlflow models serve`.

    \b
    Example: pipeline register --best --as digits
    """
    way = one_way(options)
    from pipeline.inference import export, find, registry
    from pipeline.stores import locations
    from pipeline.tracking import server

    registry.check(called or "model", alias)
    where = locations.locate(options["storage"])
    found = find.find(where, find.Which(**{key: options[key] for key in NETWORK}))
    name = called or found.study or found.card.config.dataset.partition(":")[0]
    made = export.export(found, options["data_dir"], "pt2")
    locations.prepare(where)
    version = registry.register(where, found, made, name, alias)
    request = where.reports(name) / "request.json"
    export.write(request, json.dumps(registry.example_request(made)).encode())
    click.echo(f"{name} version {version.version} is {version.uri}{_before(version)}, {_origin(way, found)}")
    click.echo(f"checked on {made.checked_on}: the largest difference is {made.difference:.1e}")
    elsewhere = "MLFLOW_TRACKING_URI" in os.environ
    store = f"MLFLOW_TRACKING_URI={shlex.quote(server.shown(where.tracking))} " if elsewhere else ""
    kind = shlex.quote("Content-Type: application/json")
    click.echo(f"serve:   {store}mlflow models serve --env-manager local -m {shlex.quote(version.uri)} --port 5001")
    click.echo("predict: pipeline predict --url http://127.0.0.1:5001 IMAGE")
    click.echo(f"curl:    curl -H {kind} -d @{shlex.quote(str(request))} http://127.0.0.1:5001/invocations")


def _origin(way: str, found: Any) -> str:
    return f"from run {found.run_id}" if found.run_id else f"from a {way}"


def _before(version: Any) -> str:
    return "" if version.moved is None else f" (which was version {version.moved})"
