"""Draws the winner's confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import class_names, counted, ranked_trials, sentence, trial_name
from pipeline.report.plots.style import (
    draw_heat_map,
    drawable_text,
    label_classes,
    labelled_axes,
    titled_figure,
)
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MISTAKES = 5  # in words


@dataclass(frozen=True, kw_only=True)
class ConfusionInfo:
    """Counts of a trial's validation images at its best epoch."""

    study: str  # the winner's: the finalists', once they have decided
    trial: str
    classes: list[str]
    counts: np.ndarray  # (classes, classes): [true][predicted]


def confusion_info(record: StudyRecord) -> ConfusionInfo | None:
    """Take the confusion matrix of the study's winner.

    The winner is the finalists' once they have decided. None if it has no confusion matrix.
    """
    source = record.decided_finalists or record
    trials = ranked_trials(source)
    if not trials or not trials[0].confusion:
        return None
    winner = trials[0]
    counts = np.array(winner.confusion)
    return ConfusionInfo(
        study=source.name,
        trial=trial_name(winner),
        classes=class_names(record, len(counts)),
        counts=counts,
    )


def confusion_alt(info: ConfusionInfo) -> str:
    """Tell how many images were classified correctly, and the most frequent mistakes."""
    correct = int(np.trace(info.counts))
    total = int(info.counts.sum())
    mistakes = info.counts * ~np.eye(len(info.counts), dtype=bool)
    most_frequent = np.argsort(-mistakes, axis=None, kind="stable")[:_MAX_MISTAKES]
    texts = []
    for true, predicted in zip(*np.unravel_index(most_frequent, mistakes.shape), strict=True):
        count = int(mistakes[true, predicted])
        if count:
            pair = f"{info.classes[true]} taken for {info.classes[predicted]}"
            texts.append(f"{pair} ({counted(count, 'time')})")
    score = f"{correct:,} of {counted(total, 'image')} right"
    return sentence(f"Trial {info.trial} of {info.study}: {score}", ", ".join(texts))


def draw_confusion(info: ConfusionInfo) -> Figure:
    """Draw each row as shares of the true class's images."""
    side = min(10.0, max(4.4, 2.4 + 0.4 * len(info.counts)))
    title = f"Confusion on validation, trial {drawable_text(info.trial, 36)}"
    figure = titled_figure(title, (side + 1.6, side))
    axes = labelled_axes(figure, "predicted class", "true class")
    with np.errstate(invalid="ignore"):  # a class without images: 0 / 0
        shares = info.counts / info.counts.sum(axis=1, keepdims=True)
    texts = info.counts.astype(str).tolist()
    draw_heat_map(axes, shares, Normalize(0, 1), "share of the true class's images (%)", texts)
    axes.set_aspect("equal")
    longest = max(len(name) for name in info.classes)
    label_classes(axes.set_xticks, info.classes, rotation=90 if longest > 3 else 0)
    label_classes(axes.set_yticks, info.classes)
    return figure


PLOT = Plot(
    title="Confusion of the winner",
    about="Each row holds the images of one true class; what lies off the diagonal was taken for "
    "the class below; once finalists have decided, the winner is theirs.",
    info=confusion_info,
    alt=confusion_alt,
    draw=draw_confusion,
)
