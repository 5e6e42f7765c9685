"""Compares the winners of two studies."""

from __future__ import annotations

from sweeps.analysis.difference import Comparison, Difference
from sweeps.analysis.record import StudyRecord


def compare_winners(first: StudyRecord, second: StudyRecord) -> Difference | None:
    """Compare the first-ranked configurations of two studies with the same images and objective.

    Each winner was the best of its study. The interval therefore covers the pairs of all
    configurations of both.

    Args:
        first: a study, or a study of finalists.
        second: another.

    Returns:
        The difference, with an interval only if both winners have all their planned seeds; None
        unless both studies have a complete configuration.
    """
    winners = []
    for record in (first, second):
        if not record.complete_configurations:
            return None
        sample = record.sample_of(record.complete_configurations[0])
        if sample is None:
            return None
        winners.append(sample)
    samples = [*first.samples.values(), *second.samples.values()]
    comparison = Comparison(
        samples,
        maximize=first.maximize,
        rope=first.equivalence,
        configurations=first.contenders + second.contenders,
    )
    return comparison.difference(*winners)
