"""Draws the accuracy of the best trials, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    class_names,
    counted,
    end_unless_complete,
    ranked_trials,
    sentence,
)
from pipeline.report.plots.style import (
    draw_heat_map,
    drawable_text,
    label_classes,
    labelled_axes,
    titled_figure,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class PerClassInfo:
    """Validation accuracy of each class at each trial's best epoch."""

    trials: list[list[str]]  # number, family and, unless complete, state
    classes: list[str]
    accuracy: np.ndarray  # (classes, trials), from 0 to 1; NaN where a class has no images


def per_class_info(record: StudyRecord, top: int = 10) -> PerClassInfo | None:
    """Collect the ``top`` first-ranked trials that have accuracies per class; None without any."""
    trials = []
    columns: list[tuple[float | None, ...]] = []
    for trial in ranked_trials(record):
        accuracies = trial.best.per_class if trial.best else ()
        same_classes = not columns or len(accuracies) == len(columns[0])
        if accuracies and same_classes:
            trials.append(_trial_words(trial))
            columns.append(accuracies)
    if not trials:
        return None
    accuracy = np.array(columns[:top], dtype=float).T
    return PerClassInfo(
        trials=trials[:top],
        classes=class_names(record, len(accuracy)),
        accuracy=accuracy,
    )


def _trial_words(trial: TrialResult) -> list[str]:
    words = [f"#{trial.number}", trial.config.family]
    end = end_unless_complete(trial)
    if end:
        words.append(end)
    return words


def per_class_alt(info: PerClassInfo) -> str:
    """Tell the best trial's range, and the classes that are hardest on average over the trials."""
    return sentence(
        f"{counted(len(info.classes), 'class')} in {counted(len(info.trials), 'trial')}",
        f"{' '.join(info.trials[0])}: {_range_of_best(info)}",
        _hardest_classes(info),
    )


def _range_of_best(info: PerClassInfo) -> str:
    best_trial = info.accuracy[:, 0]
    scores = [
        (accuracy, name)
        for name, accuracy in zip(info.classes, best_trial, strict=True)
        if np.isfinite(accuracy)
    ]
    if not scores:
        return "unknown"
    lowest, hardest = min(scores)
    highest, _ = max(scores)
    return f"from {100 * lowest:.1f} % ({hardest}) to {100 * highest:.1f} %"


def _hardest_classes(info: PerClassInfo) -> str:
    means = []
    for name, row in zip(info.classes, info.accuracy, strict=True):
        finite = row[np.isfinite(row)]
        if finite.size:
            means.append((float(finite.mean()), name))
    if not means:
        return ""
    hardest = ", ".join(f"{name} {100 * mean:.1f} %" for mean, name in sorted(means)[:3])
    return f"lowest on average: {hardest}"


def draw_per_class(info: PerClassInfo) -> Figure:
    """Draw classes down and trials across, the first-ranked trial leftmost."""
    classes, trials = info.accuracy.shape
    width = max(6.0, 3.4 + 0.62 * trials)
    height = min(11.0, max(3.0, 1.8 + 0.3 * classes))
    figure = titled_figure("Accuracy per class, best trials first", (width, height))
    axes = labelled_axes(figure, "trial", "true class")
    finite = info.accuracy[np.isfinite(info.accuracy)]
    lowest = float(finite.min()) if finite.size else 0.0
    norm = Normalize(min(lowest, 0.99), 1)
    texts = [[_cell_text(accuracy) for accuracy in row] for row in info.accuracy]
    draw_heat_map(axes, info.accuracy, norm, "validation accuracy (%)", texts)
    labels = ["\n".join(drawable_text(word, 9) for word in words) for words in info.trials]
    axes.set_xticks(range(trials), labels, fontsize=8, parse_math=False)
    label_classes(axes.set_yticks, info.classes)
    return figure


def _cell_text(accuracy: float) -> str:
    """An accuracy in per cent, without decimals where there is nothing behind the point."""
    return "100" if accuracy == 1 else f"{100 * accuracy:.1f}"


PLOT = Plot(
    title="Accuracy per class",
    about="A faint row is a class that is hard for every trial, a faint cell a trial that has "
    "trouble with that class alone; the trials are those of the search.",
    info=per_class_info,
    alt=per_class_alt,
    draw=draw_per_class,
)
