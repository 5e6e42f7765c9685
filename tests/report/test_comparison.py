"""Studies are compared with each other: which is better, and whether that may be noise."""

import csv
import dataclasses
import io
import json

import pytest
from support import pages
from support.endtoend import pipeline
from support.records import first_right, make_record, make_result, with_bits

from pipeline.report import comparison, render
from pipeline.stores import locations
from sweeps.analysis.facts import StudyFacts
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED

LR = Dimension(field="lr", low=0.001, high=0.1)


def compared(name, *values, digest="same", **changes):
    """A study of one configuration with a seed for each value, or of one that failed."""
    results = [
        with_bits(make_result(n, value, lr=0.01, seed=n), first_right(value, 1000))
        for n, value in enumerate(values)
    ]
    results = results or [make_result(0, state=FAILED, lr=0.01)]
    record = make_record(results, dimensions=(LR,))
    facts = {"name": name, "facts": StudyFacts(digest=digest), "trials": len(results)}
    return dataclasses.replace(record, **{**facts, **changes})


def verdicts(*records):
    return comparison.study_differences(records)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (((0.80, 0.81, 0.82), (0.90, 0.91, 0.92)), "of 2 configurations): better beyond chance."),
        (((0.82, 0.84), (0.85, 0.87)), " would decide, if the difference stays as it is."),
        (((0.9, 0.9), (0.901, 0.901)), "): equal in practice, within 1 point."),
        (((0.8,), (0.9,)), "of one seed each: which is better is not known."),
    ],
)
def test_the_best_is_set_against_the_others(values, said):
    """Studies of the same images are compared, the better one first, and it is said whether that is known."""
    (line,) = verdicts(*(compared(name, *own) for name, own in zip("AB", values, strict=True)))
    assert line.startswith("B ")
    assert " against A " in line
    assert line.endswith(said)


def test_a_best_of_four_is_not_held_against_a_mean():
    """The best of four configurations with one seed each is a maximum: nothing is said of it beside a mean of two."""
    trials = [make_result(n, value, lr=0.01 * (n + 1)) for n, value in enumerate([0.8, 0.99, 0.9])]
    record = make_record(trials, dimensions=(LR,), facts=StudyFacts(digest="same"))
    (line,) = verdicts(dataclasses.replace(record, name="A"), compared("B", 0.9, 0.9))
    assert line == (
        "A 99.00 % (1 seed) against B 90.00 ± 0.00 % (2 seeds): difference +9.00 points "
        "with a single seed on one side: which is better is not known."
    )


def test_three_studies():
    """Of several studies the best is set against each of the others; one without a complete trial is named."""
    lines = verdicts(compared("A", 0.8), compared("B", 0.9), compared("C"), compared("D", 0.7))
    assert [line.split(" against ")[-1][:8] for line in lines] == [
        "A 80.00 ",
        "D 70.00 ",
        "C: no tr",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "mnist"}, "Not compared: A is of digits, B of mnist."),
        ({"objective": "macro_f1"}, "Not compared: A is ranked by val_acc, B by macro_f1."),
        (
            {"digest": "other"},
            "Not compared: A and B have other images, or another split, of digits.",
        ),
    ],
)
def test_what_cannot_be_compared_is_not(changes, said):
    """Studies of other images or objectives are named, and not compared."""
    assert verdicts(compared("A", 0.8), compared("B", 0.9, **changes)) == [said]


def test_a_loss_is_better_where_it_is_lower():
    """Where lower is better, the lower one stands first."""
    loss = {"objective": "val_loss", "maximize": False}
    (line,) = verdicts(compared("A", 0.8, **loss), compared("B", 0.9, **loss))
    assert line.startswith("A 0.8000 (1 seed) against B 0.9000")


def test_finalists_that_have_decided_are_compared():
    """A study's winner is its finalists', with the mean of its fresh seeds and its test score, and it says so."""
    again = compared("A.finalists", 0.7, 0.72)
    scored = tuple(dataclasses.replace(result, test={"acc": 0.6}) for result in again.results)
    again = dataclasses.replace(again, results=scored)
    records = [compared("A", 0.9, finalists=again), compared("B", 0.8)]
    one, other = comparison.rows(records)
    assert (one["value"], one["seeds"], one["test_acc"]) == (
        pytest.approx(0.71),
        2,
        pytest.approx(0.6),
    )
    assert (one["by"], other["by"]) == ("finalists", "search")
    (line,) = comparison.study_differences(records)
    assert line.startswith("B 80.00 % (1 seed) against A (finalists) 71.00 ± 1.41 % (2 seeds): ")
    overview, _ = comparison.sections(records)
    assert [line[-1] for line in overview.grid.rows] == ["lr 0.01 (finalists)", "lr 0.01"]
    begun = compared("A", 0.9, finalists=dataclasses.replace(again, trials=3))
    assert comparison.rows([begun])[0]["value"] == 0.9


