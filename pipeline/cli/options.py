"""The options that commands share, and the spelling of options.

The options of a training are derived from the fields of `TrialConfig`.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.suggestions import suggest
from pipeline.cli.stored_names import complete_run, complete_study
from pipeline.engines.registry import ENGINES
from pipeline.system.console import print_message
from pipeline.system.cpu import available_cores
from pipeline.system.errors import Interrupted, UsageFailure
from sweeps.spec.durations import check_seconds
from sweeps.trial import ConfigField, TrialConfig, Value, config_fields, network_options

if TYPE_CHECKING:
    from pipeline.data.search_data import SearchData
    from pipeline.inference.networks import NetworkReference
    from pipeline.stores.locations import Stores

# Whose studies a single worker trains before further ones have started.
_SMALL_DATASETS = ("digits", "few_digits")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class FieldType(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """The type of an option for a field of `TrialConfig`, with the rules of that field."""

    def __init__(self, field: ConfigField) -> None:
        self.field = field
        if field.choices:
            self.name = "|".join(field.choices)
        else:
            self.name = {int: "integer", float: "number", str: "text"}.get(field.type, "boolean")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Value:
        """Check the value. The message of the field becomes the command's."""
        try:
            return self.field.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """The type of an option for a time such as 600, 10m or 1h30m, in seconds: at most a year."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Check the value."""
        try:
            return check_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class WholeNumber(click.IntRange):
    """The type of an option for a whole number, whose error names the bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Check the value."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"must be a whole number {_bounds(self)}: got {value!r}", param, ctx)


class Number(click.FloatRange):
    """The type of an option for a number, whose error names the bounds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Check the value."""
        try:
            return float(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"must be a number {_bounds(self)}: got {value!r}", param, ctx)


def _bounds(numbers: click.IntRange | click.FloatRange) -> str:
    """Say the bounds of a range that has a lower one."""
    upper = "" if numbers.max is None else f" to {numbers.max:,}"
    return f"from {numbers.min:,}{upper}"


storage_option = click.option(
    "--storage",
    help="Store of the studies: sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE.  "
    "[default: optuna.db]",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PIPELINE_DATA_DIR",
    default=Path("data"),
    show_default=True,
    help="Folder of data sets, in torchvision's layout.",
)

debug_option = click.option(
    "--debug",
    is_flag=True,
    help="Only try it, in seconds: two batches of everything, then one batch until it is known by "
    "heart. Records nothing.",
)

_ENGINE_DECORATORS = (
    click.option(
        "--workers",
        type=WholeNumber(1),
        help="How many trials to train at a time.  [default: by cores, GPUs and work]",
    ),
    click.option(
        "--engine",
        type=click.Choice(list(ENGINES)),
        default="local",
        show_default=True,
        help="Where to train: on this machine, or on a Ray cluster.",
    ),
    click.option(
        "--address",
        metavar="auto|HOST:PORT",
        help="The Ray cluster to use, from one of its nodes.  [default: start one on this machine]",
    ),
)
ENGINE_OPTIONS = ("workers", "engine", "address")

within_option = click.option(
    "--within",
    type=Number(0),
    help="With --best: the cheapest network that is worse by no more than this; .005 is half a "
    "percentage point of accuracy.",
)
_NETWORK_DECORATORS = (
    click.option(
        "--run",
        shell_complete=complete_run,
        help="NAME#7, trial 7 of a study; or the id of a run in MLflow.",
    ),
    click.option(
        "--best",
        is_flag=True,
        help="The best network of the study: the refit, else the best trial.",
    ),
    click.option(
        "--name",
        shell_complete=complete_study,
        help="The study of --best.  [default: the one last run]",
    ),
    within_option,
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


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def agree(what: str, *, yes: bool) -> None:
    """Ask whether to do what was described, which cannot be undone.

    Args:
        what: the verb.
        yes: the option --yes: do not ask.

    Raises:
        UsageFailure: if nobody can be asked.
        Abort: unless the answer is yes.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFailure(f"no terminal to ask whether to {what} this: add --yes")
    click.confirm(f"{what} this?", abort=True)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options for its engine, which are fields of a sweep's request."""
    for option in reversed(_ENGINE_DECORATORS):
        command = option(command)
    return command


def try_out(configs: Sequence[TrialConfig], data: SearchData) -> None:
    """Try configurations for --debug, and print what is seen.

    Raises:
        NothingComplete: if one of them does not learn.
    """
    from pipeline.jobs import debug
    from pipeline.system.signals import SignalStopRequest

    try:
        debug.try_out(configs, data, print_message, SignalStopRequest())
    except Interrupted as interrupted:
        sys.exit(interrupted.code)


