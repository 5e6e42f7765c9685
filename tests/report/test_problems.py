"""What went wrong in trials, as notes beside the ranking and as a list."""

from support.records import make_record, make_result

from pipeline.report.problems import entry_problems, trial_problems
from sweeps.analysis.ranking import rank
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED, PAUSED, PRUNED

COLLAPSED, DEAD, FINE = (0,) * 4 + (300,) + (0,) * 5, (0, *(30,) * 8, 0), (30,) * 10
LR = Dimension(field="lr", choices=(0.1, 1.0))


def noted(*results, **record):
    record = make_record(results, **record)
    return [entry_problems(record, entry) for entry in rank(record.results)]


def test_notes_of_one_trial():
    """A collapsed trial names the class, one with dead classes those; a sound one and a pruned one say nothing."""
    assert noted(make_result(0, 0.1, predicted=COLLAPSED)) == [
        "collapsed: nearly all taken for '4'"
    ]
    assert noted(make_result(0, 0.8, predicted=DEAD)) == ["never predicts 0, 9"]
    assert noted(make_result(0, 0.9, predicted=FINE)) == [""]
    assert noted(make_result(0, 0.8, predicted=DEAD, state=PRUNED)) == [""]
    assert noted(make_result(0, state=FAILED)) == [""]


def test_notes_of_repeats_say_how_many():
    """Of repeats a note says in how many of the seeds, and a sound configuration's failed seeds are named."""
    results = [
        make_result(0, 0.1, predicted=COLLAPSED, seed=0),
        make_result(1, 0.1, predicted=COLLAPSED, seed=1),
        make_result(2, 0.8, predicted=DEAD, seed=2),
        make_result(3, state=FAILED, end="diverged", seed=3),
    ]
    (text,) = noted(*results)
    assert text.split("; ") == [
        "collapsed in 2 of 4 seeds: nearly all taken for '4'",
        "never predicts 0, 9 in 1 of 4 seeds",
        "failed in 1 of 4 seeds (diverged)",
    ]


def test_class_names_are_cleaned():
    """The true class names are shown, without control characters; of many dead classes a few."""
    names = tuple(f"\x1b[31mclass\n{i}" for i in range(10))
    assert noted(make_result(0, 0.1, predicted=COLLAPSED), classes=names) == [
        "collapsed: nearly all taken for 'class 4'"
    ]
    (text,) = noted(make_result(0, 0.3, predicted=(50, 50, *(0,) * 8)), classes=names)
    assert text == "never predicts class 2, class 3, class 4, class 5, class 6 and 3 more"


def test_what_went_wrong():
    """Each trial that went wrong is listed with its kind, what is known of it, and its configuration."""
    results = [
        make_result(0, 0.9, lr=0.1, predicted=FINE),
        make_result(1, 0.1, lr=1.0, predicted=COLLAPSED),
        make_result(2, 0.8, lr=0.1, seed=1, predicted=DEAD),
        make_result(3, state=FAILED, lr=1.0, seed=1, error="loss is\nnan"),
        make_result(
            4,
            state=PRUNED,
            end="infeasible",
            epochs=0,
            lr=1.0,
            seed=2,
            error="parameters 9, allowed 1",
        ),
        make_result(5, 0.9, lr=0.1, duplicate_of=0),
    ]
    rows = trial_problems(make_record(results, dimensions=[LR]))
    assert [(row["trial"], row["what"], row["detail"], row["configuration"]) for row in rows] == [
        (1, "collapsed", "nearly all taken for '4'", "lr 1"),
        (2, "dead classes", "never predicts 0, 9", "lr 0.1"),
        (3, "diverged", "loss is nan", "lr 1"),
        (4, "infeasible", "parameters 9, allowed 1", "lr 1"),
        (5, "duplicate", "reuses the result of trial 0", "lr 0.1"),
    ]


def test_a_trial_that_waits_for_its_like_is_no_problem():
    """A duplicate is told once it has taken the result of the earlier trial."""
    waiting = make_result(1, state=PAUSED, duplicate_of=0, history=())
    assert trial_problems(make_record([make_result(0, 0.9), waiting])) == []
