import math

import pytest
from support.records import LR, make_record, make_result

from pipeline.report.plots.learning_curves import curves_alt, curves_info
from sweeps.trial import FAILED, PRUNED


def test_curves():
    """The six first-ranked trials are shown, named by number, family, activation and end."""
    results = [make_result(i, 0.1 * i, lr=0.01 + i / 100) for i in range(7)]
    results.append(make_result(7, 0.7, lr=0.08, state=PRUNED))
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
    """The curves show the objective, and training in the same unit; an unlogged metric is NaN."""
    result = make_result(0, 0.5)
    (curve,) = curves_info(make_record([result], objective=objective)).curves
    assert curve.train == [epoch.metrics[train] for epoch in result.history]
    if validation:
        assert curve.validation == [epoch.metrics[validation] for epoch in result.history]
    else:
        assert all(map(math.isnan, curve.validation))


@pytest.mark.parametrize(
    ("losses", "label"),
    [
        (["cross_entropy"], "loss (nats)"),
        (["squared_error"], "loss (squared error)"),
        (["cross_entropy", "squared_error"], "loss"),
    ],
)
def test_the_unit_of_the_loss(losses, label):
    """A loss has the unit of what the trials minimise, or none where that differs."""
    results = [make_result(i, 0.5, loss=loss) for i, loss in enumerate(losses)]
    assert curves_info(make_record(results)).gaps[1].label == label


def test_curves_are_named_by_the_searched_field():
    """If one searched field tells the trials apart, it names them."""
    results = [make_result(i, 0.5 + i / 10, lr=lr) for i, lr in enumerate((0.01, 0.001))]
    info = curves_info(make_record(results, dimensions=(LR,)))
    assert [curve.name for curve in info.curves] == ["#1 lr 0.001", "#0 lr 0.01"]


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        ("val_acc", ["accuracy (%)", "loss (nats)"]),
        ("val_loss", ["loss (nats)", "accuracy (%)"]),
        ("macro_f1", ["macro F1 (0 to 1)", "loss (nats)"]),
    ],
)
def test_gap(objective, labels):
    """The first trial's gap is shown in the objective and in the loss, or else the accuracy."""
    results = [make_result(0, 0.5), make_result(1, 0.9, lr=0.1)]
    info = curves_info(make_record(results, objective=objective))
    assert [panel.label for panel in info.gaps] == labels
    assert {panel.curve.name for panel in info.gaps} == {"#1 cnn relu"}


def test_gap_at_the_best_epoch():
    """Both splits' values at the best epoch are told, unless one was never logged."""
    result = make_result(0, 0.9)
    last = result.history[-1].metrics
    info = curves_info(make_record([result]))
    assert [panel.curve.at_best for panel in info.gaps] == [
        (last["val/acc"], last["train/acc"]),
        (last["val/loss"], last["train/loss"]),
    ]
    text = curves_alt(info)
    assert "accuracy of #0 cnn relu there: validation 90 %, training 92 %" in text
    unlogged = curves_info(make_record([result], objective="macro_f1"))
    assert unlogged.curves[0].at_best is None
    assert "nan" not in curves_alt(unlogged)
