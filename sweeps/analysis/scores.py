"""Scores of a configuration over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeps.analysis.ranking import Ranked
from sweeps.trial import COMPLETE, TrialResult


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure of a configuration: its mean over the seeds."""

    mean: float
    spread: float | None  # sample standard deviation; None for one seed
    seeds: int

    @staticmethod
    def of(values: Iterable[float | None]) -> Score | None:
        """Average the finite values; None if there are none."""
        finite = [value for value in values if value is not None and math.isfinite(value)]
        if not finite:
            return None
        spread = statistics.stdev(finite) if len(finite) > 1 else None
        return Score(mean=statistics.fmean(finite), spread=spread, seeds=len(finite))


def complete_trials(entry: Ranked | None) -> list[TrialResult]:
    """Return the complete trials of a configuration, by number; none without a configuration."""
    if entry is None:
        return []
    trials = [trial for trial in entry.trials if trial.state == COMPLETE]
    return sorted(trials, key=lambda trial: trial.number)


def mean_test_score(trials: Sequence[TrialResult], key: str) -> Score | None:
    """Average a score on the test split over the trials that have test scores.

    Args:
        trials: the seeds of a configuration.
        key: ``acc``, ``loss``, ``acc@3`` (accuracy after epoch 3) or ``class@3`` (accuracy of
            class 3).
    """
    return Score.of(trial.test.get(key) for trial in trials if trial.test)
