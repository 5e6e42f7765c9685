"""The accuracy of the best trials, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    class_ticks,
    heat,
    labelled_axes,
    plain,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from dataclasses import dataclass

from pipeline.report.plots.labels import (
    by_rank,
    class_names,
    counted,
    sentence,
    unless_complete,
)
from sweeps.analysis.record import StudyRecord


@dataclass(frozen=True, kw_only=True)
class PerClassInfo:
    """Validation accuracy of each class at each trial's best epoch."""

    study: str
    trials: list[list[str]]  # number, family and, unless complete, state
    classes: list[str]
    accuracy: np.ndarray  # (classes, trials), from 0 to 1; NaN where a class has no images


def per_class_info(record: StudyRecord, top: int = 10) -> PerClassInfo | None:
    """Collect the ``top`` first-ranked trials that have accuracies per class; None where none has."""
    rows = [
        (trial, trial.best.per_class)
        for trial in by_rank(record)
        if trial.best and trial.best.per_class
    ]
    rows = [(trial, row) for trial, row in rows if len(row) == len(rows[0][1])][:top]
    if not rows:
        return None
    accuracy = np.array([row for _, row in rows], dtype=float).T
    return PerClassInfo(
        study=record.name,
        trials=[[f"#{t.number}", t.config.family, *unless_complete(t)] for t, _ in rows],
        classes=class_names(record, len(accuracy)),
        accuracy=accuracy,
    )


def per_class_alt(info: PerClassInfo) -> str:
    """The best trial's range, and the classes that are hardest over all trials shown."""
    rows = [row[np.isfinite(row)] for row in info.accuracy]
    means = sorted(
        (float(row.mean()), name) for name, row in zip(info.classes, rows, strict=True) if row.size
    )
    first = sorted(
        (v, name)
        for name, v in zip(info.classes, info.accuracy[:, 0], strict=True)
        if np.isfinite(v)
    )
    if first:
        span = f"from {first[0][0]:.3f} ({first[0][1]}) to {first[-1][0]:.3f}"
    else:
        span = "unknown"
    return sentence(
        f"{counted(len(info.classes), 'class')} in {counted(len(info.trials), 'trial')}",
        f"{' '.join(info.trials[0])}: {span}",
        f"lowest on average: {', '.join(f'{name} {mean:.3f}' for mean, name in means[:3])}"
        if means
        else "",
    )


def draw_per_class(info: PerClassInfo) -> Figure:
    """Draw classes down and trials across, the first-ranked trial leftmost."""
    classes, trials = info.accuracy.shape
    size = (max(6.0, 3.4 + 0.62 * trials), min(11.0, max(3.0, 1.8 + 0.3 * classes)))
    figure = titled_figure("Accuracy per class, best trials first", info.study, size)
    axes = labelled_axes(figure, "trial", "true class")
    known = info.accuracy[np.isfinite(info.accuracy)]
    low = float(known.min()) if known.size else 0.0
    texts = [[f"{value:.2f}" for value in row] for row in info.accuracy]
    heat(axes, info.accuracy, Normalize(min(low, 0.99), 1), "validation accuracy (fraction)", texts)
    axes.set_xticks(
        range(trials),
        ["\n".join(plain(word, 9) for word in words) for words in info.trials],
        fontsize=8,
        parse_math=False,
    )
    class_ticks(axes.set_yticks, info.classes)
    return figure


PLOT = Plot(
    title="Accuracy per class",
    about="A faint row is a class that is hard for every trial, a faint cell a trial that has trouble with that "
    "class alone; the trials are those of the search.",
    info=per_class_info,
    alt=per_class_alt,
    draw=draw_per_class,
)
