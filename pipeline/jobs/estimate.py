"""Estimates the cost of a study, and describes its plan: for `pipeline studies` and --dry-run."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import models
from pipeline.data.search_data import SearchData, Split, trial_data
from pipeline.engines.local import LocalFactory
from pipeline.jobs.preflight import (
    MAX_OTHER_NETWORKS,
    WEIGHT_BYTES,
    checkpoint_bytes,
    network_with_unset_weights,
    settle,
)
from pipeline.report.provenance import first_texts, warm_source_text
from pipeline.report.scores import plural
from pipeline.system.console import format_duration, terminal_lines
from pipeline.system.files import temporary_folder
from pipeline.system.text import clean, clip
from pipeline.training.cost import layer_costs
from pipeline.training.process import thread_count
from pipeline.training.train import train
from sweeps.analysis.facts import WarmStart
from sweeps.analysis.health import Imbalance, copies_texts, imbalance
from sweeps.search.extent import Extent, extent
from sweeps.search.promotion import rungs
from sweeps.spec.configurations import (
    LISTS_FIRST,
    applying_dimensions,
    baseline_values,
    configuration,
    lists_come_first,
    planned_values,
    representative_values,
    total_trials,
)
from sweeps.spec.study_spec import Budget, Finalists, Repeats, StudySpec, parse_budget
from sweeps.trial import COMPLETE, TrialConfig, Value

_TIMED_STEPS = 4
# A layer takes as long for a batch, beside its work for each image, as so many million FLOPs.
_LAYER_MFLOPS = 3
_CLASS_CLIP = 40  # characters of a class name
_INDENT = 2  # blanks before a key, and behind it
_LEAST_ROOM = 20  # characters of a value, on the narrowest terminal


@dataclass(frozen=True)
class Estimate:
    """The highest cost of a study."""

    extent: Extent  # how many trials and epochs
    seconds: float  # of all epochs, one after the other
    bytes: int  # of the checkpoints that stay
    peak_bytes: int  # of all checkpoints while the sweep lasts
    epoch_seconds: float = 0.0  # the mean over representative configurations
    trial_bytes: float = 0.0  # the checkpoint of one trial, on average


def estimate(spec: StudySpec, data: SearchData, runtime: Mapping[str, Value]) -> Estimate:
    """Estimate the cost of a study from a few training steps.

    Trains each of the study's representative configurations, with as many threads as a trial has.

    Args:
        spec: the study.
        data: the images of the study.
        runtime: the values that `pipeline.jobs.preflight.settle` has settled.
    """
    epoch_seconds = []
    parameters = []
    for values in representative_values(spec):
        config = configuration(spec, {**runtime, **values})
        config = dataclasses.replace(config, epochs=1, patience=0)
        own = trial_data(data, config)
        one_step = first_images(own, config.batch_size)
        timed_steps = first_images(own, config.batch_size * _TIMED_STEPS)
        with temporary_folder() as folder, thread_count(config.cpu_threads):
            train(0, config, one_step, folder, objective=spec.objective)  # to warm up
            result = train(0, config, timed_steps, folder, objective=spec.objective)
        if result.state == COMPLETE:
            factor = len(own.train) / len(timed_steps.train)
            epoch_seconds.append(result.seconds * factor)
            parameters.append(result.parameters or 0)
    if not epoch_seconds:
        return Estimate(extent(spec), 0.0, 0, 0)
    mean_seconds = statistics.fmean(epoch_seconds)
    most = extent(spec, epoch_seconds=mean_seconds)
    kept, peak = checkpoint_bytes(spec, most, pauses=spec.pruner == "asha")
    mean_parameters = statistics.fmean(parameters)
    return Estimate(
        most,
        seconds=mean_seconds * (most.epochs or 0),
        bytes=round(mean_parameters * kept),
        peak_bytes=round(mean_parameters * peak),
        epoch_seconds=mean_seconds,
        trial_bytes=WEIGHT_BYTES * mean_parameters,
    )


def expected_time(data: SearchData) -> Callable[[TrialConfig], float]:
    """Return a function that tells how long a configuration trains, only to compare it with others.

    It is the same each time and everywhere: it knows images, epochs, the size of batches, and the
    work and number of a network's layers. In each table of `benchmarks/curves`, its ranks of
    trials correlate with those of their CPU seconds by .85 to .90.

    A network that cannot be built takes forever: its trial begins first, and says so. So do
    networks of libraries and the user's own, if there are too many to build them beforehand.

    Args:
        data: the images of the study.
    """
    known: dict[str, tuple[float, int]] = {}
    others: set[str] = set()

    def costs(config: TrialConfig) -> tuple[float, int]:
        key = json.dumps([config.family, config.options], sort_keys=True)
        if config.family not in models.FAMILIES:
            others.add(key)
        if key not in known and len(others) <= MAX_OTHER_NETWORKS:
            known[key] = layer_costs(network_with_unset_weights(config, data), data.shape)
        return known.get(key, (math.inf, 0))

    def time(config: TrialConfig) -> float:
        try:
            mflops, layers = costs(config)
        except Exception:  # noqa: BLE001 - it is the user's code
            return math.inf
        images = config.train_images or len(data.train)
        return config.epochs * images * (mflops + _LAYER_MFLOPS * layers / config.batch_size)

    return time


def describe_plan(
    name: str,
    spec: StudySpec,
    data: SearchData | None,
    warm_start: WarmStart | None = None,
    *,
    workers: int | None = None,
) -> dict[str, Any]:
    """Describe what a study would train, as JSON data, with the highest cost if there are images.

    Args:
        name: the name of the study.
        spec: the study.
        data: the images of the study; None if they are not present.
        warm_start: what the study takes from earlier ones.
        workers: the number of trials at a time on this machine; None for a good one.
    """
    most = extent(spec)
    plan: dict[str, Any] = {
        "study": name,
        "description": spec.description,
        "method": spec.method,
        "trials": None if spec.has_only_budget else most.trials,
        "budget": None if spec.budget is None else str(spec.budget),
        "baselines": len(baseline_values(spec)),
        "repeats": spec.repeats,
        "listed_first": _count_listed_first(spec),
        "epochs": spec.most_epochs,
        "epochs_in_all": most.epochs,
        "workers": None,
        "threads": None,
        "images": None,
        "image_shape": None,
        "image_bytes": None,
        "copies": [],
        "seconds": None,
        "bytes": None,
        "peak_bytes": None,
        "fixed": spec.base,
        "search": {dimension.key: str(dimension) for dimension in applying_dimensions(spec)},
        "warm_start": None if warm_start is None else dataclasses.asdict(warm_start),
        "finalists": None if spec.finalists is None else _describe_finalists(spec, spec.finalists),
        "imbalance": None,
    }
    if data is not None:
        plan["copies"] = [] if data.copies is None else list(copies_texts(data.copies))
        settled = settle(spec, data, LocalFactory(), workers)
        plan["workers"] = settled.workers
        plan["threads"] = settled.runtime["threads"]
        data = trial_data(data, configuration(spec, {}))  # those of the first repeat
        cost = estimate(spec, data, settled.runtime)
        plan["images"] = len(data.train)
        plan["image_shape"] = list(data.shape)
        plan["image_bytes"] = (len(data.train) + len(data.val)) * math.prod(data.shape)
        plan["imbalance"] = _describe_imbalance(spec, data)
        plan["seconds"] = cost.seconds
        plan["epochs_in_all"] = cost.extent.epochs
        plan["bytes"] = cost.bytes
        plan["peak_bytes"] = cost.peak_bytes
        if spec.finalists is not None:
            finalists = plan["finalists"]
            epochs = finalists["finished_epochs"] + finalists["epochs_in_all"]
            finalists["seconds"] = cost.epoch_seconds * epochs
            finalists["bytes"] = round(cost.trial_bytes * finalists["trials"])
    return plan


def _describe_finalists(spec: StudySpec, wanted: Finalists) -> dict[str, Any]:
    """Describe the finalists of a study at most, as JSON data."""
    top = wanted.top
    if not spec.has_only_budget:
        trials = total_trials(spec)
        tried = math.ceil(trials / spec.repeats)
        listed_first = _count_listed_first(spec)
        if listed_first is not None:
            tried = min(trials, listed_first)
        top = min(top, tried)
    configurations = top + 1 if spec.baselines else top
    trials = configurations * wanted.seeds
    finished = 0
    if spec.pruner == "asha":  # the paused trials that are promising are finished first
        finished = top * spec.repeats
    rest = spec.most_epochs - rungs(spec.most_epochs)[0]
    return {
        "finished": finished,
        "finished_epochs": finished * rest,
        "top": top,
        "baseline": configurations > top,
        "seeds": wanted.seeds,
        "redraw": wanted.repeats.redraw,
        "trials": trials,
        "epochs_in_all": trials * spec.most_epochs,
        "seconds": None,
        "bytes": None,
    }


def _describe_imbalance(spec: StudySpec, data: SearchData) -> dict[str, Any] | None:
    """Describe training images of unequal classes, as JSON data; None if accuracy tells enough."""
    counts = torch.bincount(data.train.labels, minlength=len(data.classes)).tolist()
    found = imbalance(counts)
    if found is None:
        return None
    remedies = []
    if spec.objective == "val_acc":
        remedies.append("objective: balanced_acc")
    is_searched = any(dimension.field == "class_weights" for dimension in spec.dimensions)
    if not is_searched and spec.base.get("class_weights", "none") == "none":
        remedies.append("class_weights: balanced")
    return {
        "text": unequal_text(found, data.classes),
        "largest": data.classes[found.largest],
        "largest_share": found.largest_share,
        "smallest": data.classes[found.smallest],
        "smallest_share": found.smallest_share,
        "set": remedies,
    }


def unequal_text(found: Imbalance, classes: Sequence[str]) -> str:
    """Say which classes are the largest and the smallest.

    Args:
        found: among the training images.
        classes: all class names.
    """
    largest = clip(classes[found.largest], _CLASS_CLIP)
    smallest = clip(classes[found.smallest], _CLASS_CLIP)
    return (
        f"classes of unequal size: {largest} has {100 * found.largest_share:.1f} % of the training "
        f"images, {smallest} {100 * found.smallest_share:.1f} %"
    )


def _imbalance_text(found: Mapping[str, Any]) -> str:
    """Say that classes are of unequal size, and what to set."""
    if not found["set"]:
        return str(found["text"])
    largest = clip(found["largest"], _CLASS_CLIP)
    return (
        f"{found['text']}; accuracy misleads, as always answering {largest} is right on "
        f"{found['largest_share']:.3f}: set {' and '.join(found['set'])}"
    )


def _count_listed_first(spec: StudySpec) -> int | None:
    """How many configurations are trained once each before any is repeated; None if none are."""
    if not lists_come_first(spec, LISTS_FIRST):
        return None
    return sum(1 for _ in planned_values(spec))


def plan_text(plan: Mapping[str, Any], width: int | None = None) -> str:
    """Write a plan of `describe_plan` as text.

    Args:
        plan: to write.
        width: of the terminal in characters; None leaves each sentence on a line.
    """
    key_width = max(len(key) for key in [*plan["search"], *plan["fixed"]])
    margin = " " * (_INDENT + key_width + _INDENT)
    blocks = [terminal_lines(f"Study {plan['study']}: {plan['description']}", width), ""]
    for title, values in (
        (f"searched ({plan['method']})", plan["search"]),
        ("fixed", plan["fixed"]),
    ):
        blocks.append(title)
        room = None if width is None else max(_LEAST_ROOM, width - len(margin))
        for key, value in values.items():
            text = terminal_lines(value, room).replace("\n", f"\n{margin}")
            blocks.append(f"{'':{_INDENT}}{key:{key_width}}{'':{_INDENT}}{text}")
    if plan["warm_start"] is not None:
        blocks += _warm_start_lines(WarmStart.from_dict(plan["warm_start"]))
    blocks.append("")
    blocks += [terminal_lines(sentence, width) for sentence in _plan_sentences(plan)]
    return "\n".join(blocks)


def _plan_sentences(plan: Mapping[str, Any]) -> list[str]:
    """What is to be known of the images and the costs."""
    lines = []
    budget = None if plan["budget"] is None else parse_budget(plan["budget"])
    unsearched = only_baselines_text(plan["baselines"], plan["trials"], budget)
    lines += [unsearched] if unsearched else []
    if plan["trials"] is not None:
        left_over = left_over_text(plan["trials"], plan["repeats"], plan["listed_first"])
        lines += [left_over] if left_over else []
    if plan["imbalance"] is not None:
        lines.append(_imbalance_text(plan["imbalance"]))
    lines += [f"copies: {text}" for text in plan["copies"]]
    if plan["image_shape"] is not None:
        shape = "x".join(map(str, plan["image_shape"]))
        megabytes = max(1, round(plan["image_bytes"] / 1e6))
        lines.append(f"images of {shape}: {megabytes:,} MB as bytes, which all workers share")
    if plan["workers"] is not None:
        at_a_time = plural(plan["workers"], "trial")
        lines.append(f"{at_a_time} at a time, {plural(plan['threads'], 'CPU thread')} each")
    work = _work_text(plan)
    if plan["seconds"] is None:
        lines.append(f"{work}; no estimate without the images")
    else:
        duration = format_duration(plan["seconds"])
        lines.append(
            f"{work} on {plan['images']:,} images: at most about {duration} and {_space_text(plan)}"
        )
    if plan["finalists"] is not None:
        lines.append(_finalists_text(plan["finalists"]))
    if plan["seconds"] is not None:
        lines[-1] += "; nothing was run"
    return lines


def _warm_start_lines(warm_start: WarmStart) -> list[str]:
    """What a study takes from earlier ones."""
    lines = ["taken from earlier studies"]
    lines += [f"  {clean(warm_source_text(source))}" for source in warm_start.sources]
    lines.append("tried first, after any of start_with")
    lines += [f"  {clean(text)}" for text in first_texts(warm_start.first)]
    return lines


def _finalists_text(finalists: Mapping[str, Any]) -> str:
    """What the finalists of a study take after the search."""
    repeats = Repeats(finalists["seeds"], finalists["redraw"])
    seeds = f"{repeats.text} each" if repeats.redraw is None else repeats.text
    finished = ""
    if finalists["finished"]:
        plural = "s" if finalists["finished"] > 1 else ""
        finished = (
            f"at most {finalists['finished']} promising paused trial{plural} to the end, "
            f"{finalists['finished_epochs']:,} epochs, and "
        )
    baseline = " and the best baseline" if finalists["baseline"] else ""
    text = (
        f"then {finished}finalists: the best {finalists['top']}{baseline} with {seeds}, "
        f"{finalists['trials']} trials, {finalists['epochs_in_all']:,} epochs in all"
    )
    if finalists["seconds"] is None:
        return text
    duration = format_duration(finalists["seconds"])
    return f"{text}: at most about {duration} and {finalists['bytes'] / 1e6:.0f} MB of checkpoints"


def count_text(plan: Mapping[str, Any]) -> str:
    """What ends a study of `describe_plan`: its number of trials, its budget, or both."""
    return " within ".join(part for part in (_trials_text(plan), _budget_text(plan)) if part)


def only_baselines_text(baselines: int, trials: int | None, budget: Budget | None) -> str:
    """Say what to do about a study that ends before it has searched anything; else empty.

    Args:
        baselines: how many come first, each trained to its end.
        trials: of the study; None if a budget alone says how many.
        budget: of the study.
    """
    if trials is not None and trials <= baselines:
        remedy = f"--trials {baselines + 1}"
    elif budget is not None and budget.trainings is not None and budget.trainings <= baselines:
        remedy = f"--budget {baselines + 1}"
    else:
        return ""
    verb = "comes" if baselines == 1 else "come"
    first = f"{plural(baselines, 'baseline')} {verb} first"
    return f"nothing is searched: {first}; give {remedy} or more to search"


def left_over_text(trials: int, repeats: int, listed_first: int | None) -> str:
    """Say what to do about trials that leave some configurations with fewer seeds than others.

    Empty if all configurations have as many seeds.

    Args:
        trials: of the study.
        repeats: the planned seeds of each configuration.
        listed_first: as `sweeps.search.study.Study.listed_first`.
    """
    step = repeats if listed_first is None else listed_first
    left_over = trials % step
    if repeats == 1 or not left_over:
        return ""
    totals = [trials - left_over, trials - left_over + step]
    remedy = " or ".join(f"--trials {total}" for total in totals if total)
    text = f"{trials} trials are {_seeds_text(trials, repeats, listed_first)}"
    if trials < step and listed_first is not None:
        return f"{text}; {remedy} trains all {listed_first}"
    return (
        f"{text}: a configuration that lacks seeds is ranked after the others; {remedy} leaves "
        "none over"
    )


def _seeds_text(trials: int, repeats: int, listed_first: int | None) -> str:
    """How many configurations have how many seeds, and how many trials are left over."""
    if listed_first is None:
        configurations, left_over = divmod(trials, repeats)
        seeds = repeats
    elif trials < listed_first:
        return f"{trials} of {plural(listed_first, 'configuration')} x 1 seed"
    else:
        configurations = listed_first
        seeds, left_over = divmod(trials, listed_first)
    text = f"{plural(configurations, 'configuration')} x {plural(seeds, 'seed')}"
    return f"{text} + {plural(left_over, 'trial')} left over" if left_over else text


def _trials_text(plan: Mapping[str, Any]) -> str:
    """The number of trials; empty if a budget alone says how many are drawn."""
    if plan["trials"] is None:
        return ""
    return plural(plan["trials"], "trial")


def _budget_text(plan: Mapping[str, Any]) -> str:
    """The budget; empty if there is none."""
    return "" if plan["budget"] is None else f"a budget of {parse_budget(plan['budget']).text}"


def _work_text(plan: Mapping[str, Any]) -> str:
    """How much is trained."""
    most = f"of at most {plan['epochs']} epochs"
    if plan["trials"] is None:
        work = f"{_budget_text(plan)}, in trials {most}"
    else:
        work = _trials_text(plan)
        if plan["repeats"] > 1:
            work += f" ({_seeds_text(plan['trials'], plan['repeats'], plan['listed_first'])})"
        work += f" {most}"
    if plan["trials"] is not None and plan["budget"] is not None:
        work += f" within {_budget_text(plan)}"
    spares_epochs = (
        plan["trials"] is None or plan["epochs_in_all"] != plan["trials"] * plan["epochs"]
    )
    if plan["epochs_in_all"] is not None and spares_epochs:
        work += f", {plan['epochs_in_all']:,.0f} in all"
    return work


def _space_text(plan: Mapping[str, Any]) -> str:
    """The checkpoints that stay, and those that are there before the end."""
    kept = f"{plan['bytes'] / 1e6:.0f}"
    peak = f"{plan['peak_bytes'] / 1e6:.0f}"
    if kept == peak:
        return f"{kept} MB of checkpoints"
    return f"{kept} MB of checkpoints ({peak} MB until the sweep ends)"


def first_images(data: SearchData, count: int) -> SearchData:
    """Return the first training images, and validation images in the same proportion."""
    train_count = min(count, len(data.train))
    val_count = max(1, len(data.val) * train_count // len(data.train))
    return dataclasses.replace(
        data,
        train=Split(data.train.between(0, train_count), data.train.labels[:train_count]),
        val=Split(data.val.between(0, val_count), data.val.labels[:val_count]),
    )
