import dataclasses

import pytest
from support.records import make_record, make_result

from pipeline.report.plots import pareto, pruning
from sweeps.trial import FAILED, PRUNED, RUNNING


def costing(number, value, parameters, state="complete", **config):
    result = make_result(number, value, state=state, width=8 + number, **config)
    return dataclasses.replace(result, parameters=parameters)


def pareto_of(*results, **record):
    return pareto.pareto_info(make_record(results, **record))


FOUR = (costing(0, 0.9, 100), costing(1, 0.8, 50), costing(2, 0.85, 80), costing(3, 0.89, 200))


def test_pareto_front():
    """The front holds the complete trials that no other beats at their cost or less, the cheapest first."""
    info = pareto_of(
        *FOUR, costing(4, 0.99, 10, PRUNED), costing(5, None, 10, FAILED), costing(6, 0.8, 60)
    )
    (panel,) = info.panels  # of MFLOPs nothing is known, and the time is the same for all
    assert [(spot.name, spot.cost, spot.value) for spot in panel.front] == [
        ("#1 cnn", 50, 0.8),
        ("#2 cnn", 80, 0.85),
        ("#0 cnn", 100, 0.9),
    ]
    assert {spot.name for spot in panel.complete} == {"#3 cnn", "#6 cnn"}
    assert [spot.name for spot in panel.pruned] == ["#4 cnn"]
    assert "#1 cnn 0.8 at 50, #2 cnn 0.85 at 80, #0 cnn 0.9 at 100" in pareto.pareto_alt(info)


def test_pareto_minimised():
    """Where less is better the front falls."""
    (panel,) = pareto_of(*FOUR, objective="val_loss", maximize=False).panels
    assert [spot.value for spot in panel.front] == [0.8]


def test_pareto_of_repeats():
    """The repeats of a configuration are one spot, at their mean."""
    repeats = [
        dataclasses.replace(make_result(i, 0.8 + i / 10, seed=i), parameters=10) for i in range(2)
    ]
    (panel,) = pareto_of(*repeats, costing(2, 0.9, 50)).panels
    assert [(spot.cost, spot.value) for spot in panel.front] == [
        (10, pytest.approx(0.85)),
        (50, 0.9),
    ]


def test_pareto_shows_what_decides():
    """A trial far below the better half is counted, not drawn; costs far apart take a logarithmic axis."""
    info = pareto_of(*FOUR, costing(4, 0.1, 5000))
    assert (info.outside, info.shown) == (1, (0.8, 0.9))
    assert info.panels[0].log
    assert not pareto_of(*FOUR).panels[0].log


def test_pareto_needs_a_choice():
    """One trial, or trials that all cost the same, leave nothing to weigh."""
    assert pareto_of(FOUR[0]) is None
    assert pareto_of(costing(0, 0.9, 100), costing(1, 0.8, 100)) is None


def ran(number, epochs, value=0.5, **options):
    result = make_result(number, value, epochs=epochs, **options)
    return dataclasses.replace(result, config=dataclasses.replace(result.config, epochs=5))


def test_pruning_counts_epochs():
    """Epochs trained and spared add up to those planned; a duplicate, a failed and a running trial are not counted."""
    record = make_record(
        [
            ran(0, 5),
            ran(1, 2, state=PRUNED, value=0.3),
            ran(2, 4),
            ran(3, 1, state=PRUNED, value=0.2),
            ran(4, 5, duplicate_of=0),
            ran(5, 3, None, state=FAILED),
            ran(6, 0, None, state=RUNNING),
        ]
    )
    info = pruning.pruning_info(record)
    assert info.trained == [4, 3, 2, 2, 1]
    assert info.pruned == [0, 1, 2, 2, 2]
    assert info.stopped == [0, 0, 0, 0, 1]
    assert info.saved == "pruning and early stopping saved 8 of 20 epochs (40 %)"
    assert pruning.pruning_alt(info) == (
        "Pruning and early stopping saved 8 of 20 epochs (40 %); of 4 trials 1 trained epoch 5, the last."
    )
    assert [(course.state, course.epochs[-1]) for course in info.courses] == [
        ("failed", 3),
        ("pruned", 1),
        ("pruned", 2),
        ("complete", 5),
        ("complete", 4),
    ]


def test_pruned_trials_are_seen_in_the_dark():
    """Their marks are strong enough for a dark page, and named, also where they lie just below the others."""
    info = pareto_of(*FOUR, costing(4, 0.79, 10, PRUNED))
    assert info.shown[0] > 0.79 > info.range[0]
    figure = pareto.draw_pareto(info)
    assert [marks.get_alpha() for marks in figure.axes[0].collections] == [0.9, 0.6]
    assert "pruned" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_pruned():
    """Where every trial trained all its epochs, that is said, and their courses are shown all the same."""
    info = pruning.pruning_info(make_record([ran(0, 5), ran(1, 5)]))
    assert (info.spared, info.saved, len(info.courses)) == (
        False,
        "no epoch was saved: all 10 were trained",
        2,
    )
    assert pruning.pruning_info(make_record([ran(0, 5)])) is None


def test_planned_epochs_may_differ():
    """Of trials with plans of different length each is measured by its own."""
    short = make_result(1, 0.5, epochs=2, state=PRUNED)
    record = make_record(
        [ran(0, 5), dataclasses.replace(short, config=dataclasses.replace(short.config, epochs=3))]
    )
    info = pruning.pruning_info(record)
    assert (info.trained, info.pruned) == ([2, 2, 1, 1, 1], [0, 0, 1, 0, 0])


def test_many_courses_are_thinned():
    """Of a thousand trials some courses are drawn, the best and the worst among them; all are counted."""
    record = make_record([ran(i, 5, i / 1000) for i in range(1000)])
    info = pruning.pruning_info(record)
    assert (len(info.courses), info.trials, info.trained[0]) == (100, 1000, 1000)
    assert (info.courses[0].values[-1], info.courses[-1].values[-1]) == (0, 0.999)
