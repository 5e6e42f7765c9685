"""`pipeline studies`: list the shipped studies, or show one with its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Command, argument_or_option, config_options, data_dir_option
from pipeline.cli.stored_names import complete_study_file
from pipeline.system import garbage
from pipeline.system.text import wrap_words

if TYPE_CHECKING:
    from pipeline.data.search_data import SearchData
    from sweeps.analysis.facts import WarmStart
    from sweeps.spec.study_spec import StudySpec

_NARROWEST = 20  # characters of a description, on the narrowest terminal


@click.command(
    name="studies", cls=Command, short_help="List the shipped studies, or show the plan of one."
)
@click.argument("name", required=False, shell_complete=complete_study_file)
@click.option("--name", "name_option", help="The study, instead of the argument.")
@config_options("dataset")
@data_dir_option
@click.option(
    "--schema",
    "show",
    flag_value="schema",
    help="Print the JSON schema of study files, for editors.",
)
@click.option(
    "--reference",
    "show",
    flag_value="reference",
    help="Print the format of study files, as Markdown.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def studies_command(
    name: str | None,
    name_option: str | None,
    dataset: str | None,
    data_dir: Path,
    show: str | None,
    as_json: bool,
) -> None:
    """List the shipped studies, or show one with its plan: the count, and an estimate where its
    images are there.

    \b
    Example: pipeline studies mnist_resnet_lr
    """
    if show:
        from sweeps.spec import schema

        if show == "schema":
            click.echo(json.dumps(schema.json_schema(), indent=2))
        else:
            click.echo(schema.markdown().rstrip())
        return
    name = argument_or_option(name, name_option)
    if name is None:
        _list_studies(as_json=as_json)
        return
    from pipeline.jobs import preflight, studies

    study, text, spec = studies.read_study(name, {"dataset": dataset})
    if not as_json:
        click.echo(f"{text}\n")
    if spec.method == "ablate":
        from pipeline.stores import access, locations

        with garbage.freeze_loaded():
            record = access.read_record(locations.locate(), spec.of)
        spec = studies.ablate_study(spec, studies.ablation_start(record))
    print_plan(study, spec, preflight.load_if_present(spec, data_dir), as_json=as_json)


def _list_studies(*, as_json: bool) -> None:
    """Print a line for each shipped study."""
    from pipeline.jobs import estimate, studies
    from pipeline.report.terminal import terminal_width

    plans = []
    for name in studies.shipped_studies():
        study, _, spec = studies.read_shipped(name)
        plans.append(estimate.describe_plan(study, spec, None))
    if as_json:
        click.echo(json.dumps(plans, indent=2))
        return
    width = terminal_width()
    for plan in plans:
        head = f"{plan['study']:24} {estimate.count_text(plan):>10}  "
        lines = [plan["description"]]
        if width is not None:
            lines = wrap_words(plan["description"], max(_NARROWEST, width - len(head)))
        click.echo(head + f"\n{'':{len(head)}}".join(lines))


def print_plan(
    name: str,
    spec: StudySpec,
    data: SearchData | None,
    *,
    warm_start: WarmStart | None = None,
    workers: int | None = None,
    as_json: bool,
) -> None:
    """Print what a study would train, and an estimate of the costs if there are images.

    Args:
        name: the name of the study.
        spec: the study.
        data: the images; None if they are not present.
        warm_start: what the study takes from earlier ones.
        workers: the number of trials at a time; None for a good one.
        as_json: print JSON rather than text.
    """
    from pipeline.jobs import estimate
    from pipeline.report.terminal import terminal_width
    from pipeline.training.process import keep_freed_memory

    if data is not None:  # a few steps are timed, as in a trial
        keep_freed_memory()
    plan = estimate.describe_plan(name, spec, data, warm_start, workers=workers)
    if as_json:
        click.echo(json.dumps(plan, indent=2))
    else:
        click.echo(estimate.plan_text(plan, terminal_width()))
