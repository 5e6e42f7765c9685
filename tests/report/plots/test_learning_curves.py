import math

import pytest
from support.records import LR, make_record, make_result

from pipeline.report.plots.learning_curves import curves_alt, curves_info
from sweeps.trial import FAILED, PRUNED


def test_curves():
    """The six first-ranked trials are shown, named by number, family and activation, and by how they ended."""
    results = [
        make_result(i, 0.1 * i, lr=0.01 + i / 100, state=PRUNED if i == 7 else "complete")
        for i in range(8)
    ]
    info = curves_info(make_record(results))
    assert [curve.name.split()[0] for curve in info.curves] == ["#6", "#5", "#4", "#3", "#2", "#1"]
    assert info.curves[0].name == "#6 cnn relu"
    assert info.curves[0].validation[-1] == pytest.approx(0.6)
    failed = curves_info(make_record([make_result(0, state=FAILED, end="oom")]))
    assert failed.curves[0].name == "#0 cnn relu (oom)"


@pytest.mark.parametrize(
    ("objective", "validation", "train"),
    [
        ("val_acc", "val/acc", "train/acc"),
        ("val_loss", "val/loss", "train/loss"),
        ("macro_f1", None, "train/acc"),
    ],
)
def test_curves_of_the_objective(objective, validation, train):
    """The curves are the objective's, beside training in the same unit; a metric never logged is missing, not 0."""
    result = make_result(0, 0.5)
    (curve,) = curves_info(make_record([result], objective=objective)).curves
    assert curve.train == [row.metrics[train] for row in result.history]
    if validation:
        assert curve.validation == [row.metrics[validation] for row in result.history]
    else:
        assert all(map(math.isnan, curve.validation))


def test_curves_are_named_by_what_was_searched():
    """Where one searched field tells the trials apart, it names them."""
    results = [make_result(i, 0.5 + i / 10, lr=lr) for i, lr in enumerate((0.01, 0.001))]
    info = curves_info(make_record(results, dimensions=(LR,)))
    assert [curve.name for curve in info.curves] == ["#1 lr 0.001", "#0 lr 0.01"]


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        ("val_acc", ["accuracy (fraction)", "loss (nats)"]),
        ("val_loss", ["loss (nats)", "accuracy (fraction)"]),
        ("macro_f1", ["macro F1 (0 to 1)", "loss (nats)"]),
    ],
)
def test_gap(objective, labels):
    """The first trial's training stands beside its validation, in the objective and in loss, or else accuracy."""
    info = curves_info(
        make_record([make_result(0, 0.5), make_result(1, 0.9, lr=0.1)], objective=objective)
    )
    assert [panel.label for panel in info.gaps] == labels
    assert {panel.curve.name for panel in info.gaps} == {"#1 cnn relu"}


def test_gap_at_the_best_epoch():
    """What both splits reached at the best epoch is known, and said; not where one was never logged."""
    result = make_result(0, 0.9)
    last = result.history[-1].metrics
    info = curves_info(make_record([result]))
    assert [panel.curve.at_best for panel in info.gaps] == [
        (last["val/acc"], last["train/acc"]),
        (last["val/loss"], last["train/loss"]),
    ]
    assert "accuracy (fraction) of #0 cnn relu there: validation 0.9, training 0.92" in curves_alt(
        info
    )
    unknown = curves_info(make_record([result], objective="macro_f1"))
    assert unknown.curves[0].at_best is None
    assert "nan" not in curves_alt(unknown)