def test_rows_say_what_each_study_came_to():
    """A study's row has its counts, what won, how it is known on the test split, and what all trials took."""
    record = compared("A", 0.8, 0.9)
    scored = [dataclasses.replace(result, test={"acc": 0.7}) for result in record.results]
    (row,) = comparison.rows([dataclasses.replace(record, results=tuple(scored))])
    assert row["value"] == pytest.approx(0.85)
    assert row["spread"] == pytest.approx(0.0707, abs=1e-4)
    assert (
        row["configurations"],
        row["seeds"],
        row["test_acc"],
        row["seconds"],
        row["epochs"],
    ) == (1, 2, 0.7, 9.0, 6)
    assert (row["ended"], row["winner"]) == ("2 ended: 2 complete", "lr 0.01")


@pytest.mark.parametrize("fmt", render.FORMATS)
def test_formats(fmt):
    """Each study and the comparison stand in every format; JSON and CSV are one document."""
    text = comparison.render([compared("A", 0.8), compared("=B", 0.9)], fmt)
    if fmt == "json":
        data = json.loads(text)
        assert [study["study"] for study in data["studies"]] == ["A", "=B"]
        assert [row["value"] for row in data["comparison"]["rows"]] == [0.8, 0.9]
        assert len(data["comparison"]["verdicts"]) == 1
    elif fmt == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        assert [(row["study"], row["value"]) for row in rows] == [
            ("A", "0.8000"),
            ("'=B", "0.9000"),
        ]
    elif fmt == "latex":  # of tables alone
        assert text.count("1 ended: 1 complete") == 2
    else:
        assert text.count("1 ended: 1 complete") == 2 + 2
        assert "The winners side by side" in text


def test_files(tmp_path):
    """The comparison's files are in a folder of their own, the same each time, and its page needs nothing else."""
    records = [compared("<b>A</b>", 0.8), compared("B", 0.9)]
    paths = comparison.write(records, tmp_path / "new")
    assert {path.name for path in paths} == {
        "report.html",
        "report.md",
        "studies.csv",
        "studies.json",
    }
    first = {path: path.read_bytes() for path in paths}
    assert {
        path: path.read_bytes() for path in comparison.write(records, tmp_path / "new")
    } == first
    assert set((tmp_path / "new").iterdir()) == set(paths)
    page = pages.check((tmp_path / "new" / "report.html").read_text())
    assert page.all("h1")[0].text == "<b>A</b> and B"
    assert [row[0] for row in page.all("table")[0].cells()] == ["study", "<b>A</b>", "B"]
    links = [link.attributes["href"] for link in page.all("h3")[0].all("a")]
    assert links == ["../%3Cb%3EA%3C/b%3E/report.html"]


@pytest.mark.parametrize(
    "names", ["AB", ["x" * 100, "y"], ["x" * 100, "z"], "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
)
def test_folder_name(names):
    """The folder is named after the studies; many or long names are shortened, and stay apart."""
    name = comparison.folder_name([compared(name) for name in names])
    assert locations.check_name(name) == name
    assert name == "A-and-B" if names == "AB" else name.startswith(names[0][:40])
    other = comparison.folder_name([compared(name) for name in (*names[:-1], "other")])
    assert other != name


@pytest.mark.slow
def test_the_command(folder, capsys):
    """`pipeline report A B` writes the files of each and of the comparison; it prints where it can write none."""
    for name in ("a", "b"):
        assert pipeline("sweep", "tiny.yaml", "--name", name, "--trials", "2", "--epochs", "1") == 0
    capsys.readouterr()
    assert pipeline("report", "a", "b", "a") == 0
    assert "The winners side by side" in capsys.readouterr().out
    for name in ("a", "b", "a-and-b"):
        pages.check((folder / "reports" / name / "report.html").read_text())
    assert pipeline("report", "a", "b", "--format", "json", "--out", "elsewhere") == 0
    assert len(json.loads(capsys.readouterr().out)["studies"]) == 2
    assert {path.name for path in (folder / "elsewhere").iterdir()} == {"a", "b", "a-and-b"}
    assert pipeline("report", "a", "--out", "tiny.yaml/x") == 0
    shown = capsys.readouterr()
    assert "2 ended: 2 complete" in shown.out
    assert shown.err.startswith("no files written in tiny.yaml/x: ")
