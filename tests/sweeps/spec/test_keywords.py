"""Options of the user's own networks in study files: fixed, searched, started with, and stored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from models import own
from sweeps.search.checked import _check_spec
from sweeps.spec.configurations import configuration, planned_values, start_values
from sweeps.spec.own_values import read_document
from sweeps.spec.study_spec import StudySpec
from sweeps.spec.studyfile import StudyFileError, parse_study

NETS = """
from torch import nn

class A(nn.Module):
    def __init__(self, num_classes, kernel=3, rate: float = 0.1, width=1.5, depths=(1,), norm="bn"):
        super().__init__()

class B(nn.Module):
    def __init__(self, num_classes, heads, **options):
        super().__init__()

class C(nn.Module):
    def __init__(self, num_classes, width=8):
        super().__init__()
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETS)


def read(text, **overrides):
    return parse_study(text, "study.yaml", overrides=overrides)


def test_searched_keywords():
    """Keywords are searched in lists and ranges, with the types that the network declares."""
    spec = read(
        """
fixed: {family: net.py:A, norm: none}
search:
  kernel: {low: 1, high: 8, log: true}
  rate: {low: 0, high: 1}
  width: [0.25, 0.5]
  depths: [[1, 2], [3]]
  lr: [0.1, 0.01]
start_with: [{kernel: 2, rate: 0.5, width: 0.5, depths: [3], lr: 0.1}]
"""
    )
    found = {dimension.field: dimension for dimension in spec.dimensions}
    assert list(found) == ["width", "lr", "depths", "kernel", "rate"]
    assert found["kernel"].integer
    assert not found["rate"].integer
    assert found["depths"].choices == ("[1, 2]", "[3]")
    config = configuration(spec, start_values(spec, spec.starts[0]))
    assert config.options == {
        "kernel": 2,
        "rate": 0.5,
        "width": 0.5,
        "depths": "[3]",
        "norm": "none",
    }
    stored = json.loads(json.dumps(spec.identity()))
    _check_spec(stored)
    again = StudySpec.from_identity(stored)
    assert again.identity() == spec.identity()
    assert again.dimensions == spec.dimensions


def test_mixed_families():
    """A keyword of one family is left out of the trials of the others, in the file and in a grid."""
    spec = read(
        """
method: grid
fixed: {heads: 2}
search:
  family: [net.py:A, net.py:B, mlp]
  kernel: {choices: [3, 5], when: {family: net.py:A}}
  width: {choices: [8, 16], when: {family: mlp}}
"""
    )
    configs = [configuration(spec, values) for values in planned_values(spec)]
    shown = [(c.family, c.value("kernel"), c.value("width"), c.value("heads")) for c in configs]
    assert shown == [
        ("net.py:A", 3, 1.5, None),
        ("net.py:A", 5, 1.5, None),
        ("net.py:B", None, None, 2),
        ("mlp", None, 8, None),
        ("mlp", None, 16, None),
    ]


def test_command_line():
    """Values of --set are read as in a file; searched keywords of families left out are dropped."""
    text = "search: {family: [net.py:A, cnn], kernel: [3, 5], lr: [0.1, 0.2]}"
    spec = read(text, set={"kernel": "7", "depths": "[2, 3]", "family": "net.py:A"})
    assert spec.fixed.keywords == {"kernel": 7, "depths": "[2, 3]"}
    spec = read(text, families=["cnn"])
    assert [dimension.field for dimension in spec.dimensions] == ["family", "lr"]
    spec = read("search: {lr: [0.1, 0.2], depth: [1, 2]}", families=["net.py:A"])
    assert spec.families == ("net.py:A",)
    spec = read(
        "search: {lr: [0.1, 0.2], depth: [1, 2], dropout: [0.1, 0.2]}",
        families=["net.py:B"],  # which takes any keyword
        set={"heads": "2", "dropout": "0.5"},
    )
    assert [dimension.field for dimension in spec.dimensions] == ["family", "lr"]
    assert spec.fixed.model_dump(exclude_none=True) == {"heads": 2, "dropout": 0.5}


