"""`pipeline sweep`: search a study."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from typing import Any

import click

from pipeline.cli.options import (
    ENGINE_OPTIONS,
    Command,
    argument_or_option,
    command_line,
    config_options,
    data_dir_option,
    engine_options,
    preload_workers,
    storage_option,
)
from pipeline.cli.studies import print_plan
from pipeline.system import garbage
from pipeline.system.errors import Interrupted, NothingComplete, UsageFailure


@click.command(name="sweep", cls=Command)
@click.argument("study", required=False)
@click.option("--study", "study_option", help="The study file, instead of the argument.")
@click.option(
    "--name", help="The study's name in the stores.  [default: the file's plus the data set's]"
)
@click.option(
    "--trials", type=click.IntRange(1), help="Trials in all; more than before extends the study."
)
@config_options(
    "epochs", "dataset", "split_file", "image_size", "seed", "device", "precision", "gpus_per_trial"
)
@data_dir_option
@click.option("--families", help="Families to search: mlp,cnn")
@click.option(
    "--sampler", type=click.Choice(["tpe", "random", "grid"]), help="How configurations are chosen."
)
@click.option(
    "--pruner", type=click.Choice(["asha", "median", "none"]), help="What stops hopeless trials."
)
@engine_options
@click.option(
    "--deterministic/--no-deterministic",
    default=None,
    help="Whether the list of trials is the same each time; else no worker waits.  [default: deterministic]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds after which no trial is begun.",
)
@click.option(
    "--trial-timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds that a trial may take.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="In a row, after which it ends.",
)
@click.option(
    "--keep-checkpoints",
    metavar="each|all|best|top:K",
    help="Whose weights stay: each trial's best epoch's, all epochs', or the best trials'.",
)
@click.option("--set", "settings", multiple=True, help="Fix values: key=value,key=value")
@click.option("--experiment", help="MLflow experiment.")
@storage_option
@click.option(
    "--dry-run", is_flag=True, help="Print the space, the count and an estimate; run nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def sweep_command(
    study: str | None, study_option: str | None, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Search a study: a shipped one's name or a YAML file (default: default).

    The same command again goes on to the total: nothing that has ended runs twice.

    \b
    Example: pipeline sweep --dataset mnist --trials 12 --epochs 3
    """
    if not dry_run:
        preload_workers(options)
    with garbage.freeze_loaded():
        from rich.console import Console

        from pipeline.jobs import sweep as sweeping
        from pipeline.jobs.progress import ProgressDisplay
        from pipeline.system.signals import SignalStopRequest

    request = sweeping.Request(
        study=argument_or_option(study, study_option, "study file") or "default",
        overrides=_overrides(options),
        **{key: options[key] for key in ("name", "data_dir", "storage", "experiment")},
        **{
            key: options[key]
            for key in (
                "timeout",
                "trial_timeout",
                "max_failures",
                "deterministic",
                *ENGINE_OPTIONS,
            )
        },
        command=command_line(),
    )
    console = Console(stderr=as_json)
    made = sweeping.make_plan(request)
    if dry_run:
        print_plan(made.name, made.spec, made.data, as_json=as_json)
        return

    try:
        outcome = sweeping.sweep(
            made,
            request,
            partial(ProgressDisplay.for_study, console=console),
            stop=SignalStopRequest(),
            loading=garbage.freeze_loaded,
        )
    except Interrupted as stopped:
        console.print(
            f"interrupted; go on with: {command_line()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
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
    if options["families"]:
        families = [name.strip() for name in options["families"].split(",")]
    else:
        families = None
    top = {
        key: options[key]
        for key in ("trials", "epochs", "dataset", "seed", "pruner", "keep_checkpoints")
    }
    return {**top, "method": options["sampler"], "families": families, "set": settings}


def _print_outcome(outcome: Any, made: Any, max_failures: int, *, as_json: bool) -> None:
    from pipeline.report import render
    from pipeline.tracking import comparison_view
    from sweeps.analysis.ranking import ends_text

    record = outcome.record
    winner = record.best_trial
    if as_json:
        click.echo(render.render(record, "json"))
    else:
        click.echo("\n" + render.render(record, "table", 10))
        link = comparison_view.comparison_link(outcome.experiment_id, made.name)
        click.echo(f"\nreport: {outcome.report}")
        if winner is not None:
            click.echo(f"winner: pipeline report {shlex.quote(made.name)} --best")
        click.echo(f"compare: pipeline ui, then http://127.0.0.1:5000{link}")
    if outcome.reason == "failures":
        failed = f"stopped after {max_failures} failures in a row"
        raise NothingComplete(f"{failed}: {ends_text(record.results)}; {_errors(record)}")
    if winner is None:
        raise NothingComplete(
            f"no trial is complete: {ends_text(record.results)}; {_errors(record)}"
        )
    if outcome.reason == "until":
        click.echo(f"stopped by --timeout; go on with: {command_line()}", err=True)
    elif outcome.reason != "done":
        click.echo(f"stopped by the study's own rule: {outcome.reason}", err=True)


def _errors(record: Any) -> str:
    """The trials' errors, equal ones once."""
    found = dict.fromkeys(result.error for result in record.results if result.error)
    return "; ".join(str(error) for error in list(found)[:3])
