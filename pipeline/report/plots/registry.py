"""Lists the plots of a study, in the order of the report.

To add a plot, write its file in this folder, and add its line here.
"""

from __future__ import annotations

from pipeline.report.plots import (
    confusion,
    factors,
    finalists,
    importance,
    learning_curves,
    optimization_history,
    parallel_coordinates,
    pareto,
    per_class,
    pruning,
    published,
    slices,
    timeline,
)
from pipeline.report.plots.base import Plot

PLOTS: dict[str, Plot] = {
    "finalists": finalists.PLOT,
    "published": published.PLOT,
    "factors": factors.PLOT,
    "optimization_history": optimization_history.PLOT,
    "slices": slices.PLOT,
    "importance": importance.PLOT,
    "parallel_coordinates": parallel_coordinates.PLOT,
    "pareto": pareto.PLOT,
    "learning_curves": learning_curves.PLOT,
    "per_class": per_class.PLOT,
    "confusion": confusion.PLOT,
    "pruning": pruning.PLOT,
    "timeline": timeline.PLOT,
}
