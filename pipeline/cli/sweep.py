"""`pipeline sweep`: search a study."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import suppress
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    ENGINE_OPTIONS,
    Command,
    Duration,
    WholeNumber,
    argument_or_option,
    command_line,
    config_options,
    data_dir_option,
    debug_option,
    engine_options,
    parse_settings,
    preload_workers,
    recorded_command,
    storage_option,
    try_out,
)
from pipeline.cli.stored_names import complete_study, complete_study_file
from pipeline.cli.studies import print_plan
from pipeline.cli.then import Ending, followed_by, then_option
from pipeline.system import garbage
from pipeline.system.console import print_line, print_message
from pipeline.system.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.jobs.sweep import Outcome, Plan, Request

_HEAD = 10_000  # characters of a study file that are searched for its data set
# Options that are fields of the request, that fix values of the search, and that the study has.
_REQUEST_OPTIONS = (
    "name",
    "data_dir",
    "storage",
    "experiment",
    "timeout",
    "trial_timeout",
    "finalists",
    "max_failures",
    "deterministic",
)
_FIXED_OPTIONS = (
    "split_file",
    "image_size",
    "train_images",
    "device",
    "precision",
    "gpus_per_trial",
)
_STUDY_OPTIONS = ("trials", "budget", "epochs", "dataset", "seed", "pruner", "keep_checkpoints")


@click.command(
    name="sweep", cls=Command, short_help="Search hyperparameters: a shipped study or your own."
)
@click.argument("study", required=False, shell_complete=complete_study_file)
@click.option("--study", "study_option", help="The study file, instead of the argument.")
@click.option(
    "--name", shell_complete=complete_study, help="The study's name.  [default: FILE-DATASET]"
)
@click.option(
    "--trials",
    type=WholeNumber(1),
    help="Trials in all; a larger number than before extends the study.",
)
@click.option(
    "--budget",
    help="What all trials may take together: a number of whole trainings, or a time (1.5h).",
)
@config_options(
    "epochs",
    "dataset",
    "split_file",
    "image_size",
    "train_images",
    "seed",
    "device",
    "precision",
    "gpus_per_trial",
    default="as the study file says",
)
@data_dir_option
@click.option(
    "--families",
    "--family",
    "families",
    help="Architectures to search: mlp,cnn,resnet, or your own net.py:MyNet.",
)
@click.option(
    "--method",
    "--sampler",
    "method",
    type=click.Choice(["tpe", "gp", "random", "grid"]),
    help="How configurations are drawn: by TPE, a Gaussian process, at random, or all of a grid.",
)
@click.option(
    "--pruner",
    type=click.Choice(["asha", "median", "none"]),
    help="What happens to trials that fall behind: paused until they deserve to go on (asha), "
    "stopped (median), or nothing (none).",
)
@click.option(
    "--objectives",
    metavar="METRIC,COST",
    help="Search accurate and cheap networks at once. METRIC: val_acc or another; COST: "
    "parameters, mflops or latency_ms.",
)
@click.option(
    "--warm-start",
    multiple=True,
    metavar="STUDY",
    help="Begin from the results of an earlier study; can be given several times, or STUDY,STUDY.",
)
@engine_options
@click.option(
    "--deterministic/--no-deterministic",
    default=None,
    help="Whether the list of trials is the same each time; else no worker waits.  "
    "[default: deterministic]",
)
@click.option(
    "--timeout",
    type=Duration(),
    help="Begin no trial after this time: 600, 10m or 1h30m.",
)
@click.option(
    "--trial-timeout",
    type=Duration(),
    help="End a trial that has trained for this time: 600, 10m or 1h30m.",
)
@click.option(
    "--finalists/--no-finalists",
    default=None,
    help="Whether to train the best again after the search.  [default: as the study file says]",
)
@click.option(
    "--max-failures",
    type=WholeNumber(1),
    default=5,
    show_default=True,
    help="End the sweep after so many failed trials in a row.",
)
@click.option(
    "--keep-checkpoints",
    metavar="each|all|best|top:K",
    help="Which weights to keep: of the best epoch of each trial, of all epochs, or of the best "
    "trials only.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Fix hyperparameters instead of searching them: batch_size=64,optimizer=adamw",
)
@click.option("--experiment", help="The MLflow experiment to record in.")
@storage_option
@then_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan (what is searched, trials, time, disk) and train nothing.",
)
@debug_option
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def sweep_command(
    study: str | None,
    study_option: str | None,
    then: str | None,
    dry_run: bool,
    debug: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Search a study: a shipped one's name or a YAML file (default: networks).

    The same command again goes on to the total: nothing that has ended runs twice. If the file asks
    for finalists, they are trained after the search, as by `pipeline finalists`.

    \b
    Example: pipeline sweep --dataset mnist --trials 12 --epochs 3
    """
    study = argument_or_option(study, study_option, "study file")
    if dry_run:
        _print_plan(study, options, as_json=as_json)
        return
    if debug:
        _try_out(study, options)
        return
    with followed_by(then, printed_to_stderr=as_json) as ending:
        _sweep(study, options, ending, as_json=as_json)


