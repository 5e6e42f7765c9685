"""Before anything is written: reads the study, checks that it can be trained, and says what it will take."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import torch

import models
from pipeline.data.datasets import check_dataset, present
from pipeline.data.search_data import SearchData, Split, load_for
from pipeline.jobs.progress import duration
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.training.train import resolve, train
from sweeps.analysis.ranking import StudyRecord, best
from sweeps.spec.configurations import ablation, configuration, decide, grid, points, start_values, total
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import LAID_OUT, MAX_TRIALS, StudySpec, difference
from sweeps.spec.studyfile import StudyFileError, parse
from sweeps.trial import COMPLETE, TrialConfig, Value, configure, network_options

_RUNTIME = ("device", "precision", "threads", "gpus_per_trial", "eval_batch_size", "augment")
_MOST_NETWORKS = 2000  # built, without memory, to check that they can take the images
_WORTH_A_WORKER = 200_000  # passes of an image through a network in training
_FOR_EACH_WORKER = 4  # trials that learn from earlier ones
_TIMED_STEPS = 4
_TIMED_POINTS = 6  # configurations of a laid-out study


def shipped() -> list[str]:
    """The names of the studies that come with the product."""
    files = resources.files("sweeps.studies").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_study(study: str, overrides: Mapping[str, Any]) -> tuple[str, str, StudySpec]:
    """Read a study file and put the command line's values in.

    Args:
        study: a shipped study's name, or a file's path.
        overrides: as `sweeps.spec.studyfile.parse` takes them.

    Returns:
        The study's name (the file's, without its ending), the file's text, and what it says.

    Raises:
        UsageFailure: with a line for every broken rule.
    """
    if study in shipped():
        text, label = resources.files("sweeps.studies").joinpath(f"{study}.yaml").read_text("utf-8"), study
    elif not Path(study).is_file():
        raise UsageFailure(f"no study file {study!r}; {models.nearest(study, shipped())}, or the path of a file")
    else:
        try:
            text, label = Path(study).read_text("utf-8"), study
        except (OSError, UnicodeDecodeError) as error:
            raise UsageFailure(f"cannot read study file {study}: {error}") from None
    try:
        return Path(study).stem, text, parse(text, label, overrides=overrides, check_dataset=check_dataset)
    except StudyFileError as error:
        raise UsageFailure(str(error)) from None


def read_shipped(study: str) -> tuple[str, str, StudySpec]:
    """Read a shipped study as it stands."""
    return read_study(study, {})


def data_at_hand(spec: StudySpec, data_dir: Path) -> SearchData | None:
    """The images of a study; None where they are not there, and nothing is fetched."""
    if not present(spec.dataset, data_dir):
        return None
    try:
        return load_for(configuration(spec, {}), data_dir)
    except UsageFailure:
        return None


def study_name(study: str, dataset: str) -> str:
    """The name of a study in the stores, where none is given: the file's plus the data set's."""
    return f"{study}-{Path(dataset.partition(':')[2]).name if ':' in dataset else dataset}"


def deviations(study: str, spec: StudySpec) -> str:
    """Say in what a study with published figures differs from its file; nothing where it does not."""
    if not spec.reference:
        return ""
    try:
        return difference(read_study(study, {})[2].identity(), spec.identity())
    except UsageFailure:  # the file is a study only with what the command line adds
        return ""


def ablated(record: StudyRecord) -> dict[str, Any]:
    """What an ablation of a study starts from, as JSON data: its best configuration and the searched fields.

    Raises:
        UsageFailure: where the study has no complete trial.
    """
    winner = best(record.results, maximize=record.maximize)
    if winner is None:
        raise UsageFailure(f"study {record.name!r} has no complete trial to ablate: let it go on first")
    return {"best": winner.config.to_dict(), "searched": list(record.searched)}


def ablate(spec: StudySpec, start: Mapping[str, Any]) -> StudySpec:
    """The study of another study's best trial, each searched choice set back to its default in turn.

    Args:
        spec: of method ``ablate``.
        start: as `ablated` gives it.

    Raises:
        UsageFailure: where nothing can be set back.
    """
    try:
        return ablation(spec, TrialConfig.from_dict(start["best"]), start["searched"])
    except ValueError as error:
        raise UsageFailure(str(error)) from None


def runtime(spec: StudySpec, settle: Callable[[TrialConfig], TrialConfig] = resolve) -> dict[str, Value]:
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


def workers(spec: StudySpec, images: int, settled: Mapping[str, Value]) -> int:
    """How many trials of a study are trained at a time, where nobody says: by a rule, since it decides the list.

    One for as many GPUs, or threads of the CPU, as a trial has. No more than the work is worth, each having to
    be started; and no more than leave the sampler most trials to learn from.

    Args:
        spec: the study.
        images: in the training split.
        settled: as `runtime` gives it.
    """
    trials = total(spec)
    processes = int(settled.get("gpus_per_trial", 1))
    places = {"cpu": cores() // (int(settled["threads"]) * processes), "cuda": torch.cuda.device_count() // processes}
    worth = images * spec.epochs * trials // _WORTH_A_WORKER
    learning = trials if spec.method in LAID_OUT else trials // _FOR_EACH_WORKER
    return max(1, min(places.get(str(settled["device"]), 1), worth, learning))


def cores() -> int:
    """The cores that this process may use, also where a container has a share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # there is no such file, or no limit in it
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores


