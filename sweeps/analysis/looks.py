"""Counts how often the networks of a study were scored on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.trial import TrialResult

REFIT = "refit"  # in the store, the network of a study that is no trial


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How often the networks of a study were scored on the test split."""

    trials: Mapping[int, int] = field(default_factory=dict)  # by number; none that was never scored
    refit: int = 0
    at_least: bool = False  # there may have been more: version 0.1.0 did not count them

    @property
    def total(self) -> int:
        """The scorings of all networks."""
        return sum(self.trials.values()) + self.refit


def count_looks(
    results: Sequence[TrialResult],
    counted: Mapping[str, int],
    *,
    has_refit: bool,
    all_counted: bool,
) -> Looks:
    """Count how often the networks of a study were scored on the test split.

    Args:
        results: of all trials.
        counted: the scorings by the number of the trial, as text, or by `REFIT`.
        has_refit: whether the study has a refit, which is always scored.
        all_counted: whether scorings were counted since the study was begun. Otherwise each network
            with a score was scored once at least.
    """
    trials: dict[int, int] = {}
    for result in results:
        count = counted.get(str(result.number), int(bool(result.test)))
        if count:
            trials[result.number] = count
    refit = counted.get(REFIT, int(has_refit))
    return Looks(trials=trials, refit=refit, at_least=not all_counted)
