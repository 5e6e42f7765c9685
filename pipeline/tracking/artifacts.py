"""The files that a trial's run keeps: its configuration, and its classes' figures under their true names."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.system.text import csv_text
from sweeps.trial import TrialResult


def write(folder: Path, result: TrialResult, classes: Sequence[str]) -> None:
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
            _write_csv(folder / file, header, [[name, *shares] for name, *shares in zip(names, *rows, strict=True)])
    if result.confusion is not None:
        counts = [[name, *row] for name, row in zip(names, result.confusion, strict=True)]
        _write_csv(folder / "confusion.csv", ["true \\ predicted", *names], counts)


def _write_csv(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
