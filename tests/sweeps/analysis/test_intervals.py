"""Intervals of shares: the figures of the papers, and how often they hold the truth."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import t

from sweeps.analysis.intervals import (
    corrected_resampled_error,
    newcombe_interval,
    wilson_interval,
)


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


def test_corrected_resampled_error():
    """By hand: .01, .03 and .05 on 500 training and 100 validation images have an error of .02 sqrt(1/3 + 1/5)."""
    error, freedom = corrected_resampled_error([0.01, 0.03, 0.05], 500, 100)
    assert (error, freedom) == (pytest.approx(0.02 * math.sqrt(1 / 3 + 1 / 5)), 2)
    assert corrected_resampled_error([0.25, 0.25], 500, 100) == (0.0, 1)
    with pytest.raises(statistics.StatisticsError):
        corrected_resampled_error([0.25], 500, 100)


def differences_of_equals(rng, images, redraws, val_images):
    """Differences in validation accuracy of two equally good classifiers, of each redraw of the same images.

    Both go by the nearest mean of a class, each in its own four of eight features, which tell equally much.
    """
    labels = np.arange(images) % 2
    features = rng.normal(size=(images, 8)) + np.where(labels, 0.35, -0.35)[:, None]
    is_val = rng.random((redraws, images)).argsort(axis=1) < val_images
    of_class = [~is_val & (labels == label) for label in (0, 1)]
    means = [(members @ features) / members.sum(axis=1)[:, None] for members in of_class]
    terms = (features - (means[0] + means[1])[:, None] / 2) * (means[1] - means[0])[:, None]
    accuracies = []
    for part in (slice(4), slice(4, 8)):
        is_right = (terms[:, :, part].sum(axis=2) > 0) == labels
        accuracies.append((is_right & is_val).sum(axis=1) / val_images)
    return accuracies[0] - accuracies[1]


def test_redraws_find_no_difference_where_there_is_none():
    """Between equals, over 10 redraws, the plain t finds a difference in over .15 of 800 cases, this one in .05."""
    rng = np.random.default_rng(3)
    quantile = t.ppf(0.975, 9)
    plain = corrected = 0
    for _ in range(800):
        differences = differences_of_equals(rng, 240, 10, 40)
        mean = abs(statistics.fmean(differences))
        error, _ = corrected_resampled_error(differences.tolist(), 200, 40)
        corrected += mean > quantile * error
        plain += mean > quantile * statistics.stdev(differences) / math.sqrt(10)
    assert plain / 800 > 0.15
    assert 0.02 < corrected / 800 < 0.06
