"""What the drawings of a study share: colours, markers, figures, axes, legends, text. Knows no plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.report.plots.labels import rounded
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Normalize

# Told apart by the colour-blind too (Okabe and Ito, https://jfly.uni-koeln.de/color/).
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
GREY = "#7a7a7a"
LIGHT = "#dcdcdc"
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
MARKERS = {COMPLETE: ("o", BLUE), PRUNED: ("v", ORANGE), FAILED: ("x", RED), RUNNING: ("s", GREEN)}
DASHES = (0, (4, 2))
UPRIGHT = 12  # characters of a tick's label; longer ones stand upright
MANY = 200  # trials from which on markers are small
FEW = 2000  # points
CELLS = 20  # classes up to which a heat map's cells hold their number


def plain(text: object, limit: int = 28) -> str:
    """Text that can be drawn: what is unprintable or missing in the font escaped, the middle cut beyond ``limit``."""
    shown = "".join(
        c if c.isprintable() and _drawable(c) else c.encode("unicode_escape").decode()
        for c in str(text)
    )
    tail = limit // 3  # kept: long names often differ at the end
    if len(shown) <= limit:
        return shown
    return f"{shown[: limit - tail - 1]}…{shown[-tail:]}"


@cache
def _drawable(character: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(character)) != 0


def titled_figure(title: str, study: str, size: tuple[float, float]) -> Figure:
    """An empty figure of a size in inches, its title naming the study."""
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(
        f"{title}: {plain(study, 40)}",
        fontsize=11,
        fontweight="bold",
        x=0.01,
        ha="left",
        parse_math=False,
    )
    return figure


def labelled_axes(figure: Figure, across: str, up: str) -> Axes:
    """The only axes of a figure, whole numbers across."""
    axes = figure.subplots()
    label_axes(axes, across, up)
    return axes


def label_axes(axes: Axes, across: str, up: str) -> None:
    """Say what lies across, in whole numbers, and what upwards."""
    light(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(across)
    axes.set_ylabel(plain(up, 60), parse_math=False)


def grid_of_axes(figure: Figure, count: int, columns: int, **style: Any) -> list[Axes]:
    """As many axes as asked for, row by row."""
    grid = list(figure.subplots(math.ceil(count / columns), columns, squeeze=False, **style).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[:count]:
        light(axes)
    return grid[:count]


def light(axes: Axes) -> None:
    """Leave of the frame what measures: a faint grid, the left and the lower edge."""
    axes.grid(color=LIGHT, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def log_scale(axes: Axes, which: str) -> None:
    """Make the ``x`` or ``y`` axis logarithmic, its numbers written out: easier to read than powers of ten."""
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    if high > 5 * low:
        axis.set_major_locator(
            LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=6)
        )
    else:  # there may be no power of ten
        axis.set_major_locator(MaxNLocator(4))
    write_out(axis)
    axis.set_minor_locator(NullLocator())


def write_out(axis: Axis) -> None:
    """Let an axis show its numbers as text does: 100,000."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: rounded(value)))


def add_legend(figure: Figure, place: Any, **style: Any) -> None:
    """Explain the markers, in text that is never mathematics."""
    for text in figure.legend(loc=place, frameon=False, fontsize=9, **style).get_texts():
        text.set_parse_math(False)


def small_legend(axes: Axes) -> None:
    """Explain the markers inside the axes, where they leave room: to look for that takes long with many points."""
    points = sum(np.size(line.get_ydata()) for line in axes.lines)
    legend = axes.legend(
        loc="best" if points <= FEW else "center right", framealpha=0.7, prop={"size": 8}
    )
    legend.get_frame().set_edgecolor("none")
    for text in legend.get_texts():
        text.set_parse_math(False)


def heat(
    axes: Axes, values: np.ndarray, norm: Normalize, label: str, texts: list[list[str]]
) -> None:
    """Draw a matrix, its texts in the cells unless there are many; grey with a dash where it has no number."""
    axes.grid(False)
    axes.set_facecolor(LIGHT)
    image = axes.imshow(values, norm=norm, cmap="Blues", aspect="auto", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, label=label)
    if len(values) > CELLS:
        return
    for row, column in np.ndindex(*values.shape):
        known = np.isfinite(values[row, column])
        colour = "white" if known and norm(values[row, column]) > 0.55 else "black"
        text = texts[row][column] if known else "-"
        cell = axes.text(column, row, text, ha="center", va="center", fontsize=7.5)
        cell.set_color(GREY if text == "0" else colour)
        cell.set_in_layout(False)  # it lies inside, and measuring hundreds is slow


def class_ticks(set_ticks: Callable[..., Any], names: Sequence[str], **style: Any) -> None:
    """Label the classes; of many only every second, third, ... so that no two labels touch."""
    every = math.ceil(len(names) / 60)
    size = 8 if len(names) <= 30 else 6
    set_ticks(
        range(0, len(names), every),
        [plain(n) for n in names[::every]],
        fontsize=size,
        parse_math=False,
        **style,
    )
