"""How far the first-ranked configuration is ahead of the second."""

import dataclasses

import pytest
from support.records import make_record, make_result

from sweeps.spec.dimension import Dimension
from sweeps.trial import PRUNED

LR = Dimension(field="lr", choices=(0.01, 0.1, 1.0))
DROPOUT = Dimension(field="dropout", choices=(0.0, 0.5))


def seeds(values, *, start=0, **config):
    """Trials of one configuration, one for each value."""
    return [
        make_result(start + seed, value, seed=seed, **config) for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("second", "within"),
    [((0.75, 0.85), True), ((0.5, 0.5), False), ((0.9,), True)],
    ids=["within", "larger", "one"],
)
def test_lead_over_the_second(second, within):
    """The first is ahead by more than noise where the difference is larger than both spreads."""
    record = make_record(
        [*seeds((0.8, 1.0), lr=0.1), *seeds(second, start=2, lr=0.01)], dimensions=[LR, DROPOUT]
    )
    found = record.lead
    assert found.differing == ("lr",)
    assert found.within is within


def test_lead_needs_two_complete_configurations():
    """One seed each has no spread; a pruned second is no rival."""
    one = [make_result(0, 0.9, lr=0.1), make_result(1, 0.8, lr=0.01)]
    assert make_record(one).lead.within is None
    pruned = [one[0], dataclasses.replace(one[1], state=PRUNED)]
    assert make_record(pruned).lead is None
    assert make_record().lead is None
