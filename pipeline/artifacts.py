"""The files that a trial's run keeps: its configuration, and its classes' figures under their true names."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.text import csv_text
from sweeps.trial import TrialResult


def write(folder: Path, result: TrialResult, classes: Sequence[str]) -> None:
    """Write ``config.yaml``, ``per_class.csv`` (classes by epochs) and ``confusion.csv`` (true by predicted)."""
    names = [csv_text(name) for name in classes]
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in result.config.to_dict().items()]
    (folder / "config.yaml").write_text("".join(lines), encoding="utf-8")
    if result.history:
        rows = [[name, *(row.per_class[index] for row in result.history)] for index, name in enumerate(names)]
        _write_csv(folder / "per_class.csv", ["class", *(f"epoch {row.epoch}" for row in result.history)], rows)
    if result.confusion is not None:
        counts = [[name, *row] for name, row in zip(names, result.confusion, strict=True)]
        _write_csv(folder / "confusion.csv", ["true \\ predicted", *names], counts)


def _write_csv(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
