"""SECURITY.md says what is so: its command lines parse, and its settings are ones that MLflow has."""

import re
import shlex
import warnings
from pathlib import Path

import click
import pytest
from mlflow import environment_variables as known

from pipeline.cli.program import cli

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
LINES = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.slow
def test_every_command_line_parses():
    """Each line is an export, or a command of MLflow or of this product with options that it has."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of MLflow's own types, and of its weight: this takes seconds
        import mlflow.cli
    groups = {"mlflow": mlflow.cli.cli, "pipeline": cli}
    assert {words[0] for words in LINES} == {"export", *groups}
    for program, *words in LINES:
        if program in groups:
            command = groups[program].get_command(click.Context(groups[program]), words[0])
            command.make_context(words[0], list(words[1:]))
        else:
            assert all(re.match(r"[A-Z_]+=", word) for word in words)


def test_every_setting_is_one_of_mlflow():
    """Each MLFLOW_ variable that is named is one that MLflow reads."""
    named = set(re.findall(r"\bMLFLOW_[A-Z_]+", TEXT))
    assert len(named) >= 6
    assert [name for name in named if not hasattr(known, name)] == []


def test_every_product_file_and_command_named_is_there():
    """What stands in backquotes and begins with `pipeline` is a command."""
    for line in re.findall(r"`pipeline ([^`]*)`", TEXT):
        name, *words = shlex.split(line)
        cli.get_command(click.Context(cli), name).make_context(name, words)
