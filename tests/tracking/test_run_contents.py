"""The files of a trial's run, with hostile class names."""

import csv
from dataclasses import replace

from support.records import make_result

from pipeline.tracking import run_contents
from sweeps.trial import config_fields, configure


def test_runs_are_named_after_what_tells_them_apart():
    """A trial's name has its number and searched values, a training's what was set."""
    config = configure({"family": "cnn", "lr": 0.0123456, "width": 8, "seed": 2})
    name = run_contents.trial_name(7, config, ["width", "lr", "seed", "residual"])
    assert name == "0007 cnn relu seed=2 lr=0.01235 width=8"
    usual = configure({"family": "cnn"})
    name = run_contents.training_name(config, usual)
    assert name == "digits cnn relu width=8 lr=0.01235 seed=2"
    assert run_contents.training_name(usual, usual) == "digits cnn relu"


def test_class_names_cannot_become_formulas_or_break_lines(tmp_path):
    """Each hostile class name is one cell of a file, and no spreadsheet reads it as a formula."""
    names = [
        "=cmd()",
        "+1",
        "a,b",
        'say "x"',
        "two\nlines",
        "\x1b[31mred",
        "<b>",
        "../../etc",
        "-2",
        "café",
    ]
    result = make_result(0, 0.5, with_confusion=True)
    run_contents.write_artifacts(tmp_path, result, names)
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    expected = [
        "'=cmd()",
        "'+1",
        "a,b",
        'say "x"',
        "two lines",
        "red",
        "<b>",
        "../../etc",
        "'-2",
        "café",
    ]
    assert header[1:] == expected == [row[0] for row in rows]
    assert [list(map(int, row[1:])) for row in rows] == [list(row) for row in result.confusion]


def test_an_earlier_version_s_settings_are_complete(tmp_path):
    """Fields that came later, and leave a trial as it was, are not in its file: so `sync` misses none."""
    classes = [str(number) for number in range(10)]
    result = make_result(0, 0.5)
    run_contents.write_artifacts(tmp_path, result, classes)
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    names = {line.partition(":")[0] for line in text.splitlines()}
    later = {field.name for field in config_fields().values() if field.is_later}
    assert {"family", "lr", "seed"} <= names
    assert not names & later
    turned = replace(result, config=replace(result.config, rotate=10.0))
    run_contents.write_artifacts(tmp_path, turned, classes)
    assert "rotate: 10.0\n" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
