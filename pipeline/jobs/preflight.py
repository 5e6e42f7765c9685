"""Checks a study before anything is written, and settles the values that all its trials share."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

import models
from models import conformance, usercode
from pipeline.data.datasets import is_present
from pipeline.data.search_data import SearchData, check_train_images, load_for
from pipeline.engines.base import EngineFactory
from pipeline.jobs import pretrained
from pipeline.jobs.own_data import with_data_version
from pipeline.system.cpu import available_cores
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.text import clip
from pipeline.training.augment import call_function, load_function
from pipeline.training.cost import layer_bytes
from pipeline.training.resolve import choose_threads, resolve
from sweeps.search.extent import Extent, extent
from sweeps.spec.configurations import (
    choose_values,
    configuration,
    grid,
    planned_values,
    representative_values,
    values_or_ends,
)
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import PLANNED_METHODS, StudySpec
from sweeps.trial import (
    Redraw,
    TrialConfig,
    Value,
    configure,
    is_network_option,
    processes_of,
)

_RUNTIME = (
    "device",
    "precision",
    "threads",
    "gpus_per_trial",
    "cudnn_deterministic",
    "eval_batch_size",
    "augment",
)
_SCORING_BYTES = 1 << 29  # that a layer may take in and give out while images are scored
_SMALL_SIDE = 32  # pixels; built-in networks score images up to this size 512 at a time
_MAX_CHECKED_NETWORKS = 2000
_SEED_OF_A_CHECK = 1_093_528  # which no constructor sets by chance
MAX_OTHER_NETWORKS = 24  # not of `FAMILIES`: these are made with memory, and see images
_IMAGES_PER_WORKER = 200_000  # a worker is worth its start for so many images in all epochs
# The same where the list of trials is known: more workers neither wait nor change it. So many take
# a second at least, and a worker is forked in a tenth of one.
_KNOWN_IMAGES_PER_WORKER = 40_000
_TRIALS_PER_WORKER = 4  # so that most trials can learn from earlier ones
WEIGHT_BYTES = 4  # of a parameter
_STATE_BYTES = 16  # of a parameter in a state: its weight, the best epoch's, and two of Adam's


def load_if_present(spec: StudySpec, data_dir: Path) -> SearchData | None:
    """Load the images of a study, or return None if they are not there. Nothing is downloaded."""
    if not is_present(spec.dataset, data_dir):
        return None
    try:
        return load_for(configuration(with_data_version(spec, None), {}), data_dir)
    except UsageFailure:
        return None


def resolve_runtime(
    spec: StudySpec,
    resolve_config: Callable[[TrialConfig], TrialConfig] = resolve,
    data: SearchData | None = None,
) -> dict[str, Value]:
    """Settle the values that decide how all trials of a study are computed.

    These are the device, the arithmetic, the batch size for scoring, and the place of augmentation;
    if the study names them, the threads and the GPUs of each trial, and the choices of cuDNN.

    Args:
        spec: the study.
        resolve_config: replaces ``auto`` in a configuration, for the machines that train.
        data: the images of the study; None if none are scored.

    Raises:
        UsageFailure: if the device is missing, or there are too few of the kind.
    """
    try:
        config = resolve_config(configuration(spec, {}))
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    values = config.to_dict()
    if data is not None and "eval_batch_size" not in spec.base:
        values["eval_batch_size"] = scoring_batch_size(example_configs(spec), data)
    return {name: values[name] for name in _RUNTIME if name in values}


def scoring_batch_size(configs: Iterable[TrialConfig], data: SearchData) -> int:
    """Return how many images are scored at a time if the user gives no number.

    So many, in powers of two, that no layer takes in and gives out more than `_SCORING_BYTES` for
    them. The number follows a rule, because it decides the last digits of the scores.

    Args:
        configs: of the networks; those that fail do not count.
        data: their images.
    """
    most = TrialConfig.eval_batch_size
    others = 0
    for config in configs:
        if config.family not in models.FAMILIES:
            others += 1
            if others > MAX_OTHER_NETWORKS:
                continue
        elif max(data.shape) <= _SMALL_SIDE:
            continue
        try:
            network = network_with_unset_weights(config, data)
            needed = layer_bytes(network, data.shape)
        except Exception:  # noqa: BLE001, S112 - the user's code, and its trial will say so
            continue
        fitting = _SCORING_BYTES // max(1, needed)
        most = min(most, 1 << max(0, fitting.bit_length() - 1))
    return most


@dataclass(frozen=True)
class Settled:
    """What a new study keeps from its first command: how its trials are computed."""

    runtime: Mapping[str, Value]  # the values of `resolve_runtime`, with the threads of each trial
    workers: int  # trials at a time


def settle(
    spec: StudySpec, data: SearchData, factory: EngineFactory, workers: int | None
) -> Settled:
    """Settle how all trials of a study are computed, and how many at a time.

    The number of threads follows from that of the trials at a time: results may depend on both.

    Args:
        spec: the study.
        data: the images of the study.
        factory: describes the hardware.
        workers: the number of trials at a time that the user asks for; None for a good one.

    Raises:
        UsageFailure: if the device is missing, or there are too few of the kind.
    """
    runtime = resolve_runtime(spec, factory.resolve, data)
    if workers is None:
        default = default_workers(spec, len(data.train), runtime)
        workers = factory.places(default, configuration(spec, runtime))
    if "threads" not in runtime:
        processes = workers * processes_of(runtime.get("gpus_per_trial"))
        cores = factory.cores(processes)
        device = str(runtime["device"])
        runtime["threads"] = choose_threads(spec.families, spec.dataset, device, cores)
    return Settled(runtime, workers)


def default_workers(spec: StudySpec, images: int, runtime: Mapping[str, Value]) -> int:
    """Return how many trials run at a time if the user gives no number.

    The number follows a rule, because it decides the list of trials unless that is known: as many
    as the GPUs or the CPU's cores allow, but no more than the work is worth (each worker has to
    start), and no more than leave the sampler most trials to learn from.

    Args:
        spec: the study.
        images: the number of training images.
        runtime: the values of `resolve_runtime`.
    """
    most = extent(spec)
    trials = math.inf if most.trials is None else most.trials
    trainings = trials  # that are worth so many images
    if spec.has_only_budget and most.epochs is not None:
        trainings = most.epochs / spec.most_epochs
    processes = processes_of(runtime.get("gpus_per_trial"))
    if runtime["device"] == "cpu":
        capacity = available_cores() // (int(runtime.get("threads", 1)) * processes)
    elif runtime["device"] == "cuda":
        capacity = torch.cuda.device_count() // processes
    else:
        capacity = 1
    is_known = _is_known_beforehand(spec)
    images_per_worker = _KNOWN_IMAGES_PER_WORKER if is_known else _IMAGES_PER_WORKER
    worthwhile = images * spec.epochs * trainings // images_per_worker
    learning = trials
    if not is_known and spec.method not in PLANNED_METHODS:
        learning = trials // _TRIALS_PER_WORKER
    return int(max(1, min(capacity, worthwhile, learning)))


def _is_known_beforehand(spec: StudySpec) -> bool:
    """Whether no trial decides about another, neither what is drawn nor how long it is trained."""
    return spec.trains_all_whole and spec.method in ("random", *PLANNED_METHODS)


def library_versions() -> dict[str, str]:
    """Return the versions that a study is made with; the same versions repeat it bit by bit."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "optuna", "mlflow"):
        versions[name] = metadata.version(name)
    return versions


