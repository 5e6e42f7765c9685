"""Pure: what a plot shows of scores set beside each other, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.comparison import Score, compare
from sweeps.ranking import StudyRecord, rank


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One reference's accuracies, by split."""

    name: str
    published: dict[str, float]
    comparable: bool
    ours: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class PublishedInfo:
    """Published accuracies beside ours on validation and test."""

    study: str
    rows: list[PublishedRow]
    close: tuple[float, float] | None  # the range of most of them, where a few lie far below


def published_info(record: StudyRecord) -> PublishedInfo | None:
    """Collect the references that have an accuracy on validation or test; None where none has."""
    found = compare(record, rank(record.results, maximize=record.maximize))
    rows = []
    for variant in found.variants if found else ():
        figures = [c for c in variant.figures if c.name in ("val_acc", "test_acc") and c.published is not None]
        if figures:
            rows.append(
                PublishedRow(
                    name=variant.reference.label,
                    published={c.split: c.published for c in figures if c.published is not None},
                    comparable=all(c.comparable for c in figures),
                    ours=dict(figures[0].ours),
                )
            )
    return PublishedInfo(study=record.name, rows=rows, close=_close(rows)) if rows else None


def _close(rows: Sequence[PublishedRow]) -> tuple[float, float] | None:
    """The range above the widest gap, if that is most of the whole range and at least half of the values lie there."""
    ours = [score.mean + s * (score.spread or 0) for row in rows for score in row.ours.values() for s in (-1, 1)]
    values = sorted(ours + [value for row in rows for value in row.published.values()])
    gaps = [(high - low, i) for i, (low, high) in enumerate(itertools.pairwise(values), start=1)]
    widest, cut = max(gaps, default=(0.0, 0))
    if (
        len(rows) < 3
        or widest < 0.5 * (values[-1] - values[0])
        or widest < 0.1
        or 2 * (len(values) - cut) < len(values)
    ):
        return None
    return values[cut], values[-1]
