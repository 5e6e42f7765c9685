"""The description of a study's run in MLflow. How it looks in the UI is `test_ui`'s."""

import dataclasses

from support.records import MIXED, make_record, make_result

from pipeline.jobs.description import study_description
from sweeps.analysis.facts import ChosenFinalists, StudyFacts

HOSTILE = ("<b>fett", "=cmd()", "a$b^$c", "a|b", "`x`", "[y](z)", "猫")
RESULTS = [make_result(0, 0.9), make_result(1, 0.7, state="pruned"), make_result(2, state="failed")]


def text(**changes):
    """The note of a small study."""
    return study_description(
        dataclasses.replace(make_record(RESULTS, dimensions=MIXED), **changes), "5", "abc"
    )


def test_first_what_won_and_where_more_is():
    """MLflow shows two lines before it folds: links that work wherever the UI is, and the winner."""
    first, second = text().splitlines()[:2]
    assert first.startswith("[The report](#/experiments/5/runs/abc/artifacts/report/report.html?")
    assert "(#/experiments/5/runs?viewStateShareKey=" in first
    assert second.startswith("**Trial 0 won, with cnn, optimizer adam, lr 0.001")
    assert second.endswith(": validation accuracy 90.00 % at epoch 3 of 3.**")


def test_how_it_went_and_how_to_go_on():
    """Where the trials went, and the command that goes on, where it is known."""
    assert "3 ended: 1 complete, 1 pruned, 1 failed (diverged)." in text()
    assert "`pipeline sweep x.yaml --trials 9`" in text(command="pipeline sweep x.yaml --trials 9")
    assert "`pipeline finalists test`" in text()


def test_of_finalists():
    """What are another study's finalists is gone on with, and reported, as that study's."""
    chosen = ChosenFinalists(
        of="test", top=1, seeds=1, seed=1, objective="val_acc", runtime={}, trials=(), configs=()
    )
    found = text(name="test.finalists", facts=StudyFacts(finalists=chosen))
    assert "`pipeline finalists test`" in found
    assert "`pipeline report test`" in found
    assert "pipeline evaluate" not in found


def test_nothing_complete():
    """A study without a complete trial has a description too."""
    lines = text(results=(make_result(0, state="failed"),)).splitlines()
    assert lines[1] == "**Nothing has won: no trial is complete.**"


def test_class_names_are_shown_as_they_are():
    """Names are no HTML, links or columns; of many classes, whose accuracies are no metrics, there is no table."""
    rows = [line for line in text(classes=HOSTILE).splitlines() if line.startswith("| 0")]
    escaped = [r"&lt;b&gt;fett", "=cmd()", "a$b^$c", r"a\|b", r"\`x\`", r"\[y\](z)", "猫"]
    assert rows == [f"| {index:02d} | {name} |" for index, name in enumerate(escaped)]
    assert "val_class" not in text(classes=tuple(map(str, range(21))))
