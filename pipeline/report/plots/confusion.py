"""The winner's confusion matrix."""

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
    trial_name,
)
from sweeps.analysis.record import StudyRecord


@dataclass(frozen=True, kw_only=True)
class ConfusionInfo:
    """Validation counts of one trial at its best epoch."""

    study: str
    trial: str
    classes: list[str]
    counts: np.ndarray  # (classes, classes): [true][predicted]


def confusion_info(record: StudyRecord) -> ConfusionInfo | None:
    """Take the winner's confusion matrix, of its finalists once they have decided; None where it has none."""
    source = record.decided_finalists or record
    first = next(iter(by_rank(source)), None)
    if first is None or not first.confusion:
        return None
    counts = np.array(first.confusion)
    classes = class_names(record, len(counts))
    return ConfusionInfo(study=source.name, trial=trial_name(first), classes=classes, counts=counts)


def confusion_alt(info: ConfusionInfo) -> str:
    """How many images were taken for what they are, and the most frequent mistakes."""
    right = int(np.trace(info.counts))
    total = int(info.counts.sum())
    wrong = info.counts * ~np.eye(len(info.counts), dtype=bool)
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:5], wrong.shape)
    pairs = [
        f"{info.classes[i]} taken for {info.classes[j]} ({counted(int(wrong[i, j]), 'time')})"
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]
    return sentence(
        f"Trial {info.trial} of {info.study}: {right:,} of {counted(total, 'image')} right",
        ", ".join(pairs),
    )


def draw_confusion(info: ConfusionInfo) -> Figure:
    """Draw each row as shares of the true class's images."""
    side = min(10.0, max(4.4, 2.4 + 0.4 * len(info.counts)))
    figure = titled_figure(
        f"Confusion on validation, trial {plain(info.trial, 36)}", info.study, (side + 1.6, side)
    )
    axes = labelled_axes(figure, "predicted class", "true class")
    with np.errstate(invalid="ignore"):  # a class without images: 0 / 0
        shares = info.counts / info.counts.sum(axis=1, keepdims=True)
    heat(
        axes,
        shares,
        Normalize(0, 1),
        "share of the true class's images",
        info.counts.astype(str).tolist(),
    )
    axes.set_aspect("equal")
    class_ticks(
        axes.set_xticks, info.classes, rotation=90 if max(map(len, info.classes)) > 3 else 0
    )
    class_ticks(axes.set_yticks, info.classes)
    return figure


PLOT = Plot(
    title="Confusion of the winner",
    about="Each row holds the images of one true class; what lies off the diagonal was taken for the class below; "
    "once finalists have decided, the winner is theirs.",
    info=confusion_info,
    alt=confusion_alt,
    draw=draw_confusion,
)
