"""Draws a study's plots into PNG files, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.report.plots.base import DrawnPlot
from pipeline.report.plots.registry import PLOTS
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130


def draw_files(record: StudyRecord, folder: Path, part: int = 0, parts: int = 1) -> list[DrawnPlot]:
    """Draw every plot of one part of the registry that has something to show.

    Args:
        record: the study.
        folder: where each plot is written as ``NAME.png``. It is made if it is missing.
        part: which part, from 0. The plots are dealt out to the parts in turn.
        parts: the number of parts. Other processes draw the others.

    Returns:
        The drawn plots with their words, so that a large study is not analysed again for these.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    registered = list(enumerate(PLOTS.items()))
    # The image must not depend on the user's matplotlibrc: with LaTeX switched on, class names
    # would not be drawn.
    with matplotlib.style.context("default", after_reset=True):
        for place, (name, plot) in registered[part::parts]:
            path = folder / f"{name}.png"
            info = plot.info(record)
            if info is None:
                path.unlink(missing_ok=True)  # left by an earlier study of this name
                continue
            _write(plot.draw(info), path)
            alt = plot.alt(info)
            drawn.append(
                DrawnPlot(place=place, path=path, title=plot.title, about=plot.about, alt=alt)
            )
    return drawn


def _write(figure: Figure, path: Path) -> None:
    """Write a PNG, and draw only once: `savefig` would first draw everything for the layout."""
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)  # untyped
    canvas.print_png(path)
