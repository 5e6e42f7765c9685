import dataclasses
import math

import pytest
from support.records import DROPOUT, LR, POINTS, repeated_study, study_with_finalists

from pipeline.report.plots import finalists, published


def test_published():
    """Each reference with an accuracy has its published figures and ours by split; losses are not drawn."""
    reference = [
        {
            "name": "a",
            "when": {"lr": 0.01, "dropout": 0.1},
            "test_acc": 0.95,
            "test_loss": 0.1,
            "val_acc": 0.94,
        },
        {"name": "b", "when": {"lr": 1.0}, "test_acc": 0.5, "incomparable": ["test_acc"]},
        {"name": "c", "when": {"lr": 0.001}, "test_loss": 0.5},
    ]
    info = published.published_info(repeated_study(POINTS, (LR, DROPOUT), reference=reference))
    assert [(row.name, row.published, row.comparable) for row in info.rows] == [
        ("a", {"test": 0.95, "val": 0.94}, True),
        ("b", {"test": 0.5}, False),
    ]
    assert info.rows[0].ours["val"].mean == pytest.approx(0.905)
    assert info.rows[1].ours == {}
    assert published.published_info(repeated_study(POINTS, (LR, DROPOUT))) is None


def test_published_far_apart_is_drawn_twice():
    """Where one variant lies far below the others, these have a second panel of their own."""
    names = {"0.01": 0.99, "0.02": 0.985, "0.03": 0.98, "1": 0.1}
    points = [({"lr": float(lr)}, value) for lr, value in names.items()]
    reference = [{"when": {"lr": lr}, "test_acc": value} for lr, value in names.items()]
    info = published.published_info(repeated_study(points, (LR,), reference=reference, seeds=1))
    assert info.close == (0.98, 0.99)
    assert len(published.draw_published(info).axes) == 2
    close = dataclasses.replace(info, rows=info.rows[:3], close=None)
    assert len(published.draw_published(close).axes) == 1


def test_published_in_words():
    """The text alternative has each variant's figures beside ours."""
    reference = [{"name": "a", "when": {"lr": 0.01, "dropout": 0.1}, "test_acc": 0.95}]
    info = published.published_info(repeated_study(POINTS, (LR, DROPOUT), reference=reference))
    assert published.published_alt(info) == "Accuracy; a: published 0.95 (test), ours 0.905 (val)."


def test_finalists():
    """Each finalist, named as in the study, has its seeds' values and the interval of their mean, test beside them."""
    info = finalists.finalists_info(study_with_finalists())
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
    assert (
        "#7 lr 0.1: val 0.8900 (3 seeds, 95 % 0.8652 to 0.9148), test 0.8700"
        in finalists.finalists_alt(info)
    )


def test_finalists_of_another_objective():
    """A loss is not drawn on the axis of an accuracy: test has a panel of its own."""
    info = finalists.finalists_info(study_with_finalists(objective="val_loss", maximize=False))
    assert [panel.label for panel in info.panels] == [
        "validation loss (nats)",
        "test accuracy (fraction)",
    ]
    assert info.rows[0] == "#4 lr 0.01"


def test_an_axis_of_accuracies_ends_at_1():
    """However far their interval reaches, no room is left for what cannot be; a loss has no such end."""
    record = study_with_finalists()
    near = [dataclasses.replace(r, value=1.0 - 0.001 * r.number) for r in record.finalists.results]
    info = finalists.finalists_info(
        dataclasses.replace(
            record, finalists=dataclasses.replace(record.finalists, results=tuple(near))
        )
    )
    assert any(mark.high > 1 for mark in info.panels[0].marks)
    assert info.panels[0].range[1] == 1
    assert finalists.draw_finalists(info).axes[0].get_xlim()[1] == 1
    losses, accuracies = finalists.finalists_info(
        study_with_finalists(objective="val_loss", maximize=False)
    ).panels
    assert (losses.most, accuracies.most) == (math.inf, 1)


def test_seeds_are_seen_in_the_dark():
    """The dots of the seeds are strong enough to be seen when a dark page turns their colours around."""
    axes = finalists.draw_finalists(finalists.finalists_info(study_with_finalists())).axes[0]
    assert {dots.get_alpha() for dots in axes.collections} == {0.9}


def test_no_finalists():
    """A study without finalists, or with none complete yet, has nothing to draw."""
    record = study_with_finalists()
    assert finalists.finalists_info(dataclasses.replace(record, finalists=None)) is None
    begun = dataclasses.replace(record.finalists, results=())
    assert finalists.finalists_info(dataclasses.replace(record, finalists=begun)) is None
