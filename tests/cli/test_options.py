"""Every spelling that a person or `mlflow run -P` may use means the same, and a wrong value is told by its rule."""

import ast

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import options as options_module
from pipeline.cli.options import Command, argument_or_option, config_options
from pipeline.cli.sweep import probable_dataset, sweep_command
from pipeline.data.datasets import BUNDLED_DIGITS
from pipeline.system import forkserver
from pipeline.system.errors import UsageFailure
from sweeps.trial import config_fields, network_options


@click.command(cls=Command)
@click.argument("words", nargs=-1)
@click.option("--some-text")
@click.option("--show-all", "-a", is_flag=True)
@config_options()
def everything(words, some_text, show_all, **values):
    """Print what was understood."""
    given = {name: value for name, value in values.items() if value is not None}
    click.echo(repr((words, some_text, show_all, given)))


@click.command(cls=Command)
@config_options("lr", "batch_norm")
def few(**values):
    """Print what was understood."""
    click.echo(repr(values))


def run(*args, command=everything):
    return CliRunner().invoke(command, args)


def understood(*args):
    done = run(*args)
    assert done.exit_code == 0, done.output
    return ast.literal_eval(done.output)


def given(*args):
    words, text, show_all, values = understood(*args)
    assert (words, text, show_all) == ((), None, False)
    return values


@pytest.mark.parametrize(
    "args", [["--batch-size", "8"], ["--batch_size", "8"], ["--batch-size=8"], ["--batch_size=8"]]
)
def test_both_spellings(args):
    """A dash and an underscore are the same in an option's name."""
    assert given(*args) == {"batch_size": 8}


def test_values_are_left_alone():
    """Only names are respelt: underscores, equals signs and dashes in values stay."""
    assert understood("--some_text", "a_b=c_d", "e_f=g_h") == (("e_f=g_h",), "a_b=c_d", False, {})
    assert understood("--some_text=--a_b=c")[1] == "--a_b=c"
    assert understood("--some_text=")[1] == ""
    assert understood("--some_text=true")[1] == "true"


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--batch-norm"], True),
        (["--batch_norm"], True),
        (["--no-batch-norm"], False),
        (["--no_batch_norm"], False),
        (["--batch-norm", "true"], True),
        (["--batch_norm", "True"], True),
        (["--batch_norm", "false"], False),
        (["--batch-norm=FALSE"], False),
        (["--batch_norm=true"], True),
        (["--no-batch-norm", "true"], False),
        (["--no_batch_norm=false"], True),
    ],
)
def test_booleans(args, value):
    """A flag may stand alone, or be followed by true or false, as `mlflow run -P` does."""
    assert given(*args) == {"batch_norm": value}


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--show-all", "true"], True),
        (["--show_all=True"], True),
        (["-a", "true"], True),
        (["--show-all", "false"], False),
        (["--show_all=false"], False),
        (["-a", "False"], False),
    ],
)
def test_flags_without_opposite(args, shown):
    """A flag that has no opposite is off when it is followed by false."""
    assert understood(*args) == ((), None, shown, {})


@pytest.mark.parametrize(
    "args",
    [
        ["--show-all", "--batch_size", "8", "--no_residual"],
        ["--show-all", "true", "--batch_size", "8", "--residual", "false"],
        ["--show_all", "--residual", "false", "--batch_size=8"],
        ["--residual", "false", "--batch-size", "8", "--show_all"],
    ],
)
def test_what_follows_a_flag(args):
    """After a flag, alone or with its value, the next option is understood like any other."""
    assert understood(*args) == ((), None, True, {"batch_size": 8, "residual": False})


def test_words_after_a_flag():
    """A word after a flag that is no boolean, or after one that has its value, is a word of its own."""
    assert understood("--show_all=true", "true") == (("true",), None, True, {})
    assert understood("--show-all", "default") == (("default",), None, True, {})


def test_two_dashes():
    """After two dashes nothing is an option, nor is it respelt, also right behind a flag."""
    assert understood("--show-all", "--", "--batch_norm", "true", "--") == (
        ("--batch_norm", "true", "--"),
        None,
        True,
        {},
    )


