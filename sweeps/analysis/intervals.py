"""Confidence intervals of 95 % for accuracies and means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
Z = 1.959963984540054  # 95 % of a normal distribution is within so many standard deviations
Z_POWER = 0.8416212335729143  # 80 % of it is below so many


def wilson_interval(share: float, images: float) -> tuple[float, float]:
    """Return the score interval of a share.

    The interval stays between 0 and 1, also for few images.

    Args:
        share: of the images, from 0 to 1.
        images: how many there are; a fraction for a sample that counts as so many.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927).
    """
    middle = share + Z * Z / (2 * images)
    half = Z * math.sqrt(share * (1 - share) / images + Z * Z / (4 * images * images))
    scale = 1 + Z * Z / images
    return (middle - half) / scale, (middle + half) / scale


def newcombe_interval(
    first: float, first_images: int, second: float, second_images: int
) -> tuple[float, float]:
    """Return the interval of the difference of two shares, first minus second.

    The two samples must have no image in common.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17 (1998), method 10.
    """
    low_first, high_first = wilson_interval(first, first_images)
    low_second, high_second = wilson_interval(second, second_images)
    difference = first - second
    return (
        difference - math.hypot(first - low_first, high_second - second),
        difference + math.hypot(high_first - first, second - low_second),
    )


def corrected_resampled_error(
    differences: Sequence[float], train_images: float, val_images: float
) -> tuple[float, int]:
    """Return the standard error of a mean difference over redraws of the same images.

    Each difference is that of two configurations on the same redraw. Redraws share most of their
    training images, and random ones some of their validation images, too: their differences vary
    less than those on fresh images would. The plain error s / sqrt(J) of J differences therefore
    falls without end as J grows, and its test finds differences that are not there. The corrected
    variance is (1/J + n_val/n_train) s^2. For k folds, n_val/n_train is 1/(k - 1).

    Args:
        differences: of each redraw, two or more.
        train_images: of one redraw; for folds of different sizes their mean.
        val_images: likewise.

    Returns:
        The standard error, and the degrees of freedom of Student's t that belongs to it: J - 1.

    Raises:
        statistics.StatisticsError: for fewer than two differences.

    Source: C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52
    (2003). For folds: R. R. Bouckaert and E. Frank, Evaluating the replicability of significance
    tests for comparing learning algorithms, PAKDD (2004).
    """
    spread = statistics.stdev(differences)
    count = len(differences)
    return spread * math.sqrt(1 / count + val_images / train_images), count - 1
