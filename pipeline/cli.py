"""The commands: parse, call, print. Everything heavy is imported inside them, so that --help is quick."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.errors import Failure, Interrupted, NothingComplete, UsageFailure
from pipeline.options import Command, config_options

FORMATS = click.Choice(["table", "json", "csv", "md"])


class _Group(click.Group):
    command_class = Command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sweep-pipeline", prog_name="pipeline")
def cli() -> None:
    """Experiment-tracked hyperparameter sweeps for image classifiers.

    \b
    pipeline sweep                     search the default study on the bundled digits
    pipeline sweep --dataset mnist     the same on MNIST
    pipeline report --best             what won
    """


_storage = click.option("--storage", help="Store of the studies, sqlite:///FILE.  [default: optuna.db]")
_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PIPELINE_DATA_DIR",
    default=Path("data"),
    show_default=True,
    help="Folder of data sets, in torchvision's layout.",
)


@cli.command(name="sweep")
@click.argument("study", required=False)
@click.option("--study", "study_option", help="The study file, instead of the argument.")
@click.option("--name", help="The study's name in the stores.  [default: the file's plus the data set's]")
@click.option("--trials", type=click.IntRange(1), help="Trials in all; more than before extends the study.")
@config_options("epochs", "dataset", "seed", "device", "precision")
@_data_dir
@click.option("--families", help="Families to search: mlp,cnn")
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), help="How configurations are chosen.")
@click.option("--pruner", type=click.Choice(["asha", "median", "none"]), help="What stops hopeless trials.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds after which no trial is begun.")
@click.option("--trial-timeout", type=click.FloatRange(0, min_open=True), help="Seconds that a trial may take.")
@click.option("--set", "settings", multiple=True, help="Fix values: key=value,key=value")
@click.option("--experiment", help="MLflow experiment.")
@_storage
@click.option("--dry-run", is_flag=True, help="Print the space, the count and an estimate; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def sweep_command(study: str | None, study_option: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Search a study: a shipped one's name or a YAML file (default: default).

    The same command again goes on to the total: nothing that has ended runs twice.

    \b
    Example: pipeline sweep --dataset mnist --trials 12 --epochs 3
    """
    from rich.console import Console

    from pipeline import sweep as sweeping
    from pipeline.progress import Show

    request = sweeping.Request(
        study=study or study_option or "default",
        overrides=_overrides(options),
        **{key: options[key] for key in ("name", "data_dir", "storage", "experiment", "timeout", "trial_timeout")},
    )
    console = Console(stderr=as_json)
    made = sweeping.make_plan(request)
    if dry_run:
        _print_plan(made, as_json=as_json)
        return

    def show(opened: Any) -> Show:
        spec = opened.spec
        searched = tuple(dict.fromkeys(dimension.field for dimension in spec.dimensions))
        return Show(console, spec.objective, searched, spec.total, opened.ended())

    try:
        outcome = sweeping.sweep(made, request, show)
    except Interrupted as stopped:
        console.print(f"interrupted; go on with: {_command_line()}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(stopped.code)  # and not raised again: to click every KeyboardInterrupt is the same
    _print_outcome(outcome, made, as_json=as_json)


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The command line's values, as the study file's reader takes them."""
    settings: dict[str, str] = {}
    for setting in ",".join(options["settings"]).split(",") if options["settings"] else []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageFailure(f"--set takes key=value,key=value: got {setting!r}")
        settings[key.strip().replace("-", "_")] = value.strip()
    settings |= {key: options[key] for key in ("device", "precision") if options[key] is not None}
    families = [name.strip() for name in options["families"].split(",")] if options["families"] else None
    top = {key: options[key] for key in ("trials", "epochs", "dataset", "seed", "pruner")}
    return {**top, "method": options["sampler"], "families": families, "set": settings}


def _command_line() -> str:
    return f"pipeline {shlex.join(sys.argv[1:])}"


def _print_plan(made: Any, *, as_json: bool) -> None:
    from pipeline import plan
    from pipeline.progress import duration

    spec = made.spec
    cost = plan.estimate(spec, made.data, plan.runtime(spec))
    space = {dimension.key: str(dimension) for dimension in spec.dimensions}
    if as_json:
        facts = {"study": made.name, "trials": spec.total, "seconds": cost.seconds, "bytes": cost.bytes}
        click.echo(json.dumps({**facts, "fixed": spec.base, "search": space}, indent=2))
        return
    width = max(map(len, space))
    click.echo(f"Study {made.name}: {spec.description}\n\nsearched ({spec.method})")
    click.echo("\n".join(f"  {key:{width}}  {text}" for key, text in space.items()))
    click.echo("fixed\n" + "\n".join(f"  {key:{width}}  {value}" for key, value in spec.base.items()))
    click.echo(
        f"\n{spec.total} trials of at most {spec.epochs} epochs on {len(made.data.train):,} images: "
        f"at most about {duration(cost.seconds)} and {cost.bytes / 1e6:.0f} MB of checkpoints; nothing was run"
    )


def _print_outcome(outcome: Any, made: Any, *, as_json: bool) -> None:
    from pipeline import report, view
    from sweeps.ranking import best, ended

    record = outcome.record
    winner = best(record.results, maximize=record.maximize)
    if as_json:
        click.echo(report.render(record, "json"))
    else:
        click.echo("\n" + report.render(record, "table", 10))
        link = view.link(outcome.experiment_id, made.name)
        click.echo(f"\nreport: {outcome.report}\nwinner: pipeline report {shlex.quote(made.name)} --best")
        click.echo(f"compare: pipeline ui, then http://127.0.0.1:5000{link}")
    if outcome.reason == "failures":
        raise NothingComplete(f"stopped after too many failures in a row: {ended(record.results)}; {_errors(record)}")
    if winner is None:
        raise NothingComplete(f"no trial is complete: {ended(record.results)}; {_errors(record)}")
    if outcome.reason == "until":
        click.echo(f"stopped by --timeout; go on with: {_command_line()}", err=True)


def _errors(record: Any) -> str:
    """The trials' errors, equal ones once."""
    found = dict.fromkeys(result.error for result in record.results if result.error)
    return "; ".join(str(error) for error in list(found)[:3])


@cli.command(name="train")
@config_options()
@_data_dir
@click.option(
    "--objective",
    type=click.Choice(["val_acc", "val_loss", "balanced_acc", "macro_f1"]),
    default="val_acc",
    show_default=True,
    help="What chooses the best epoch.",
)
@click.option("--resume", metavar="RUN_ID", help="Go on with an interrupted run.")
@click.option("--experiment", help="MLflow experiment.")
@_storage
def train_command(data_dir: Path, objective: str, resume: str | None, experiment: str | None, **values: Any) -> None:
    """Train one configuration as one MLflow run.

    \b
    Example: pipeline train --dataset mnist --family cnn --lr 1e-3 --epochs 3
    """
    from rich.console import Console

    from pipeline import single, stores
    from pipeline.progress import Show

    show = Show(Console(), objective, (), 1, 0)
    where = stores.locate(values.pop("storage"))
    try:
        result = single.train_one(
            where, values, data_dir, objective=objective, resume=resume, experiment=experiment, show=show
        )
    except Interrupted as stopped:
        place = shlex.join(["--data-dir", str(data_dir)])
        click.echo(f"interrupted; go on with: pipeline train --resume {stopped.run_id} {place}", err=True)
        sys.exit(stopped.code)
    click.echo(f"run {result.run_id}: {objective} {result.value:.4f} at epoch {result.best_epoch}, {result.checkpoint}")


@cli.command(name="report")
@click.argument("names", nargs=-1)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--best", "show_best", is_flag=True, help="The winner in detail.")
@click.option("--top", type=click.IntRange(1), help="Rows at most.  [default: 20 in a table]")
@click.option("--format", "fmt", type=FORMATS, default="table", show_default=True, help="How it is printed.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: reports/NAME]")
@_storage
def report_command(
    names: tuple[str, ...], name_option: str | None, show_best: bool, top: int | None, fmt: str, **options: Any
) -> None:
    """Rank the trials of studies (default: the one last run), and write tables and plots.

    \b
    Example: pipeline report default-digits --best
    """
    from pipeline import report, stores

    where = stores.locate(options["storage"])
    for record in [stores.read_record(where, name) for name in names or (name_option,)]:
        if show_best:
            click.echo(report.render_best(record, fmt))
        else:
            click.echo(report.render(record, fmt, top or (20 if fmt == "table" else None)))
        folder = options["out"] or where.reports(record.name)
        if options["out"] and len(names) > 1:
            folder = folder / record.name
        try:
            report.write(record, folder)
        except OSError as error:
            click.echo(f"no files written: {error}", err=True)
        else:
            click.echo(f"files: {folder}", err=True)


@cli.command(name="evaluate")
@click.option("--run", "run", help="A run id, or NAME#7: trial 7 of a study.")
@click.option("--best", "use_best", is_flag=True, help="The best trial of the study.")
@click.option("--name", help="The study.  [default: the one last run]")
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="A checkpoint file or folder.")
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
@_data_dir
@_storage
def evaluate_command(
    run: str | None, use_best: bool, name: str | None, checkpoint: Path | None, split: str, fmt: str, **options: Any
) -> None:
    """Score a finished network on the test split, as one looks in the end, or on the validation split again.

    \b
    Example: pipeline evaluate --best --split test
    """
    from pipeline import stores, winner
    from pipeline.text import clean

    if sum([bool(run), use_best, bool(checkpoint)]) != 1:
        raise UsageFailure("name one network: --run ID, --best or --checkpoint FILE")
    where = stores.locate(options["storage"])
    if run and "#" in run:
        run = winner.named_trial(where, run).run_id
    elif use_best:
        run = winner.best_trial(where, name).run_id
    found = winner.evaluate(where, options["data_dir"], split=split, run_id=run, checkpoint=checkpoint)
    figures = {"split": split, "acc": found.scores.accuracy, "loss": found.scores.loss, "run": run}
    by_class = dict(zip(found.card.classes, found.scores.per_class, strict=True))
    if fmt == "json":
        click.echo(json.dumps({**figures, "per_class": by_class}, indent=2))
        return
    click.echo(f"{split} accuracy {found.scores.accuracy:.4f}, loss {found.scores.loss:.4f}")
    for label, accuracy in by_class.items():
        click.echo(f"  {clean(label)}: {'no images' if accuracy is None else f'{accuracy:.4f}'}")


