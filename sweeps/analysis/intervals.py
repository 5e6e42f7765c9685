"""Pure: how far chance may move a share of images. Knows nothing of trials or studies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Z = 1.959963984540054  # of a normal deviate, 95 % are within


def wilson_interval(share: float, images: int) -> tuple[float, float]:
    """The score interval of 95 % of a share of so many images; it stays between 0 and 1, also for few images.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    middle = share + Z * Z / (2 * images)
    half = Z * math.sqrt(share * (1 - share) / images + Z * Z / (4 * images * images))
    scale = 1 + Z * Z / images
    return (middle - half) / scale, (middle + half) / scale


def newcombe_interval(
    first: float, first_images: int, second: float, second_images: int
) -> tuple[float, float]:
    """The interval of 95 % of the difference, first less second, of shares of two samples that share no image.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17 (1998), method 10.
    """
    low_first, high_first = wilson_interval(first, first_images)
    low_second, high_second = wilson_interval(second, second_images)
    difference = first - second
    return (
        difference - math.hypot(first - low_first, high_second - second),
        difference + math.hypot(high_first - first, second - low_second),
    )


CONFIDENCE = 0.95


def mean_interval(values: Sequence[float], least: float = 0.0) -> tuple[float | None, float | None]:
    """The interval of 95 % of the mean that the values are drawn around, by Student's t; none for one value.

    Their deviation is taken for no less than ``least``: values that are rounded alike show none.

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    if len(values) < 2:
        return None, None
    from scipy.stats import t  # takes a second to import

    mean = statistics.fmean(values)
    error = max(least, statistics.stdev(values)) / len(values) ** 0.5
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - half, mean + half
