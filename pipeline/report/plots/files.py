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


def save(record: StudyRecord, folder: Path) -> list[Path]:
    """Draw every plot that has something to show into ``folder``, and return the files."""
    return [drawn.path for drawn in draw_files(record, folder)]


def draw_files(record: StudyRecord, folder: Path, part: int = 0, parts: int = 1) -> list[DrawnPlot]:
    """Draw every plot of one part of the registry that has something to show.

    Args:
        record: the study.
        folder: where each plot is written as ``NAME.png``; it is made if it is missing.
        part: which part, from 0. The plots are dealt out to the parts in turn.
        parts: the number of parts; other processes draw the others.

    Returns:
        The files and what they show, so that a large study is not analysed again for the words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    # The same picture whatever the user's matplotlibrc says: with LaTeX switched on, class names would not be drawn.
    with matplotlib.style.context("default", after_reset=True):
        for place, (name, plot) in list(enumerate(PLOTS.items()))[part::parts]:
            path = folder / f"{name}.png"
            info = plot.info(record)
            if info is None:
                path.unlink(missing_ok=True)  # left by an earlier study of this name
                continue
            _write(plot.draw(info), path)
            files.append(
                DrawnPlot(
                    place=place, path=path, title=plot.title, about=plot.about, alt=plot.alt(info)
                )
            )
    return files


def _write(figure: Figure, path: Path) -> None:
    """Write a PNG and draw everything once: `savefig` would draw a first time only to lay the figure out."""
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)  # untyped
    canvas.print_png(path)
