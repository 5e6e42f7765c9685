"""Networks of the user's own from the command line: searched, gone on with, used and kept."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sqlite3
import subprocess

import pytest
from support.endtoend import furnish, pipeline

from models import own
from pipeline.stores import locations
from pipeline.tracking.tracker import Tracker
from sweeps.trial import configure

NET = """
from torch import nn
from models.blocks import block

class TinyNet(nn.Module):
    def __init__(self, in_channels, num_classes, kernel, channels=(4, 8)):
        super().__init__()
        self.layers = nn.Sequential()
        for count in channels:
            self.layers.append(block(in_channels, count, kernel))
            in_channels = count
        self.logits = nn.Linear(in_channels * 64, num_classes)

    def forward(self, images):
        maps = self.layers(images)
        return self.logits(maps.view(maps.size(0), -1))  # takes no maps with their channels last
"""
BLOCKS = """
from torch import nn

def block(inputs, outputs, kernel):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding="same"), nn.ReLU())
"""
STUDY = """
trials: 2
epochs: 1
search: {family: [net.py:TinyNet], kernel: [1, 3], channels: [[4], [4, 8]], lr: [0.01, 0.001]}
"""


@pytest.fixture
def folder(tmp_path, template, monkeypatch):
    """A working folder with a network of the user's own, and a folder called as a package of ours."""
    monkeypatch.chdir(furnish(tmp_path, template))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "blocks.py").write_text(BLOCKS)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "random.py").write_text("raise RuntimeError")
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return tmp_path


def check_names_the_copy(capsys, *command) -> str:
    """Check that a command is refused for want of net.py, and return the one that puts it back."""
    own.forget()  # as a process of its own
    assert pipeline(*command) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot load 'net.py:TinyNet': there is no file net.py" in line
    return line.partition("put it back with: ")[2]


@pytest.mark.slow
def test_own_network(folder, capsys):
    """A network in a file is searched by workers and in this process, trained again, scored and exported."""
    assert pipeline("sweep", "tiny.yaml", "--workers", "2") == 0
    printed = capsys.readouterr().out
    digest = re.search(rf"net.py:TinyNet is {folder}/net.py with 1 .* digest (\w+)", printed)[1]
    assert pipeline("train", "--from-run", "tiny-digits#0") == 0
    assert "equal to tiny-digits#0" in capsys.readouterr().out
    for command in (("evaluate", "--best"), ("export", "--best", "--out", "net.pt2")):
        assert pipeline(*command) == 0, capsys.readouterr().err
    assert pipeline("report", "--best", "--format", "json") == 0
    (folder / "net.py").unlink()
    capsys.readouterr()
    put_back = check_names_the_copy(capsys, "evaluate", "--best")
    assert put_back.endswith(f"/artifacts/source/{digest}/. .")
    assert check_names_the_copy(capsys, "finalists", "tiny-digits").startswith("cp -Rn mlruns/")
    subprocess.run(shlex.split(put_back), check=True)
    assert (folder / "net.py").read_text() == NET
    assert pipeline("evaluate", "--best") == 0
    (folder / "models" / "blocks.py").write_text(BLOCKS + "# another\n")
    own.forget()  # as a command that begins has loaded nothing
    capsys.readouterr()
    assert pipeline("evaluate", "--best") == 0
    changed = "net.py:TinyNet has changed since this network was trained"
    assert changed in capsys.readouterr().err
    assert pipeline("sweep", "tiny.yaml", "--trials", "3") == 0
    printed = capsys.readouterr().out
    assert re.search(rf"net.py:TinyNet has changed since #0, #1: .* source/{digest}\n", printed)
    kept = {
        path.parent.name: path.read_text()
        for path in folder.glob("mlruns/*/*/artifacts/source/*/net.py")
    }
    assert len(kept) == 2
    assert kept[digest] == NET
    assert pipeline("finalists", "tiny-digits", "--top", "3", "--seeds", "1") == 2
    assert (
        "net.py:TinyNet has changed since study 'tiny-digits' chose it" in capsys.readouterr().err
    )


