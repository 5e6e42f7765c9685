"""What a plot is: its title, how to read it, its numbers, its words, and its drawing."""

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
    """One plot of a study. Its numbers are computed first and are tested; the drawing only draws them."""

    title: str
    about: str  # how to read it, in a sentence
    info: Callable[[StudyRecord], Any]  # its numbers; None where there is nothing to draw
    alt: Callable[[Any], str]  # the same numbers in words, for readers who do not see the picture
    draw: Callable[[Any], Figure]


@dataclass(frozen=True, kw_only=True)
class DrawnPlot:
    """A plot that was written to a file."""

    place: int  # its position in the registry
    path: Path
    title: str
    about: str  # how to read it
    alt: str  # what it shows, in words and figures
