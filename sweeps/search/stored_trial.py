"""Reads one trial of a study as the store has it: its state, how far it is, and its result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from json import JSONDecodeError
from typing import TypeVar

from sweeps.analysis.facts import StudyFacts
from sweeps.search.checked import check_result
from sweeps.search.decisions import WHOLE, DamagedStudyError
from sweeps.search.tables import TrialData, TrialState
from sweeps.trial import FAILED, PAUSED, PRUNED, RUNNING, TrialConfig, TrialResult

ENDED: tuple[int, ...] = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

_Trial = TypeVar("_Trial", bound=TrialData)

# Attributes of a trial.
PROGRESS = "progress"  # the result so far of a trial that was paused, as `TrialResult.to_json`
PAUSED_AT = "paused"  # the epoch after which the trial is paused; None while it is in training
DEATHS = "deaths"  # of processes that trained it, in a row, without a new checkpoint
DIED_AFTER = "died after"  # the epochs in its newest checkpoint when its process last died
ENDED_AFTER = "ended after"  # the epochs that a failed trial had completed
BEGUN = "begun"  # when a trial that was drawn ahead began, since 1970 in s; None while it waits
DUPLICATE_OF = "duplicate of"  # the earlier trial of the configuration, with whose result it ends


def read_trials(read: Callable[[], Sequence[_Trial]]) -> Sequence[_Trial]:
    """Read the trials of a study, and check their attributes.

    Args:
        read: reads them from Optuna, or from its tables.

    Raises:
        DamagedStudyError: if Optuna cannot read one, or as `check_trials`.
    """
    try:
        trials = read()
    except JSONDecodeError:
        raise  # the text of a value is spoilt, as by a damaged page of the file
    except (
        AssertionError,
        AttributeError,
        LookupError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise DamagedStudyError(f"Optuna cannot read its trials: {error!r}") from error
    check_trials(trials)
    return trials


def check_trials(trials: Sequence[TrialData]) -> None:
    """Check that the attributes of trials are of the types that the functions below expect.

    Other programs may give their own trials any attributes. Those have no configuration.

    Raises:
        DamagedStudyError: if one is not.
    """
    for place, trial in enumerate(trials):
        attrs = trial.user_attrs
        if trial.number != place:
            raise DamagedStudyError(f"it has a trial {trial.number} in the place of trial {place}")
        _check_values(trial)
        if "config" not in attrs:
            continue
        _check_types(trial)
        original = attrs.get(DUPLICATE_OF)
        if original is not None:
            is_earlier = 0 <= original < trial.number
            if not is_earlier or "config" not in trials[original].user_attrs:
                raise _damaged(trial, DUPLICATE_OF, "names no earlier trial")
        if attrs.get(PAUSED_AT) is not None and PROGRESS not in attrs:
            raise _damaged(trial, PROGRESS, "is missing, though it is paused")


def _check_values(trial: TrialData) -> None:
    """Check the values that Optuna has of a trial, of which a database may hold any type."""
    values = [*(trial.values or ()), *trial.intermediate_values.values()]
    if not all(isinstance(value, float | int) for value in values):
        raise DamagedStudyError(f"a value of trial {trial.number} is no number")
    if not all(isinstance(step, int) for step in trial.intermediate_values):
        raise DamagedStudyError(f"a step of trial {trial.number} is no number")
    if trial.state == TrialState.COMPLETE:
        if not trial.values:
            raise DamagedStudyError(f"trial {trial.number} is complete, and has no value")
        told = trial.user_attrs.get("result")
        value = told.get("value") if isinstance(told, dict) else None
        if isinstance(value, float | int) and not math.isclose(value, trial.values[0]):
            raise DamagedStudyError(
                f"the value of trial {trial.number} is {trial.values[0]}, and its result's {value}"
            )


def _check_types(trial: TrialData) -> None:
    attrs = trial.user_attrs
    for key in ("config", "result", PROGRESS):
        _check_type(trial, key, dict)
    for key in (ENDED_AFTER, DUPLICATE_OF, DEATHS, DIED_AFTER):
        _check_type(trial, key, int)
    if attrs.get(PAUSED_AT) is not None:
        _check_type(trial, PAUSED_AT, int)
    if attrs.get(BEGUN) is not None:
        _check_type(trial, BEGUN, float)
    _check_type(trial, "interrupted", bool)
    if attrs.get(DEATHS, 0) < 0:
        raise _damaged(trial, DEATHS, f"is {attrs[DEATHS]}")
    if not isinstance(attrs["config"].get("epochs"), int):
        raise _damaged(trial, "config", "is no configuration: it has no epochs")
    if not isinstance(attrs.get(PROGRESS, {}).get("history", []), list):
        raise _damaged(trial, PROGRESS, "has no history")


def _check_type(trial: TrialData, key: str, kind: type) -> None:
    value = trial.user_attrs.get(key, kind())
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _damaged(trial, key, f"is of the type {type(value).__name__}")


def _damaged(trial: TrialData, key: str, problem: str) -> DamagedStudyError:
    return DamagedStudyError(f"attribute {key!r} of trial {trial.number} {problem}")


def read_config(trial: TrialData) -> TrialConfig:
    """Read the configuration of a trial.

    Raises:
        DamagedStudyError: if the attribute is no configuration.
    """
    try:
        return TrialConfig.from_dict(trial.user_attrs["config"])
    except ValueError as error:
        raise _damaged(trial, "config", f"is no configuration: {error}") from error


def read_result(trial: TrialData, key: str, facts: StudyFacts | None = None) -> TrialResult:
    """Read a result of a trial: the last, or the one at its last pause.

    Args:
        trial: the trial.
        key: of the attribute: ``result`` or `PROGRESS`.
        facts: of the study, if the result is to be checked against them.

    Raises:
        DamagedStudyError: if the attribute is no result.
    """
    try:
        result = TrialResult.from_dict(trial.user_attrs[key])
        check_result(result, trial.number, facts)
    except ValueError as error:
        raise _damaged(trial, key, f"is no result: {error}") from error
    return result


def is_running(trial: TrialData) -> bool:
    """Whether a trial is in training; a trial without a configuration is not ours."""
    is_ours = trial.state == TrialState.RUNNING and "config" in trial.user_attrs
    return is_ours and not is_paused(trial) and not is_drawn_ahead(trial)


def is_drawn_ahead(trial: TrialData) -> bool:
    """Whether a trial was drawn ahead, with its configuration, and has not begun."""
    attrs = trial.user_attrs
    is_ours = trial.state == TrialState.RUNNING and "config" in attrs
    return is_ours and attrs.get(BEGUN, 0.0) is None


def is_paused(trial: TrialData) -> bool:
    """Whether a trial waits to go on, or for the end of an earlier trial with its configuration."""
    if trial.state != TrialState.RUNNING:
        return False
    return trial.user_attrs.get(PAUSED_AT) is not None or DUPLICATE_OF in trial.user_attrs


def paused_epoch(trial: TrialData) -> int:
    """Return the last epoch after which a trial was paused; 0 if it never was."""
    return len(trial.user_attrs.get(PROGRESS, {}).get("history", ()))


def has_finished(trial: TrialData, epoch: int) -> bool:
    """Whether a trial has come to an epoch, or has ended."""
    if trial.state in ENDED or DUPLICATE_OF in trial.user_attrs:
        return True
    return paused_epoch(trial) >= epoch


def has_ended(trial: TrialData, epoch: int) -> bool:
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


def trained_seconds(trial: TrialData) -> float:
    """Return the seconds that a trial was trained, until its last pause or its end."""
    attrs = trial.user_attrs
    result = attrs.get("result") or attrs.get(PROGRESS) or {}
    return float(result.get("seconds", 0.0))


def measured_cost(trial: TrialData, name: str) -> float | None:
    """Return a cost of a trial's network; None before its first pause, and if it was not built.

    Args:
        trial: the trial.
        name: of a number of `TrialResult`, such as parameters.
    """
    attrs = trial.user_attrs
    result = attrs.get("result") or attrs.get(PROGRESS) or {}
    cost = result.get(name)
    return None if cost is None else float(cost)


def end_of(trial: TrialData) -> str | None:
    """Return how a trial ended, as in `TrialResult.end`; None if its result is not known."""
    if "config" not in trial.user_attrs:  # it is another program's
        return None
    end: str | None = trial.user_attrs.get("result", {}).get("end")
    return end


def paused_result(trial: TrialData, facts: StudyFacts | None = None) -> TrialResult:
    """Return the result so far of a paused trial, as `read_result` does."""
    attrs = trial.user_attrs
    if PROGRESS in attrs:
        return read_result(trial, PROGRESS, facts)
    return TrialResult(
        number=trial.number,
        config=read_config(trial),
        state=PAUSED,
        end=PAUSED,
        duplicate_of=attrs.get(DUPLICATE_OF),
    )


def running_result(trial: TrialData, facts: StudyFacts | None = None) -> TrialResult:
    """Return the result so far of a trial in training, with the epochs until its last pause.

    Its attributes are read as `read_result` does.
    """
    reports = trial.intermediate_values
    attrs = trial.user_attrs
    result = TrialResult(
        number=trial.number,
        config=read_config(trial),
        state=RUNNING,
        end="running",
    )
    if PROGRESS in attrs:
        result = read_result(trial, PROGRESS, facts)
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
