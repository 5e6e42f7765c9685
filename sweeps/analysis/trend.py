"""Rank correlations of a searched field with the results, and how configurations stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from sweeps.analysis.intervals import Z
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import BAD_CONFIGURATION, COMPLETE, FAILED, TrialResult

INFEASIBLE = "infeasible"
# With fewer, the distribution of Student's t does not describe a rank correlation: of six, it takes
# .002 for a chance that is .008.
MIN_CONFIGURATIONS = 8
_POWER = 0.8416212335729143  # a normal variable is below this in four of five cases
_VARIANCE = 1.06  # of Fisher's transform of a rank correlation, times n - 3


def standings(record: StudyRecord) -> Mapping[str, float]:
    """Say for each configuration how many of the others it beats, at equal epochs.

    Each pair of configurations is compared by their best values after the last epoch that both
    reached, so that one that was paused early is not held against the end of another. The end of a
    complete configuration counts for the epochs that it did not need. A configuration that
    diverged, ran out of memory or broke a limit is the worst at every epoch. The seeds of a
    configuration are averaged, over the epochs that all of them reached.

    Returns:
        By `TrialConfig.group`: the share of the others that it beats, minus the share that beat
        it, from -1 to 1. Configurations without a value after any epoch are left out.
    """
    key, _ = OBJECTIVES[record.objective]
    curves: dict[str, list[float]] = {}
    complete: set[str] = set()
    for entry in record.ranked:
        curve = _curve(entry, key, record.maximize)
        group = entry.trials[0].config.group
        if curve:
            curves[group] = curve
            if all(trial.state == COMPLETE for trial in entry.trials) or curve == [-math.inf]:
                complete.add(group)
    if not curves:
        return {}
    longest = max(map(len, curves.values()))
    values = np.full((len(curves), longest), np.nan)
    lengths = np.full(len(curves), longest)
    for row, (group, curve) in enumerate(curves.items()):
        values[row, : len(curve)] = curve
        if group in complete:
            values[row, len(curve) :] = curve[-1]
        else:
            lengths[row] = len(curve)
    rows = np.arange(len(curves))
    result = {}
    for row, group in enumerate(curves):
        epochs = np.minimum(lengths, lengths[row]) - 1
        own = values[row, epochs]
        others = values[rows, epochs]
        beaten = np.count_nonzero(own > others) - np.count_nonzero(own < others)
        result[group] = beaten / max(1, len(curves) - 1)
    return result


def _curve(entry: Ranked, key: str, maximize: bool) -> list[float]:
    """Return the mean of the seeds' best values so far, by epoch; more is better.

    Of a configuration that cannot be trained it is minus infinity; without a value it is empty.
    """
    sign = 1 if maximize else -1
    curves = []
    for trial in entry.trials:
        values = [row.metrics.get(key) for row in trial.history]
        known = [sign * value for value in values if value is not None]
        if trial.state != FAILED and known and len(known) == len(values):
            curves.append(list(accumulate(known, max)))
    if curves:
        return [sum(column) / len(column) for column in zip(*curves, strict=False)]
    if any(map(_cannot_be_trained, entry.trials)):
        return [-math.inf]
    return []


def _cannot_be_trained(trial: TrialResult) -> bool:
    return trial.end in (*BAD_CONFIGURATION, INFEASIBLE)


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
    transformed = (Z + _POWER) * math.sqrt(_VARIANCE / (configurations - 3))
    return math.tanh(transformed) ** 2
