"""Estimates the cost of a study, and describes its plan: for `pipeline studies` and --dry-run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.search_data import SearchData, Split
from pipeline.jobs.preflight import resolve_runtime
from pipeline.system.console import format_duration
from pipeline.training.train import train
from sweeps.spec.configurations import configuration, representative_values, total_trials
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE, Value

_TIMED_STEPS = 4
_BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class Estimate:
    """The highest cost of a study, which it has if no trial is pruned."""

    seconds: float
    bytes: int  # the checkpoints that stay


def estimate(spec: StudySpec, data: SearchData, runtime: Mapping[str, Value]) -> Estimate:
    """Estimate the cost of a study from a few training steps.

    Trains each of the study's representative configurations. Call
    `pipeline.training.process.prepare_process` before, so that the steps have the same number of
    threads as the trials.

    Args:
        spec: the study.
        data: the images of the study.
        runtime: the values of `pipeline.jobs.preflight.resolve_runtime`.
    """
    trial_seconds = []
    trial_bytes = []
    for values in representative_values(spec):
        config = configuration(spec, {**runtime, **values})
        config = dataclasses.replace(config, epochs=1, patience=0)
        one_step = first_images(data, config.batch_size)
        timed_steps = first_images(data, config.batch_size * _TIMED_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            train(0, config, one_step, Path(folder), objective=spec.objective)  # to warm up
            result = train(0, config, timed_steps, Path(folder), objective=spec.objective)
        if result.state == COMPLETE:
            factor = len(data.train) / len(timed_steps.train)
            trial_seconds.append(result.seconds * factor * spec.epochs)
            trial_bytes.append(_BYTES_PER_PARAMETER * (result.parameters or 0))
    if not trial_seconds:
        return Estimate(0.0, 0)
    trials = total_trials(spec)
    checkpoints = trials * spec.epochs if spec.keep_checkpoints == "all" else trials
    return Estimate(
        seconds=trials * sum(trial_seconds) / len(trial_seconds),
        bytes=int(checkpoints * sum(trial_bytes) / len(trial_bytes)),
    )


def describe_plan(name: str, spec: StudySpec, data: SearchData | None) -> dict[str, Any]:
    """Describe what a study would train, as JSON data, with the highest cost if there are images.

    Args:
        name: the name of the study.
        spec: the study.
        data: the images of the study; None if they are not present.
    """
    plan: dict[str, Any] = {
        "study": name,
        "description": spec.description,
        "method": spec.method,
        "trials": total_trials(spec),
        "epochs": spec.epochs,
        "images": None,
        "seconds": None,
        "bytes": None,
        "fixed": spec.base,
        "search": {dimension.key: str(dimension) for dimension in spec.dimensions},
    }
    if data is not None:
        cost = estimate(spec, data, resolve_runtime(spec))
        plan["images"] = len(data.train)
        plan["seconds"] = cost.seconds
        plan["bytes"] = cost.bytes
    return plan


def plan_text(plan: Mapping[str, Any]) -> str:
    """Write a plan of `describe_plan` as text."""
    width = max(len(key) for key in [*plan["search"], *plan["fixed"]])
    lines = [f"Study {plan['study']}: {plan['description']}", ""]
    lines.append(f"searched ({plan['method']})")
    lines += [f"  {key:{width}}  {values}" for key, values in plan["search"].items()]
    lines.append("fixed")
    lines += [f"  {key:{width}}  {value}" for key, value in plan["fixed"].items()]
    lines.append("")
    trials = plan["trials"]
    plural = "" if trials == 1 else "s"
    work = f"{trials} trial{plural} of at most {plan['epochs']} epochs"
    if plan["seconds"] is None:
        lines.append(f"{work}; no estimate without the images")
    else:
        duration = format_duration(plan["seconds"])
        megabytes = plan["bytes"] / 1e6
        lines.append(
            f"{work} on {plan['images']:,} images: at most about {duration} "
            f"and {megabytes:.0f} MB of checkpoints; nothing was run"
        )
    return "\n".join(lines)


def first_images(data: SearchData, count: int) -> SearchData:
    """Return the first training images, and validation images in the same proportion."""
    train_count = min(count, len(data.train))
    val_count = max(1, len(data.val) * train_count // len(data.train))
    return dataclasses.replace(
        data,
        train=Split(data.train.images[:train_count], data.train.labels[:train_count]),
        val=Split(data.val.images[:val_count], data.val.labels[:val_count]),
    )
