"""Pure: what is doubtful about a study's result, in words, with what to do. Knows nothing of stores or terminals."""

from __future__ import annotations

from collections.abc import Callable

from sweeps import checks_edge, checks_trials, checks_winner
from sweeps.findings import Check, Seen, see
from sweeps.ranking import StudyRecord

# Each of a study; None where a check has nothing to judge.
CHECKS: tuple[Callable[[Seen], Check | None], ...] = (
    checks_winner.gain,
    checks_winner.tie,
    checks_edge.edge,
    checks_winner.test_gap,
    checks_winner.overfitting,
    checks_winner.underfitting,
    checks_trials.unstable,
    checks_trials.failed,
    checks_trials.families,
    checks_trials.constant,
    checks_trials.few,
    checks_trials.first_rung,
    checks_trials.duplicates,
)
_LEVELS = ("warning", "note", "good")


def checks(record: StudyRecord) -> tuple[Check, ...]:
    """Judge a study as it stands: the warnings first, then the notes, then what was looked at and is fine.

    The texts name fields, families and the study as they were given: whoever shows them makes them safe.
    """
    seen = see(record)
    found = [check for judge in CHECKS if (check := judge(seen)) is not None]
    return tuple(sorted(found, key=lambda check: _LEVELS.index(check.level)))