def _request(study: str | None, options: dict[str, Any]) -> Request:
    """Make the request of the command."""
    from pipeline.jobs.sweep import Request

    return Request(
        study=study,
        overrides=_overrides(options),
        command=recorded_command(),
        **{key: options[key] for key in (*_REQUEST_OPTIONS, *ENGINE_OPTIONS)},
    )


def _print_plan(study: str | None, options: dict[str, Any], *, as_json: bool) -> None:
    """Print what the command would do."""
    with garbage.freeze_loaded():
        from pipeline.jobs import sweep

    draft, data = sweep.preview(_request(study, options))
    print_plan(
        draft.name,
        draft.spec,
        data,
        warm_start=draft.warm_start,
        workers=options["workers"],
        as_json=as_json,
    )


def _try_out(study: str | None, options: dict[str, Any]) -> None:
    """Try a configuration of each family, and print what is seen."""
    with garbage.freeze_loaded():
        from pipeline.jobs import debug, sweep

    plan = sweep.make_plan(_request(study, options))
    try_out(debug.configurations(plan.spec, plan.data), plan.data)


def _sweep(study: str | None, options: dict[str, Any], ending: Ending, *, as_json: bool) -> None:
    """Search a study, and print the outcome."""
    preload_workers(options, probable_dataset(study, options["dataset"]))
    with garbage.freeze_loaded():
        from rich.console import Console

        from pipeline.jobs import finalists
        from pipeline.jobs import sweep as sweeping
        from pipeline.jobs.progress import ProgressDisplay
        from pipeline.system.signals import SignalStopRequest

    request = _request(study, options)
    console = Console(stderr=as_json)
    plan = sweeping.make_plan(request)
    ending.stores = plan.stores
    ending.study = plan.name

    say = partial(print_line, console)
    try:
        outcome = finalists.search_and_train(
            plan,
            request,
            say,
            make_display=partial(ProgressDisplay.for_study, console=console),
            stop=SignalStopRequest(),
            loading=garbage.freeze_loaded,
        )
    except Interrupted as interrupted:
        say(f"interrupted; go on with: {command_line()}")
        # Not raised again, because click gives every KeyboardInterrupt the same exit code.
        sys.exit(interrupted.code)
    _print_outcome(outcome, plan, request.max_failures, as_json=as_json)


def probable_dataset(study: str | None, given: str | None) -> str | None:
    """Return the data set that a study probably trains on; None if it is not said.

    A study file is not read as a whole, which takes what is imported meanwhile.

    Args:
        study: the name of a shipped study, or the path of a file.
        given: the data set on the command line.
    """
    if given is not None or study is None:
        return given
    shipped = resources.files("sweeps.studies") / f"{study}.yaml"
    with suppress(OSError, UnicodeDecodeError):
        text = (shipped if shipped.is_file() else Path(study)).read_text("utf-8")[:_HEAD]
        found = re.search(r"^dataset: *([^\s#]+)", text, re.MULTILINE)
        if found is not None:
            return found[1].strip("\"'")
    return None


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Return the values of options for `pipeline.jobs.studies.read_study`."""
    settings = parse_settings(options["settings"])
    for key in _FIXED_OPTIONS:
        if options[key] is not None:
            settings[key] = options[key]
    families = None
    if options["families"] is not None:
        families = _names([options["families"]])
    objectives = None
    if options["objectives"] is not None:
        objectives = _names([options["objectives"]])
    return {
        **{key: options[key] for key in _STUDY_OPTIONS},
        "objectives": objectives,
        "method": options["method"],
        "families": families,
        "warm_start": _names(options["warm_start"]) or None,
        "set": settings,
    }


def _names(values: Sequence[str]) -> list[str]:
    """Split texts at their commas."""
    return [name.strip() for value in values for name in value.split(",")]


def _print_outcome(outcome: Outcome, plan: Plan, max_failures: int, *, as_json: bool) -> None:
    """Print the result of a sweep, or raise the failure that the sweep ended with."""
    from pipeline.jobs import sweep
    from pipeline.report import render
    from pipeline.tracking import comparison_view

    record = outcome.record
    winner = record.best_trial
    if as_json:
        click.echo(render.render(record, "json"))
    else:
        click.echo("\n" + render.render(record, "table", 10))
        link = comparison_view.comparison_link(outcome.experiment_id, plan.name)
        click.echo(f"\nreport: {outcome.report}")
        if winner is not None:
            click.echo(f"winner: pipeline report {shlex.quote(plan.name)} --best")
        click.echo(f"compare: {comparison_view.how_to_open(plan.stores.tracking, link)}")
    sweep.check_complete(outcome, max_failures)
    if outcome.reason == "until":
        print_message(f"stopped by --timeout; go on with: {command_line()}", err=True)
    elif outcome.reason != "done":
        print_message(f"stopped by the study's own rule: {outcome.reason}", err=True)
