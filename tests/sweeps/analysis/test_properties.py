"""Whatever a study file or a command line says is taken, or refused in lines: nothing else happens."""

import contextlib
import copy
import io
import math
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.error import URLError

import click
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.studyfiles import outcome

from pipeline.cli import program
from pipeline.data.datasets import check_dataset
from pipeline.jobs import studies
from sweeps.spec import yamlfile

# Every key that a study file may have.
FULL = """
description: All there is.
source: A report.
budget: 2.5h
dataset: digits
method: tpe
objective: val_acc
warm_start: [earlier]
trials: 8
epochs: 3
repeats: 2
split_seeds: 2
finalists: {top: 2, folds: 2}
seed: 1
split_seed: 1
pruner: asha
keep_checkpoints: top:3
rope: 0.02
fixed: {schedule: cosine}
search:
  family: [mlp, cnn]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  dropout: {low: 0.0, high: 0.5, step: 0.1}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: sgd}}
  optimizer: [adam, sgd]
  width:
    - {choices: [128, 256], when: {family: mlp}}
    - {choices: [16, 32], when: {family: [cnn]}}
baselines:
  - {family: mlp}
start_with:
  - {family: cnn, lr: 1.0e-3}
constraints: {parameters: 1.0e+6, mflops: 100, latency_ms: 5}
stop: {target: 0.99, no_gain: 5, time: 60}
reference:
  - name: theirs
    when: {family: cnn}
    test_acc: 0.99
    by_epoch: [0.9, 0.99]
    per_class: [0.9, 0.99]
    incomparable: [test_acc]
    note: A note.
"""
TWO_WISHES = """
objectives: [val_acc, parameters]
search: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}}
"""
VALID = [
    yamlfile.read(FULL).data,
    yamlfile.read(TWO_WISHES).data,
    *(yamlfile.read(studies.read_shipped(name)[1]).data for name in studies.shipped_studies()[::4]),
]


def nested(depth):
    """A list in a list in a list."""
    return [nested(depth - 1)] if depth else 1


JUNK = st.sampled_from(
    [
        None,
        True,
        "",
        " ",
        "\0",
        "no",
        "1e5",
        "0x10",
        "\u202e\x1b[31m",
        "\ufeff",
        "x" * 10_000,
        "../../etc",
        "folder:",
        "top:",
        "top:0",
        "top:99999999999999999999",
        "<<",
        "a:b",
        "os:system",
        0,
        -1,
        10**30,
        10**299,
        10**400,
        -(10**400),
        math.nan,
        math.inf,
        -math.inf,
        5e-324,
        1.7e308,
        0.1 + 0.2,
        [],
        {},
        [[]],
        [{}],
        [None],
        {"when": {}},
        {"low": 1},
        {"low": 2, "high": 1},
        {"choices": {}},
        {"when": {"family": {"family": "cnn"}}, "choices": [1]},
        [1] * 1000,
        nested(15),
        nested(40),
        {"": {"": {"": ""}}},
    ]
) | st.one_of(st.text(max_size=8), st.integers(), st.floats())


def places(tree, path=()):
    """The path of every value of a tree."""
    yield path
    children = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def change(tree, path, how, junk):
    """A tree with one place changed: its value, its key, its shape, or a key beside it."""
    if not path:
        return junk
    tree = copy.deepcopy(tree)
    *above, last = path
    holder = tree
    for key in above:
        holder = holder[key]
    value = holder[last]
    if how == "value":
        holder[last] = junk
    elif how == "wrapped":
        holder[last] = [value]
    elif how == "mapped":
        holder[last] = {str(junk)[:50]: value}
    elif how == "gone":
        del holder[last]
    elif isinstance(holder, list):
        holder.insert(last, junk)
    elif how == "renamed":
        holder[str(junk)[:50]] = holder.pop(last)
    else:
        holder[str(junk)[:50]] = junk
    return tree


@st.composite
def mutated(draw):
    """A valid study with up to three places changed."""
    tree = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(tree)))) if isinstance(tree, dict | list) else ()
        how = draw(st.sampled_from(["value", "wrapped", "mapped", "gone", "renamed", "added"]))
        tree = change(tree, path, how, draw(JUNK))
    return tree


def test_the_studies_that_are_changed_are_valid():
    """What the property starts from is accepted as it is; the full one lacks only keys that exclude others."""
    assert all(all(outcome(yaml.safe_dump(tree), check_dataset=check_dataset)) for tree in VALID)
    from sweeps.spec.study_spec import StudySpec

    assert set(VALID[0]) == set(StudySpec.model_fields) - {"of", "folds", "objectives"}


@settings(max_examples=250)
@given(mutated())
def test_a_changed_study_is_taken_or_refused_with_lines(tree):
    """A valid study with anything changed anywhere: a study, or an error whose every line has its place."""
    assert all(outcome(yaml.safe_dump(tree, allow_unicode=True), check_dataset=check_dataset))


