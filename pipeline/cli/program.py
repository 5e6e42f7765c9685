"""The commands: parse, call, print. Everything heavy is imported inside them, so that --help is quick."""

from __future__ import annotations

import errno
import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from pipeline.cli.data import data_command
from pipeline.cli.evaluate import evaluate_command, export_command, register_command
from pipeline.cli.finalists import finalists_command
from pipeline.cli.leaving import Leaving
from pipeline.cli.options import (
    ENGINE,
    Command,
    command_line,
    config_options,
    data_dir_option,
    engine_options,
    once,
    start_early,
    storage_option,
)
from pipeline.cli.predict import predict_command
from pipeline.cli.status import status_command, ui_command
from pipeline.cli.sync import sync_command
from pipeline.system import failpoints
from pipeline.system.errors import Failure, Interrupted, NothingComplete, UsageFailure
from pipeline.training import allocator

# Of a path that was given: pathlib takes any other error for "not there".
_UNUSABLE = (errno.EACCES, errno.ENAMETOOLONG)

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
    failpoints.arm()


@cli.command(name="sweep")
@click.argument("study", required=False)
@click.option("--study", "study_option", help="The study file, instead of the argument.")
@click.option("--name", help="The study's name in the stores.  [default: the file's plus the data set's]")
@click.option("--trials", type=click.IntRange(1), help="Trials in all; more than before extends the study.")
@config_options("epochs", "dataset", "split_file", "image_size", "seed", "device", "precision", "gpus_per_trial")
@data_dir_option
@click.option("--families", help="Families to search: mlp,cnn")
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), help="How configurations are chosen.")
@click.option("--pruner", type=click.Choice(["asha", "median", "none"]), help="What stops hopeless trials.")
@engine_options
@click.option(
    "--deterministic/--no-deterministic",
    default=None,
    help="Whether the list of trials is the same each time; else no worker waits.  [default: deterministic]",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds after which no trial is begun.")
@click.option("--trial-timeout", type=click.FloatRange(0, min_open=True), help="Seconds that a trial may take.")
@click.option(
    "--max-failures", type=click.IntRange(1), default=5, show_default=True, help="In a row, after which it ends."
)
@click.option(
    "--keep-checkpoints",
    metavar="each|all|best|top:K",
    help="Whose weights stay: each trial's best epoch's, all epochs', or the best trials'.",
)
@click.option("--set", "settings", multiple=True, help="Fix values: key=value,key=value")
@click.option("--experiment", help="MLflow experiment.")
@storage_option
@click.option("--dry-run", is_flag=True, help="Print the space, the count and an estimate; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def sweep_command(study: str | None, study_option: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Search a study: a shipped one's name or a YAML file (default: default).

    The same command again goes on to the total: nothing that has ended runs twice.

    \b
    Example: pipeline sweep --dataset mnist --trials 12 --epochs 3
    """
    if not dry_run:
        start_early(options)
    with allocator.loading():
        from rich.console import Console

        from pipeline.jobs import sweep as sweeping
        from pipeline.jobs.progress import Show

    request = sweeping.Request(
        study=once(study, study_option, "study file") or "default",
        overrides=_overrides(options),
        **{key: options[key] for key in ("name", "data_dir", "storage", "experiment")},
        **{key: options[key] for key in ("timeout", "trial_timeout", "max_failures", "deterministic", *ENGINE)},
        command=command_line(),
    )
    console = Console(stderr=as_json)
    made = sweeping.make_plan(request)
    if dry_run:
        _print_plan(made.name, made.spec, made.data, as_json=as_json)
        return

    try:
        outcome = sweeping.sweep(made, request, partial(Show.of, console=console))
    except Interrupted as stopped:
        console.print(f"interrupted; go on with: {command_line()}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(stopped.code)  # and not raised again: to click every KeyboardInterrupt is the same
    _print_outcome(outcome, made, request.max_failures, as_json=as_json)


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The command line's values, as the study file's reader takes them."""
    settings: dict[str, str] = {}
    for setting in ",".join(options["settings"]).split(",") if options["settings"] else []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageFailure(f"--set takes key=value,key=value: got {setting!r}")
        settings[key.strip().replace("-", "_")] = value.strip()
    fixed = ("split_file", "image_size", "device", "precision", "gpus_per_trial")
    settings |= {key: options[key] for key in fixed if options[key] is not None}
    families = [name.strip() for name in options["families"].split(",")] if options["families"] else None
    top = {key: options[key] for key in ("trials", "epochs", "dataset", "seed", "pruner", "keep_checkpoints")}
    return {**top, "method": options["sampler"], "families": families, "set": settings}


def _print_plan(name: str, spec: Any, data: Any, *, as_json: bool) -> None:
    from pipeline.jobs import preflight

    described = preflight.describe(name, spec, data)
    click.echo(json.dumps(described, indent=2) if as_json else preflight.text(described))


def _print_outcome(outcome: Any, made: Any, max_failures: int, *, as_json: bool) -> None:
    from pipeline.report import render
    from pipeline.tracking import comparison_view
    from sweeps.analysis.ranking import best, ended

    record = outcome.record
    winner = best(record.results, maximize=record.maximize)
    if as_json:
        click.echo(render.render(record, "json"))
    else:
        click.echo("\n" + render.render(record, "table", 10))
        link = comparison_view.link(outcome.experiment_id, made.name)
        click.echo(f"\nreport: {outcome.report}")
        if winner is not None:
            click.echo(f"winner: pipeline report {shlex.quote(made.name)} --best")
        click.echo(f"compare: pipeline ui, then http://127.0.0.1:5000{link}")
    if outcome.reason == "failures":
        failed = f"stopped after {max_failures} failures in a row"
        raise NothingComplete(f"{failed}: {ended(record.results)}; {_errors(record)}")
    if winner is None:
        raise NothingComplete(f"no trial is complete: {ended(record.results)}; {_errors(record)}")
    if outcome.reason == "until":
        click.echo(f"stopped by --timeout; go on with: {command_line()}", err=True)
    elif outcome.reason != "done":
        click.echo(f"stopped by the study's own rule: {outcome.reason}", err=True)


def _errors(record: Any) -> str:
    """The trials' errors, equal ones once."""
    found = dict.fromkeys(result.error for result in record.results if result.error)
    return "; ".join(str(error) for error in list(found)[:3])


@cli.command(name="train")
@config_options()
@data_dir_option
@click.option(
    "--objective",
    type=click.Choice(["val_acc", "val_loss", "balanced_acc", "macro_f1"]),
    help="What chooses the best epoch.  [default: val_acc]",
)
@click.option(
    "--keep-checkpoints",
    type=click.Choice(["each", "all"]),
    default="each",
    show_default=True,
    help="Keep the best epoch's weights, or all epochs'.",
)
@click.option("--resume", metavar="RUN_ID", help="Go on with an interrupted run.")
@click.option("--from-run", metavar="ID|NAME#7", help="Train a trial again, and compare; other options change it.")
@click.option("--experiment", help="MLflow experiment.")
@storage_option
def train_command(data_dir: Path, resume: str | None, from_run: str | None, **values: Any) -> None:
    """Train one configuration as one MLflow run.

    \b
    Example: pipeline train --dataset mnist --family cnn --lr 1e-3 --epochs 3
    """
    with allocator.loading():
        from rich.console import Console

        from pipeline.jobs import reproduce, train
        from pipeline.jobs.progress import Show
        from pipeline.stores import locations

    where = locations.locate(values.pop("storage"))
    given, every_epoch = values.pop("objective"), values.pop("keep_checkpoints") == "all"
    experiment = values.pop("experiment")
    trial = None
    if from_run:
        if resume:
            raise UsageFailure("--resume goes on with a run and --from-run begins one: leave one of them out")
        trial = reproduce.recorded(where, from_run)
        changes = {name: value for name, value in values.items() if value is not None}
        values = reproduce.values(trial, changes)
        click.echo(_repeating(trial, {**changes, **({"objective": given} if given else {})}), err=True)
    objective = given or (trial.objective if trial else "val_acc")
    show = Show(Console(), objective, (), 1, 0)
    try:
        result = train.train_one(
            where,
            values,
            data_dir,
            objective=objective,
            resume=resume,
            experiment=experiment,
            every_epoch=every_epoch,
            show=show,
            repeats=trial,
        )
    except Interrupted as stopped:
        place = shlex.join(["--data-dir", str(data_dir)])
        click.echo(f"interrupted; go on with: pipeline train --resume {stopped.run_id} {place}", err=True)
        sys.exit(stopped.code)
    click.echo(f"run {result.run_id}: {objective} {result.value:.4f} at epoch {result.best_epoch}, {result.checkpoint}")
    if trial is not None:
        click.echo(reproduce.compare(trial, result, data_dir))


def _repeating(trial: Any, changes: dict[str, Any]) -> str:
    """Say what is trained again, and with what instead."""
    duplicate = f"a duplicate, of which {trial.first} is the first: " if trial.first else ""
    instead = ", ".join(f"{name} {value}" for name, value in changes.items())
    return f"{duplicate}trains {trial.name} again" + (f", with {instead}" if instead else "")


@cli.command(name="report")
@click.argument("names", nargs=-1)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@click.option("--best", "show_best", is_flag=True, help="The winner in detail.")
@click.option("--top", type=click.IntRange(1), help="Rows at most.  [default: 20 in a table]")
@click.option("--format", "fmt", type=FORMATS, default="table", show_default=True, help="How it is printed.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: reports/NAME]")
@storage_option
def report_command(
    names: tuple[str, ...], name_option: str | None, show_best: bool, top: int | None, fmt: str, **options: Any
) -> None:
    """Rank the trials of studies (default: the one last run), and write tables, plots and an HTML page.

    Several studies are compared as well, in a folder beside theirs.

    \b
    Example: pipeline report default-digits --best
    """
    with allocator.loading():
        from pipeline.report import comparison, render
        from pipeline.stores import locations
        from pipeline.system import forkserver

    where = locations.locate(options["storage"])
    forkserver.warm_up(forkserver.DRAWING)
    records = [locations.read_record(where, once(name, name_option)) for name in dict.fromkeys(names) or (None,)]
    several, top = len(records) > 1, top or (20 if fmt == "table" else None)
    if show_best or not several:
        for record in records:
            click.echo(render.render_best(record, fmt) if show_best else render.render(record, fmt, top))
    else:
        click.echo(comparison.render(records, fmt, top))
    home = (options["out"] if several else None) or where.home / "reports"
    for record in records:
        folder = home / record.name if several or not options["out"] else options["out"]
        _write_files(folder, partial(render.write, record))
    if several:
        _write_files(home / comparison.folder_name(records), partial(comparison.write, records))


def _write_files(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a report's files where that is possible: what is printed is worth having without them."""
    try:
        write(folder)
    except OSError as error:
        click.echo(f"no files written: {error}", err=True)
    else:
        click.echo(f"files: {folder}", err=True)


@cli.command(name="studies")
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@config_options("dataset")
@data_dir_option
@click.option("--schema", "show", flag_value="schema", help="Print the JSON schema of study files, for editors.")
@click.option("--reference", "show", flag_value="reference", help="Print the format of study files, as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def studies_command(
    name: str | None, name_option: str | None, dataset: str | None, data_dir: Path, show: str | None, as_json: bool
) -> None:
    """List the shipped studies, or show one with its plan: the count, and an estimate where its images are there.

    \b
    Example: pipeline studies mnist_resnet_lr
    """
    if show:
        from sweeps.spec import schema

        click.echo(json.dumps(schema.json_schema(), indent=2) if show == "schema" else schema.markdown().rstrip())
        return
    from pipeline.jobs import preflight

    name = once(name, name_option)
    if name is None:
        found = [
            preflight.describe(study, spec, None) for study, _, spec in map(preflight.read_shipped, preflight.shipped())
        ]
        if as_json:
            click.echo(json.dumps(found, indent=2))
            return
        for described in found:
            click.echo(f"{described['study']:24} {described['trials']:3} trials  {described['description']}")
        return
    study, text, spec = preflight.read_study(name, {"dataset": dataset})
    if not as_json:
        click.echo(f"{text}\n")
    if spec.method == "ablate":
        from pipeline.stores import locations

        spec = preflight.ablate(spec, preflight.ablated(locations.read_record(locations.locate(), spec.of)))
    _print_plan(study, spec, preflight.data_at_hand(spec, data_dir), as_json=as_json)


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
    from pipeline.tracking import projects

    pairs = [parameter.partition("=") for parameter in parameters]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UsageFailure(f"-P takes KEY=VALUE: got {key!r}")
    try:
        sys.exit(projects.run(entry, {key: value for key, _, value in pairs}, **options))
    except ValueError as error:
        raise UsageFailure(str(error)) from None


cli.add_command(finalists_command)
cli.add_command(evaluate_command)
cli.add_command(predict_command)
cli.add_command(export_command)
cli.add_command(register_command)
cli.add_command(data_command)
cli.add_command(status_command)
cli.add_command(ui_command)
cli.add_command(sync_command)


def main() -> None:
    """Run the command line: one line for a user's error, and the exit code of what went wrong."""
    leaving = Leaving()
    try:
        _run()
        leaving.code = 0
    except SystemExit as done:
        leaving.code = done.code if isinstance(done.code, int) else None
        raise


def _run() -> None:
    try:
        cli.main(prog_name="pipeline", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), UsageFailure.code)
    except Failure as error:
        _fail(str(error), error.code)
    except OSError as error:
        if error.errno not in _UNUSABLE:
            raise
        from pipeline.system.text import clean

        _fail(f"cannot use {clean(error.filename, 200)!r}: {error.strerror}", UsageFailure.code)
    except click.Abort:
        sys.exit(130)


def _fail(message: str, code: int) -> None:
    from pipeline.system.text import clean

    for line in message.splitlines() or [""]:
        click.echo(f"error: {clean(line)}", err=True)
    sys.exit(code)
