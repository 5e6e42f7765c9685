import pytest
from support.records import LR, make_record, make_result

from pipeline.report.plots.slices import slices_alt, slices_info
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED, PRUNED


def test_slices():
    """A field's panel has the trials to which the field applies, by state, and marks the best."""
    dimensions = (
        LR,
        Dimension(field="dropout", low=0.0, high=0.5),
        Dimension(field="residual", choices=(True, False)),
    )
    results = [
        make_result(0, 0.5, lr=0.01, dropout=0.2, family="mlp"),
        make_result(1, 0.9, lr=0.1, dropout=0.3, family="resnet"),
        make_result(2, 0.95, lr=0.001, dropout=0.4, family="mlp", state=PRUNED),
        make_result(3, lr=0.001, state=FAILED),
        make_result(4, 0.9, lr=0.1, dropout=0.3, family="resnet", duplicate_of=1),
    ]
    info = slices_info(make_record(results, dimensions=dimensions))
    lr, dropout, residual = info.panels
    assert dropout.points == {"complete": [(0.2, 0.5), (0.3, 0.9)], "pruned": [(0.4, 0.95)]}
    assert (dropout.best, dropout.ticks) == ((0.3, 0.9), [])
    assert [label for _, label in lr.ticks] == ["0.001", "0.01", "0.1"]
    assert lr.best[0] == pytest.approx(2, abs=0.26)
    assert [value for _, value in residual.points["complete"]] == [0.9]
    assert "best: trial 1 with lr 0.1, dropout 0.3, residual true: 90 %" in slices_alt(info)


def test_slices_of_categories_are_told_apart():
    """Trials of a category lie side by side, nearest to their category, the same each time."""
    dimensions = (Dimension(field="activation", choices=("relu", "gelu")),)
    results = [make_result(i, 0.5, activation=("relu", "gelu")[i % 2]) for i in range(20)]
    info = slices_info(make_record(results, dimensions=dimensions))
    places = [place for place, _ in info.panels[0].points["complete"]]
    assert [round(place) for place in places] == [0, 1] * 10
    assert len(set(places)) == 20
    assert info == slices_info(make_record(results, dimensions=dimensions))
