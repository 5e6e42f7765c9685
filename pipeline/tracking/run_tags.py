"""Reads what a run's tags say, and checks it: anybody may edit them in MLflow."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, NoReturn

from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import TrialConfig, config_fields, configure

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
STUDY = "sweep.study"
TRIAL = "sweep.trial"
DUPLICATE_OF = "sweep.duplicate_of"
REFIT_OF = "sweep.refit_of"
OBJECTIVE = "sweep.objective"
SELECTION = "sweep.selection"  # the version of the rules that choose the best epoch
CHANGES = "sweep.uncommitted"  # the digest of the changes since mlflow.source.git.commit
WEIGHTS_OF = "sweep.weights_of"  # of a study's run: the run whose weights it has, too
KEYWORDS = "sweep.keywords"  # options of the user's own network, as JSON


def read_study(run: Run) -> str:
    """Return the name of the study that a trial's run belongs to.

    Raises:
        UsageFailure: if the run does not say.
    """
    name: str | None = run.data.tags.get(STUDY)
    if not name:
        _refuse(run, STUDY, "the name of its study")
    return name


def read_number(run: Run, tag: str) -> int:
    """Return the number of a trial that a tag holds.

    Raises:
        UsageFailure: if it holds none.
    """
    text = run.data.tags.get(tag, "")
    if not re.fullmatch("[0-9]{1,9}", text):
        _refuse(run, tag, "the number of a trial")
    return int(text)


def read_duplicate(run: Run) -> str | None:
    """Return ``STUDY#NUMBER`` of the trial whose result the run's trial has, or None.

    Raises:
        UsageFailure: if the run does not say which.
    """
    if DUPLICATE_OF not in run.data.tags:
        return None
    return f"{read_study(run)}#{read_number(run, DUPLICATE_OF)}"


def read_objective(run: Run, missing: str) -> str:
    """Return the objective of a run's training.

    Args:
        run: the run.
        missing: the objective, if the run has no tag of it.

    Raises:
        UsageFailure: if the tag holds none.
    """
    objective: str = run.data.tags.get(OBJECTIVE, missing)
    if objective not in OBJECTIVES:
        _refuse(run, OBJECTIVE, f"one of {', '.join(OBJECTIVES)}")
    return objective


def read_selection(run: Run) -> int:
    """Return the version of the rules that choose the best epoch of a run's training.

    Raises:
        UsageFailure: if the run's tag is no version.
    """
    version = run.data.tags.get(SELECTION, "1")  # version 0.1.0 set no tag
    if not re.fullmatch("[0-9]{1,9}", version):
        _refuse(run, SELECTION, "a whole number")
    return int(version)


def read_config(run: Run) -> TrialConfig:
    """Return the configuration of a run's trial, from its params and tags.

    Those of `mlflow run` may be among them.

    Raises:
        UsageFailure: if they hold none.
    """
    params = run.data.params
    fields = {name: value for name, value in params.items() if name in config_fields()}
    try:
        fields |= json.loads(run.data.tags.get(KEYWORDS) or "{}")
        config = configure(fields)
    except (RecursionError, TypeError, ValueError) as error:
        reason = clip(error, 200)
        raise UsageFailure(
            f"the params and the tag {KEYWORDS} of run {run.info.run_id} are no configuration: "
            f"{reason}"
        ) from None
    return dataclasses.replace(config, source_digest=params.get("source_digest"))


def _refuse(run: Run, tag: str, rule: str) -> NoReturn:
    held = run.data.tags.get(tag)
    got = "it is missing" if held is None else f"got {clip(held, 60)!r}"
    raise UsageFailure(
        f"tag {tag} of run {run.info.run_id} must be {rule}: {got}; correct it in MLflow"
    )
