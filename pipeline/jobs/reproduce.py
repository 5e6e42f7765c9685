"""Finds what a trial was, to train it again, and says whether the same came of it. Trains nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.search_data import load_for
from pipeline.inference.find import find_trial
from pipeline.stores import access, locations
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clean
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import PRUNED, TrialConfig, TrialResult, Value, config_fields, configure

_FIGURES = {
    "value": "",
    "loss": "loss ",
    "epoch": "epoch ",
}  # that are compared, as they are called


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A trial as it is recorded: what was trained, and what came of it."""

    name: str
    config: TrialConfig
    objective: str
    figures: Mapping[
        str, float
    ]  # of its best epoch: value, loss, epoch; nothing of one that failed
    end: str
    epochs: int | None = None  # after which it was pruned
    digest: str | None = None  # of its images, if that is known
    first: str | None = None  # the trial whose result a duplicate has


def find_recorded_trial(where: locations.Stores, name: str) -> RecordedTrial:
    """Find a trial by ``NAME#7`` in its study, or a run by its id in the tracking store.

    Raises:
        UsageFailure: where there is none, or it was never trained.
    """
    found = _of_study(where, name) if "#" in name else _of_run(where, name)
    if found.end == "infeasible":
        raise UsageFailure(
            f"{name} was not trained: its network has more of something than its study allows"
        )
    return found


def _of_study(where: locations.Stores, name: str) -> RecordedTrial:
    record, result = find_trial(where, name)
    if result.duplicate_of is None:
        first = None
    else:
        first = record.results[result.duplicate_of]
    trial = first or result
    best = trial.best
    if best is None or trial.value is None:
        figures = {}
    else:
        figures = _figures(trial, trial.value, best.metrics["val/loss"])
    return RecordedTrial(
        name=f"{record.name}#{trial.number}",
        config=trial.config,
        objective=record.objective,
        figures=figures,
        end=trial.end,
        epochs=len(trial.history) if trial.state == PRUNED else None,
        digest=record.facts.digest,
        first=None if first is None else f"{record.name}#{first.number}",
    )


def _of_run(where: locations.Stores, run_id: str) -> RecordedTrial:
    access.check_tracking(where)
    tracker = Tracker(where.tracking)
    try:
        run = tracker.run(run_id)
        tags = run.data.tags
        metrics = run.data.metrics
        end = run.data.tags.get("sweep.end", "unfinished")
        if tags.get("sweep.role") == "refit":
            study = shlex.quote(tags["sweep.refit_of"].removesuffix(FINALISTS_SUFFIX))
            raise UsageFailure(
                f"run {run_id} was trained on both splits: `pipeline finalists {study} --refit` makes it"
            )
        if "sweep.signature" not in tags:
            raise UsageFailure(f"run {run_id} is no trial: give a trial's run, or NAME#7")
        objective = tags.get("sweep.objective")
        if objective is None:
            parent = tracker.run(tags.get("mlflow.parentRunId", ""))
            objective = parent.data.params.get("plan.objective", "val_acc")
        if end == PRUNED:
            steps = tracker.call(tracker.steps, run_id, "val/acc")
        else:
            steps = set()
    finally:
        tracker.close()
    first = tags.get("sweep.duplicate_of")
    keys = {"value": OBJECTIVES[objective][0], "loss": "val/loss", "epoch": "epoch"}
    figures = {name: metrics.get(f"best/{key.replace('/', '_')}") for name, key in keys.items()}
    if run.inputs:
        digests = [found.dataset.digest for found in run.inputs.dataset_inputs]
    else:
        digests = []
    return RecordedTrial(
        name=f"run {run_id}",
        config=configure(
            {name: value for name, value in run.data.params.items() if name in config_fields()}
        ),
        objective=objective,
        figures={name: value for name, value in figures.items() if value is not None},
        end=end,
        epochs=max(steps, default=None),
        digest=digests[0] if digests else None,
        first=None if first is None else f"{tags['sweep.study']}#{first}",
    )


def override_config(trial: RecordedTrial, given: Mapping[str, Any]) -> dict[str, Value]:
    """The configuration to train: the recorded one, with what is given instead.

    Raises:
        UsageFailure: for a given value that does not apply.
    """
    try:
        changed = configure({**trial.config.to_dict(), **given})
        configure({**changed.to_dict(), **given}, strict=True)
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    return changed.to_dict()


def compare(trial: RecordedTrial, result: TrialResult, data_dir: Path) -> str:
    """Say in a line whether a training came to the recorded figures, by how much it differs, and why it may."""
    best = result.best
    if not trial.figures or best is None or result.value is None:
        return f"{trial.name} has no figures to compare with: it ended as {clean(trial.end)}"
    ours = _figures(result, result.value, best.metrics["val/loss"])
    labels = {**_FIGURES, "value": f"{trial.objective} "}
    pairs = {name: (value, ours[name]) for name, value in trial.figures.items()}
    if all(then == now for then, now in pairs.values()):
        return f"equal to {trial.name}: " + ", ".join(
            f"{labels[name]}{now:.6g}" for name, (_, now) in pairs.items()
        )
    differ = [
        f"{labels[k]}{now:.6g} instead of {then:.6g}"
        for k, (then, now) in pairs.items()
        if then != now
    ]
    return f"differs from {trial.name}: {', '.join(differ)}; {_why(trial, result.config, data_dir)}"


def _figures(result: TrialResult, value: float, loss: float) -> dict[str, float]:
    return {"value": value, "loss": loss, "epoch": float(result.best_epoch or 0)}


def _why(trial: RecordedTrial, config: TrialConfig, data_dir: Path) -> str:
    before = trial.config.to_dict()
    after = config.to_dict()
    changed = [
        f"{name} {after.get(name, '-')}"
        for name in config_fields()
        if before.get(name) != after.get(name)
    ]
    if changed:
        return f"it was trained with another {', '.join(map(clean, changed))}"
    if trial.digest not in (None, load_for(config, data_dir).digest):
        return "the images are not the same any more"
    return "equal numbers need the same kind of processor and the same versions of torch"
