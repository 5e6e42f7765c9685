import dataclasses
import math

import pytest
from support.records import first_right, study_with_finalists, with_bits

from pipeline.report.plots.finalists import (
    SeedsMark,
    SeedsPanel,
    draw_finalists,
    finalists_alt,
    finalists_info,
)
from sweeps.analysis.intervals import wilson_interval


def with_images(record):
    """A study whose finalists are known to have classified the first of 1,000 images correctly."""
    results = [
        with_bits(result, first_right(result.value, 1000)) for result in record.finalists.results
    ]
    finalists = dataclasses.replace(record.finalists, results=tuple(results))
    return dataclasses.replace(record, finalists=finalists)


def test_finalists():
    """Each finalist has the study's name, and its seeds' values and interval on both splits."""
    record = with_images(study_with_finalists())
    info = finalists_info(record)
    assert info.rows == ["1. #7 lr 0.1", "2. #4 lr 0.01"]
    (panel,) = info.panels
    first = next(mark for mark in panel.marks if (mark.row, mark.split) == (0, "val"))
    assert first.values == pytest.approx([0.88, 0.89, 0.9])
    assert first.mean == pytest.approx(0.89)
    # Wider than that of 1,000 images alone, as the seeds differ.
    low, high = wilson_interval(0.89, 1000)
    assert first.low < low - 0.002
    assert high + 0.002 < first.high < 1
    assert [mark.row for mark in panel.marks if mark.split == "test"] == [0, 1]
    assert (info.ended, info.planned) == (6, 6)
    shown = f"95 % {100 * first.low:.4g} % to {100 * first.high:.4g} %"
    assert f"#7 lr 0.1: val 89 % (3 seeds, {shown}), test 87 %" in finalists_alt(info)


def test_no_interval_is_cut_off():
    """The axis reaches beyond the ends of wide intervals, as it does beyond the seeds of narrow ones."""

    def axis(low, high):
        mark = SeedsMark(row=0, split="val", values=[0.9, 0.92], mean=0.91, low=low, high=high)
        return SeedsPanel(label="accuracy", marks=[mark], most=1).range

    assert axis(0.905, 0.915) == axis(None, None) == pytest.approx((0.89, 0.93))
    low, high = axis(0.7, 0.98)
    assert 0.68 < low < 0.7
    assert 0.98 < high < 1


def test_without_the_images_there_is_no_interval():
    """It is not known which images were right, nor how many there were."""
    info = finalists_info(study_with_finalists())
    assert {(mark.low, mark.high) for mark in info.panels[0].marks} == {(None, None)}
    assert "#7 lr 0.1: val 89 % (3 seeds), test 87 %" in finalists_alt(info)


def test_finalists_of_another_objective():
    """A loss is not drawn on the axis of an accuracy: test has a panel of its own."""
    info = finalists_info(study_with_finalists(objective="val_loss", maximize=False))
    assert [panel.label for panel in info.panels] == [
        "validation loss (nats)",
        "test accuracy (%)",
    ]
    assert info.rows[0] == "1. #4 lr 0.01"


def test_an_axis_of_accuracies_ends_at_1():
    """The axis does not show impossible accuracies; an axis of losses has no such end."""
    record = study_with_finalists()
    near_1 = tuple(
        dataclasses.replace(result, value=1.0 - 0.001 * result.number)
        for result in record.finalists.results
    )
    finalists = dataclasses.replace(record.finalists, results=near_1)
    info = finalists_info(dataclasses.replace(record, finalists=finalists))
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
