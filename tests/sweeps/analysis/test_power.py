"""How large a lead finalists will see, said before they are trained."""

import math

import numpy as np
import pytest
from support.records import first_right, make_result, with_bits

from sweeps.analysis.difference import Comparison, make_sample
from sweeps.analysis.power import ALIKE, SEED_DEVIATION, visible_lead


def network(number, correct):
    """A trial with these validation images right."""
    return with_bits(make_result(number, 0.5, epochs=0), correct)


def test_more_seeds_and_images_see_less():
    """A lead that is seen becomes smaller with each of both."""

    def lead(seeds, images):
        rng = np.random.default_rng(0)
        return visible_lead([network(n, rng.random(images) < 0.9) for n in range(3)], seeds)

    assert lead(3, 239) > lead(5, 239) > lead(10, 239)
    assert lead(3, 239) > lead(3, 1000) > lead(3, 10_000) > SEED_DEVIATION


def test_networks_that_agree_leave_the_seeds():
    """Where the networks of the search have the same of many images right, only seeds can differ."""
    trials = [network(number, first_right(0.9, 1_000_000)) for number in range(2)]
    by_seeds = SEED_DEVIATION * math.sqrt(2 / 100)
    assert visible_lead(trials, 100) == pytest.approx((1.96 + 0.84) * by_seeds, rel=0.05)


@pytest.mark.parametrize(("images", "least"), [(24, 0.198), (239, 0.025)])
def test_networks_that_agree_on_few_images(images, least):
    """A lead is itself a difference on images, six at least: networks that agree do not hide that."""
    rng = np.random.default_rng(images)
    perfect = np.ones(images, dtype=np.bool_)
    lead = visible_lead([network(number, perfect) for number in range(2)], 3)
    assert lead == pytest.approx(least, rel=0.02)
    # What seeds disagree on, as `ALIKE` has it.
    scale = 1 / ALIKE - 1
    seen = 0
    for _ in range(100):
        wrong = rng.beta(lead * scale, (1 - lead) * scale, images)
        rows = rng.random((3, images)) >= wrong
        samples = [
            make_sample([network(number, perfect) for number in range(3)], "val_acc"),
            make_sample([network(number, row) for number, row in enumerate(rows)], "val_acc"),
        ]
        seen += Comparison(samples, maximize=True).difference(*samples).outcome == "ahead"
    assert seen > 70


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_lead_is_seen_as_often_as_it_says(seeds):
    """In studies made by the same assumptions, it is found in about four of five."""
    rng = np.random.default_rng(seeds)
    images = 1000

    def table(rows, own, accuracy):
        thresholds = accuracy + SEED_DEVIATION * rng.standard_normal((rows, 1))
        noise = np.where(rng.random((rows, images)) < 0.25, rng.random((rows, images)), own)
        return noise < thresholds

    def pair(rows, lead):
        common = rng.random(images)
        sides = []
        for accuracy in (0.9 + lead, 0.9):
            own = np.where(rng.random(images) < 0.13, rng.random(images), common)
            sides.append(table(rows, own, accuracy))
        return sides

    leads = []
    for _ in range(20):
        first, second = pair(1, 0.0)
        leads.append(visible_lead([network(0, first[0]), network(1, second[0])], seeds))
    seen = 0
    for _ in range(150):
        tables = pair(seeds, float(np.mean(leads)))
        trials = [[network(n, row) for n, row in enumerate(rows)] for rows in tables]
        samples = [make_sample(of, "val_acc") for of in trials]
        seen += Comparison(samples, maximize=True).difference(*samples).outcome == "ahead"
    assert 0.65 * 150 < seen < 0.95 * 150


def test_what_is_not_known():
    """One seed tells nothing, nor does a single finalist, and without bits it is not known."""
    trials = [network(number, first_right(0.9, 100)) for number in range(2)]
    assert visible_lead(trials, 1) is None
    assert visible_lead(trials[:1], 3) is None
    assert visible_lead([trials[0], make_result(1, 0.5)], 3) is None
