"""All health checks of a study, in the order of the reports."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.checks import curve, data_size, edge, images, trials, winner
from pipeline.report.checks.base import Check
from sweeps.analysis.record import StudyRecord

# Each check returns None if there is nothing to judge.
CHECKS: tuple[Callable[[StudyRecord], Check | None], ...] = (
    winner.gain,
    winner.tie,
    edge.edge,
    winner.test_gap,
    curve.overfitting,
    curve.underfitting,
    data_size.data_size,
    images.copies,
    images.saturated,
    images.classes,
    images.unequal,
    trials.unstable,
    trials.failed,
    trials.families,
    trials.constant,
    trials.few,
    trials.stopped,
    trials.duplicates,
)
_LEVELS = ("warning", "note", "good")


def run_checks(record: StudyRecord) -> tuple[Check, ...]:
    """Run all health checks on a study: warnings come first, then notes, then what is fine.

    The texts contain the names of fields, families and the study unescaped: escape them for the
    format in which they are shown.
    """
    outcomes = [check(record) for check in CHECKS]
    judged = [outcome for outcome in outcomes if outcome is not None]
    return tuple(sorted(judged, key=lambda outcome: _LEVELS.index(outcome.level)))