def versions() -> dict[str, str]:
    """What a study is made with: a repetition is bit-equal with the same."""
    libraries = {name: metadata.version(name) for name in ("torch", "optuna", "mlflow")}
    return {"python": platform.python_version(), **libraries}


def check_device(settled: Mapping[str, Value], settle: Callable[[TrialConfig], TrialConfig] = resolve) -> None:
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
    laid_out = spec.method in LAID_OUT and spec.method != "grid"
    for values in itertools.islice(points(spec) if laid_out else grid(spec, _corners), _MOST_NETWORKS):
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
    return tuple(range(int(dimension.low), int(dimension.high) + 1)) if dimension.integer else (dimension.first,)


def _spread(spec: StudySpec) -> Sequence[dict[str, Value]]:
    """A few of the configurations of a laid-out study, evenly over them; none of another."""
    found = list(itertools.islice(points(spec), MAX_TRIALS)) if spec.method in LAID_OUT else []
    return found[:: math.ceil(len(found) / _TIMED_POINTS)] if found else []


def _samples(spec: StudySpec) -> list[dict[str, Value]]:
    """The configurations that stand for a study: where it starts, a few of its points, or the first of each family."""
    families = next((d.choices for d in spec.dimensions if d.field == "family"), (None,))
    return (
        [start_values(spec, start) for start in spec.starts]
        or list(_spread(spec))
        or [
            decide(spec, lambda dimension, family=family: family if dimension.field == "family" else dimension.first)  # type: ignore[misc]
            for family in families
        ]
    )


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
    for values in _samples(spec):
        config = configuration(spec, values)
        with torch.device("meta"):
            network = models.build(config.family, data.shape, len(data.classes), config.options)
        count = sum(parameter.numel() for parameter in network.parameters())
        sizes.append(4 * count if count <= spec.constraints.limits.get("parameters", count) else 0)
    epochs = spec.epochs if spec.keep_checkpoints == "all" else 1
    needed, free = left * epochs * sum(sizes) // len(sizes), shutil.disk_usage(home).free
    if needed > free:
        raise StorageFailure(
            f"the checkpoints of {left} trials take about {needed / 1e6:,.0f} MB, and the disk of {home} has "
            f"{free / 1e6:,.0f} MB free: make room, or ask for fewer --trials"
        )


@dataclass(frozen=True)
class Estimate:
    """What a study will take at most, if nothing is pruned."""

    seconds: float
    bytes: int  # of checkpoints kept


def estimate(spec: StudySpec, data: SearchData, settled: Mapping[str, Value]) -> Estimate:
    """Time a few steps of each starting configuration, or of each family, and lay it out over the trials."""
    seconds, size = [], []
    for values in _samples(spec):
        config = dataclasses.replace(configuration(spec, {**settled, **values}), epochs=1, patience=0)
        few = _first(data, config.batch_size * _TIMED_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            train(0, config, _first(data, config.batch_size), Path(folder), objective=spec.objective)  # warms up
            result = train(0, config, few, Path(folder), objective=spec.objective)
        if result.state == COMPLETE:
            share = len(data.train) / len(few.train)
            seconds.append(result.seconds * share * spec.epochs)
            size.append(4 * (result.parameters or 0))
    if not seconds:
        return Estimate(0.0, 0)
    trials = total(spec)
    if spec.keep_checkpoints == "all":
        size = [weights * spec.epochs for weights in size]
    return Estimate(trials * sum(seconds) / len(seconds), int(trials * sum(size) / len(size)))


def describe(name: str, spec: StudySpec, data: SearchData | None) -> dict[str, Any]:
    """What a study would train, and what that would take at most; nothing of the latter without its images."""
    cost = None if data is None else estimate(spec, data, runtime(spec))
    return {
        "study": name,
        "description": spec.description,
        "method": spec.method,
        "trials": total(spec),
        "epochs": spec.epochs,
        "images": None if data is None else len(data.train),
        "seconds": None if cost is None else cost.seconds,
        "bytes": None if cost is None else cost.bytes,
        "fixed": spec.base,
        "search": {dimension.key: str(dimension) for dimension in spec.dimensions},
    }


def text(plan: Mapping[str, Any]) -> str:
    """A described plan, as one reads it."""
    width = max(map(len, [*plan["search"], *plan["fixed"]]))
    lines = [f"Study {plan['study']}: {plan['description']}", "", f"searched ({plan['method']})"]
    lines += [f"  {key:{width}}  {values}" for key, values in plan["search"].items()]
    lines += ["fixed", *(f"  {key:{width}}  {value}" for key, value in plan["fixed"].items())]
    count = f"{plan['trials']} trial{'s' * (plan['trials'] != 1)} of at most {plan['epochs']} epochs"
    if plan["seconds"] is None:
        return "\n".join([*lines, "", f"{count}; no estimate without the images"])
    cost = f"at most about {duration(plan['seconds'])} and {plan['bytes'] / 1e6:.0f} MB of checkpoints"
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
