"""A study's configurations beside published figures."""

import pytest
from support.records import make_record, make_result

from sweeps.analysis.published import ComparedFigure, compare
from sweeps.analysis.scores import Score
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED, PRUNED

LR = Dimension(field="lr", choices=(0.01, 0.1, 1.0))
DROPOUT = Dimension(field="dropout", choices=(0.0, 0.5))


def compared(results, reference, **record):
    record = make_record(results, dimensions=[LR, DROPOUT], reference=reference, **record)
    return compare(record, record.ranked)


def seeds(values, *, start=0, tests=None, **config):
    """Trials of one configuration, one for each value."""
    return [
        make_result(start + seed, value, seed=seed, test=tests[seed] if tests else None, **config)
        for seed, value in enumerate(values)
    ]


def test_ours_are_means_over_the_seeds():
    """Ours has mean, sample standard deviation and number of seeds on validation, and on test of those scored."""
    tests = [{"acc": 0.7, "loss": 1.0}, {"acc": 0.8, "loss": 2.0}, None]
    (variant,) = compared(
        seeds((0.8, 0.9, 0.7), tests=tests, lr=0.1), [{"when": {"lr": 0.1}, "test_acc": 0.74}]
    ).variants
    (figure,) = variant.figures
    assert figure.ours["val"].mean == pytest.approx(0.8)
    assert (figure.ours["val"].spread, figure.ours["val"].seeds) == (pytest.approx(0.1), 3)
    assert (figure.ours["test"].mean, figure.ours["test"].seeds) == (pytest.approx(0.75), 2)
    assert (figure.against, figure.difference, figure.within) == ("test", pytest.approx(0.01), True)
    assert variant.unscored


def test_difference_is_taken_on_the_published_split():
    """A test figure is compared on validation while ours is not scored; others only on their own split."""
    reference = {"train_acc": 0.5, "val_loss": 0.1, "test_acc": 0.9}
    (variant,) = compared(seeds((0.8,)), [reference]).variants
    assert {f.name: f.against for f in variant.figures} == {
        "train_acc": "train",
        "val_loss": "val",
        "test_acc": "val",
    }
    train = make_result(0, 0.8).best.metrics["train/acc"]
    assert variant.figures[0].ours["train"] == Score(mean=train, spread=None, seeds=1)


@pytest.mark.parametrize(
    ("spread", "within"), [(0.125, True), (0.5, True), (0.0625, False), (None, None)], ids=str
)
def test_within_the_spread(spread, within):
    """A difference as large as the spread is within it; of one seed there is no spread."""
    ours = {"test": Score(mean=0.625, spread=spread, seeds=2)}
    assert ComparedFigure(name="test_acc", split="test", published=0.5, ours=ours).within is within


def test_incomparable_figures_have_no_difference():
    """What was measured otherwise is shown without a difference."""
    reference = {
        "test_acc": 0.9,
        "test_loss": 0.01,
        "by_epoch": [0.5],
        "incomparable": ["test_loss", "by_epoch"],
    }
    (variant,) = compared(seeds((0.8, 0.9)), [reference]).variants
    loss, accuracy = variant.figures
    assert (loss.difference, loss.within, loss.published) == (None, None, 0.01)
    assert accuracy.difference is not None
    assert variant.epochs[0].difference is None


def test_epoch_by_epoch():
    """Each published epoch stands beside ours of the same epoch, on test where each epoch was scored."""
    tests = [{"acc": 0.7, "loss": 1.0, "acc@1": 0.4}, None]
    (variant,) = compared(
        seeds((0.8, 0.9), tests=tests, epochs=2), [{"by_epoch": [0.5, 0.6, 0.7]}]
    ).variants
    first, second, third = variant.epochs
    assert (first.against, first.difference, second.against) == ("test", pytest.approx(-0.1), "val")
    assert second.ours["val"].mean == pytest.approx(0.85)
    assert third.ours == {}
    assert variant.figures == ()


def test_class_by_class():
    """Each class has the mean over the seeds at their best epochs; one that ours lacks has none."""
    trials = seeds((0.8, 0.9), classes=2)
    (variant,) = compared(trials, [{"per_class": [0.5, 0.6, 0.7]}]).variants
    expected = [sum(t.best.per_class[i] for t in trials) / 2 for i in (0, 1)]
    assert [c.ours["val"].mean for c in variant.classes[:2]] == pytest.approx(expected)
    assert variant.classes[2].ours == {}


def test_both_sides_are_listed():
    """A reference that no trial matches stays, and so does a configuration that none names."""
    results = [make_result(0, 0.9, lr=0.1), make_result(1, 0.8, lr=0.01)]
    found = compared(
        results, [{"when": {"lr": 0.1}, "test_acc": 0.9}, {"when": {"lr": 1.0}, "test_acc": 0.1}]
    )
    assert [(v.matches, v.entry is None) for v in found.variants] == [(1, False), (0, True)]
    assert found.variants[1].figures[0].ours == {}
    assert [e.trials[0].number for e in found.unnamed] == [1]
    assert compare(make_record(results), make_record(results).ranked) is None


def test_of_several_configurations_the_best_or_the_centre():
    """A wide reference is compared with the best-ranked configuration it matches; with the centre if there is one."""
    results = [make_result(0, 0.7, lr=0.01, dropout=0.0), make_result(1, 0.9, lr=0.01, dropout=0.5)]
    reference = [{"when": {"lr": 0.01}, "test_acc": 0.9}]
    (searched,) = compared(results, reference).variants
    (centred,) = compared(results, reference, method="one_factor").variants
    assert (searched.entry.trials[0].number, searched.matches) == (1, 2)
    assert (centred.entry.trials[0].number, centred.matches) == (0, 2)


def test_only_complete_seeds_count():
    """Failed, pruned, infeasible and reused trials are in no mean."""
    results = [
        make_result(0, 0.8, lr=0.1),
        make_result(1, state=FAILED, lr=0.1, seed=1),
        make_result(2, 0.99, state=PRUNED, lr=0.1, seed=2),
        make_result(3, state=PRUNED, end="infeasible", epochs=0, lr=0.1, seed=3),
        make_result(4, 0.8, lr=0.1, duplicate_of=0),
    ]
    (variant,) = compared(results, [{"test_acc": 0.9}]).variants
    assert variant.figures[0].ours["val"].seeds == 1


def test_reference_without_figures():
    """A reference that is but a note still shows ours."""
    (variant,) = compared(seeds((0.8,)), [{"note": "worse"}]).variants
    assert (variant.figures[0].published, variant.figures[0].difference) == (None, None)
    assert variant.figures[0].ours["val"].mean == 0.8
