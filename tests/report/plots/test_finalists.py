import dataclasses
import math

import pytest
from support.records import study_with_finalists

from pipeline.report.plots.finalists import draw_finalists, finalists_alt, finalists_info


def test_finalists():
    """Each finalist has the study's name, and its seeds' values and interval on both splits."""
    info = finalists_info(study_with_finalists())
    assert info.rows == ["#7 lr 0.1", "#4 lr 0.01"]
    (panel,) = info.panels
    first = next(mark for mark in panel.marks if (mark.row, mark.split) == (0, "val"))
    assert first.values == pytest.approx([0.88, 0.89, 0.9])
    assert first.mean == pytest.approx(0.89)
    half = 4.3027 * 0.01 / 3**0.5  # Student's t of two degrees of freedom
    assert (first.low, first.high) == (
        pytest.approx(0.89 - half, abs=1e-5),
        pytest.approx(0.89 + half, abs=1e-5),
    )
    assert [mark.row for mark in panel.marks if mark.split == "test"] == [0, 1]
    assert (info.ended, info.planned) == (6, 6)
    text = finalists_alt(info)
    assert "#7 lr 0.1: val 0.8900 (3 seeds, 95 % 0.8652 to 0.9148), test 0.8700" in text


def test_finalists_of_another_objective():
    """A loss is not drawn on the axis of an accuracy: test has a panel of its own."""
    info = finalists_info(study_with_finalists(objective="val_loss", maximize=False))
    assert [panel.label for panel in info.panels] == [
        "validation loss (nats)",
        "test accuracy (fraction)",
    ]
    assert info.rows[0] == "#4 lr 0.01"


def test_an_axis_of_accuracies_ends_at_1():
    """The axis does not show impossible accuracies, however far an interval reaches.

    An axis of losses has no such end.
    """
    record = study_with_finalists()
    near_1 = tuple(
        dataclasses.replace(result, value=1.0 - 0.001 * result.number)
        for result in record.finalists.results
    )
    finalists = dataclasses.replace(record.finalists, results=near_1)
    info = finalists_info(dataclasses.replace(record, finalists=finalists))
    assert any(mark.high > 1 for mark in info.panels[0].marks)
    assert info.panels[0].range[1] == 1
    assert draw_finalists(info).axes[0].get_xlim()[1] == 1
    record = study_with_finalists(objective="val_loss", maximize=False)
    losses, accuracies = finalists_info(record).panels
    assert (losses.most, accuracies.most) == (math.inf, 1)


def test_seeds_are_seen_in_the_dark():
    """The dots of the seeds are opaque enough to be seen when a dark page inverts their colours."""
    axes = draw_finalists(finalists_info(study_with_finalists())).axes[0]
    assert {dots.get_alpha() for dots in axes.collections} == {0.9}


def test_no_finalists():
    """A study without finalists, or without a complete one, has nothing to draw."""
    record = study_with_finalists()
    assert finalists_info(dataclasses.replace(record, finalists=None)) is None
    empty = dataclasses.replace(record.finalists, results=())
    assert finalists_info(dataclasses.replace(record, finalists=empty)) is None
