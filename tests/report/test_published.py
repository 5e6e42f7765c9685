"""A study's results stand beside published figures."""

import dataclasses

import pytest
from support.records import make_record, make_result

from pipeline.report import published
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED

LR = Dimension(field="lr", choices=(0.01, 0.1, 1.0))


def study(reference, *, tested=True, classes=10, **record):
    """Two learning rates with two seeds each, and a third that diverged."""
    test = {"acc": 0.9, "loss": 0.25} if tested else None
    results = [
        make_result(2 * i + seed, value + 0.01 * seed, lr=lr, seed=seed, test=test, classes=classes)
        for i, (lr, value) in enumerate({0.01: 0.9, 0.1: 0.8}.items())
        for seed in (0, 1)
    ]
    results.append(make_result(4, state=FAILED, lr=1.0, classes=classes))
    return make_record(results, dimensions=[LR], reference=reference, **record)


def found(record):
    return published.compare_published(record)


def table(record, **options):
    """The rows of the summary by variant, each by column, and its lines."""
    section = published.summary_section(record, found(record), **options)
    return [
        dict(zip(section.grid.columns, line, strict=True)) for line in section.grid.rows
    ], section.lines


def test_a_figure_beside_ours():
    """A row has the published value and split, ours on both splits, the difference, its split and the verdict."""
    (row,), lines = table(study([{"when": {"lr": 0.01}, "test_acc": 0.91}]))
    assert row == {
        "variant": "lr 0.01",
        "figure": "accuracy",
        "published": "91.00 %",
        "on": "test",
        "ours, validation": "90.50 ± 0.71 % (2)",
        "ours, test": "90.00 ± 0.00 % (2)",
        "difference": "-1.00 points",
        "taken with": "test",
        "verdict": "beyond our seeds' spread",
    }
    assert (
        lines[-1] == "Of these configurations nothing is published: lr 0.1 (val_acc 80.50 %); lr 1."
    )


def test_without_test_scores_there_is_the_command():
    """Where ours is not scored on test, the difference is plainly with validation and the command is given."""
    record = study([{"when": {"lr": 0.01}, "test_acc": 0.909}], tested=False)
    (row,), lines = table(record)
    assert (row["ours, test"], row["taken with"]) == ("not scored yet", "validation, not test")
    assert row["verdict"] == "within our seeds' spread"
    assert any("pipeline evaluate --all --name test" in line for line in lines)
    assert (
        published.rows(record, found(record))[0]["test_command"]
        == "pipeline evaluate --all --name test"
    )


@pytest.mark.parametrize(
    ("reference", "verdict"),
    [
        ({"when": {"lr": 0.5}, "test_acc": 0.5}, "no trial matches"),
        ({"when": {"lr": 1.0}, "test_acc": 0.1}, "no complete trial: diverged"),
        ({"when": {"lr": 0.1}, "note": "worse"}, "no figure published"),
        ({"when": {"lr": 0.1}, "test_loss": 0.1, "incomparable": ["test_loss"]}, "not comparable"),
    ],
)
def test_why_there_is_no_difference(reference, verdict):
    """Where there is no difference, the row says why, and nothing is dropped."""
    (row,), _ = table(study([reference]))
    assert (row["verdict"], row["difference"]) == (verdict, "")


def test_lines_say_what_the_table_does_not():
    """Notes, incomparable figures and references without trials are named."""
    reference = [
        {
            "name": "a",
            "when": {"lr": 0.1},
            "test_loss": 0.1,
            "incomparable": ["test_loss"],
            "note": "per\nbatch",
        },
        {"name": "b", "when": {"lr": 0.5}, "test_acc": 0.5},
    ]
    _, lines = table(study(reference))
    assert {
        "a: test_loss: not comparable.",
        "a: per batch",
        "Published, but no trial matches: b.",
    } <= set(lines)


def test_rows_hold_all_of_it():
    """Rows for CSV and JSON: each figure, epoch and class, exact, and each configuration nothing is published of."""
    reference = [
        {"when": {"lr": 0.01}, "train_acc": 0.9, "by_epoch": [0.5, 0.6], "per_class": [0.7]}
    ]
    record = study(reference, classes=2, tested=False)
    values = published.rows(record, found(record))
    assert all(tuple(row) == published.COLUMNS for row in values)
    assert [(row["part"], row["figure"]) for row in values] == [
        ("figure", "train_acc"),
        *(("epoch", "1"), ("epoch", "2"), ("class", "0")),
        *(("configuration", None), ("configuration", None)),
    ]
    assert values[0]["difference"] == pytest.approx(values[0]["train"] - 0.9)
    assert (values[0]["val"], values[0]["difference_with"]) == (None, "train")
    assert [row["variant"] for row in values[-2:]] == ["lr 0.1", "lr 1"]


def test_details():
    """Epochs and classes have tables of their own; of many classes the largest differences stand first."""
    names = tuple(f"class {i}" for i in range(30))
    reference = [{"when": {"lr": 0.01}, "by_epoch": [0.5], "per_class": [0.9] * 29 + [0.1]}]
    record = study(reference, classes=30, tested=False)
    record = make_record(record.results, dimensions=[LR], reference=reference, classes=names)
    epochs, classes = published.detail_sections(record, found(record))
    assert epochs.lines == (
        "Ours on the test split after each epoch: a study with keep_checkpoints: all can be scored so",
    )
    record = dataclasses.replace(record, keep_checkpoints="all")
    epochs, classes = published.detail_sections(record, found(record))
    assert epochs.grid.columns == (
        "epoch",
        "published",
        "ours, validation",
        "ours, test",
        "difference",
        "taken with",
    )
    assert epochs.lines == (
        "Ours on the test split after each epoch: pipeline evaluate --all --name test --each-epoch",
    )
    assert classes.grid.rows[0][0] == "class 29"
    assert len(classes.grid.rows) == published.MAX_LINES
    assert "20 largest differences of 30" in classes.title


def test_narrow_names_a_variant_once():
    """The terminal's table has ours once, on the split of the difference, and each variant's name once."""
    first, second = table(
        study([{"when": {"lr": 0.01}, "test_acc": 0.91, "test_loss": 0.2}]), narrow=True
    )[0]
    assert (first["variant"], second["variant"]) == ("lr 0.01", "")
    assert (second["figure"], second["ours"], second["on"]) == (
        "test_acc",
        "90.00 ± 0.00 % (2)",
        "test",
    )
    assert second["verdict"] == "beyond"


def test_training_classes_have_a_table_of_their_own():
    """Published training accuracies of the classes stand beside ours as trained, and on no other split."""
    record = study(
        [{"when": {"lr": 0.01}, "per_class": [0.7], "per_class_train": [0.8]}],
        classes=2,
        tested=False,
    )
    train, test = published.detail_sections(record, found(record))
    assert train.title == "Published training accuracy class by class: lr 0.01"
    assert train.grid.columns == (
        "class",
        "published",
        "ours, training",
        "difference",
        "taken with",
    )
    assert test.grid.columns[2:4] == ("ours, validation", "ours, test")


def test_another_setting_than_the_files_is_said():
    """Where the study was not swept as its file says, that is the first thing said of its published figures."""
    record = dataclasses.replace(study([{"test_acc": 0.9}]), deviations="epochs 10 (now 3)")
    assert table(record)[1][0] == "Not as in the study file: epochs 10 (now 3)."
