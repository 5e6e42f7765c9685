import dataclasses
import math

import numpy as np
import pytest
from support.records import LR, make_record, make_result

from pipeline.report.plots import confusion, learning_curves, per_class
from sweeps.trial import FAILED, PRUNED


def test_curves():
    """The six first-ranked trials are shown, named by number, family and activation, and by how they ended."""
    results = [
        make_result(i, 0.1 * i, lr=0.01 + i / 100, state=PRUNED if i == 7 else "complete")
        for i in range(8)
    ]
    info = learning_curves.curves_info(make_record(results))
    assert [curve.name.split()[0] for curve in info.curves] == ["#6", "#5", "#4", "#3", "#2", "#1"]
    assert info.curves[0].name == "#6 cnn relu"
    assert info.curves[0].validation[-1] == pytest.approx(0.6)
    failed = learning_curves.curves_info(make_record([make_result(0, state=FAILED, end="oom")]))
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
    (curve,) = learning_curves.curves_info(make_record([result], objective=objective)).curves
    assert curve.train == [row.metrics[train] for row in result.history]
    if validation:
        assert curve.validation == [row.metrics[validation] for row in result.history]
    else:
        assert all(map(math.isnan, curve.validation))


def test_per_class():
    """Ten trials at most stand beside the true class names; a class without images has no number."""
    results = [make_result(i, 0.05 * i, lr=0.01 + i / 100, classes=3) for i in range(12)]
    last = results[11].history[-1]
    history = (*results[11].history[:-1], dataclasses.replace(last, per_class=(0.5, None, 1.0)))
    results[11] = dataclasses.replace(results[11], history=history)
    info = per_class.per_class_info(make_record(results, classes=("ant", "bee", "cat")))
    assert info.classes == ["ant", "bee", "cat"]
    assert [words[0] for words in info.trials] == [f"#{i}" for i in range(11, 1, -1)]
    np.testing.assert_equal(info.accuracy[:, 0], [0.5, np.nan, 1.0])


def test_confusion():
    """The best trial's counts are shown, of a class without images no share."""
    worse = make_result(0, 0.2, classes=3, with_confusion=True)
    better = dataclasses.replace(
        make_result(1, 0.9, lr=0.1), confusion=((3, 1, 0), (0, 0, 0), (0, 2, 2))
    )
    info = confusion.confusion_info(make_record([worse, better], classes=("ant", "bee", "cat")))
    assert info.trial == "#1 cnn relu"
    assert info.counts.tolist() == [[3, 1, 0], [0, 0, 0], [0, 2, 2]]
    image = confusion.draw_confusion(info).axes[0].images[0].get_array()
    np.testing.assert_allclose(image[0], [0.75, 0.25, 0])
    assert np.isnan(image.filled(np.nan)[1]).all()


def test_classes_without_names():
    """Where the names do not match the counts, classes are numbered, never named wrongly."""
    record = make_record(
        [make_result(0, 0.9, classes=3, with_confusion=True)], classes=("ant", "bee")
    )
    assert confusion.confusion_info(record).classes == ["0", "1", "2"]


def test_curves_are_named_by_what_was_searched():
    """Where one searched field tells the trials apart, it names them."""
    results = [make_result(i, 0.5 + i / 10, lr=lr) for i, lr in enumerate((0.01, 0.001))]
    info = learning_curves.curves_info(make_record(results, dimensions=(LR,)))
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
    info = learning_curves.curves_info(
        make_record([make_result(0, 0.5), make_result(1, 0.9, lr=0.1)], objective=objective)
    )
    assert [panel.label for panel in info.gaps] == labels
    assert {panel.curve.name for panel in info.gaps} == {"#1 cnn relu"}


def test_gap_at_the_best_epoch():
    """What both splits reached at the best epoch is known, and said; not where one was never logged."""
    result = make_result(0, 0.9)
    last = result.history[-1].metrics
    info = learning_curves.curves_info(make_record([result]))
    assert [panel.curve.at_best for panel in info.gaps] == [
        (last["val/acc"], last["train/acc"]),
        (last["val/loss"], last["train/loss"]),
    ]
    assert (
        "accuracy (fraction) of #0 cnn relu there: validation 0.9, training 0.92"
        in learning_curves.curves_alt(info)
    )
    unknown = learning_curves.curves_info(make_record([result], objective="macro_f1"))
    assert unknown.curves[0].at_best is None
    assert "nan" not in learning_curves.curves_alt(unknown)


def test_classes_in_words():
    """The text alternatives name the classes that do worst, and what is taken for what how often."""
    best = dataclasses.replace(
        make_result(0, 0.9, classes=3), confusion=((3, 1, 0), (0, 0, 0), (0, 2, 2))
    )
    last = dataclasses.replace(best.history[-1], per_class=(0.75, None, 0.5))
    record = make_record(
        [dataclasses.replace(best, history=(*best.history[:-1], last))],
        classes=("ant", "bee\x1b[1m", "cat"),
    )
    assert confusion.confusion_alt(confusion.confusion_info(record)) == (
        "Trial #0 cnn relu of test: 5 of 8 images right; cat taken for bee (2 times), ant taken for bee (1 time)."
    )
    said = per_class.per_class_alt(per_class.per_class_info(record))
    assert (
        said
        == "3 classes in 1 trial; #0 cnn: from 0.500 (cat) to 0.750; lowest on average: cat 0.500, ant 0.750."
    )
