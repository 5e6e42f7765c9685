"""A failpoint does nothing unless it is named, and kills at its passage; what is misspelt is refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.endtoend import pipeline

from pipeline.system.failpoints import POINTS, VARIABLE

ROOT = Path(__file__).parents[2]
PASS = """
from pipeline.system import failpoints
failpoints.arm()
for passage in range(1, 4):
    for point in failpoints.POINTS:
        failpoints.reach(point)
    print(passage, flush=True)
"""


@pytest.mark.parametrize(
    ("value", "passed"),
    [(None, 3), ("", 3), ("mid_epoch", 0), ("before_tell:2", 1), ("after_ask:4", 3)],
)
def test_kills_at_its_passage(value, passed):
    """The process is killed at that passage of that point, and at none where none is named or it comes too late."""
    environment = {**os.environ, **({} if value is None else {VARIABLE: value})}
    command = [sys.executable, "-c", PASS]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.stdout.split() == [str(passage) for passage in range(1, passed + 1)]
    assert done.returncode == (0 if passed == 3 else -signal.SIGKILL)


@pytest.mark.parametrize("value", ["after_asked", "mid_epoch:0", "mid_epoch:x", "mid_epoch:", ":2"])
def test_unknown(value, tmp_path, monkeypatch, capsys):
    """A point that there is not, or a passage that is no number from 1, ends the command with code 2 and one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, value)
    assert pipeline("sweep") == 2
    expected = f"PIPELINE_FAILPOINT must be a point, or point:passage, of {', '.join(POINTS)}: got '{value}'\n"
    assert capsys.readouterr().err == expected
    assert not list(tmp_path.iterdir())
