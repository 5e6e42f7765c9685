"""Says beforehand how large a lead a comparison of finalists would see.

Nothing is known yet of what fresh seeds will do. The networks of the search tell on how many images
the finalists differ. How much of that is the seeds' doing is taken from networks that were trained
with several seeds (``benchmarks/seeds.py``; docs/statistics.md). Networks of the search may have
nearly the same images right. A lead is itself a difference on as many images, though, so that no
fewer are counted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from sweeps.analysis.bits import correct_images
from sweeps.analysis.difference import PRIOR_FREEDOM, half_width, similar_configurations
from sweeps.analysis.intervals import Z_POWER
from sweeps.trial import TrialResult

# Of the variance of a difference on one image, the part that is the same with all seeds. It is less
# in the best configurations, so that a smaller lead is seen than is said.
ALIKE = 0.36
# Standard deviation of an accuracy over seeds, on all images alike; of the best configurations.
SEED_DEVIATION = 0.003
_PRECISION = 0.00001  # of the lead


def visible_lead(trials: Sequence[TrialResult], seeds: int) -> float | None:
    """Estimate the least lead in accuracy over another finalist that is seen in 4 of 5 cases.

    Args:
        trials: of the search, one for each finalist, scored on the same images.
        seeds: with which each finalist is to be trained.

    Returns:
        The lead; None for one finalist or one seed, or if it is not known which images were right.
    """
    rows = [correct_images(trial) for trial in trials]
    known = [row for row in rows if row is not None]
    sizes = {len(row) for row in known}
    if len(known) < len(trials) or len(trials) < 2 or seeds < 2 or len(sizes) != 1:
        return None
    (images,) = sizes
    variances = []
    for one, other in combinations(known, 2):
        difference = one.astype(np.float64) - other
        variances.append(float(difference.var()))
    observed = statistics.fmean(variances)
    by_seeds = 2 * SEED_DEVIATION**2 / seeds
    similar = similar_configurations(len(trials))
    freedom = min(2 * (seeds - 1) + PRIOR_FREEDOM, similar * (seeds - 1))

    def is_seen(lead: float) -> bool:
        of_image = max(observed, lead * (1 - lead))
        by_images = of_image * (ALIKE + (1 - ALIKE) / seeds) / images
        # The interval has half an image more for each side.
        interval = half_width(
            by_images + 1 / images**2, by_seeds, configurations=len(trials), freedom=freedom
        )
        return interval + Z_POWER * math.sqrt(by_images + by_seeds) < lead

    return _least(is_seen)


def _least(is_seen: Callable[[float], bool]) -> float | None:
    """Find the least lead that is seen, as all above it are; None if not even 1 is."""
    low = 0.0
    high = 1.0
    if not is_seen(high):
        return None
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if is_seen(middle):
            high = middle
        else:
            low = middle
    return high
