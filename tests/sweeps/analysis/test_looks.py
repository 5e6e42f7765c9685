"""How often the networks of a study were scored on the test split is counted."""

import pytest
from support.records import make_record, make_result

from sweeps.analysis.facts import Refit, StudyFacts
from sweeps.analysis.looks import Looks

SCORED = make_result(0, 0.5, test={"acc": 0.4})
UNSCORED = make_result(1, 0.5, lr=0.1)
REFIT = Refit(run_id="run", epochs=3, acc=0.4)


@pytest.mark.parametrize(
    ("counted", "refit", "looks"),
    [
        ({}, None, Looks(trials={0: 1})),
        ({"0": 3}, None, Looks(trials={0: 3})),
        ({"1": 2}, None, Looks(trials={0: 1, 1: 2})),
        ({"0": 1, "refit": 2}, REFIT, Looks(trials={0: 1}, refit=2)),
        ({"0": 1, "refit": 2}, None, Looks(trials={0: 1}, refit=2)),
        ({"0": 1}, REFIT, Looks(trials={0: 1}, refit=1)),
    ],
)
def test_counts(counted, refit, looks):
    """A network with a score was scored once, unless it was counted more often; a refit that is gone was scored too."""
    record = make_record(
        [SCORED, UNSCORED], counted_looks=counted, refit=refit, facts=StudyFacts(selection=2)
    )
    assert record.looks == looks
    assert record.looks.total == sum(looks.trials.values()) + looks.refit


def test_what_0_1_0_did_not_count():
    """A study that was begun by version 0.1.0 may have been scored more often."""
    assert make_record([SCORED]).looks == Looks(trials={0: 1}, at_least=True)