def interrupted_run(reference) -> str:
    """The id of a run whose training with a network of the user's own was cut off."""
    config = configure({"family": reference, "kernel": 3, "dataset": "digits", "device": "cpu"})
    tracker = Tracker(locations.locate().tracking)
    data = {"name": "digits", "digest": "abc", "source": "data"}
    run_id, _ = tracker.call(tracker.open_trial, None, None, 0, config, data)
    tracker.close()
    own.forget()
    return run_id


@pytest.mark.parametrize("option", ["--resume", "--from-run"])
def test_code_of_a_run_is_looked_at_before_it_is_loaded(folder, capsys, option):
    """Going on with a run, or repeating it, names a source that is gone, and runs none from elsewhere unasked."""
    run_id = interrupted_run("net.py:TinyNet")
    (folder / "net.py").rename(folder / "kept.txt")
    assert pipeline("train", option, run_id) == 2
    assert "cannot load 'net.py:TinyNet': there is no file net.py" in capsys.readouterr().err
    (folder / "net.py").write_text("raise SystemExit('it was run')")
    inner = folder / "inner"
    inner.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", locations.locate().tracking)
        patch.chdir(inner)
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
            query = "UPDATE params SET value = '../net.py:TinyNet' WHERE key = 'family'"
            database.execute(query)
            database.commit()
        assert pipeline("train", option, run_id) == 6
    assert "outside the working folder" in capsys.readouterr().err


def test_a_changed_network_is_not_gone_on_with(folder, capsys):
    """Half of a training by one source and half by another would be of neither."""
    run_id = interrupted_run("net.py:TinyNet")
    (folder / "net.py").write_text(NET + "# another\n")
    assert pipeline("train", "--resume", run_id) == 2
    said = capsys.readouterr().err
    assert f"net.py:TinyNet has changed since run {run_id} began (digest " in said
    assert "of that run has it, or begin anew, without --resume" in said


def test_refused(folder, capsys):
    """What a network cannot be trained with is refused in one line, and nothing is written."""
    before = set(folder.rglob("*"))
    for command, message in {
        (
            "train",
            "--family",
            "net.py:TinyNet",
        ): "needs kernel, which has no default: give --set ker",
        (
            "train",
            "--family",
            "net.py:TinyNet",
            "--set",
            "kernel=0",
        ): "cannot be made with .*kernel=0",
        (
            "train",
            "--family",
            "net.py:TinyNet",
            "--set",
            "kernel=1,kernal=2",
        ): "did you mean kernel",
        ("train", "--family", "models.blocks:block"): "name the file: models/blocks.py:block",
        ("sweep", "tiny.yaml", "--set", "lr=[0.1"): "lr must be a number",
    }.items():
        assert pipeline(*command) == 2, command
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert re.search(message, line), line
    assert {path for path in folder.rglob("*") if path.suffix != ".pyc"} == before


def test_stored_values_are_typed(folder, capsys):
    """The configuration that a run keeps says the types of the options."""
    command = (
        "train",
        "--family",
        "net.py:TinyNet",
        "--set",
        "kernel=1,channels=[4]",
        "--epochs",
        "1",
    )
    assert pipeline(*command) == 0
    (tag,) = (path for path in folder.glob("mlruns/*/*/artifacts/config.yaml"))
    lines = dict(line.split(": ", 1) for line in tag.read_text().splitlines())
    assert json.loads(lines["kernel"]) == 1
    assert json.loads(lines["channels"]) == "[4]"
    assert len(json.loads(lines["source_digest"])) == 12
    run = tag.parent.parent.name
    for name in ("net.py", "models/blocks.py"):
        (folder / name).unlink()
    put_back = check_names_the_copy(capsys, "predict", "--run", run, "tiny.yaml")
    assert re.fullmatch(rf"cp -R mlruns/\d+/{run}/artifacts/source/\w+/\. \.", put_back)
