"""Tells how a study was made: its data, plan, settings and search space, as named texts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.report.grid import Grid, Row, make_grid
from pipeline.report.problems import number_list
from pipeline.report.scores import plural
from pipeline.system.console import format_duration
from pipeline.system.text import clip
from sweeps.analysis.facts import WarmSource, WarmStart
from sweeps.analysis.looks import Looks
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import Value, began_at, ended_at

# Keys of a study's specification that make up its plan.
_PLAN = (
    "method",
    "of",
    "objective",
    "pruner",
    "repeats",
    "split_seeds",
    "folds",
    "epochs",
    "seed",
    "split_seed",
    "split_file",
    "image_size",
)
# Computed values among the fixed ones, which nobody has set.
NO_SETTINGS = ("data_version", "source_digest", "weights_digest")
_CLIP = 400  # characters of a text
_CLASS_CLIP = 40  # characters of a class name
_CLASSES = 20  # class names


def origin(record: StudyRecord) -> list[tuple[str, str]]:
    """The facts needed to judge or repeat a study: names and texts, without unknown facts."""
    spec = record.spec
    facts = record.facts
    study = record.name
    if record.study != record.name:
        study += f" of the study file {record.study}"
    run = ""
    if record.parent_run_id:
        run = f"parent run {record.parent_run_id}, with a run for each trial"
    texts = {
        "Study": study,
        "Data set": record.dataset,
        "Images": _images_text(record),
        "Digest of the images": facts.digest,
        "Classes": _classes_text(record),
        "Plan": _values_text(
            {"trials": record.trials, **{key: getattr(spec, key) for key in _PLAN}}
        ),
        "Warm start": "" if facts.warm_start is None else warm_start_text(facts.warm_start),
        "Limits of a network": _values_text(spec.constraints),
        "Fixed values": _values_text(
            {name: value for name, value in spec.fixed.items() if name not in NO_SETTINGS}
        ),
        "Settled when it was begun": _values_text(facts.runtime),
        "Not as in the study file": record.deviations,
        "Begun with": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        "Time": _time_text(record),
        "Weights kept": record.keep_checkpoints,
        "In MLflow": run,
        "Test split": looks_text(record),
    }
    return [(name, clip(text, _CLIP)) for name, text in texts.items() if text]


def images_command(record: StudyRecord) -> str:
    """The command that shows the images of a study."""
    spec = record.spec
    words = ["pipeline", "data", "show", record.dataset]
    options = {
        "--split-seed": spec.split_seed,
        "--split-file": spec.split_file or spec.fixed.get("split_file"),
        "--image-size": spec.image_size or spec.fixed.get("image_size"),
    }
    for option, value in options.items():
        if value:
            words += [option, str(value)]
    return clip(shlex.join(words), _CLIP)


def warm_start_text(warm_start: WarmStart) -> str:
    """Say in a clause what was taken from which studies."""
    sources = " and ".join(warm_source_text(source) for source in warm_start.sources)
    tried = plural(len(warm_start.first), "configuration")
    return f"begun from {sources}; tried first: {tried}"


def warm_source_text(source: WarmSource) -> str:
    """Say what was taken from a study, and what was left out and why."""
    parts = [
        plural(source.configurations, "configuration"),
        f"the sampler learns from {len(source.observations) or 'none'}",
    ]
    if source.moved:
        parts.append(f"{source.moved} with numbers moved to the nearest searched")
    if source.unfit:
        count = sum(source.unfit.values())
        reasons = [f"{reason} ({number})" for reason, number in source.unfit.items()]
        parts.append(f"{count} left out: {', '.join(reasons)}")
    return f"{source.name} on {source.dataset} ({'; '.join(parts)})"


def first_texts(configurations: Sequence[Mapping[str, Value]]) -> list[str]:
    """Write the searched values of each configuration that is tried first."""
    return [
        ", ".join(f"{name} {value_text(value)}" for name, value in values.items())
        for values in configurations
    ]


def looks_text(record: StudyRecord) -> str:
    """Say how often the networks of a study and of its finalists were scored on the test split."""
    looks = record.looks
    parts = [_looks_part(looks, "in this study")]
    configurations = _scored_configurations(record, looks)
    if record.finalists is not None:
        finalists_looks = record.finalists.looks
        parts.append(_looks_part(finalists_looks, "in the study's finalists"))
        configurations |= _scored_configurations(record.finalists, finalists_looks)
    known = [part for part in parts if part]
    if not known:
        return "The test split was never scored in this study."
    text = f"The test split was scored {' and '.join(known)}"
    if len(configurations) > 1:
        text += (
            f": {len(configurations)} configurations have test scores, and to choose among them by "
            "these would make the score of the chosen one optimistic"
        )
    return f"{text}."


def _scored_configurations(record: StudyRecord, looks: Looks) -> set[str]:
    """The configurations that were scored on the test split, whatever their seed."""
    return {one.config.group for one in record.results if one.number in looks.trials}


def _looks_part(looks: Looks, where: str) -> str:
    """How often networks were scored on the test split, and which; empty for never."""
    if not looks.total:
        return ""
    times = "once" if looks.total == 1 else f"{looks.total} times"
    at_least = "at least " if looks.at_least else ""
    networks = []
    if looks.trials:
        noun = "trial" if len(looks.trials) == 1 else "trials"
        networks.append(f"{noun} {number_list(sorted(looks.trials))}")
    if looks.refit:
        networks.append("the refit")
    return f"{at_least}{times} {where} ({' and '.join(networks)})"


def looks_values(record: StudyRecord) -> Row:
    """How often the networks of a study and of its finalists were scored on the test split."""
    looks = record.looks
    finalists = record.finalists
    return {
        "count": looks.total,
        "trials": sorted(looks.trials),
        "at_least": looks.at_least,
        "finalists_count": None if finalists is None else finalists.looks.total,
        "text": looks_text(record),
    }


def search_space(record: StudyRecord) -> Grid:
    """The searched dimensions as a table, a row each."""
    rows: list[Row] = [
        {"searched": dimension.key, "values": str(dimension)} for dimension in record.applying
    ]
    return make_grid(["searched", "values"], rows, limit=200)


def last_end(record: StudyRecord) -> str | None:
    """The end of the last trial in UTC; None if unknown."""
    ends = [end for end in map(ended_at, record.results) if end]
    return _time_of_day(max(ends)) if ends else None


def _images_text(record: StudyRecord) -> str:
    """The shape of an image, and the number of images of each split."""
    parts = []
    if record.facts.shape:
        shape = "x".join(map(str, record.facts.shape))
        parts.append(f"{shape} (channels x height x width)")
    if record.facts.images:
        counts = [f"{count:,} {split}" for split, count in record.facts.images.items()]
        part = record.spec.fixed.get("train_images")
        if part is not None:
            counts[0] = f"{part:,} of {counts[0]}"
        parts.append(f"{', '.join(counts)}; the test split apart")
    return "; ".join(parts)


def _classes_text(record: StudyRecord) -> str:
    text = ", ".join(clip(name, _CLASS_CLIP) for name in record.classes[:_CLASSES])
    if len(record.classes) > _CLASSES:
        text += f" and {len(record.classes) - _CLASSES} more"
    return text


def _values_text(values: Mapping[str, Any]) -> str:
    known = {key: value for key, value in values.items() if value is not None}
    return ", ".join(f"{key} {value_text(value)}" for key, value in known.items())


def _time_text(record: StudyRecord) -> str:
    """The duration of all training, and its begin and end."""
    trained = [result for result in record.results if result.duplicate_of is None]
    seconds = sum(result.seconds for result in trained)
    if not seconds:
        return ""
    text = f"{format_duration(seconds)} of training in all"
    begins = [begin for begin in map(began_at, trained) if begin]
    end = last_end(record)
    if begins and end:
        text += f", from {_time_of_day(min(begins))} to {end}"
    return text


def _time_of_day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