@settings(max_examples=100)
@given(st.sampled_from(list(places(VALID[0]))[1:]), JUNK)
def test_every_key_takes_any_value(path, junk):
    """Each key of the full study, one at a time, with a value of any kind."""
    tree = change(VALID[0], path, "value", junk)
    assert all(outcome(yaml.safe_dump(tree, allow_unicode=True), check_dataset=check_dataset))


NASTY = st.sampled_from(
    [
        "",
        " ",
        "--",
        "-",
        "-1",
        "-x",
        "--x",
        "=",
        "a\0b",
        "\0",
        "x" * 10_000,
        "../..",
        "../../etc/passwd",
        "/dev/null",
        "/proc/self/environ",
        "a/b",
        "é\u0301\u202e",
        "\udcff",
        "\x1b[31mred\x1b]0;title\x07",
        "a\nb",
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "{x}{0}%s%20",
        "0",
        "00",
        "1e3",
        "1_0",
        "0x1F",
        "१",
        "+1",
        "1.0",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 400,
        "None",
        "folder:.",
        "folder:\0",
        "mlp",
        "mlp,",
        "a:b",
        "os:system",
        "a#0",
        "#",
        "a#-1",
        "lr=",
        "=1",
        "lr=1,lr=2",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///{x}/a%20b.db",
        "sqlite:////dev/null/x.db",
        "postgresql://me:secret@host/db",
        "http://[",
        "top:0",
        "best",
        "table",
        "json",
        "digits",
    ]
)
COMMANDS = [name for name in program.cli.commands if name not in ("ui", "run")]
OPTIONS = {
    name: [
        *(
            opt
            for param in program.cli.commands[name].params
            for opt in (*param.opts, *param.secondary_opts)
            if "-" in opt
        ),
        "--no-such-option",
        "--batch_size",
    ]
    for name in COMMANDS
}
# What is always there, so that what can be begun is not: MNIST, which is not here and cannot be fetched.
BOUNDS = {"sweep": (["--dry-run"], ["--dataset", "mnist"]), "train": ([], ["--dataset", "mnist"])}


@st.composite
def typed(draw, name):
    """A command line of some options with nasty values, some left out, and nasty arguments."""
    before, after = BOUNDS.get(name, ([], []))
    words = list(before)
    for option in draw(st.lists(st.sampled_from(OPTIONS[name]), max_size=4)):
        value = draw(NASTY)
        words += draw(st.sampled_from([[option, value], [f"{option}={value}"], [option]]))
    return [name, *words, *draw(st.lists(NASTY, max_size=2)), *after]


def run(words):
    """Run the program in this process in an empty folder: its code, its standard error, and what it left."""
    out, err = io.StringIO(), io.StringIO()
    here, argv = Path.cwd(), sys.argv
    with tempfile.TemporaryDirectory() as above:
        place = Path(above) / "a" / "b" / "c"
        place.mkdir(parents=True)
        try:
            os.chdir(place)
            sys.argv = ["pipeline", *words]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                program.main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            os.chdir(here)
            sys.argv = argv
        left = [path for path in Path(above).rglob("*") if path not in (place, *place.parents)]
    return code, err.getvalue(), left


@pytest.fixture
def offline(monkeypatch):
    """No network and no data sets, for as long as a test takes: what could be begun would train."""

    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv("PIPELINE_DATA_DIR", raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_any_command_line_is_obeyed_or_refused(name, offline, monkeypatch):
    """Any values for any options: no traceback, a known exit code, clean lines; what is refused leaves nothing."""

    @settings(max_examples=80)
    @given(typed(name))
    def check(words):
        # An argument may be -, for which a command reads a list of paths from its input.
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        code, err, left = run(words)
        assert code in (0, 2, 3, 5, 6), (words, err)
        assert code == 0 or err.startswith("error: "), (words, err)
        assert "\x1b" not in err
        if code == 2:
            assert left == [], words

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_meets_every_kind_of_value(name, offline):
    """Each option of each command alone with a few of the worst values."""
    for option in OPTIONS[name]:
        for value in (
            "",
            "a\0b",
            "x" * 10_000,
            "../..",
            "\udcff\x1b[31m",
            "$(touch x)",
            "-1",
            "nan",
            "१",
        ):
            before, after = BOUNDS.get(name, ([], []))
            code, err, left = run([name, *before, f"{option}={value}", *after])
            assert code in (0, 2, 3, 5, 6), (option, value, err)
            assert code != 2 or not left, (option, value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["studies", "x" * 600], "error: cannot use 'xxx"),
        (["data", "--data-dir", "x" * 5_000], "error: cannot use 'xxx"),
        (["sweep", "a\0b"], "error: an argument holds the character NUL: leave it out"),
    ],
    ids=["name", "path", "NUL"],
)
def test_what_no_file_can_be_called_is_a_users_error(words, message):
    """A name that is too long for the disk, or holds NUL, is one short line and exit 2."""
    code, err, left = run(words)
    assert (code, left) == (2, [])
    assert err.startswith(message)
    assert len(err) < 300
    assert len(err.splitlines()) == 1


def test_the_commands_are_all_there():
    """The property is about every command but those that start another program."""
    assert len(COMMANDS) >= 6
    assert all(isinstance(program.cli.commands[name], click.Command) for name in COMMANDS)
