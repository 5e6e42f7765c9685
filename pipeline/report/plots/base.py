"""The parts of a plot: its title, its numbers, the same numbers in words, and its drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FORMATS = ("png", "svg", "pdf")
SCREEN_DPI = 130  # of the plots of the page
PRINT_DPI = 300  # of those that are asked for


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of a study. The numbers are computed first and tested; the drawing only draws them."""

    title: str
    about: str  # how to read the plot, in a sentence
    info: Callable[[StudyRecord], Any]  # computes the numbers; None if there is nothing to draw
    alt: Callable[[Any], str]  # tells the numbers in words, for readers who do not see the image
    draw: Callable[[Any], Figure]
    # Says in a line why a drawing would show nothing, which then replaces it; empty if it would.
    instead: Callable[[Any], str] = lambda _info: ""


@dataclass(frozen=True, kw_only=True)
class Output:
    """The files of each plot, and their look."""

    formats: tuple[str, ...] = ("png",)  # of `FORMATS`
    paper: bool = False  # for print: without a title, as wide as a column of text
    dpi: int = SCREEN_DPI  # of a PNG


@dataclass(frozen=True, kw_only=True)
class DrawnPlot:
    """A plot that was written to files, or the line that stands in its place."""

    place: int  # position in the registry
    name: str
    title: str
    paths: tuple[Path, ...] = ()  # none if a line replaces the plot
    about: str = ""  # how to read the plot
    alt: str = ""  # what the plot shows, in words and figures
    instead: str = ""  # why there is no plot
    # Where trials are drawn: shares of the width from the left and of the height from the top, and
    # the number.
    marks: tuple[tuple[float, float, int], ...] = ()
