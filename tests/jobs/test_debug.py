"""`--debug`: two batches of everything, and one batch until it is known by heart, in seconds and without a record."""

import pytest
from support.endtoend import pipeline

from pipeline.jobs import debug
from sweeps.spec.own_values import read_document

SMALL = ("--family", "mlp", "--width", "32", "--depth", "1", "--batch-size", "32")
LEARNS = ["parameters, images of 1x8x8, on cpu", "two batches trained", "32 right", "it learns"]

BAD = """
from torch import nn


class Bad(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.logits = nn.Linear(64 * in_channels, num_classes)

    def forward(self, images):
        if self.training:
            1 / 0
        return self.logits(images.flatten(1))
"""


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--lr", "0.01", "--dropout", "0.9", "--weight-decay", "10"), 0, LEARNS),
        (("--lr", "1e-8"), 3, [*LEARNS[:2], "200 times", "it does not learn: try another lr"]),
    ],
)
def test_what_it_says(tmp_path, monkeypatch, capsys, options, code, said):
    """It tells what was trained and whether it learns, also by its exit code. Nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert pipeline("train", "--debug", *SMALL, *options) == code
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line.startswith("mlp: ")]
    for text in said:
        assert any(text in line for line in lines), printed.out
    assert ("did not pass" in printed.err) == (code != 0)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_fails(tmp_path, monkeypatch, capsys):
    """What one's own network raises in training is told in a line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(BAD)
    assert pipeline("train", "--debug", "--family", "bad.py:Bad") == 3
    printed = capsys.readouterr()
    assert "bad.py:Bad: two batches: error:ZeroDivisionError: division by zero" in printed.out
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["bad.py"]


def test_a_sweep_tries_each_family(tiny):
    """Of a study, one configuration of each family is tried, with the study's fixed values."""
    spec = read_document(
        {
            "dataset": "digits",
            "trials": 4,
            "epochs": 2,
            "fixed": {"batch_size": 16},
            "search": {"family": ["mlp", "cnn"], "lr": {"low": 1e-3, "high": 1e-1, "log": True}},
        }
    )
    configs = debug.configurations(spec, tiny)
    assert [(config.family, config.batch_size) for config in configs] == [("mlp", 16), ("cnn", 16)]
