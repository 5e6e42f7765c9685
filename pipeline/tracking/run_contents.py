"""What of a trial becomes metrics and tags of its run. Knows no store."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.system.text import clean, csv_text
from sweeps.analysis.health import collapsed_class, dead_classes
from sweeps.trial import Epoch, TrialResult

MAX_CLASS_METRICS = 20  # with more classes, their accuracies are in the artifact only


def final_metrics(result: TrialResult) -> dict[str, float]:
    """The metrics of a finished trial: its best epoch's, and what it cost."""
    found = {
        "cost/params_millions": None if result.parameters is None else result.parameters / 1e6,
        "cost/mflops": result.mflops,
        "cost/latency_ms": result.latency_ms,
        "cost/seconds": result.seconds,
    }
    best = result.best
    if best is not None:  # a failed trial has none: it would rank
        known = [accuracy for accuracy in best.per_class if accuracy is not None]
        found |= {
            f"best/{k.replace('/', '_')}": v
            for k, v in best.metrics.items()
            if k.startswith("val/")
        }
        found |= {
            "best/epoch": float(best.epoch),
            "best/worst_class_acc": min(known) if known else None,
        }
    return {key: value for key, value in found.items() if value is not None}


def result_tags(result: TrialResult, classes: Sequence[str]) -> dict[str, str]:
    """How a trial ended, and what is wrong with it."""
    found = {"sweep.end": result.end if result.duplicate_of is None else "duplicate"}
    if result.duplicate_of is not None:
        found["sweep.duplicate_of"] = str(result.duplicate_of)
    if result.error:
        found["sweep.error"] = result.error
    top = collapsed_class(result)
    dead = dead_classes(result)
    if top is not None:
        found["sweep.collapsed"] = clean(classes[top], 100)
    if dead:
        found["sweep.dead_classes"] = clean(", ".join(classes[index] for index in dead), 1000)
    return found


def class_metrics(row: Epoch) -> dict[str, float]:
    """The metrics of an epoch's classes; of many classes none, whose accuracies are in an artifact."""
    if len(row.per_class) > MAX_CLASS_METRICS:
        return {}
    return {
        f"val_class/{index:02d}": value
        for index, value in enumerate(row.per_class)
        if value is not None
    }


def write_artifacts(folder: Path, result: TrialResult, classes: Sequence[str]) -> None:
    """Write ``config.yaml``, ``per_class.csv`` and ``per_class_train.csv`` (classes by epochs), ``confusion.csv``.

    The last has a row for each true class and a column for each predicted one.
    """
    names = [csv_text(name) for name in classes]
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in result.config.to_dict().items()]
    (folder / "config.yaml").write_text("".join(lines), encoding="utf-8")
    header = ["class", *(f"epoch {row.epoch}" for row in result.history)]
    for file, rows in (
        ("per_class.csv", [row.per_class for row in result.history]),
        ("per_class_train.csv", [row.train_per_class for row in result.history]),
    ):
        if rows and all(rows):
            _write_csv(
                folder / file,
                header,
                [[name, *shares] for name, *shares in zip(names, *rows, strict=True)],
            )
    if result.confusion is not None:
        counts = [[name, *row] for name, row in zip(names, result.confusion, strict=True)]
        _write_csv(folder / "confusion.csv", ["true \\ predicted", *names], counts)


def _write_csv(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
