"""How options are spelt: derived from `TrialConfig`, in both spellings, booleans with or without a value."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.engines.registry import ENGINES
from pipeline.system.errors import UsageFailure
from sweeps.trial import ConfigField, Value, config_fields, network_options

storage_option = click.option(
    "--storage",
    help="Store of the studies: sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE.  [default: optuna.db]",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PIPELINE_DATA_DIR",
    default=Path("data"),
    show_default=True,
    help="Folder of data sets, in torchvision's layout.",
)

_ENGINE = (
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Trials at a time.  [default: by cores, GPUs and work]",
    ),
    click.option(
        "--engine",
        type=click.Choice(list(ENGINES)),
        default="local",
        show_default=True,
        help="Where trials are trained.",
    ),
    click.option(
        "--address",
        metavar="auto|HOST:PORT",
        help="The Ray cluster to join, from one of its nodes.  [default: one of this machine is begun]",
    ),
)
ENGINE_OPTIONS = ("workers", "engine", "address")


_NETWORK = (
    click.option("--run", help="A run id, or NAME#7: trial 7 of a study."),
    click.option("--best", is_flag=True, help="The best trial of the study."),
    click.option("--name", help="The study of --best.  [default: the one last run]"),
    click.option(
        "--model", metavar="URI", help="A registered model: models:/NAME@champion or models:/NAME/3"
    ),
    click.option(
        "--checkpoint",
        type=click.Path(path_type=Path, exists=True),
        help="A checkpoint file or folder.",
    ),
)
NETWORK_OPTIONS = ("run", "best", "name", "model", "checkpoint")


def network_source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the ways to name a finished network."""
    for option in reversed(_NETWORK):
        command = option(command)
    return command


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with where its trials are trained, and how many at a time: fields of a request."""
    for option in reversed(_ENGINE):
        command = option(command)
    return command


def preload_workers(options: Mapping[str, Any]) -> None:
    """Start to import what worker processes here will need, before this one has imported what it needs itself."""
    if options["engine"] == "local" and (options["workers"] or 1) > 1:
        from pipeline.system import forkserver

        forkserver.warm_up(forkserver.TRAINING_PRELOAD)


def argument_or_option(argument: str | None, option: str | None, what: str = "study") -> str | None:
    """The name that a command takes as its argument or as an option, as `mlflow run -P` has to give it.

    Raises:
        UsageFailure: if both are given, and are not the same.
    """
    if argument and option and argument != option:
        raise UsageFailure(f"name the {what} once: got {argument!r} and {option!r}")
    return argument or option


def chosen_network_option(options: Mapping[str, Any], *others: str) -> str:
    """Which of the options that name networks is given; ``others`` are those of the command's own.

    Raises:
        UsageFailure: unless it is exactly one.
    """
    ways = [key for key in (*NETWORK_OPTIONS, *others) if key != "name"]
    given = [key for key in ways if options[key]]
    spelt = " or ".join(f"--{key.replace('_', '-')}" for key in ways)
    if len(given) != 1:
        raise UsageFailure(
            f"name a network in one way, {spelt}: got {', '.join(f'--{key}' for key in given) or 'none'}"
        )
    if options["name"] and given[0] in ("run", "model", "checkpoint"):
        raise UsageFailure(f"--name is the study of --best: with --{given[0]}, leave it out")
    return given[0]


def command_line() -> str:
    """The command as it was typed, by which it is gone on with."""
    return f"pipeline {shlex.join(sys.argv[1:])}"


class FieldType(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """A field of `TrialConfig`: its own rules are the option's."""

    def __init__(self, field: ConfigField) -> None:
        self.field = field
        self.name = "|".join(field.choices) or {int: "integer", float: "number", str: "text"}.get(
            field.type, "boolean"
        )

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Value:
        """Check the value; its message becomes the command's."""
        try:
            return self.field.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Command(click.Command):
    """A command whose options may be spelt ``--batch_size``, and whose flags may be followed by true or false.

    Both are how ``mlflow run -P`` passes them on.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite those spellings to the plain ones.

        Raises:
            click.UsageError: for the character NUL, which no system's names can hold.
        """
        if any("\0" in word for word in args):
            raise click.UsageError("an argument holds the character NUL: leave it out", ctx)
        flags: dict[str, tuple[list[str], list[str]]] = {}
        for param in self.params:
            if isinstance(param, click.Option) and param.is_flag:
                flags |= dict.fromkeys(param.opts, (param.opts[:1], param.secondary_opts[:1]))
                flags |= dict.fromkeys(
                    param.secondary_opts, (param.secondary_opts[:1], param.opts[:1])
                )
        plain: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                plain += [word, *rest]
                break
            name, equals, value = word.partition("=")
            if name.startswith("--"):
                name = name.replace("_", "-")
            if name in flags and not equals and rest and rest[0].lower() in ("true", "false"):
                equals = "="
                value = rest.pop(0)
            if name in flags and value.lower() in ("true", "false"):
                positive, negative = flags[name]
                plain += (
                    positive if value.lower() == "true" else negative
                )  # one without opposite is off when left out
                continue
            plain.append(name + equals + value)
        return super().parse_args(ctx, plain)


def config_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with an option for each of the named fields of `TrialConfig`, or for all."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names or tuple(config_fields())):
            command = _option(config_fields()[name])(command)
        return command

    return decorate


def _option(field: ConfigField) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    spelling = f"--{field.name.replace('_', '-')}"
    if field.type is bool:
        return click.option(
            f"{spelling}/--no-{spelling[2:]}", field.name, default=None, help=field.help
        )
    own = "the family's own" if field.name in network_options() else "none"
    default = own if field.default is None else field.default
    return click.option(
        spelling, field.name, type=FieldType(field), help=f"{field.help}  [default: {default}]"
    )