def check_device(
    runtime: Mapping[str, Value], resolve_config: Callable[[TrialConfig], TrialConfig] = resolve
) -> None:
    """Check that the device of a study, or the newly requested one, is there.

    Args:
        runtime: the values of `resolve_runtime`.
        resolve_config: replaces ``auto`` in a configuration, for the machines that train.

    Raises:
        UsageFailure: if the device is missing, or there are too few of the kind.
    """
    values = {name: runtime.get(name) for name in ("device", "gpus_per_trial")}
    try:
        resolve_config(configure(values))
    except ValueError as error:
        raise UsageFailure(f"{error}; --device chooses another for the trials to come") from None


def check_parts(spec: StudySpec, data: SearchData) -> None:
    """Check that all trials of a study can be trained on as many images as they ask for.

    Args:
        spec: the study.
        data: its images.

    Raises:
        UsageFailure: if the training split of a trial has fewer images, or more classes.
    """
    known = values_or_ends(spec, "train_images")
    if not known:
        return
    repeats = spec.repeats if spec.folds is not None else 1  # random draws are of one size
    configs = [configuration(spec, {"train_images": known[0]}, n) for n in range(repeats)]
    if spec.finalists is not None and spec.finalists.folds is not None:
        folds = spec.finalists.folds
        redraws = [str(Redraw(number + 1, folds)) for number in range(folds)]
        configs += [dataclasses.replace(configs[0], redraw=redraw) for redraw in redraws]
    for number in known:
        parts = [dataclasses.replace(config, train_images=int(number)) for config in configs]
        check_train_images(data, parts)


