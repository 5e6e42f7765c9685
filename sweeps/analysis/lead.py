"""How far the first-ranked configuration of a study is ahead of the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.analysis.naming import differing_fields
from sweeps.analysis.ranking import Ranked
from sweeps.trial import COMPLETE


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The first-ranked configuration beside the second."""

    first: Ranked
    second: Ranked
    differing: tuple[str, ...]  # the searched fields in which they differ
    difference: float  # of their values; not negative
    spread: float | None  # the larger of the two; None for one seed each

    @property
    def within(self) -> bool | None:
        """Whether the difference is no larger than the spread; None if the spread is unknown."""
        if self.spread is None:
            return None
        return self.difference <= self.spread


def find_lead(ranked: Sequence[Ranked], searched: Sequence[str]) -> Lead | None:
    """Compare the first two configurations of a ranking.

    Args:
        ranked: the configurations, ranked.
        searched: the searched fields.

    Returns:
        Their comparison; None unless both are complete.
    """
    top = [entry for entry in ranked[:2] if entry.state == COMPLETE]
    values = [entry.value for entry in top if entry.value is not None]
    if len(values) < 2:
        return None
    first, second = top
    spreads = [entry.spread for entry in top if entry.spread is not None]
    return Lead(
        first=first,
        second=second,
        differing=differing_fields(searched, [first.trials[0], second.trials[0]]),
        difference=abs(values[0] - values[1]),
        spread=max(spreads, default=None),
    )
