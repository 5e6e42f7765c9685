"""Derives a run's metrics, tags and artifacts from the result of its trial."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.system.text import clip, csv_text
from sweeps.analysis.health import collapsed_class, dead_classes
from sweeps.analysis.naming import setting_words
from sweeps.spec.dimension import Dimension
from sweeps.trial import (
    REPEAT_FIELDS,
    Epoch,
    TrialConfig,
    TrialResult,
    config_fields,
    without_later_fields,
)

RANK = "sweep/rank"  # metric: the place of a trial in the report
MAX_CLASS_METRICS = 20  # with more classes, their accuracies are only in an artifact


_NEVER_SET = ("dataset", "data_version", "source_digest")  # by a user, beside the images
_NAME_CLIP = 120  # characters of a run's name


class EpochScores(NamedTuple):
    """The figures of the weights after an epoch, scored on a split afterwards."""

    epoch: int
    accuracy: float
    loss: float
    per_class: Sequence[float | None]  # accuracy of each class; None without images


def trial_name(number: int, config: TrialConfig, searched: Sequence[str]) -> str:
    """Return the name of a trial's run, which tells it from the other trials of its study.

    Args:
        number: of the trial.
        config: of the trial.
        searched: the fields that the study searches.
    """
    # A table shows the name's beginning: what tells trials apart, and what nearly always matters.
    first = [name for name in (*REPEAT_FIELDS, "lr") if name in searched]
    words = setting_words(config, ["family", "activation", *first, *searched])
    return clip(" ".join([f"{number:04d}", *words]), _NAME_CLIP)


def training_name(config: TrialConfig, usual: TrialConfig) -> str:
    """Return the name of a run outside any study: its images, its network, and what was set.

    Args:
        config: of the training.
        usual: the configuration of the same images and family with nothing else set.
    """
    fields = config_fields()
    decides = [
        name
        for name in config.to_dict()
        if name not in _NEVER_SET and (name not in fields or fields[name].identity)
    ]
    given = [name for name in decides if config.value(name) != usual.value(name)]
    words = setting_words(config, ["family", "activation", *given])
    return clip(" ".join([config.dataset, *words]), _NAME_CLIP)


def log_params(config: TrialConfig, dimensions: Iterable[Dimension]) -> dict[str, str]:
    """Return the logarithms of the values that a study searches on a logarithmic scale.

    The axes of MLflow's parallel coordinates are linear, which crowds small values together.

    Args:
        config: of a trial.
        dimensions: of its study.
    """
    params = {}
    for name in log_fields(dimensions):
        value = config.value(name)
        if isinstance(value, float) and value > 0:
            params[log_param(name)] = f"{math.log10(value):.4g}"
    return params


def log_fields(dimensions: Iterable[Dimension]) -> list[str]:
    """Return the fields of numbers other than whole ones that are searched on a log scale."""
    fields = config_fields()
    return [
        dimension.field
        for dimension in dimensions
        if dimension.log and dimension.field in fields and fields[dimension.field].type is float
    ]


def log_param(name: str) -> str:
    """Return the name of the param that has the decimal logarithm of a field."""
    return f"log10_{name}"


def final_metrics(result: TrialResult) -> dict[str, float]:
    """Return the metrics of a finished trial: those of its best epoch, and its cost."""
    metrics = {
        "cost/params_millions": None if result.parameters is None else result.parameters / 1e6,
        "cost/mflops": result.mflops,
        "cost/latency_ms": result.latency_ms,
        "cost/seconds": result.seconds,
    }
    best = result.best
    if best is not None:  # a failed trial has no best epoch: its metrics would rank it
        for key, value in best.metrics.items():
            if key.startswith("val/"):
                metrics[f"best/{key.replace('/', '_')}"] = value
        accuracies = [accuracy for accuracy in best.per_class if accuracy is not None]
        metrics["best/epoch"] = float(best.epoch)
        metrics["best/worst_class_acc"] = min(accuracies) if accuracies else None
    return {key: value for key, value in metrics.items() if value is not None}


def result_tags(result: TrialResult, classes: Sequence[str]) -> dict[str, str]:
    """Return tags with the end of a trial, and with failures of its network."""
    tags = {"sweep.end": result.end if result.duplicate_of is None else "duplicate"}
    if result.duplicate_of is not None:
        tags["sweep.duplicate_of"] = str(result.duplicate_of)
    if result.error:
        tags["sweep.error"] = result.error
    collapsed = collapsed_class(result)
    if collapsed is not None:
        tags["sweep.collapsed"] = clip(classes[collapsed], 100)
    dead = dead_classes(result)
    if dead:
        tags["sweep.dead_classes"] = clip(", ".join(classes[index] for index in dead), 1000)
    return tags


def epoch_points(row: Epoch) -> list[tuple[str, int, float]]:
    """Return the metrics of an epoch, with the accuracies of the classes and the losses of steps.

    Returns:
        The key, the step (an epoch, or a number of optimizer steps), and the value.
    """
    values = {**row.metrics, **class_metrics(row.per_class)}
    points = [(key, row.epoch, value) for key, value in values.items()]
    points += [("train/step_loss", step, loss) for step, loss in row.step_losses]
    return points


def class_metrics(
    per_class: Sequence[float | None], section: str = "val_class"
) -> dict[str, float]:
    """Return the accuracies of the classes as metrics; none if there are many classes.

    Args:
        per_class: the accuracy of each class; None without images.
        section: of the metrics' names.
    """
    if len(per_class) > MAX_CLASS_METRICS:
        return {}
    return {
        f"{section}/{index:02d}": accuracy
        for index, accuracy in enumerate(per_class)
        if accuracy is not None
    }


def scored_points(split: str, row: EpochScores) -> dict[str, float]:
    """Return the metrics of an epoch that was scored on a split afterwards.

    Args:
        split: ``train``, ``val`` or ``test``.
        row: its figures.
    """
    return {
        f"{split}_epochs/acc": row.accuracy,
        f"{split}_epochs/loss": row.loss,
        **class_metrics(row.per_class, f"{split}_epochs_class"),
    }


def write_scored_epochs(file: Path, rows: Sequence[EpochScores], classes: Sequence[str]) -> None:
    """Write the accuracies of the classes after each epoch as a CSV: classes by epochs."""
    header = ["class", *(f"epoch {row.epoch}" for row in rows)]
    accuracies = [row.per_class for row in rows]
    names = [csv_text(name) for name in classes]
    lines = [[name, *values] for name, *values in zip(names, *accuracies, strict=True)]
    _write_csv(file, header, lines)


def write_artifacts(folder: Path, result: TrialResult, classes: Sequence[str]) -> None:
    """Write the artifacts of a finished trial, apart from its weights.

    - ``config.yaml``: the configuration, without later fields that leave a trial as it was before
      they came: so the file of an earlier version is complete.
    - ``per_class.csv``, ``per_class_train.csv``: accuracies, classes by epochs.
    - ``confusion.csv``: a row for each true class, a column for each predicted class.
    """
    names = [csv_text(name) for name in classes]
    settings = without_later_fields(result.config.to_dict())
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]
    (folder / "config.yaml").write_text("".join(lines), encoding="utf-8")
    by_epoch = {
        "per_class.csv": [row.per_class for row in result.history],
        "per_class_train.csv": [row.train_per_class for row in result.history],
    }
    header = ["class", *(f"epoch {row.epoch}" for row in result.history)]
    for file, accuracies in by_epoch.items():
        if accuracies and all(accuracies):
            rows = [[name, *values] for name, *values in zip(names, *accuracies, strict=True)]
            _write_csv(folder / file, header, rows)
    if result.confusion is not None:
        counts = [[name, *row] for name, row in zip(names, result.confusion, strict=True)]
        _write_csv(folder / "confusion.csv", ["true \\ predicted", *names], counts)


def _write_csv(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
