"""Draws one plot of a study as a figure, for scripts and notebooks."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import matplotlib.style

from models.suggestions import did_you_mean
from pipeline.report.plots.registry import PLOTS
from pipeline.system.errors import UsageFailure
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figure(record: StudyRecord, name: str) -> Figure | None:
    """Draw a plot of a study.

    Args:
        record: the study.
        name: a key of `PLOTS`.

    Returns:
        The figure; None if the study has nothing to show in it.

    Raises:
        UsageFailure: if there is no such plot.
    """
    if name not in PLOTS:
        hint = did_you_mean(name, list(PLOTS))
        raise UsageFailure(f"no plot {name!r}; {hint}")
    plot = PLOTS[name]
    info = plot.info(record)
    if info is None:
        return None
    with matplotlib.style.context("default", after_reset=True):  # as in the report
        figure = plot.draw(info)
    # Notebooks show figures by themselves only once pyplot is imported, which picks a backend for
    # the whole process.
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    """Draw a figure as the bytes of a PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
