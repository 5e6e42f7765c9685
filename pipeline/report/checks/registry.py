"""Pure: what is doubtful about a study's result, in words, with what to do. Knows nothing of stores or terminals."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.checks import edge, trials, winner
from pipeline.report.checks.base import Check, Seen, see
from sweeps.analysis.record import StudyRecord

# Each of a study; None where a check has nothing to judge.
CHECKS: tuple[Callable[[Seen], Check | None], ...] = (
    winner.gain,
    winner.tie,
    edge.edge,
    winner.test_gap,
    winner.overfitting,
    winner.underfitting,
    trials.unstable,
    trials.failed,
    trials.families,
    trials.constant,
    trials.few,
    trials.first_rung,
    trials.duplicates,
)
_LEVELS = ("warning", "note", "good")


def run_checks(record: StudyRecord) -> tuple[Check, ...]:
    """Judge a study as it stands: the warnings first, then the notes, then what was looked at and is fine.

    The texts name fields, families and the study as they were given: whoever shows them makes them safe.
    """
    seen = see(record)
    found = [check for judge in CHECKS if (check := judge(seen)) is not None]
    return tuple(sorted(found, key=lambda check: _LEVELS.index(check.level)))
