"""Selects a study's finalists, and builds the study that trains them again with fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.analysis.facts import ChosenFinalists
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import COMPUTED_FIELDS, TOP_LEVEL_FIELDS
from sweeps.trial import TrialConfig, Value, config_fields, value_names

FINALISTS_SUFFIX = ".finalists"  # the study of the finalists is named after theirs
# Settings that are resolved once for a study, and never searched.
_RUNTIME = ("device", "threads", "gpus_per_trial", "cudnn_deterministic", "eval_batch_size")
_LAST_SEED = int(config_fields()["seed"].bounds[1])


def choose_finalists(
    record: StudyRecord, *, top: int, seeds: int, redraw: str | None = None
) -> ChosenFinalists:
    """Choose a study's best complete configurations, and seeds that the study has not used.

    Of a study with two objectives, these are the members of the front from the best down to the
    knee, and then the next of the ranking: a network that is much worse is no finalist for being
    small. The best baseline is added if it is not among them, so that the gain of the search is
    known.

    Args:
        record: the study.
        top: how many configurations to choose. Fewer are chosen if fewer are complete.
        seeds: how many seeds to train each configuration with.
        redraw: the key that gives each of them its own draw of train and validation; None if all
            have the splits of the study.
    """
    entries = _best_first(record)[:top]
    baseline = record.best_baseline
    if baseline is not None and baseline not in entries:
        entries = [*entries, baseline]
    trials = [entry.trials[0] for entry in entries]
    first_used = record.spec.seed
    first_unused = first_used + record.spec.repeats
    first_seed = first_unused
    if first_unused + seeds - 1 > _LAST_SEED:
        first_seed = first_used - seeds
    return ChosenFinalists(
        of=record.name,
        top=top,
        seeds=seeds,
        seed=first_seed,
        redraw=redraw,
        objective=record.objective,
        objectives=record.spec.objectives,
        runtime=dict(record.facts.runtime),
        trials=tuple(trial.number for trial in trials),
        configs=tuple(trial.config.to_dict() for trial in trials),
    )


def _best_first(record: StudyRecord) -> list[Ranked]:
    """The complete configurations in the order in which they become finalists."""
    on_front = [] if record.front is None else [one.entry for one in record.front.near_top]
    others = [entry for entry in record.complete_configurations if entry not in on_front]
    return on_front + others


def seeds_are_free(record: StudyRecord, chosen: ChosenFinalists) -> bool:
    """Whether all seeds of finalists exist, and their study has not used them.

    Args:
        record: the study that they come from.
        chosen: the finalists.
    """
    first = chosen.seed
    last = chosen.seed + chosen.seeds - 1
    first_used = record.spec.seed
    last_used = record.spec.seed + record.spec.repeats - 1
    return last <= _LAST_SEED and (last < first_used or first > last_used)


def study_document(chosen: ChosenFinalists, device: str | None = None) -> dict[str, Any]:
    """Build the study that trains the finalists: each configuration once with every seed.

    Args:
        chosen: the finalists.
        device: the device to train on; None for the device of their study.

    Returns:
        The content of a study file.
    """
    configs = [TrialConfig.from_dict(config) for config in chosen.configs]
    values_of = _distinct_values(configs)
    top_level: dict[str, Value] = {}
    fixed: dict[str, Value] = {}
    search: dict[str, list[Value]] = {}
    for name, values in values_of.items():
        if name == "epochs":
            top_level[name] = max(values)
        elif name in TOP_LEVEL_FIELDS:
            top_level[name] = values[0]
        if name in _RUNTIME or (name in TOP_LEVEL_FIELDS and name != "epochs"):
            continue
        if len(values) > 1:
            search[name] = values
        elif len(values) == 1 and name not in TOP_LEVEL_FIELDS:
            fixed[name] = values[0]
    for name in _RUNTIME:
        values = [chosen.runtime[name]] if name in chosen.runtime else values_of[name]
        if values:
            fixed[name] = values[0]
    if device is not None:
        fixed["device"] = device
    return {
        "description": f"The first {len(configs)} of {chosen.of} again, with fresh seeds.",
        **top_level,
        "method": "random",  # draws nothing: all configurations are in start_with
        "objective": chosen.objective,
        "objectives": list(chosen.objectives),
        "trials": len(configs) * chosen.seeds,
        **chosen.repeats.keys,
        "pruner": "none",
        "seed": chosen.seed,
        "fixed": fixed,
        "search": search,
        "start_with": [_searched_part(config, search) for config in configs],
    }


def _distinct_values(configs: list[TrialConfig]) -> dict[str, list[Value]]:
    """Collect the different values of each field and keyword, in the order of the configurations.

    The redraw is left out: it belongs to one repeat of the search. So are digests, which are not
    given but found.
    """
    distinct = {}
    for name in value_names(configs):
        if name in ("redraw", *COMPUTED_FIELDS):
            continue
        values = dict.fromkeys(config.value(name) for config in configs)
        distinct[name] = [value for value in values if value is not None]
    return distinct


def _searched_part(config: TrialConfig, search: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name, value in config.to_dict().items() if name in search}
