"""Named points at which the process kills itself if PIPELINE_FAILPOINT names the point; for tests.

A test kills a command at a point, and checks what the next command does.
``PIPELINE_FAILPOINT=mid_epoch:3`` kills at the third passage.
"""

from __future__ import annotations

import os
from typing import Literal, get_args

from pipeline.system.errors import KILL, UsageFailure

VARIABLE = "PIPELINE_FAILPOINT"

Point = Literal[
    "in_recovery",  # the records of an earlier process are being completed
    "after_ask",  # the sampler has chosen a trial, nothing has begun
    "after_promotion",  # it is stored that a paused trial goes on, training has not begun
    # A trial of an earlier process is taken over, training has not begun.
    "in_adoption",
    "mid_epoch",  # before a step
    "in_checkpoint_write",  # the temporary file is complete, and not yet renamed
    "after_checkpoint",  # a state to resume from is written, and in neither store
    "after_progress",  # the command knows of the state, wherever the trial is trained
    "before_pause",  # trained until the pause, the state is written, the pause is in no store
    "after_pause",  # Optuna has the pause, MLflow does not, and nothing further is decided
    "in_settling",  # nothing is left to train, and a paused trial is about to end
    "before_tell",  # trained, the best weights written, the result in no store
    "between_stores",  # Optuna has the result, MLflow's run is not complete
    "before_finalists",  # the search has ended, no finalists are chosen yet
    # The winner's weights are beside the study's run, which does not say yet whose they are.
    "after_sharing",
    "before_cleanup",  # both have the result, the checkpoints are not yet removed
    "after_note",  # a change of a whole study is noted, and not made
    "after_studies",  # Optuna has the change, MLflow does not
    "after_runs",  # MLflow has the change, the files do not
    "before_forgetting",  # the change is made, and its note is still there
    "in_restoring",  # the runs and files of a restored study are there, Optuna's part is not
]
POINTS: tuple[str, ...] = get_args(Point)

_remaining: dict[str, int] = {}  # passages until the kill, for the armed point


def arm() -> None:
    """Read PIPELINE_FAILPOINT from the environment.

    Raises:
        UsageFailure: if the point is unknown, or the passage is not a number from 1.
    """
    _remaining.clear()
    name, colon, passage = os.environ.get(VARIABLE, "").partition(":")
    if not name and not colon:
        return
    if name not in POINTS or (colon and not (passage.isdecimal() and int(passage))):
        given = f"{name}{colon}{passage}"
        raise UsageFailure(
            f"{VARIABLE} must be a point, or point:passage, of {', '.join(POINTS)}: got {given!r}"
        )
    _remaining[name] = int(passage or 1)


def reach(point: Point) -> None:
    """Kill the process, as ``kill -9`` does, if the point is armed and this is its passage."""
    if point in _remaining:
        _remaining[point] -= 1
        if not _remaining[point]:
            os.kill(os.getpid(), KILL)
