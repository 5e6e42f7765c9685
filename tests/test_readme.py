"""The README's commands: all of them parse, and those of this product run, in order, in one folder."""

import re
import shlex
from pathlib import Path

import click
import pytest
from endtoend import pipeline

from pipeline.cli import cli

README = Path(__file__).parents[1] / "README.md"


def commands():
    """Each line of the README's shell blocks, without comments."""
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(re.sub(r"(^|\s)#.*", "", line))  # shlex would cut NAME#0 too
            if "&&" in words:
                words = words[words.index("&&") + 1 :]
            if words:
                yield words


OURS = [words[1:] for words in commands() if words[0] == "pipeline"]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_of_the_readme_parses(words):
    """Each `pipeline` line names a command that there is, with options that it has."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    command.make_context(words[0], list(words[1:]))


def test_every_other_line_is_a_known_program():
    """What else the README tells to type is make, mlflow, or the activation of .venv."""
    assert {words[0] for words in commands()} == {"make", ".", "pipeline", "mlflow"}


def test_every_picture_is_there():
    """Each picture that the README shows is in the repository."""
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert all((README.parent / picture).stat().st_size > 10_000 for picture in pictures)


@pytest.mark.slow
def test_the_readmes_commands_run(folder, real_data, monkeypatch):
    """A newcomer who types the README's lines gets through them; the sweep comes first."""
    monkeypatch.setenv("PIPELINE_DATA_DIR", str(real_data))
    assert pipeline("sweep") == 0
    for words in OURS:
        if words[0] not in ("ui", "run") and words != ["sweep"]:
            assert pipeline(*words) == 0, words
