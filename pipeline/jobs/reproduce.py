"""Finds a recorded trial for `pipeline train --from-run`, and compares the new training with it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.search_data import load_for, located
from pipeline.inference.find import find_trial, place_of
from pipeline.jobs import sources
from pipeline.stores import access, locations
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean
from pipeline.tracking import run_tags
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import PAUSED, PRUNED, TrialConfig, TrialResult, Value, configure, value_names

if TYPE_CHECKING:
    from pipeline.tracking.library import Run


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """The configuration and the outcome of a trial, as they are recorded."""

    name: str
    config: TrialConfig  # with the present place of its images
    objective: str
    selection: int  # the version of the rules that chose the best epoch
    figures: Mapping[str, float]  # value, loss and epoch of the best epoch; empty for a failure
    end: str
    epochs: int | None = None  # the number of epochs until it was pruned, or paused
    digest: str | None = None  # the digest of its images, if recorded
    first: str | None = None  # the trial that a duplicate has its result from


def find_recorded_trial(stores: locations.Stores, name: str) -> RecordedTrial:
    """Find a trial in its study by ``NAME#7``, or in the tracking store by the id of its run.

    Raises:
        UsageFailure: if there is no such trial, or it was never trained.
    """
    trial = _read_from_study(stores, name) if "#" in name else _read_from_run(stores, name)
    if trial.end == "infeasible":
        raise UsageFailure(
            f"{name} was not trained: its network exceeds a limit of its study; name another"
        )
    return trial


def _read_from_study(stores: locations.Stores, name: str) -> RecordedTrial:
    record, trial = find_trial(stores, name)
    first = None
    if trial.duplicate_of is not None:
        trial = record.results[trial.duplicate_of]
        first = f"{record.name}#{trial.number}"
    figures = {}
    if trial.best is not None and trial.value is not None:
        figures = _figures(trial)
    return RecordedTrial(
        name=f"{record.name}#{trial.number}",
        config=located(trial.config, access.read_place(stores, record.name)),
        objective=record.objective,
        selection=record.facts.selection,
        figures=figures,
        end=trial.end,
        epochs=len(trial.history) if trial.state in (PRUNED, PAUSED) else None,
        digest=record.facts.digest,
        first=first,
    )


def _read_from_run(stores: locations.Stores, run_id: str) -> RecordedTrial:
    access.check_tracking(stores)
    tracker = Tracker(stores.tracking)
    try:
        run = tracker.run(run_id)
        tags = run.data.tags
        end = tags.get("sweep.end", "unfinished")
        _check_repeatable(run)
        objective = run_tags.read_objective(run, missing=_objective_of_parent(tracker, run))
        pruned_after = None
        if end in (PRUNED, PAUSED):
            steps = tracker.call(tracker.steps, run_id, "val/acc")
            pruned_after = max(steps, default=None)
    finally:
        tracker.close()
    return RecordedTrial(
        name=f"run {run_id}",
        config=located(sources.read_config(stores, run), place_of(stores, run)),
        objective=objective,
        selection=run_tags.read_selection(run),
        figures=_read_figures(run, objective),
        end=end,
        epochs=pruned_after,
        digest=_read_digest(run),
        first=run_tags.read_duplicate(run),
    )


def _objective_of_parent(tracker: Tracker, run: Run) -> str:
    """Return the objective of the study that a run of version 0.1.0 belongs to."""
    parent_id = run.data.tags.get("mlflow.parentRunId")
    if run_tags.OBJECTIVE in run.data.tags or parent_id is None:
        return "val_acc"
    objective: str = tracker.run(parent_id).data.params.get("plan.objective", "val_acc")
    return objective


def _check_repeatable(run: Run) -> None:
    """Check that a run is that of a trial, which `pipeline train` can repeat."""
    run_id = run.info.run_id
    tags = run.data.tags
    if tags.get("sweep.role") == "refit":
        study = shlex.quote(clean(tags.get(run_tags.REFIT_OF, "")).removesuffix(FINALISTS_SUFFIX))
        raise UsageFailure(
            f"run {run_id} was trained on training and validation images together: "
            f"`pipeline finalists {study} --refit` trains it again"
        )
    if "sweep.signature" not in tags:
        raise UsageFailure(f"run {run_id} is no trial: give a trial's run, or NAME#7")


def _read_figures(run: Run, objective: str) -> dict[str, float]:
    """Read the figures of a run's best epoch that are compared, as far as they are logged."""
    metrics = {"value": OBJECTIVES[objective][0], "loss": "val/loss", "epoch": "epoch"}
    figures = {}
    for name, metric in metrics.items():
        key = f"best/{metric.replace('/', '_')}"
        if key in run.data.metrics:
            figures[name] = run.data.metrics[key]
    return figures


def _read_digest(run: Run) -> str | None:
    """Read the digest of a run's images."""
    if not run.inputs or not run.inputs.dataset_inputs:
        return None
    digest: str = run.inputs.dataset_inputs[0].dataset.digest
    return digest


def override_config(trial: RecordedTrial, overrides: Mapping[str, Any]) -> dict[str, Value]:
    """Return the configuration of a recorded trial with some values replaced.

    Args:
        trial: the recorded trial.
        overrides: the new values, by field of `TrialConfig`.

    Raises:
        UsageFailure: if a new value does not apply to the configuration.
        IntegrityFailure: if it names code that may not be run.
    """
    sources.remember_code(overrides)
    sources.check_places({**vars(trial.config), **overrides}, trial.name)
    try:
        config = configure({**trial.config.to_dict(), **overrides})
        configure({**config.to_dict(), **overrides}, strict=True)
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    return config.to_dict()


def compare(trial: RecordedTrial, result: TrialResult, data_dir: Path) -> str:
    """Write a line on whether a training equals a recorded trial, and why it may differ.

    Args:
        trial: the recorded trial.
        result: the result of the new training.
        data_dir: the folder of data sets.
    """
    if not trial.figures or result.best is None or result.value is None:
        return f"{trial.name} has no figures to compare with: it ended as {clean(trial.end)}"
    labels = {"value": f"{trial.objective} ", "loss": "loss ", "epoch": "epoch "}
    figures = _figures(result)
    equal = []
    different = []
    for name, recorded in trial.figures.items():
        if name not in figures:
            continue
        figure = f"{labels[name]}{figures[name]:.6g}"
        if figures[name] == recorded:
            equal.append(figure)
        else:
            different.append(f"{figure} instead of {recorded:.6g}")
    if not different:
        return f"equal to {trial.name}: {', '.join(equal)}"
    reason = _explain_difference(trial, result.config, data_dir)
    return f"differs from {trial.name}: {', '.join(different)}; {reason}"


def _figures(result: TrialResult) -> dict[str, float]:
    """The figures of a result's best epoch, as far as it has them."""
    figures = {
        "value": result.value,
        "loss": None if result.best is None else result.best.metrics.get("val/loss"),
        "epoch": result.best_epoch,
    }
    return {name: float(figure) for name, figure in figures.items() if figure is not None}


def _explain_difference(trial: RecordedTrial, config: TrialConfig, data_dir: Path) -> str:
    """Explain why a training may differ from a recorded trial."""
    before = trial.config.to_dict()
    after = config.to_dict()
    changes = [
        clean(f"{name} {after.get(name, '-')}")
        for name in value_names([trial.config, config])
        if before.get(name) != after.get(name)
    ]
    if changes:
        return f"it was trained with another {', '.join(changes)}"
    if trial.digest not in (None, load_for(config, data_dir).digest):
        return "the images are not the same any more"
    return "equal numbers need the same kind of processor and the same versions of torch"
