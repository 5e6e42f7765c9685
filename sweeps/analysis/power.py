"""Says beforehand how large a lead a comparison of finalists would see.

Nothing is known yet of what fresh seeds will do. The networks of the search tell on how many images
the finalists differ. How much of that is the seeds' doing is taken from networks that were trained
with several seeds (``benchmarks/seeds.py``; docs/statistics.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sweeps.analysis.bits import correct_images
from sweeps.analysis.difference import PRIOR_FREEDOM, half_width
from sweeps.trial import TrialResult

SEEN = 0.8  # how often a lead is to be seen
_DEVIATIONS = 0.8416212335729143  # this share of a normal distribution is below so many deviations
# Of the variance of a difference on one image, the part that is the same with all seeds. It is less
# in the best configurations, so that a smaller lead is seen than is said.
ALIKE = 0.36
# Standard deviation of an accuracy over seeds, on all images alike; of the best configurations.
SEED_DEVIATION = 0.003


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
    of_image = statistics.fmean(variances)
    by_images = of_image * (ALIKE + (1 - ALIKE) / seeds) / images
    by_seeds = 2 * SEED_DEVIATION**2 / seeds
    freedom = min(2 * (seeds - 1) + PRIOR_FREEDOM, len(trials) * (seeds - 1))
    interval = half_width(by_images, by_seeds, configurations=len(trials), freedom=freedom)
    return interval + _DEVIATIONS * math.sqrt(by_images + by_seeds)