def preload_workers(options: Mapping[str, Any], dataset: str | None = None) -> None:
    """Start importing what workers need, if there will probably be workers on this machine.

    The import runs beside the imports of this process, so call this before them. A wrong guess
    costs time alone: the number of workers is settled later.

    Args:
        options: of the command.
        dataset: whose images the command trains on; None if a single worker is the usual number.
    """
    if options["engine"] != "local":
        return
    workers = options["workers"]
    if workers is None and dataset not in (None, *_SMALL_DATASETS):
        workers = available_cores()
    if (workers or 1) > 1:
        from pipeline.system import forkserver

        forkserver.warm_up(forkserver.TRAINING_PRELOAD)


def network_source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options that name a finished network."""
    for option in reversed(_NETWORK_DECORATORS):
        command = option(command)
    return command


def chosen_network_option(options: Mapping[str, Any], *more: str) -> str:
    """Return the one given option of those that name a network.

    Args:
        options: the values of a command's options.
        more: further options of the command that name networks.

    Raises:
        UsageFailure: unless exactly one of the options is given.
    """
    allowed = [key for key in (*NETWORK_OPTIONS, *more) if key != "name"]
    given = [key for key in allowed if options[key]]
    if len(given) != 1:
        spelling = " or ".join(f"--{key.replace('_', '-')}" for key in allowed)
        given_spelling = ", ".join(f"--{key}" for key in given) or "none"
        raise UsageFailure(f"name a network in one way, {spelling}: got {given_spelling}")
    if options["name"] and given[0] in ("run", "model", "checkpoint"):
        raise UsageFailure(f"--name says which study --best is of: leave it out with --{given[0]}")
    check_within(options["within"], is_best=given[0] == "best")
    return given[0]


def check_within(within: float | None, *, is_best: bool) -> None:
    """Check that a margin is given with the option --best only.

    Raises:
        UsageFailure: if it is given alone, or is no number.
    """
    if within is None:
        return
    if math.isnan(within):
        raise UsageFailure("--within must be a number from 0: got nan")
    if not is_best:
        raise UsageFailure(f"--within chooses the trial of --best: give both: got {within:g} alone")


def network_reference(
    stores: Stores, options: Mapping[str, Any], *, takes_refit: bool = True
) -> NetworkReference:
    """Make the reference to a network from the options that name it.

    Which study and which run --best takes, and why, is said on standard error.

    Args:
        stores: the stores.
        options: the values of the options.
        takes_refit: whether --best may be the refit, which has learned from validation images.
    """
    from pipeline.inference import find
    from pipeline.inference.networks import NetworkReference
    from pipeline.report.front import best_text

    if options["best"]:
        best = find.best_network(
            stores, options["name"], options["within"], takes_refit=takes_refit
        )
        text = best_text(best.record, best.choice, best.refit)
        if options["name"] is None:
            text = f"The study last run: {text}"
        print_message(text, err=True)
        return NetworkReference(run=best.run_id)
    return NetworkReference(**{key: options[key] for key in NETWORK_OPTIONS})


def describe_origin(option: str, run_id: str | None) -> str:
    """Write where a network comes from: its run, or the option that named it."""
    if run_id:
        return f"from run {run_id}"
    return f"from a {option}"


def argument_or_option(argument: str | None, option: str | None, what: str = "study") -> str | None:
    """Return a name that a command takes as an argument or, for `mlflow run -P`, as an option.

    Args:
        argument: the value of the argument.
        option: the value of the option.
        what: the word for the named thing, for the message.

    Raises:
        UsageFailure: if both are given and differ.
    """
    if argument and option and argument != option:
        raise UsageFailure(f"name the {what} once: got {argument!r} and {option!r}")
    if argument is None:
        return option
    return argument or option or ""  # an empty name is none of a study, and not the last one's


def command_line() -> str:
    """Return the command as it was typed: the same command resumes."""
    return f"pipeline {shlex.join(sys.argv[1:])}"


def recorded_command() -> str:
    """Return the command that resumes as the stores keep it, for others to read: without --then."""
    words: list[str] = []
    remaining = list(sys.argv[1:])
    while remaining:
        word = remaining.pop(0)
        if word == "--then":
            del remaining[:1]
        elif not word.startswith("--then="):
            words.append(word)
    return f"pipeline {shlex.join(words)}"


def parse_settings(values: Sequence[str]) -> dict[str, Any]:
    """Parse the values of --set, each ``key=value,key=value``; a list stands in brackets.

    Raises:
        UsageFailure: for anything else.
    """
    settings: dict[str, Any] = {}
    if not values:
        return settings
    for setting in re.split(r",(?![^\[]*\])", ",".join(values)):
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UsageFailure(f"--set takes key=value,key=value: got {setting!r}")
        settings[key.strip().replace("-", "_")] = value.strip()
    return settings


class Command(click.Command):
    """A command that takes options in the spelling of ``mlflow run -P``, too.

    Options may be spelt with underscores (``--batch_size``), and a flag may have a value
    (``--best true``).
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite the spellings of ``mlflow run -P`` to click's own, and parse these.

        Raises:
            click.UsageError: for the character NUL, which no name of the system can contain.
        """
        if any("\0" in word for word in args):
            raise click.UsageError("an argument holds the character NUL: leave it out", ctx)
        flags = self._flag_spellings()
        plain: list[str] = []
        remaining = list(args)
        while remaining:
            word = remaining.pop(0)
            if word == "--":
                plain += [word, *remaining]
                break
            name, equals, value = word.partition("=")
            if name.startswith("--"):
                name = name.replace("_", "-")
            if name in flags and not equals and remaining and _is_boolean(remaining[0]):
                equals = "="
                value = remaining.pop(0)
            if name in flags and _is_boolean(value):
                positive, negative = flags[name]
                # A flag without a negative spelling is off if it is left out.
                plain += positive if value.lower() == "true" else negative
            else:
                plain.append(name + equals + value)
        try:
            return super().parse_args(ctx, plain)
        except click.NoSuchOption as error:
            raise self._with_suggestion(error) from None

    def _with_suggestion(self, error: click.NoSuchOption) -> click.UsageError:
        """Suggest the option of the same meaning, such as --lr for --learning-rate, if any."""
        spellings = {option[2:]: option for param in self.params for option in param.opts}
        field = _meant_field(error.option_name)
        if field is not None and "set" in spellings and field not in spellings:
            return click.UsageError(
                f"{error.option_name} is no option here: fix the value with --set {field}=VALUE, "
                "or search it in a study file",
                error.ctx,
            )
        meant = suggest(error.option_name.lstrip("-"), spellings)
        if meant is None:
            return error
        return click.UsageError(f"{error.message} Did you mean '{spellings[meant]}'?", error.ctx)

    def _flag_spellings(self) -> dict[str, tuple[list[str], list[str]]]:
        """Return the words that turn each flag on and off, by each spelling of the flag."""
        spellings: dict[str, tuple[list[str], list[str]]] = {}
        for param in self.params:
            if isinstance(param, click.Option) and param.is_flag:
                on = param.opts[:1]
                off = param.secondary_opts[:1]
                for name in param.opts:
                    spellings[name] = (on, off)
                for name in param.secondary_opts:
                    spellings[name] = (off, on)
        return spellings


def _meant_field(option: str) -> str | None:
    """The field of a trial that an unknown option means: itself, or a synonym of it."""
    name = option.lstrip("-").replace("-", "_")
    if name in config_fields():
        return name
    meant = suggest(name, config_fields())
    is_misspelt = meant is not None and bool(difflib.get_close_matches(name, [meant]))
    return None if is_misspelt else meant


def _is_boolean(word: str) -> bool:
    return word.lower() in ("true", "false")


def config_options(*names: str, default: str | None = None) -> Decorator:
    """Decorate a command with options for fields of `TrialConfig`.

    Args:
        names: the fields; without any, all.
        default: in the help, where the value comes from without the option; without it, it is that
            of the field.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        given = [field.name for field in config_fields().values() if not field.computed]
        for name in reversed(names or given):
            command = _config_option(config_fields()[name], default)(command)
        return command

    return decorate


def _config_option(field: ConfigField, default: str | None) -> Decorator:
    spelling = f"--{field.name.replace('_', '-')}"
    if field.type is bool:
        return click.option(
            f"{spelling}/--no-{spelling[2:]}", field.name, default=None, help=field.help
        )
    if default is not None:
        pass
    elif field.default is not None:
        default = str(field.default)
    elif field.name in network_options():
        default = "the family's own"
    else:
        default = "none"
    return click.option(
        spelling,
        field.name,
        type=FieldType(field),
        help=f"{field.help}  [default: {default}]",
    )
