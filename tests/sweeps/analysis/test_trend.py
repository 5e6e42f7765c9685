"""Trends of a searched field: how configurations stand at equal epochs, and rank correlations."""

import math
import random

import pytest
from scipy import stats
from support.records import make_epoch, make_record, make_result

from sweeps.analysis.trend import least_visible_share, rank_correlation, standings
from sweeps.trial import COMPLETE, FAILED, PRUNED


def trial(number, values, *, state=COMPLETE, **facts):
    """A trial with these validation accuracies by epoch."""
    history = tuple(make_epoch(i + 1, {"val/acc": value}) for i, value in enumerate(values))
    value = max(values) if values and state != FAILED else None
    facts = {"lr": 0.001 * (number + 1), **facts}
    return make_result(number, value, state=state, history=history, **facts)


def by_number(results):
    """The standing of each trial's configuration, by the trial's number."""
    record = make_record(results)
    found = standings(record)
    return {t.number: found[t.config.group] for t in results if t.config.group in found}


def test_standings_at_equal_epochs():
    """A trial that was pruned early is compared after its last epoch, by the best value so far."""
    found = by_number(
        [
            trial(0, [0.5, 0.6, 0.9]),
            trial(1, [0.4, 0.3, 0.8]),
            trial(2, [0.45], state=PRUNED),
        ]
    )
    assert found == {0: 1.0, 1: -1.0, 2: 0.0}


def test_standings_of_what_cannot_be_trained():
    """A configuration that diverged is the worst at every epoch; one that failed by accident is left out."""
    found = by_number(
        [
            trial(0, [0.1], state=PRUNED),
            trial(1, [0.9, 0.9], state=FAILED, end="diverged"),
            trial(2, [], state=FAILED, end="error:Some"),
            trial(3, [], state=FAILED, end="oom"),
        ]
    )
    assert found == {0: 0.0, 1: -1.0, 3: -1.0}


def test_standings_of_seeds_and_of_early_ends():
    """The scores of seeds are averaged; the end of a complete trial counts for the epochs that it did not need."""
    found = by_number(
        [
            trial(0, [0.5, 0.6], lr=0.1, seed=0),
            trial(1, [0.7, 0.8], lr=0.1, seed=1),
            trial(2, [0.65]),
            trial(3, [0.1, 0.7]),
        ]
    )
    assert found == pytest.approx({0: 0, 1: 0, 2: -1 / 3, 3: 1 / 3})  # of .6, .8, .65 and .7


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation(ties):
    """It is that of scipy, also with ties; without variation nothing is correlated."""
    rng = random.Random(0)
    first = [rng.randrange(4) if ties else rng.random() for _ in range(20)]
    second = [value + 3 * rng.random() for value in first]
    expected = stats.spearmanr(first, second, alternative="greater")
    assert rank_correlation(first, second) == pytest.approx((expected.statistic, expected.pvalue))
    assert rank_correlation([1.0] * 20, second) == (0.0, 1.0)
    certain, chance = rank_correlation(first, first)
    assert certain == pytest.approx(1)
    assert chance < 1e-20


def test_least_visible_share():
    """What is seen four times in five is a smaller share of the differences the more trials there are."""
    assert least_visible_share(7) is None
    shares = [least_visible_share(count) for count in (8, 12, 24, 50, 1000)]
    assert shares == sorted(shares, reverse=True)
    z = math.atanh(math.sqrt(shares[2])) / math.sqrt(1.06 / 21)
    assert stats.norm.sf(stats.norm.isf(0.025) - z) == pytest.approx(0.8)
