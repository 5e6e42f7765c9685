import dataclasses

import pytest
from support.records import make_record, make_result

from pipeline.report.plots.pareto import COSTS, draw_pareto, pareto_alt, pareto_info
from sweeps.analysis.facts import StoredSpec
from sweeps.trial import FAILED, PAUSED, PRUNED


def trial_costing(number, value, parameters, state="complete", **config):
    """A trial whose network has so many parameters."""
    result = make_result(number, value, state=state, width=8 + number, **config)
    return dataclasses.replace(result, parameters=parameters)


def pareto_of(*results, **record):
    """The Pareto front's numbers of a study with these results."""
    return pareto_info(make_record(results, **record))


FOUR = (
    trial_costing(0, 0.9, 100),
    trial_costing(1, 0.8, 50),
    trial_costing(2, 0.85, 80),
    trial_costing(3, 0.89, 200),
)


def test_pareto_front():
    """The front has the complete trials that none beats at their cost or less, by cost."""
    info = pareto_of(
        *FOUR,
        trial_costing(4, 0.99, 10, PRUNED),
        trial_costing(5, None, 10, FAILED),
        trial_costing(6, 0.8, 60),
    )
    (panel,) = info.panels  # the MFLOPs are unknown, and the time is the same for all
    assert [(spot.name, spot.cost, spot.value) for spot in panel.front] == [
        ("#1 cnn", 50, 0.8),
        ("#2 cnn", 80, 0.85),
        ("#0 cnn", 100, 0.9),
    ]
    assert {spot.name for spot in panel.complete} == {"#3 cnn", "#6 cnn"}
    assert [spot.name for spot in panel.pruned] == ["#4 cnn"]
    assert "#1 cnn 80 % at 50, #2 cnn 85 % at 80, #0 cnn 90 % at 100" in pareto_alt(info)


def test_latency_that_decides_nothing():
    """A latency that the study has only on record has no panel; one that it limits has."""
    measured = [dataclasses.replace(t, latency_ms=1.0 + t.number) for t in FOUR]
    (only,) = pareto_of(*measured).panels
    limited = StoredSpec(constraints={"latency_ms": 5.0})
    assert only.cost == COSTS["parameters"]
    assert [panel.cost for panel in pareto_of(*measured, spec=limited).panels] == [
        COSTS["parameters"],
        COSTS["latency_ms"],
    ]


def test_pareto_minimised():
    """If less is better, the front falls."""
    (panel,) = pareto_of(*FOUR, objective="val_loss", maximize=False).panels
    assert [spot.value for spot in panel.front] == [0.8]


def test_pareto_of_several_seeds():
    """A configuration trained with several seeds is one spot, at their mean."""
    repeats = [
        dataclasses.replace(make_result(i, 0.8 + i / 10, seed=i), parameters=10) for i in range(2)
    ]
    (panel,) = pareto_of(*repeats, trial_costing(2, 0.9, 50)).panels
    assert [(spot.cost, spot.value) for spot in panel.front] == [
        (10, pytest.approx(0.85)),
        (50, 0.9),
    ]


def test_pareto_shows_the_better_half():
    """A trial far below the better half is counted, not drawn; a wide range of costs is log."""
    info = pareto_of(*FOUR, trial_costing(4, 0.1, 5000))
    assert (info.outside, info.shown) == (1, (0.8, 0.9))
    assert info.panels[0].log
    assert not pareto_of(*FOUR).panels[0].log


def test_pareto_needs_a_choice():
    """One trial, or trials of the same cost, leave nothing to choose."""
    assert pareto_of(FOUR[0]) is None
    assert pareto_of(trial_costing(0, 0.9, 100), trial_costing(1, 0.8, 100)) is None


def test_pruned_trials_are_seen_in_the_dark():
    """Their marks are opaque enough for a dark page, and explained if any lies in the range."""
    info = pareto_of(*FOUR, trial_costing(4, 0.79, 10, PRUNED))
    assert info.shown[0] > 0.79 > info.range[0]
    figure = draw_pareto(info)
    assert [marks.get_alpha() for marks in figure.axes[0].collections] == [0.9, 0.6]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "pruned" in legend


def test_paused_trials_are_shown():
    """Paused configurations have a marker of their own."""
    info = pareto_of(*FOUR, trial_costing(4, 0.79, 10, PAUSED))
    assert (info.paused, info.pruned) == (True, False)
    legend = [text.get_text() for text in draw_pareto(info).legends[0].get_texts()]
    assert "paused" in legend
