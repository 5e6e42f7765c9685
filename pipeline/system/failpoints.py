"""Points at which the process kills itself, inert unless PIPELINE_FAILPOINT names one; knows nothing of what is done.

Tests kill a command there and see what the next one makes of it: ``PIPELINE_FAILPOINT=mid_epoch:3`` is the third
passage.
"""

from __future__ import annotations

import os
import signal
from typing import Literal, get_args

from pipeline.system.errors import UsageFailure

VARIABLE = "PIPELINE_FAILPOINT"

Point = Literal[
    "in_recovery",  # records of an earlier process are being completed
    "after_ask",  # a trial is asked for, nothing of it begun
    "in_adoption",  # a trial of an earlier process is taken over and its death counted, training not begun
    "mid_epoch",  # before a step
    "in_checkpoint_write",  # the temporary file is whole, and not yet renamed
    "after_checkpoint",  # a state to go on from is there, and neither store knows of it
    "before_tell",  # trained, the best weights kept, the result in no store
    "between_stores",  # Optuna has the result, MLflow's run is not complete
    "before_cleanup",  # both have it, the trial's own checkpoints are not yet removed
]
POINTS: tuple[str, ...] = get_args(Point)

_left: dict[str, int] = {}  # passages until the kill, of the point that is armed


def arm() -> None:
    """Read the environment.

    Raises:
        UsageFailure: for an unknown point, or a passage that is no number from 1.
    """
    _left.clear()
    name, colon, passage = os.environ.get(VARIABLE, "").partition(":")
    if not name and not colon:
        return
    if name not in POINTS or (colon and not (passage.isdecimal() and int(passage))):
        given = f"{name}{colon}{passage}"
        raise UsageFailure(
            f"{VARIABLE} must be a point, or point:passage, of {', '.join(POINTS)}: got {given!r}"
        )
    _left[name] = int(passage or 1)


def reach(point: Point) -> None:
    """Die here, as from ``kill -9``, if this is the armed point's passage."""
    if point in _left:
        _left[point] -= 1
        if not _left[point]:
            os.kill(os.getpid(), signal.SIGKILL)
