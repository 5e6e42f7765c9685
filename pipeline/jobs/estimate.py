"""Estimates what a study will take, and describes its plan."""

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
from pipeline.training.process import prepare_process
from pipeline.training.train import train
from sweeps.spec.configurations import configuration, representative_values, total_trials
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE, Value

_TIMED_STEPS = 4


@dataclass(frozen=True)
class Estimate:
    """What a study will take at most, if nothing is pruned."""

    seconds: float
    bytes: int  # of checkpoints kept


def estimate(spec: StudySpec, data: SearchData, settled: Mapping[str, Value]) -> Estimate:
    """Time a few steps of each starting configuration, or of each family, and lay it out over the trials."""
    seconds = []
    size = []
    for values in representative_values(spec):
        config = dataclasses.replace(
            configuration(spec, {**settled, **values}), epochs=1, patience=0
        )
        prepare_process(config)
        few = _first(data, config.batch_size * _TIMED_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            train(
                0, config, _first(data, config.batch_size), Path(folder), objective=spec.objective
            )  # warms up
            result = train(0, config, few, Path(folder), objective=spec.objective)
        if result.state == COMPLETE:
            share = len(data.train) / len(few.train)
            seconds.append(result.seconds * share * spec.epochs)
            size.append(4 * (result.parameters or 0))
    if not seconds:
        return Estimate(0.0, 0)
    trials = total_trials(spec)
    if spec.keep_checkpoints == "all":
        size = [weights * spec.epochs for weights in size]
    return Estimate(trials * sum(seconds) / len(seconds), int(trials * sum(size) / len(size)))


def describe_plan(name: str, spec: StudySpec, data: SearchData | None) -> dict[str, Any]:
    """What a study would train, and what that would take at most; nothing of the latter without its images."""
    cost = None if data is None else estimate(spec, data, resolve_runtime(spec))
    return {
        "study": name,
        "description": spec.description,
        "method": spec.method,
        "trials": total_trials(spec),
        "epochs": spec.epochs,
        "images": None if data is None else len(data.train),
        "seconds": None if cost is None else cost.seconds,
        "bytes": None if cost is None else cost.bytes,
        "fixed": spec.base,
        "search": {dimension.key: str(dimension) for dimension in spec.dimensions},
    }


def plan_text(plan: Mapping[str, Any]) -> str:
    """A described plan, as one reads it."""
    width = max(map(len, [*plan["search"], *plan["fixed"]]))
    lines = [f"Study {plan['study']}: {plan['description']}", "", f"searched ({plan['method']})"]
    lines += [f"  {key:{width}}  {values}" for key, values in plan["search"].items()]
    lines += ["fixed", *(f"  {key:{width}}  {value}" for key, value in plan["fixed"].items())]
    count = (
        f"{plan['trials']} trial{'s' * (plan['trials'] != 1)} of at most {plan['epochs']} epochs"
    )
    if plan["seconds"] is None:
        return "\n".join([*lines, "", f"{count}; no estimate without the images"])
    cost = f"at most about {format_duration(plan['seconds'])} and {plan['bytes'] / 1e6:.0f} MB of checkpoints"
    return "\n".join([*lines, "", f"{count} on {plan['images']:,} images: {cost}; nothing was run"])


def _first(data: SearchData, count: int) -> SearchData:
    """The first images of both splits, in the same proportion."""
    count = min(count, len(data.train))
    val = max(1, len(data.val) * count // len(data.train))
    return dataclasses.replace(
        data,
        train=Split(data.train.images[:count], data.train.labels[:count]),
        val=Split(data.val.images[:val], data.val.labels[:val]),
    )
