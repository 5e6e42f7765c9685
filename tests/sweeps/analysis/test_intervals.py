"""Intervals of shares: the figures of the papers, and how often they hold the truth."""

import math

import pytest

from sweeps.analysis.intervals import newcombe_interval, wilson_interval


@pytest.mark.parametrize(
    ("share", "images", "low", "high"),
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(share, images, low, high):
    """The interval of one share is that of Newcombe's paper of 1998 on single proportions, table I, method 3."""
    assert wilson_interval(share, images) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((0, 56), (0, 29), -0.1170, 0.0642),
    ],
)
def test_newcombe(first, second, low, high):
    """The interval of a difference is that of Newcombe's paper, table II, method 10, and turns round with its sides."""
    shares = (first[0] / first[1], first[1], second[0] / second[1], second[1])
    assert newcombe_interval(*shares) == pytest.approx((low, high), abs=5e-5)
    assert newcombe_interval(*shares[2:], *shares[:2]) == pytest.approx((-high, -low), abs=5e-5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_wilson_holds_the_truth(share):
    """Of all counts that a share may give, those whose interval holds it have a probability of about 95 %."""
    images = 200
    held = [
        k
        for k in range(images + 1)
        if (i := wilson_interval(k / images, images))[0] <= share <= i[1]
    ]
    chance = math.fsum(math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in held)
    assert 0.93 < chance < 0.98
