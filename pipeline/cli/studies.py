"""`pipeline studies`: list the shipped studies, or show one with its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import Command, argument_or_option, config_options, data_dir_option


@click.command(name="studies", cls=Command)
@click.argument("name", required=False)
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
    """List the shipped studies, or show one with its plan: the count, and an estimate where its images are there.

    \b
    Example: pipeline studies mnist_resnet_lr
    """
    if show:
        from sweeps.spec import schema

        click.echo(
            json.dumps(schema.json_schema(), indent=2)
            if show == "schema"
            else schema.markdown().rstrip()
        )
        return
    from pipeline.jobs import estimate, preflight, studies

    name = argument_or_option(name, name_option)
    if name is None:
        found = [
            estimate.describe_plan(study, spec, None)
            for study, _, spec in map(studies.read_shipped, studies.shipped_studies())
        ]
        if as_json:
            click.echo(json.dumps(found, indent=2))
            return
        for described in found:
            click.echo(
                f"{described['study']:24} {described['trials']:3} trials  {described['description']}"
            )
        return
    study, text, spec = studies.read_study(name, {"dataset": dataset})
    if not as_json:
        click.echo(f"{text}\n")
    if spec.method == "ablate":
        from pipeline.stores import access, locations

        spec = studies.ablate_study(
            spec, studies.ablation_start(access.read_record(locations.locate(), spec.of))
        )
    print_plan(study, spec, preflight.load_if_present(spec, data_dir), as_json=as_json)


def print_plan(name: str, spec: Any, data: Any, *, as_json: bool) -> None:
    """Print what a study would train and, where its images are present, what that would take."""
    from pipeline.jobs import estimate

    described = estimate.describe_plan(name, spec, data)
    click.echo(json.dumps(described, indent=2) if as_json else estimate.plan_text(described))
