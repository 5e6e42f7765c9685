"""Before anything is written: reads the study, checks that it can be trained, and says what it will take."""

from __future__ import annotations

import itertools
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch

import models
from pipeline.data.datasets import is_present
from pipeline.data.search_data import SearchData, load_for
from pipeline.system.cpu import available_cores
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.training.resolve import resolve
from sweeps.spec.configurations import (
    configuration,
    grid,
    planned_values,
    representative_values,
    total_trials,
)
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import PLANNED_METHODS, StudySpec
from sweeps.trial import TrialConfig, Value, configure, network_options

_RUNTIME = ("device", "precision", "threads", "gpus_per_trial", "eval_batch_size", "augment")
_MOST_NETWORKS = 2000  # built, without memory, to check that they can take the images
_WORTH_A_WORKER = 200_000  # passes of an image through a network in training
_FOR_EACH_WORKER = 4  # trials that learn from earlier ones


def load_if_present(spec: StudySpec, data_dir: Path) -> SearchData | None:
    """The images of a study; None where they are not there, and nothing is fetched."""
    if not is_present(spec.dataset, data_dir):
        return None
    try:
        return load_for(configuration(spec, {}), data_dir)
    except UsageFailure:
        return None


def resolve_runtime(
    spec: StudySpec, settle: Callable[[TrialConfig], TrialConfig] = resolve
) -> dict[str, Value]:
    """What is settled once for all trials of a study: device, arithmetic, threads, images a step when scoring.

    And how many processes train a trial together, if that is said.

    Args:
        spec: the study.
        settle: settles what ``auto`` means where they are trained.

    Raises:
        UsageFailure: for a device that is not there, or not so often.
    """
    try:
        config = settle(configuration(spec, {}))
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    values = config.to_dict()
    return {name: values[name] for name in _RUNTIME if name in values}


def default_workers(spec: StudySpec, images: int, settled: Mapping[str, Value]) -> int:
    """How many trials of a study are trained at a time, where nobody says: by a rule, since it decides the list.

    One for as many GPUs, or threads of the CPU, as a trial has. No more than the work is worth, each having to
    be started; and no more than leave the sampler most trials to learn from.

    Args:
        spec: the study.
        images: in the training split.
        settled: as `resolve_runtime` gives it.
    """
    trials = total_trials(spec)
    processes = int(settled.get("gpus_per_trial", 1))
    places = {
        "cpu": available_cores() // (int(settled["threads"]) * processes),
        "cuda": torch.cuda.device_count() // processes,
    }
    worth = images * spec.epochs * trials // _WORTH_A_WORKER
    learning = trials if spec.method in PLANNED_METHODS else trials // _FOR_EACH_WORKER
    return max(1, min(places.get(str(settled["device"]), 1), worth, learning))


def library_versions() -> dict[str, str]:
    """What a study is made with: a repetition is bit-equal with the same."""
    libraries = {name: metadata.version(name) for name in ("torch", "optuna", "mlflow")}
    return {"python": platform.python_version(), **libraries}


def check_device(
    settled: Mapping[str, Value], settle: Callable[[TrialConfig], TrialConfig] = resolve
) -> None:
    """See that the device which a study was settled on, or is asked for now, is there.

    Raises:
        UsageFailure: if it is not.
    """
    try:
        settle(configure({name: settled.get(name) for name in ("device", "gpus_per_trial")}))
    except ValueError as error:
        raise UsageFailure(f"{error}; --device chooses another for the trials to come") from None


def check_networks(spec: StudySpec, shape: tuple[int, int, int], classes: int) -> None:
    """Build the networks at the corners of the space, without memory, to see that they can take the images.

    Raises:
        UsageFailure: with the first that cannot.
    """
    laid_out = spec.method in PLANNED_METHODS and spec.method != "grid"
    for values in itertools.islice(
        planned_values(spec) if laid_out else grid(spec, _corners), _MOST_NETWORKS
    ):
        config = configuration(spec, values)
        try:
            with torch.device("meta"):
                models.build(config.family, shape, classes, config.options)
        except ValueError as error:
            raise UsageFailure(f"the study holds a network that cannot be: {error}") from None


def _corners(dimension: Dimension) -> Sequence[Value]:
    """The values that can matter to whether a network takes the images; no activation changes a shape."""
    if dimension.field not in network_options() | {"family"} or dimension.field == "activation":
        return (dimension.first,)
    if dimension.choices or dimension.low is None or dimension.high is None:
        return dimension.choices
    if dimension.integer:
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return (dimension.first,)


def check_space(spec: StudySpec, data: SearchData, home: Path, left: int) -> None:
    """See that the checkpoints of the trials that are left have room on the disk.

    Args:
        spec: the study.
        data: its images.
        home: the folder that they are kept in.
        left: how many trials.

    Raises:
        StorageFailure: with what they need and what there is.
    """
    sizes = []
    for values in representative_values(spec):
        config = configuration(spec, values)
        with torch.device("meta"):
            network = models.build(config.family, data.shape, len(data.classes), config.options)
        count = sum(parameter.numel() for parameter in network.parameters())
        sizes.append(4 * count if count <= spec.constraints.limits.get("parameters", count) else 0)
    epochs = spec.epochs if spec.keep_checkpoints == "all" else 1
    needed = left * epochs * sum(sizes) // len(sizes)
    free = shutil.disk_usage(home).free
    if needed > free:
        raise StorageFailure(
            f"the checkpoints of {left} trials take about {needed / 1e6:,.0f} MB, and the disk of {home} has "
            f"{free / 1e6:,.0f} MB free: make room, or ask for fewer --trials"
        )
