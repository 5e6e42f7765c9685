"""What accuracy alone does not say: a network that answers with one class, and classes it never answers with."""

import dataclasses

import pytest
from support.records import make_epoch, make_result

from sweeps.analysis.health import (
    HARDLY_ANY,
    NEARLY_ALL,
    collapsed_class,
    dead_classes,
    expected_calibration_error,
    overconfidence,
)
from sweeps.trial import FAILED, ConfidenceBin


def make(*confusions, best=None):
    """Make a trial whose epochs have these counts [true][predicted]; the last is the best."""
    history = [
        make_epoch(epoch, confusion=confusion)
        for epoch, confusion in enumerate(confusions, start=1)
    ]
    return make_result(0, 0.5, history=tuple(history), best_epoch=best or len(history))


def one_class(classes, chosen, images=10):
    """Every image is taken for one class."""
    return [
        [images if column == chosen else 0 for column in range(classes)] for _ in range(classes)
    ]


def right(classes, images=10):
    """Every image is taken for its class."""
    return [[images if column == row else 0 for column in range(classes)] for row in range(classes)]


@pytest.mark.parametrize("classes", [2, 10, 200])
@pytest.mark.parametrize("chosen", [0, 1])
def test_collapsed(classes, chosen):
    """A network that takes every image for one class has collapsed, to that class."""
    assert collapsed_class(make(one_class(classes, chosen))) == chosen


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_sound(classes):
    """A network that is right has not collapsed, and answers with every class."""
    assert collapsed_class(make(right(classes))) is None
    assert dead_classes(make(right(classes))) == ()


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[960, 10], [0, 30]], None),  # 96 % of the predictions, but right about all of the others
        ([[969, 1], [25, 5]], None),  # right about a sixth of them
        ([[970, 0], [30, 0]], 0),  # right about none
        ([[969, 1], [28, 2]], 0),  # right about a fifteenth
        ([[0, 30], [2, 968]], 1),
    ],
)
def test_unbalanced(confusion, expected):
    """Of 97 images to 3, many predictions of the common class alone are no collapse, unless the others are missed."""
    assert collapsed_class(make(confusion)) == expected


def test_nearly_all():
    """A class of fewer than 95 % of the predictions is none that a network has collapsed to."""
    below, above = (make([[100 - rest, rest], [100 - rest, rest]]) for rest in (6, 5))
    assert below.history[0].predicted[0] < NEARLY_ALL * 200 <= above.history[0].predicted[0]
    assert (collapsed_class(below), collapsed_class(above)) == (None, 0)


def test_hardly_any():
    """The others' accuracy is a mean over classes, so that a large one does not hide that the rest are missed."""
    # Right about 19 of 20 images of class 2, and of 20 other classes about none.
    confusion = [[1000 if column == 0 else 0 for column in range(22)] for _ in range(22)]
    confusion[2] = [1 if column == 0 else 19 if column == 2 else 0 for column in range(22)]
    result = make(confusion)
    assert sum(result.history[0].per_class[1:]) / 21 < HARDLY_ANY
    assert collapsed_class(result) == 0


def test_last_epoch_decides():
    """A network has collapsed if it ends so, however good it was; one that recovers has not."""
    good, bad = right(10), one_class(10, 4)
    assert collapsed_class(make(good, bad, best=1)) == 4
    assert collapsed_class(make(bad, good)) is None


def test_absent_classes():
    """Classes without validation images say nothing; where there is but one class, nothing can have collapsed."""
    assert collapsed_class(make([[9, 0, 0], [9, 0, 0], [0, 0, 0]])) == 0
    assert collapsed_class(make([[9, 0, 0], [0, 0, 0], [0, 0, 0]])) is None
    assert collapsed_class(make([[9]])) is None


def test_dead_classes():
    """A class with images that no image is taken for is dead; one without images is not."""
    assert dead_classes(make([[5, 0, 0, 0], [5, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 0]])) == (1,)
    assert dead_classes(make([[5, 0, 0], [4, 1, 0], [0, 5, 0]])) == (2,)
    assert dead_classes(make(one_class(200, 7))) == tuple(
        index for index in range(200) if index != 7
    )


def test_a_class_that_is_only_mistaken_is_not_dead():
    """A class that is answered, if only wrongly, is not dead."""
    assert dead_classes(make([[5, 5], [10, 0]])) == ()


def test_best_epoch_decides():
    """The classes are those of the weights that are kept, not of the last epoch."""
    assert dead_classes(make(one_class(3, 0), right(3), one_class(3, 1), best=2)) == ()
    assert dead_classes(make(one_class(3, 0), right(3), best=1)) == (1, 2)


@pytest.mark.parametrize(
    "result",
    [
        make_result(0, state=FAILED, epochs=0),
        make_result(0, 0.9),  # of a version that kept no predictions
        dataclasses.replace(make(right(3)), history=()),
    ],
    ids=["failed", "no predictions", "no history"],
)
def test_nothing_known(result):
    """A trial without history, or without counts of predictions, is not judged."""
    assert result.history == () or result.history[-1].predicted == ()
    assert collapsed_class(result) is None
    assert dead_classes(result) == ()


def test_calibration_error():
    """It is the mean distance of probability and accuracy in each interval, weighted by images."""
    bins = [ConfidenceBin(0, 0, 0.0), ConfidenceBin(10, 8, 6.0), ConfidenceBin(30, 24, 27.0)]
    assert expected_calibration_error(bins) == pytest.approx((10 * 0.2 + 30 * 0.1) / 40)
    assert overconfidence(bins) == pytest.approx((27 + 6 - 32) / 40)
    assert expected_calibration_error([]) is None
    assert overconfidence([ConfidenceBin(0, 0, 0.0)]) is None
