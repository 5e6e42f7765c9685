"""Lists the plots of a study, in the order of the report.

To add a plot, write its file in this folder, and add its name here.
"""

from __future__ import annotations

from importlib import import_module

from pipeline.report.plots.base import Plot

PLOT_NAMES: tuple[str, ...] = (
    "finalists",
    "published",
    "data_size",
    "factors",
    "factor_curves",
    "optimization_history",
    "edf",
    "importance",
    "slices",
    "contour",
    "parallel_coordinates",
    "pareto",
    "learning_curves",
    "pruning",
    "loss_deviation",
    "per_class",
    "confusion",
    "reliability",
    "timeline",
)


def _load(name: str) -> Plot:
    """The plot of a module in this folder."""
    plot: Plot = import_module(f"pipeline.report.plots.{name}").PLOT
    return plot


PLOTS = {name: _load(name) for name in PLOT_NAMES}
