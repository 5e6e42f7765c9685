"""The parts of a plot: its title, its numbers, the same numbers in words, and its drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.analysis.record import StudyRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of a study. The numbers are computed first and tested; the drawing only draws them."""

    title: str
    about: str  # how to read the plot, in a sentence
    info: Callable[[StudyRecord], Any]  # computes the numbers; None if there is nothing to draw
    alt: Callable[[Any], str]  # tells the numbers in words, for readers who do not see the image
    draw: Callable[[Any], Figure]


@dataclass(frozen=True, kw_only=True)
class DrawnPlot:
    """A plot that was written to a file."""

    place: int  # position in the registry
    path: Path
    title: str
    about: str  # how to read the plot
    alt: str  # what the plot shows, in words and figures
