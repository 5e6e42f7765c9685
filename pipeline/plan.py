"""Before anything is written: reads the study, checks that it can be trained, and says what it will take."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

import models
from pipeline.data import SearchData, Split
from pipeline.datasets import check_dataset
from pipeline.errors import UsageFailure
from pipeline.train import resolve, train
from sweeps.dimension import Dimension
from sweeps.space import StudySpec, configuration, decide, grid, start_values
from sweeps.studyfile import StudyFileError, parse
from sweeps.trial import COMPLETE, Value, configure, network_options

_MOST_NETWORKS = 2000  # built, without memory, to check that they can take the images
_TIMED_STEPS = 4


def shipped() -> list[str]:
    """The names of the studies that come with the product."""
    files = resources.files("sweeps.studies").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_study(study: str, overrides: Mapping[str, Any]) -> tuple[str, str, StudySpec]:
    """Read a study file and put the command line's values in.

    Args:
        study: a shipped study's name, or a file's path.
        overrides: as `sweeps.studyfile.parse` takes them.

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


def study_name(study: str, dataset: str) -> str:
    """The name of a study in the stores, where none is given: the file's plus the data set's."""
    return f"{study}-{Path(dataset.partition(':')[2]).name if ':' in dataset else dataset}"


def runtime(spec: StudySpec) -> dict[str, Value]:
    """What is settled once for all trials of a study: device, arithmetic, threads, images a step when scoring.

    Raises:
        UsageFailure: for a device that is not there.
    """
    try:
        config = resolve(configuration(spec, {}))
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    return {name: getattr(config, name) for name in ("device", "precision", "threads", "eval_batch_size")}


def check_device(settled: Mapping[str, Value]) -> None:
    """See that the device which a study was settled on, or is asked for now, is there.

    Raises:
        UsageFailure: if it is not.
    """
    try:
        resolve(configure({"device": settled["device"]}))
    except ValueError as error:
        raise UsageFailure(f"{error}; --device chooses another for the trials to come") from None


def check_networks(spec: StudySpec, shape: tuple[int, int, int], classes: int) -> None:
    """Build the networks at the corners of the space, without memory, to see that they can take the images.

    Raises:
        UsageFailure: with the first that cannot.
    """
    for values in itertools.islice(grid(spec, _corners), _MOST_NETWORKS):
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


@dataclass(frozen=True)
class Estimate:
    """What a study will take at most, if nothing is pruned."""

    seconds: float
    bytes: int  # of checkpoints kept


def estimate(spec: StudySpec, data: SearchData, settled: Mapping[str, Value]) -> Estimate:
    """Time a few steps of each starting configuration, or of each family, and lay it out over the trials."""
    starts = [start_values(spec, start) for start in spec.starts] or [
        decide(spec, lambda dimension, family=family: family if dimension.field == "family" else dimension.first)  # type: ignore[misc]
        for family in next((d.choices for d in spec.dimensions if d.field == "family"), (None,))
    ]
    seconds, size = [], []
    for values in starts:
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
    return Estimate(spec.total * sum(seconds) / len(seconds), int(spec.total * sum(size) / len(size)))


def _first(data: SearchData, count: int) -> SearchData:
    """The first images of both splits, in the same proportion."""
    count = min(count, len(data.train))
    val = max(1, len(data.val) * count // len(data.train))
    return dataclasses.replace(
        data,
        train=Split(data.train.images[:count], data.train.labels[:count]),
        val=Split(data.val.images[:val], data.val.labels[:val]),
    )
