"""The plots of a study: what each is made of, and their files. Neither computes nor draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style

from pipeline import info_best, info_factors, info_fields, info_scores, info_trials
from pipeline.draw_best import draw_confusion, draw_curves, draw_per_class
from pipeline.draw_factors import draw_factors
from pipeline.draw_fields import draw_importance, draw_parallel
from pipeline.draw_scores import draw_published
from pipeline.draw_trials import draw_history
from sweeps.ranking import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot: what it computes of a study (None where there is nothing to draw), and how that is drawn."""

    title: str
    info: Callable[[StudyRecord], Any]
    draw: Callable[[Any], Figure]


def save(record: StudyRecord, folder: Path) -> list[Path]:
    """Draw what can be drawn of a study into ``folder``, a PNG for each of `PLOTS`, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    # The same picture whatever the user's matplotlibrc says: LaTeX switched on there would stumble over names.
    with matplotlib.style.context("default", after_reset=True):
        for name, plot in PLOTS.items():
            info = plot.info(record)
            if info is not None:
                paths.append(folder / f"{name}.png")
                plot.draw(info).savefig(paths[-1], dpi=DPI)
    return paths


PLOTS: dict[str, Plot] = {
    "published": Plot(title="Published accuracy and ours", info=info_scores.published_info, draw=draw_published),
    "factors": Plot(title="Effect of each factor", info=info_factors.factors_info, draw=draw_factors),
    "optimization_history": Plot(title="Optimisation history", info=info_trials.history_info, draw=draw_history),
    "learning_curves": Plot(title="Learning curves", info=info_best.curves_info, draw=draw_curves),
    "per_class": Plot(title="Accuracy per class", info=info_best.per_class_info, draw=draw_per_class),
    "confusion": Plot(title="Confusion of the best trial", info=info_best.confusion_info, draw=draw_confusion),
    "parallel_coordinates": Plot(title="Parallel coordinates", info=info_fields.parallel_info, draw=draw_parallel),
    "importance": Plot(title="Importance", info=info_fields.importance_info, draw=draw_importance),
}