def check_augmentation(spec: StudySpec, data: SearchData) -> None:
    """Check that functions of the user's that a study names change images as they must.

    Args:
        spec: the study.
        data: its images.

    Raises:
        UsageFailure: if a function cannot be loaded, raises, or returns something else.
    """
    images = data.train.between(0, 2)
    names = {str(name) for name in values_or_ends(spec, "augment")}
    for name in sorted(filter(usercode.is_reference, names)):
        try:
            call_function(load_function(name), images)
        except Exception as error:  # noqa: BLE001 - it is the user's code
            raise UsageFailure(f"augment {name} cannot be used: {clip(error, 300)}") from None


def check_networks(spec: StudySpec, shape: tuple[int, int, int], classes: int) -> None:
    """Check that the networks of a study can take its images.

    Builds the networks at the corners of the search space, without memory for their weights. Of the
    networks of libraries and the user's own each searched value is tried beside the first of the
    others, and each such network is shown images. Published weights must be on this machine.

    Args:
        spec: the study.
        shape: the channels, height and width of the images.
        classes: the number of classes.

    Raises:
        UsageFailure: for the first network that cannot be built.
    """
    if spec.method in PLANNED_METHODS and spec.method != "grid":
        points = planned_values(spec)
    else:
        points = grid(spec, _corners)
    for values in itertools.islice(points, _MAX_CHECKED_NETWORKS):
        config = configuration(spec, values)
        if config.family not in models.FAMILIES:
            continue
        try:
            with torch.device("meta"):
                network = models.build(config.family, shape, classes, config.options)
        except ValueError as error:
            raise UsageFailure(f"a network of the study cannot be made: {error}") from None
        _check_weights(config, network, classes)
    configs = example_configs(spec)
    others = [config for config in configs if config.family not in models.FAMILIES]
    for config in others[:MAX_OTHER_NETWORKS]:
        _check_weights(config, _check_other_network(config, shape, classes), classes)


def example_configs(spec: StudySpec) -> list[TrialConfig]:
    """Return different configurations in which each searched value of an option stands once.

    They stand for the networks that a study may train, where there would be too many.
    """
    first = representative_values(spec)
    values = list(first)
    if not (spec.starts or spec.method in PLANNED_METHODS):
        for dimension in spec.dimensions:
            if is_network_option(dimension.field):
                values += _each_value(spec, first, dimension)
    configs: dict[str, TrialConfig] = {}
    for point in values:
        config = configuration(spec, point)
        weights = [config.pretrained, config.freeze]
        network = json.dumps([config.family, config.options, *weights])
        configs.setdefault(network, config)
    return list(configs.values())


def _each_value(
    spec: StudySpec, points: Sequence[dict[str, Value]], dimension: Dimension
) -> list[dict[str, Value]]:
    """Put each value of a dimension, or the ends of its range, into the points that have it."""
    values = dimension.choices
    if not values and dimension.high is not None:
        values = (int(dimension.high) if dimension.integer else dimension.high,)
    changed = []
    for point in points:
        if dimension.field in point:
            changed += [{**point, dimension.field: value} for value in values]
    return [_only_applying(spec, point) for point in changed]


def _only_applying(spec: StudySpec, point: Mapping[str, Value]) -> dict[str, Value]:
    """Return a point with the dimensions that apply to it, others at their first value."""
    return choose_values(spec, lambda dimension: point.get(dimension.field, dimension.first))


def check_network(config: TrialConfig, shape: tuple[int, int, int], classes: int) -> None:
    """Check that the network of a training can take its images, and its weights.

    Raises:
        UsageFailure: in one line, if it cannot.
    """
    pretrained.fetch([config])
    try:
        if config.family in models.FAMILIES:
            with torch.device("meta"):
                network = models.build(config.family, shape, classes, config.options)
        else:
            network = _check_other_network(config, shape, classes)
        pretrained.check(config, network, classes)
    except ValueError as error:
        raise UsageFailure(str(error)) from None


def _check_weights(config: TrialConfig, network: nn.Module, classes: int) -> None:
    """Check that the weights that a trial of a study begins with fit its network.

    Raises:
        UsageFailure: in one line, if they do not.
    """
    try:
        pretrained.check(config, network, classes)
    except ValueError as error:
        raise UsageFailure(
            f"{error}; in a study of several networks, search pretrained with when: "
            f"{{family: [...]}}"
        ) from None