@cli.command(name="ui")
@click.option("--name", help="The study.  [default: the one last run]")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Of the server.")
@_storage
def ui_command(name: str | None, port: int, storage: str | None) -> None:
    """Start MLflow's UI on the right store, on 127.0.0.1, and print the link to the comparison.

    \b
    Example: pipeline ui --port 5001
    """
    from pipeline import stores, tracking, view

    where = stores.locate(storage)
    record = stores.read_record(where, name)
    experiment = tracking.experiment_of(where.tracking, record.parent_run_id)
    server = where.tracking if where.tracking.startswith("http") else f"http://127.0.0.1:{port}"
    click.echo(f"comparison of {record.name}: {server}{view.link(experiment, record.name)}")
    if server == where.tracking:
        return
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", where.tracking, "--port", str(port)]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # its job runners outlive it
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - signals reach the server itself


@cli.command(name="run")
@click.option("-e", "--entry-point", "entry", default="main", show_default=True, help="Entry point of MLproject.")
@click.option("-P", "parameters", multiple=True, metavar="KEY=VALUE", help="Becomes --KEY VALUE of the command.")
@click.option(
    "--env-manager",
    type=click.Choice(["local", "conda", "uv", "virtualenv"]),
    help="[default: conda if there is one, else local]",
)
@click.option("--backend", default="local", show_default=True, help="Where MLflow runs it.")
@click.option("--backend-config", help="A .json file for the backend.")
@click.option("--experiment", help="MLflow experiment.")
def run_command(entry: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Run an entry point of this project through `mlflow run`.

    \b
    Example: pipeline run -e sweep -P trials=4
    """
    from pipeline import projects

    pairs = [parameter.partition("=") for parameter in parameters]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UsageFailure(f"-P takes KEY=VALUE: got {key!r}")
    try:
        sys.exit(projects.run(entry, {key: value for key, _, value in pairs}, **options))
    except ValueError as error:
        raise UsageFailure(str(error)) from None


def main() -> None:
    """Run the command line: one line for a user's error, and the exit code of what went wrong."""
    try:
        cli.main(prog_name="pipeline", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), UsageFailure.code)
    except Failure as error:
        _fail(str(error), error.code)
    except click.Abort:
        sys.exit(130)


def _fail(message: str, code: int) -> None:
    from pipeline.text import clean

    for line in message.splitlines() or [""]:
        click.echo(f"error: {clean(line)}", err=True)
    sys.exit(code)
