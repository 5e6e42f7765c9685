import pytest
from support.records import LR, make_record, make_result, mixed_study

from pipeline.report.plots import importance, parallel_coordinates, slices
from sweeps.spec.dimension import Dimension
from sweeps.trial import FAILED, PRUNED


def test_parallel_places():
    """Each value has its place on its axis: logarithmic, by category in the study's order, or none."""
    dimensions = (
        Dimension(field="lr", low=1e-4, high=1e-2, log=True),
        Dimension(field="batch_size", choices=(128, 32, 64)),
        Dimension(field="activation", choices=("relu", "gelu", "tanh")),
        Dimension(field="dropout", low=0.0, high=0.8),
        Dimension(field="residual", choices=(True, False)),
    )
    fields = {"lr": 1e-3, "batch_size": 128, "activation": "gelu", "dropout": 0.2}
    results = [
        make_result(0, 0.5, family="mlp", **fields),
        make_result(1, 0.9, family="resnet", **fields),
    ]
    info = parallel_coordinates.parallel_info(make_record(results, dimensions=dimensions))
    worst, best = info.lines
    assert worst.places == pytest.approx([0.5, 1, 0.5, 0.25, None, 0])
    assert best.places == pytest.approx([0.5, 1, 0.5, 0.25, 0, 1])
    assert [axis.gaps for axis in info.axes] == [False, False, False, False, True, False]
    assert [label for _, label in info.axes[1].ticks] == ["32", "64", "128"]
    assert [label for _, label in info.axes[0].ticks] == ["0.0001", "0.001", "0.01"]
    assert [label for _, label in info.axes[4].ticks] == ["true", "false"]
    minimised = parallel_coordinates.parallel_info(
        make_record(results, dimensions=dimensions, maximize=False)
    )
    assert [line.goodness for line in minimised.lines] == [0, 1]


def test_many_trials_are_thinned():
    """Of a thousand trials 200 lines are drawn, the best and the worst complete ones among them."""
    record = mixed_study(1000, epochs=1)
    info = parallel_coordinates.parallel_info(record)
    assert (len(info.lines), info.trials) == (200, 998)
    complete = [r.value for r in record.results if r.state == "complete"]
    heights = [line.places[-1] for line in info.lines if line.state == "complete"]
    everything = [r.value for r in record.results if r.value is not None]
    low, high = min(everything), max(everything)
    assert min(heights) == pytest.approx((min(complete) - low) / (high - low))
    assert max(heights) == pytest.approx((max(complete) - low) / (high - low))


def test_importance_note_is_drawn():
    """Where there are too few trials for shares, the plot says so instead."""
    figure = importance.draw_importance(importance.importance_info(mixed_study(6)))
    assert not figure.axes
    assert "too few to say (4 of the 20 trials needed)" in [
        text.get_text() for text in figure.texts
    ]


def test_importance_in_words():
    """The text alternative has the shares, the largest first, and what too few trials have."""
    said = importance.importance_alt(importance.importance_info(mixed_study(24)))
    assert said.startswith("Importance among 22 trials: lr ")
    assert "residual too few to say (" in said
    few = importance.importance_alt(importance.importance_info(mixed_study(6)))
    assert few == "Importance among 4 trials: too few to say (4 of the 20 trials needed)."


def test_slices():
    """Each field has the trials that have it, by state, at their values; the best stands out."""
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
    info = slices.slices_info(make_record(results, dimensions=dimensions))
    lr, dropout, residual = info.panels
    assert dropout.points == {"complete": [(0.2, 0.5), (0.3, 0.9)], "pruned": [(0.4, 0.95)]}
    assert (dropout.best, dropout.ticks) == ((0.3, 0.9), [])
    assert [label for _, label in lr.ticks] == ["0.001", "0.01", "0.1"]
    assert lr.best[0] == pytest.approx(2, abs=0.26)
    assert [value for _, value in residual.points["complete"]] == [0.9]
    assert "best: trial 1 with lr 0.1, dropout 0.3, residual true: 0.9" in slices.slices_alt(info)


def test_slices_of_categories_are_told_apart():
    """Trials of one category lie beside each other, nearer to their own place than to the next, the same each time."""
    dimensions = (Dimension(field="activation", choices=("relu", "gelu")),)
    results = [make_result(i, 0.5, activation=("relu", "gelu")[i % 2]) for i in range(20)]
    info = slices.slices_info(make_record(results, dimensions=dimensions))
    places = [place for place, _ in info.panels[0].points["complete"]]
    assert [round(place) for place in places] == [0, 1] * 10
    assert len(set(places)) == 20
    assert info == slices.slices_info(make_record(results, dimensions=dimensions))
