"""What a command prints goes to any kind of standard output, and its work does not depend on it."""

import os
import subprocess
import sys

import pytest
from support.endtoend import check_invariant

from pipeline.system.streams import plain


def command(*arguments, cwd, script="", **options):
    """Run the command by a shell's script, which may redirect it."""
    line = f"exec {sys.executable} -m pipeline {' '.join(arguments)} {script}"
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, capture_output=True, check=False, text=True, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (">&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("> >(exit)", 0, ""),
        (
            ">/dev/full",
            5,
            "error: cannot write the output: No space left on device; all else is done\n",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_no_traceback(script, code, said, tmp_path):
    """A closed output and a reader that has gone are no errors; a full disk is one of a line."""
    done = command("studies", script=script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_characters_that_an_encoding_lacks_are_plain(encoding, tmp_path):
    """A name outside the encoding, and a table's lines, are printed in characters that it has."""
    name = "caf\u00e9 \u2500 \u4e2d"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    script = f"from pipeline.system.streams import make_safe; make_safe(); print({name!a})"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True
    )
    shown = "cafe - ?" if encoding == "ascii" else "caf\u00e9 - ?"
    assert done.stdout.decode(encoding) == f"{shown}\n"


def test_plain():
    """Lines and corners of tables, dashes and letters with accents look similar."""
    assert (
        plain("\u250c\u2500\u2501\u2510\u2502 \u00e9\u00fc \u00d73 \u2026 \u2265 \u4e2d")
        == "+--+| eu x3 ... >= ?"
    )


@pytest.mark.slow
def test_a_sweep_without_an_output_is_a_sweep(folder):
    """A closed output takes nothing from a sweep, and none of its files takes the output's place."""
    options = ("sweep", "tiny.yaml", "--trials", "2")
    done = command(*options, script=">&- 2>&- <&-", cwd=folder)
    assert done.returncode == 0
    check_invariant(folder, "tiny-digits", total=2)