@pytest.mark.parametrize("args", [["--show-all=maybe"], ["--batch_norm=1"], ["--no-residual=x"]])
def test_flag_with_another_value(args):
    """A flag given another value than true or false is refused, not taken with a word behind it."""
    done = run(*args)
    assert done.exit_code == 2
    assert "does not take a value" in done.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lr", "0"], "Invalid value for '--lr': lr must be from 1e-08 to 100: got '0'"),
        (["--lr", "nan"], "lr must be from 1e-08 to 100: got 'nan'"),
        (["--lr", "fast"], "lr must be a number: got 'fast'"),
        (["--epochs", "2.5"], "epochs must be a whole number: got '2.5'"),
        (["--optimizer", "addam"], "optimizer is unknown: 'addam'; did you mean adam?"),
        (["--family", "cnm"], "family is unknown: 'cnm'; did you mean cnn?"),
        (
            ["--layer-order", "conv"],
            "layer_order must hold each of conv, norm, act, drop, pool once",
        ),
        (["--batchsize", "8"], "Did you mean '--batch-size'?"),
    ],
)
def test_wrong_values(args, message):
    """A wrong value ends with exit code 2 and the field's own rule, the value, and the nearest known."""
    done = run(*args)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize(
    "name", [name for name, field in config_fields().items() if not field.computed]
)
def test_every_field_is_an_option(name):
    """Each field of a configuration has an option with its help and default, which leaves the field unset."""
    (option,) = [param for param in everything.params if param.name == name]
    field = config_fields()[name]
    assert option.opts == ["--" + name.replace("_", "-")]
    assert field.help in option.help
    assert option.default is None or not isinstance(option.default, bool)
    assert given() == {}
    if field.type is bool:
        assert option.secondary_opts == ["--no-" + name.replace("_", "-")]
    else:
        own = "the family's own" if name in network_options() else "none"
        assert f"[default: {own if field.default is None else field.default}]" in option.help


def test_named_fields_only():
    """A command may have the options of some fields, in the order named."""
    assert [param.name for param in few.params] == ["lr", "batch_norm"]
    assert (
        run("--lr", "1e-2", "--no_batch_norm", command=few).output
        == "{'lr': 0.01, 'batch_norm': False}\n"
    )
    assert run("--epochs", "1", command=few).exit_code == 2


def test_a_name_is_given_once():
    """As an argument or as an option; as both only where they agree, for no command is to choose between them."""
    assert [
        argument_or_option("a", None),
        argument_or_option(None, "a"),
        argument_or_option("a", "a"),
        argument_or_option(None, None),
        argument_or_option("a", ""),
        argument_or_option("", None),
        argument_or_option(None, ""),
    ] == [
        *"aaa",
        None,
        "a",
        "",
        "",
    ]
    with pytest.raises(UsageFailure, match="name the data set once: got 'a' and 'b'"):
        argument_or_option("a", "b", "data set")


@pytest.mark.parametrize("value", ["inf", "nan", "1e10", "-1", "0", "soon", ""])
@pytest.mark.parametrize("option", ["--timeout", "--trial-timeout"])
def test_a_time_limit_is_a_time(option, value):
    """A time limit that no clock can keep is refused with the rule and the value; so is none at all."""
    done = run(option, value, command=sweep_command)
    assert done.exit_code == 2
    assert f"or such as 90s, 10m or 1h30m: got {value!r}" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("study", "given", "workers", "cores", "expected"),
    [
        ("mnist_cnn_lr", None, None, 2, True),
        ("own.yaml", None, None, 2, True),
        ("own.yaml", "digits", None, 2, False),
        (None, "folder:photos", None, 2, True),
        (None, None, None, 2, False),  # the default study, which one worker trains
        ("own.yaml", None, 1, 2, False),
        ("own.yaml", None, None, 1, False),
        ("nowhere.yaml", None, None, 2, False),
        (None, None, 2, 2, True),
    ],
)
def test_workers_are_imported_for_where_there_will_probably_be_some(
    tmp_path, monkeypatch, study, given, workers, cores, expected
):
    """From the first moment of the command: by the data set, as an option or the study file names it."""
    warmed = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("trials: 3\ndataset: 'cifar10'  # in colour\n")
    monkeypatch.setattr(options_module, "available_cores", lambda: cores)
    monkeypatch.setattr(forkserver, "warm_up", warmed.append)
    assert options_module._SMALL_DATASETS == BUNDLED_DIGITS
    dataset = probable_dataset(study, given)
    options_module.preload_workers({"engine": "local", "workers": workers}, dataset)
    assert bool(warmed) == expected
