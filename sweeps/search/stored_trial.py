"""Reads one trial of a study as the store has it: its state, how far it is, and its result."""

from __future__ import annotations

import dataclasses

from optuna.trial import FrozenTrial, TrialState

from sweeps.search.decisions import WHOLE
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING, TrialConfig, TrialResult

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

# Attributes of a trial.
PROGRESS = "progress"  # the result so far of a trial that was paused, as `TrialResult.to_json`
PAUSED_AT = "paused"  # the epoch after which the trial is paused; None while it is in training
ENDED_AFTER = "ended after"  # the epochs that a failed trial had completed
DUPLICATE_OF = "duplicate of"  # the earlier trial of the configuration, with whose result it ends

# An attribute of a study, followed by a trial's number: the run and the checkpoint of the trial.
RUN_OF = "run of trial "


def is_running(trial: FrozenTrial) -> bool:
    """Whether a trial is in training; a trial without a configuration is not ours."""
    is_ours = trial.state == TrialState.RUNNING and "config" in trial.user_attrs
    return is_ours and not is_paused(trial)


def is_paused(trial: FrozenTrial) -> bool:
    """Whether a trial waits to go on, or for the end of an earlier trial with its configuration."""
    if trial.state != TrialState.RUNNING:
        return False
    return trial.user_attrs.get(PAUSED_AT) is not None or DUPLICATE_OF in trial.user_attrs


def paused_epoch(trial: FrozenTrial) -> int:
    """Return the last epoch after which a trial was paused; 0 if it never was."""
    return len(trial.user_attrs.get(PROGRESS, {}).get("history", ()))


def has_finished(trial: FrozenTrial, epoch: int) -> bool:
    """Whether a trial has come to an epoch, or has ended."""
    if trial.state in ENDED or DUPLICATE_OF in trial.user_attrs:
        return True
    return paused_epoch(trial) >= epoch


def has_ended(trial: FrozenTrial, epoch: int) -> bool:
    """Whether a trial has ended, as far as is known from its training until an epoch.

    Another command may have trained it further. A trial that was paused to the end can go on.
    """
    if trial.state not in ENDED or epoch == 0:
        return False
    if epoch == WHOLE:
        return True
    epochs = max(trial.intermediate_values, default=0)
    if trial.state == TrialState.COMPLETE:
        return epochs <= epoch
    if end_of(trial) == PRUNED:
        return False
    return bool(trial.user_attrs.get(ENDED_AFTER, epochs) < epoch)


def trained_seconds(trial: FrozenTrial) -> float:
    """Return the seconds that a trial was trained, until its last pause or its end."""
    attrs = trial.user_attrs
    result = attrs.get("result") or attrs.get(PROGRESS) or {}
    return float(result.get("seconds", 0.0))


def end_of(trial: FrozenTrial) -> str | None:
    """Return how a trial ended, as in `TrialResult.end`; None if its result is not known."""
    end: str | None = trial.user_attrs.get("result", {}).get("end")
    return end


def paused_result(trial: FrozenTrial) -> TrialResult:
    """Return the result so far of a paused trial."""
    attrs = trial.user_attrs
    if PROGRESS in attrs:
        return TrialResult.from_dict(attrs[PROGRESS])
    return TrialResult(
        number=trial.number,
        config=TrialConfig.from_dict(attrs["config"]),
        state=PAUSED,
        end=PAUSED,
        duplicate_of=attrs.get(DUPLICATE_OF),
    )


def running_result(trial: FrozenTrial) -> TrialResult:
    """Return the result so far of a trial in training, with the epochs until its last pause."""
    reports = trial.intermediate_values
    attrs = trial.user_attrs
    result = TrialResult(
        number=trial.number,
        config=TrialConfig.from_dict(attrs["config"]),
        state=RUNNING,
        end="running",
    )
    if PROGRESS in attrs:
        result = TrialResult.from_dict(attrs[PROGRESS])
    return dataclasses.replace(
        result,
        state=RUNNING,
        end="interrupted" if attrs.get("interrupted") else "running",
        value=reports[max(reports)] if reports else None,
    )


def lost_result(number: int, config: TrialConfig, run_id: str | None = None) -> TrialResult:
    """Return the result of a trial that we did not end.

    Another program may have declared the trial stale, or somebody may have ended it by hand.
    """
    return TrialResult(
        number=number,
        config=config,
        state=FAILED,
        end="lost",
        error="it was ended in the store of studies by somebody else",
        run_id=run_id,
    )
