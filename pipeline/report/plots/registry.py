"""The plots of a study: what each is made of, and their files. Neither computes nor draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.report.plots import info_best, info_costs, info_factors, info_fields, info_scores, info_trials
from pipeline.report.plots.draw_best import draw_confusion, draw_curves, draw_per_class
from pipeline.report.plots.draw_costs import draw_pareto, draw_pruning
from pipeline.report.plots.draw_factors import draw_factors
from pipeline.report.plots.draw_fields import draw_importance, draw_parallel, draw_slices
from pipeline.report.plots.draw_scores import draw_finalists, draw_published
from pipeline.report.plots.draw_trials import draw_history, draw_timeline
from pipeline.report.plots.labels import Drawn
from sweeps.analysis.ranking import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot: what it computes of a study (None where there is nothing to draw), how that is drawn, and said."""

    title: str
    about: str  # how to read it, in a sentence
    info: Callable[[StudyRecord], Any]
    alt: Callable[[Any], str]  # what it shows, in words and figures, for those who do not see it
    draw: Callable[[Any], Figure]


def save(record: StudyRecord, folder: Path) -> list[Path]:
    """Draw what can be drawn of a study into ``folder``, a PNG for each of `PLOTS`, and return the files."""
    return [drawn.path for drawn in draw(record, folder)]


def draw(record: StudyRecord, folder: Path, part: int = 0, parts: int = 1) -> list[Drawn]:
    """The same; return the files with what they show, for which a large study would not be gone through again.

    Of several parts only one: each draws every so manieth plot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    # The same picture whatever the user's matplotlibrc says: LaTeX switched on there would stumble over names.
    with matplotlib.style.context("default", after_reset=True):
        for place, (name, plot) in list(enumerate(PLOTS.items()))[part::parts]:
            path, info = folder / f"{name}.png", plot.info(record)
            if info is None:
                path.unlink(missing_ok=True)  # of an earlier study of this name
                continue
            _write(plot.draw(info), path)
            found.append(Drawn(place=place, path=path, title=plot.title, about=plot.about, alt=plot.alt(info)))
    return found


def _write(figure: Figure, path: Path) -> None:
    """Write a PNG, each thing drawn once: `savefig` would draw all a first time only to lay it out."""
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)  # untyped
    canvas.print_png(path)


PLOTS: dict[str, Plot] = {
    "finalists": Plot(
        title="Finalists",
        about="Each finalist was trained again with fresh seeds, the small dots; the intervals are of each mean "
        "alone, and whether one is better is judged seed by seed, in the table.",
        info=info_scores.finalists_info,
        alt=info_scores.finalists_alt,
        draw=draw_finalists,
    ),
    "published": Plot(
        title="Published accuracy and ours",
        about="A cross is a published figure, a dot the mean of our seeds with their spread; where the cross lies "
        "inside the spread, the two agree.",
        info=info_scores.published_info,
        alt=info_scores.published_alt,
        draw=draw_published,
    ),
    "factors": Plot(
        title="Effect of each factor",
        about="Along each panel only that field changes, so that a rise or fall wider than the spread of the seeds is "
        "the field's own effect.",
        info=info_factors.factors_info,
        alt=info_factors.factors_alt,
        draw=draw_factors,
    ),
    "optimization_history": Plot(
        title="Optimisation history",
        about="Trials in the order in which they began: where the grey line still climbs at the right end, more trials "
        "would probably find something better.",
        info=info_trials.history_info,
        alt=info_trials.history_alt,
        draw=draw_history,
    ),
    "slices": Plot(
        title="Slices",
        about="Each dot is one trial at its value of one field: where the upper edge of the dots peaks, that field's "
        "good values lie, unless they lie at an end of the axis, beyond which better ones may be.",
        info=info_fields.slices_info,
        alt=info_fields.slices_alt,
        draw=draw_slices,
    ),
    "importance": Plot(
        title="Importance",
        about="With enough trials each field has a bar: the longer, the more its value decided whether a trial came "
        "among the best third; a field with a short one may be set to what is cheapest.",
        info=info_fields.importance_info,
        alt=info_fields.importance_alt,
        draw=draw_importance,
    ),
    "parallel_coordinates": Plot(
        title="Parallel coordinates",
        about="Each line is one trial from its first field to its value: where the strongest lines pass together, "
        "the good trials agree.",
        info=info_fields.parallel_info,
        alt=info_fields.parallel_alt,
        draw=draw_parallel,
    ),
    "pareto": Plot(
        title="What accuracy costs",
        about="No trial is better at the same cost than those on the green steps: choose the step after which more "
        "cost buys little.",
        info=info_costs.pareto_info,
        alt=info_costs.pareto_alt,
        draw=draw_pareto,
    ),
    "learning_curves": Plot(
        title="Learning curves",
        about="A gap that widens while validation gets no better is overfitting; training is measured with dropout and "
        "augmentation, and may lie below validation; the trials are those of the search.",
        info=info_best.curves_info,
        alt=info_best.curves_alt,
        draw=draw_curves,
    ),
    "per_class": Plot(
        title="Accuracy per class",
        about="A faint row is a class that is hard for every trial, a faint cell a trial that has trouble with that "
        "class alone; the trials are those of the search.",
        info=info_best.per_class_info,
        alt=info_best.per_class_alt,
        draw=draw_per_class,
    ),
    "confusion": Plot(
        title="Confusion of the winner",
        about="Each row holds the images of one true class; what lies off the diagonal was taken for the class below; "
        "once finalists have decided, the winner is theirs.",
        info=info_best.confusion_info,
        alt=info_best.confusion_alt,
        draw=draw_confusion,
    ),
    "pruning": Plot(
        title="Every trial by epoch, and the epochs spared",
        about="Above, lines that end early are trials given up because they lagged; below, the hatched area is the "
        "training that this saved.",
        info=info_costs.pruning_info,
        alt=info_costs.pruning_alt,
        draw=draw_pruning,
    ),
    "timeline": Plot(
        title="Time line",
        about="Each bar is one trial from its beginning to its end: where bars lie above each other trials were "
        "trained side by side, and a hatched strip is a pause that was cut out.",
        info=info_trials.timeline_info,
        alt=info_trials.timeline_alt,
        draw=draw_timeline,
    ),
}
