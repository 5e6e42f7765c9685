"""How far the first-ranked configuration of a study is ahead of the second."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.analysis.difference import Difference
from sweeps.analysis.ranking import Ranked


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The first-ranked configuration beside the second."""

    first: Ranked
    second: Ranked
    differing: tuple[str, ...]  # the searched fields in which they differ
    difference: Difference
