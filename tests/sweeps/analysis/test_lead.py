"""How far the first-ranked configuration is ahead of the second, and whether that is known."""

import dataclasses

import pytest
from support.records import first_right, make_record, make_result, with_bits

from pipeline.report.scores import lead_sentences
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.spec.dimension import Dimension
from sweeps.trial import PRUNED

LR = Dimension(field="lr", choices=(0.01, 0.1, 1.0))
DROPOUT = Dimension(field="dropout", choices=(0.0, 0.5))


def seeds(values, *, start=0, images=1000, **config):
    """Trials of one configuration, one for each value, with bits for so many images."""
    return [
        with_bits(make_result(start + seed, value, seed=seed, **config), first_right(value, images))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ((0.90, 0.92), (0.80, 0.81), "ahead"),
        ((0.80, 1.00), (0.75, 0.85), "open"),
        ((0.90, 0.90), (0.90, 0.90), "equal"),
        ((0.99, 0.99), (0.50,), "open"),
        ((0.99,), (0.50,), "open"),
    ],
    ids=["clear", "seeds disagree", "equal", "one against two", "one each"],
)
def test_lead_over_the_second(first, second, outcome):
    """The first is ahead where neither other seeds nor other images might have told otherwise."""
    record = make_record(
        [*seeds(first, lr=0.1), *seeds(second, start=2, lr=0.01)], dimensions=[LR, DROPOUT]
    )
    found = record.lead
    assert found.differing == ("lr",)
    assert found.difference.outcome == outcome


def test_more_configurations_ask_for_a_larger_lead():
    """The best of many is ahead by chance: the same lead that one rival leaves is not told apart from ten."""
    pair = [*seeds((0.9, 0.9), lr=0.1), *seeds((0.892, 0.892), start=2, lr=0.01)]
    assert make_record(pair, dimensions=[LR]).lead.difference.outcome == "ahead"
    others = [
        trial
        for number in range(10)
        for trial in seeds((0.5, 0.5), start=4 + 2 * number, lr=1.0, dropout=number / 20)
    ]
    difference = make_record([*pair, *others], dimensions=[LR, DROPOUT]).lead.difference
    assert (difference.outcome, difference.configurations) == ("open", 12)


def test_pruned_configurations_stood_to_win_too():
    """Who was stopped with a value counts among those that might have come first; who failed without does not."""
    trials = [*seeds((0.9, 0.9), lr=0.1), *seeds((0.8, 0.8), start=2, lr=0.01)]
    trials.append(make_result(4, 0.7, lr=1.0, state=PRUNED))
    trials.append(make_result(5, None, lr=1.0, dropout=0.5, state="failed"))
    assert make_record(trials, dimensions=[LR]).lead.difference.configurations == 3


def test_lead_needs_two_complete_configurations():
    """A pruned second is no rival."""
    one = [make_result(0, 0.9, lr=0.1), make_result(1, 0.8, lr=0.01)]
    assert make_record(one).lead.difference.half_width is None
    pruned = [one[0], dataclasses.replace(one[1], state=PRUNED)]
    assert make_record(pruned).lead is None
    assert make_record().lead is None


@pytest.mark.parametrize("better", [0.95, 0.89])
def test_a_total_that_repeats_do_not_divide(better):
    """With repeats of 3 and 4 trials, the one seed of the second configuration neither stands first nor is judged."""
    trials = [*seeds((0.90, 0.91, 0.92), lr=0.1), *seeds((better,), start=3, lr=0.01)]
    record = make_record(
        trials,
        dimensions=[LR],
        trials=4,
        spec=StoredSpec(repeats=3),
        facts=StudyFacts(selection=2),
    )
    assert record.ranked[0].trials[0].config.lr == 0.1
    (line,) = lead_sentences(record)
    assert line.startswith("lr 0.1 91.00 ± 1.00 % (3 seeds) against lr 0.01 ")
    assert line.endswith("with a single seed on one side: which is better is not known")


def test_a_first_that_lacks_seeds_is_no_leader():
    """Where no configuration has all its seeds, the first of those is not said to lead."""
    trials = [*seeds((0.99, 0.99), lr=0.1), *seeds((0.5, 0.5), start=2, lr=0.01)]
    record = make_record(
        trials, dimensions=[LR], spec=StoredSpec(repeats=3), facts=StudyFacts(selection=2)
    )
    (line,) = lead_sentences(record)
    assert line.endswith(" while planned seeds are not complete: which is better is not known")


@pytest.mark.parametrize(
    ("rope", "outcome"), [(None, "equal"), (0.0, "open"), (0.001, "open"), (0.05, "equal")]
)
def test_the_region_of_equivalence_is_the_studys(rope, outcome):
    """A study says how small a difference counts as none; 0 means that none does, and the default is 0.01."""
    trials = [*seeds((0.9, 0.9), lr=0.1), *seeds((0.899, 0.899), start=2, lr=0.01)]
    record = make_record(trials, dimensions=[LR], rope=rope)
    assert record.equivalence == (0.01 if rope is None else rope)
    assert record.lead.difference.outcome == outcome


def test_a_loss_has_no_region_of_its_own():
    """Losses have no scale: only a study can say what is equal."""
    assert make_record(objective="val_loss", maximize=False).equivalence is None
    assert make_record(objective="val_loss", maximize=False, rope=0.02).equivalence == 0.02