def _check_other_network(
    config: TrialConfig, shape: tuple[int, int, int], classes: int
) -> nn.Module:
    """Check that a network of a library or the user's own can be trained on images; return it.

    Raises:
        UsageFailure: if it cannot.
    """
    try:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_SEED_OF_A_CHECK)
            network = models.build(config.family, shape, classes, config.options)
            _check_seed(config.family)
        conformance.check(config.family, network, shape, classes)
    except ValueError as error:
        options = ", ".join(f"{name} {value}" for name, value in config.keywords)
        is_said = not options or "cannot be made with" in str(error)
        with_options = "" if is_said else f" (with {clip(options, 200)})"
        raise UsageFailure(f"{error}{with_options}") from None
    return network


def _check_seed(family: str) -> None:
    """Check that the constructor of a network has left PyTorch's seed as it was.

    Raises:
        ValueError: if it has not.
    """
    if torch.initial_seed() != _SEED_OF_A_CHECK:
        raise ValueError(
            f"the constructor of {family} seeds PyTorch, so that all seeds would begin with the "
            "same weights: leave torch.manual_seed out, the seed is a field"
        )


def _corners(dimension: Dimension) -> Sequence[Value]:
    """Return the values of a dimension that can decide whether a network takes the images.

    Activations are left out, because they change no shape.
    """
    shapes_network = dimension.field == "family" or is_network_option(dimension.field)
    if not shapes_network or dimension.field == "activation":
        return (dimension.first,)
    if dimension.choices or dimension.low is None or dimension.high is None:
        return dimension.choices
    if dimension.integer:
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return (dimension.first,)


def checkpoint_bytes(spec: StudySpec, most: Extent, *, pauses: bool) -> tuple[float, float]:
    """Tell how much disk the checkpoints of trials take, for each parameter of their networks.

    Args:
        spec: the study.
        most: how many trials, and how many epochs they train.
        pauses: whether the study pauses trials, whose states wait until its end.

    Returns:
        The bytes of what stays, and the most bytes until then.
    """
    trials = most.trials or 1
    epochs = 0.0
    if spec.keep_checkpoints == "all":
        epochs = most.epochs or 0
    kept = WEIGHT_BYTES * (trials + epochs)
    waiting = _STATE_BYTES if pauses else WEIGHT_BYTES
    newest = 2 * _STATE_BYTES  # of a trial in training
    return kept, waiting * trials + newest + WEIGHT_BYTES * epochs


def check_space(
    spec: StudySpec, data: SearchData, home: Path, begun: int = 0, *, pauses: bool = False
) -> None:
    """Check that the checkpoints of the remaining trials fit on the disk.

    Args:
        spec: the study.
        data: the images of the study.
        home: the folder that holds the checkpoints.
        begun: the number of trials that have ended or are paused.
        pauses: whether the study pauses trials, whose states wait until its end.

    Raises:
        StorageFailure: if the free space is too small.
    """
    most = extent(spec)
    whole = most.trials or 1
    remaining = max(0, whole - begun)
    left = Extent(remaining, (most.epochs or spec.most_epochs) * remaining / whole)
    sizes = [_count_parameters(spec, values, data) for values in representative_values(spec)]
    parameters = sum(sizes) / len(sizes)
    needed = 0.0
    if remaining:
        needed = parameters * checkpoint_bytes(spec, left, pauses=pauses)[1]
    free = shutil.disk_usage(home).free
    if needed > free:
        smaller = "a smaller --budget" if spec.has_only_budget else "fewer --trials"
        raise StorageFailure(
            f"the checkpoints of {remaining} trials take about {needed / 1e6:,.0f} MB, "
            f"and the disk of {home} has {free / 1e6:,.0f} MB free: "
            f"make room, or ask for {smaller}"
        )


def _count_parameters(spec: StudySpec, values: Mapping[str, Value], data: SearchData) -> int:
    """Return a network's number of parameters, or 0 if the network exceeds the study's limit."""
    network = _network_without_weights(configuration(spec, values), data)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    limit = spec.constraints.limits.get("parameters")
    if limit is not None and parameters > limit:
        return 0
    return parameters


def network_with_unset_weights(config: TrialConfig, data: SearchData) -> nn.Module:
    """Build a network that can be shown images, in little time if its weights need not be set."""
    network = _network_without_weights(config, data)
    if config.family in models.FAMILIES:
        # A pass without memory would import sympy, for a second; unset weights take none.
        network.to_empty(device="cpu")
    return network


def _network_without_weights(config: TrialConfig, data: SearchData) -> nn.Module:
    """Build a network, without memory for its weights if that is possible."""
    # Other networks may compute with their values as they are made, which needs memory.
    device = "meta" if config.family in models.FAMILIES else "cpu"
    with torch.random.fork_rng(devices=()), torch.device(device):
        return models.build(config.family, data.shape, len(data.classes), config.options)