def test_stored_document():
    """A study of configurations that were checked before needs no network's code."""
    spec = read_document(
        {
            "method": "random",
            "fixed": {"family": "gone.py:Net", "width": 0.5},
            "search": {"kernel": [3, 5]},
            "start_with": [{"kernel": 3}, {"kernel": 5}],
        }
    )
    assert spec.starts == ({"kernel": 3}, {"kernel": 5})
    assert spec.fixed.width == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fixed: {family: net.py:A}\nsearch: {kernal: [1, 2]}",
            "study.yaml:2: unknown key 'search.kernal'; did you mean kernel?",
        ),
        ("search: {kernel: [1, 2]}", "study.yaml:1: unknown key 'search.kernel'; known: family"),
        (
            "fixed: {family: net.py:C}\nsearch:\n  dropout: [0.1, 0.2]",
            "study.yaml:3: unknown key 'search.dropout'|no family takes it: net.py:C takes width",
        ),
        (
            "search:\n  family: [mlp]\n  stem: [conv, pool]",
            "study.yaml:3: stem is searched, and no family takes it: the families are mlp",
        ),
        (
            "fixed: {family: net.py:C, depth: 3}\nsearch: {lr: [1, 2]}",
            "study.yaml:1: .*depth.*net.py:C takes width",
        ),
        (
            "fixed: {family: net.py:B}\nsearch: {lr: [1, 2]}",
            "net.py:B needs heads, which has no default: give --set heads=VALUE",
        ),
        (
            "fixed: {family: net.py:A}\nsearch: {kernel: [a, b]}",
            "study.yaml:2: kernel must be a numb",
        ),
        (
            "fixed: {family: net.py:A}\nsearch: {kernel: [null, 1]}",
            "kernel must be text, .* got null",
        ),
        ("fixed: {family: net.py:A}\nsearch: {norm: {low: 1, high: 2}}", "norm has no ranges"),
        (
            "fixed: {family: net.py:A}\nsearch: {kernel: [{choices: [1], when: {nom: bn}}]}",
            "when names an unknown field 'nom'",
        ),
        ("fixed: {family: gone.py:A}\nsearch: {kernel: [1, 2]}", "there is no file gone.py"),
        ("fixed: {family: net.py:A}\nsearch: {a.b: [1, 2]}", "unknown key 'search.a.b'"),
        ("fixed: {family: net.py:A, source_digest: x}\nsearch: {lr: [1, 2]}", "source_digest"),
    ],
)
def test_refused(text, message):
    """What no network of a study takes, or not so, is refused with its line."""
    with pytest.raises(StudyFileError, match=message):
        read(text)


def test_nothing_of_a_file_applies():
    """Families of the command line that take nothing of what a file searches are refused."""
    with pytest.raises(StudyFileError, match="nothing of depth applies: net.py:C takes width"):
        read("search: {depth: [1, 2]}", families=["net.py:C"])


def test_conditions_name_keywords_and_networks():
    """Conditions of a search and of published figures take networks of one's own and their options."""
    spec = read(
        """
search:
  family: [net.py:A, net.py:C]
  kernel: {choices: [3, 5], when: {family: net.py:A}}
  rate: {low: 0.1, high: 0.2, when: {kernel: 3}}
reference:
  - {when: {family: net.py:A, kernel: 3.0, depths: [2, 3]}, test_acc: 0.9}
  - {when: {family: net.py:C}, test_acc: 0.8}
"""
    )
    first, second = spec.reference
    matching = configuration(spec, {"family": "net.py:A", "kernel": 3, "rate": 0.1})
    assert not first.matches(matching)
    assert first.matches(
        dataclasses.replace(matching, keywords=(("depths", "[2, 3]"), ("kernel", 3)))
    )
    assert not second.matches(matching)
    assert second.matches(configuration(spec, {"family": "net.py:C"}))
    Path("net.py").unlink()
    own.forget()
    assert read_document(json.loads(json.dumps(spec.document()))).reference == spec.reference


def test_conditions_of_unknown_keywords():
    """A condition on what no network takes is refused with the nearest name."""
    text = "fixed: {family: net.py:A}\nsearch: {lr: [1, 2]}\nreference: [{when: {kernl: 3}}]"
    with pytest.raises(StudyFileError, match=r"unknown field 'kernl'; did you mean kernel\?"):
        read(text)
