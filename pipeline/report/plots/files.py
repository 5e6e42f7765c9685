"""Draws a study's plots into files, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.report.plots.base import FORMATS, DrawnPlot, Output, Plot
from pipeline.report.plots.registry import PLOTS
from pipeline.report.plots.style import TrialFigure, paper_style
from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Text stays text: TrueType fonts are part of a PDF, and an SVG names its font. Ids are the same
# each time. Letters keep their own distances, and are not fitted to pixels, which takes longer.
_SETTINGS = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "pipeline",
    "text.hinting": "none",
}
_PNG_LEVEL = 3  # of the compression; at 6, the default, it takes longer and gives the same size
_DATES = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # left out


def draw_files(
    record: StudyRecord,
    folder: Path,
    output: Output = Output(),  # noqa: B008 - it is frozen
) -> list[DrawnPlot]:
    """Draw every plot of the registry that has something to show, as `draw_each` does."""
    return list(chain.from_iterable(draw_each(record, folder, count(), output)))


def draw_each(
    record: StudyRecord, folder: Path, places: Iterable[int], output: Output
) -> Iterator[list[DrawnPlot]]:
    """Draw some plots of the registry, one after the other.

    Args:
        record: the study.
        folder: where each plot is written as ``NAME.png``, ``NAME.pdf``, ... It is made if it is
            missing.
        places: of the plots in the registry, from 0; the first beyond its end is the last.
        output: the formats, and the look.

    Yields:
        For each place the drawn plot with its words, so that a large study is not analysed again
        for these, or the line that stands in the place of a plot that would show nothing. Nothing
        if there is neither.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    registered = list(PLOTS.items())
    look = paper_style() if output.paper else nullcontext()
    # The image must not depend on the user's matplotlibrc: with LaTeX switched on, class names
    # would not be drawn.
    with matplotlib.style.context(["default", _SETTINGS], after_reset=True), look:
        for place in places:
            if place >= len(registered):
                return
            name, plot = registered[place]
            drawn = _draw(record, place, name, plot, folder, output)
            yield [] if drawn is None else [drawn]


def _draw(
    record: StudyRecord, place: int, name: str, plot: Plot, folder: Path, output: Output
) -> DrawnPlot | None:
    """Draw one plot; None if there is nothing to say of it."""
    info = plot.info(record)
    instead = "" if info is None else plot.instead(info)
    if info is None or instead:
        for ending in FORMATS:
            (folder / f"{name}.{ending}").unlink(missing_ok=True)  # of an earlier study
    if info is None:
        return None
    if instead:
        return DrawnPlot(place=place, name=name, title=plot.title, instead=instead)
    figure = plot.draw(info)
    paths = tuple(_write(figure, folder / f"{name}.{ending}", output) for ending in output.formats)
    marks = tuple(figure.marks) if isinstance(figure, TrialFigure) else ()
    return DrawnPlot(
        place=place,
        name=name,
        title=plot.title,
        paths=paths,
        about=plot.about,
        alt=plot.alt(info),
        marks=marks,
    )


def _write(figure: Figure, path: Path, output: Output) -> Path:
    ending = path.suffix.removeprefix(".")
    if ending == "png":
        # Draw only once: `savefig` would first draw everything for the layout.
        figure.set_dpi(output.dpi)
        canvas: Any = FigureCanvasAgg(figure)  # untyped
        canvas.print_png(path, pil_kwargs={"compress_level": _PNG_LEVEL})
    else:
        figure.savefig(path, format=ending, metadata=_DATES[ending])
    return path
