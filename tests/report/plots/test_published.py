import dataclasses

import pytest
from support.records import DROPOUT, LR, POINTS, repeated_study

from pipeline.report.plots.published import draw_published, published_alt, published_info


def test_published():
    """Each reference with an accuracy has the published figures and ours, without losses."""
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
    info = published_info(repeated_study(POINTS, (LR, DROPOUT), reference=reference))
    assert [(row.name, row.published, row.comparable) for row in info.rows] == [
        ("a", {"test": 0.95, "val": 0.94}, True),
        ("b", {"test": 0.5}, False),
    ]
    assert info.rows[0].ours["val"].mean == pytest.approx(0.905)
    assert info.rows[1].ours == {}
    assert published_info(repeated_study(POINTS, (LR, DROPOUT))) is None


def test_published_far_apart_is_drawn_twice():
    """If one reference lies far below the others, a second panel shows the others alone."""
    accuracies = {"0.01": 0.99, "0.02": 0.985, "0.03": 0.98, "1": 0.1}
    points = [({"lr": float(lr)}, accuracy) for lr, accuracy in accuracies.items()]
    reference = [{"when": {"lr": lr}, "test_acc": accuracy} for lr, accuracy in accuracies.items()]
    info = published_info(repeated_study(points, (LR,), reference=reference, seeds=1))
    assert info.close == (0.98, 0.99)
    assert len(draw_published(info).axes) == 2
    close = dataclasses.replace(info, rows=info.rows[:3], close=None)
    assert len(draw_published(close).axes) == 1


def test_published_in_words():
    """The text alternative tells each reference's figures beside ours."""
    reference = [{"name": "a", "when": {"lr": 0.01, "dropout": 0.1}, "test_acc": 0.95}]
    info = published_info(repeated_study(POINTS, (LR, DROPOUT), reference=reference))
    assert published_alt(info) == "Accuracy; a: published 95 % (test), ours 90.5 % (val)."
