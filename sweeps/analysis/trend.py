"""Rank correlations of a searched field with the results, and how configurations stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt

from sweeps.analysis.equal_epochs import has_value, scores_at_equal_epochs
from sweeps.analysis.intervals import Z_POWER, Z
from sweeps.analysis.record import StudyRecord
from sweeps.trial import BAD_CONFIGURATION

INFEASIBLE = "infeasible"
# With fewer, the distribution of Student's t does not describe a rank correlation: of six, it takes
# .002 for a chance that is .008.
MIN_CONFIGURATIONS = 8
_WORST = -1.0  # the standing of a configuration that all others beat
_VARIANCE = 1.06  # of Fisher's transform of a rank correlation, times n - 3


def standings(record: StudyRecord) -> Mapping[str, float]:
    """Return how each configuration stands among the others, at equal epochs.

    It is the mean of its trials' scores, see `scores_at_equal_epochs`. A configuration of which no
    trial has a value because it diverged, ran out of memory or broke a limit is among the worst.

    Returns:
        By `TrialConfig.group`: from -1, beaten by all, to 1. Configurations that have no value for
        another reason are left out.
    """
    tried = [result for result in record.results if result.duplicate_of is None]
    valued = [result for result in tried if has_value(result)]
    scores = scores_at_equal_epochs(valued, record.objective, maximize=record.maximize)
    by_group: dict[str, list[float]] = {}
    for result, score in zip(valued, scores, strict=True):
        by_group.setdefault(result.config.group, []).append(float(score))
    for result in tried:
        if result.end in (*BAD_CONFIGURATION, INFEASIBLE):
            by_group.setdefault(result.config.group, [_WORST])
    return {group: fmean(found) for group, found in by_group.items()}


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's rank correlation, and how probable one so large or larger is by chance.

    With 0 and 1 for two groups as the one, it is the rank-sum test of Mann and Whitney.

    Args:
        first: values, at least `MIN_CONFIGURATIONS` of them.
        second: as many values.

    Returns:
        The correlation, from -1 to 1, and the one-sided probability if the two have nothing to do
        with each other. Without any variation they are 0 and 1.

    Source: C. Spearman, The proof and measurement of association between two things (1904); the
    approximation by Student's t: Kendall and Stuart, The Advanced Theory of Statistics, 31.19.
    """
    from scipy.special import stdtr  # a third of the time that scipy.stats takes to import

    ranks = np.array([_ranks(first), _ranks(second)])
    if np.any(np.ptp(ranks, axis=1) == 0):
        return 0.0, 1.0
    correlation = float(np.corrcoef(ranks)[0, 1])
    freedom = len(first) - 2
    rest = max(1e-12, 1 - correlation * correlation)
    return correlation, float(stdtr(freedom, -correlation * math.sqrt(freedom / rest)))


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Rank values from 1; equal ones share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks


def least_visible_share(configurations: int) -> float | None:
    """Return the share of the differences that a field must explain to be seen four times in five.

    It is the square of the rank correlation that a two-sided test of 95 % finds with a power of .8
    among so many configurations drawn at random, one field looked at alone.

    Returns:
        The share, from 0 to 1; None for so few that nothing can be seen.

    Source: Fieller, Hartley and Pearson, Tests for rank correlation coefficients, Biometrika 44
    (1957): Fisher's transform of a rank correlation has a variance of 1.06 / (n - 3).
    """
    if configurations < MIN_CONFIGURATIONS:
        return None
    transformed = (Z + Z_POWER) * math.sqrt(_VARIANCE / (configurations - 3))
    return math.tanh(transformed) ** 2
