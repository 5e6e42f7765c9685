"""The look that the plots of a study share: colours, markers, figures, axes, legends and text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from pipeline.report.plots.labels import is_percent, number_text
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axis import Axis
    from matplotlib.backend_bases import RendererBase
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Normalize
    from matplotlib.legend import Legend

# Told apart by the colour-blind too (Okabe and Ito, https://jfly.uni-koeln.de/color/).
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
GREY = "#7a7a7a"
LIGHT = "#dcdcdc"

# The marker and the colour of a trial, by its state.
MARKERS = {
    COMPLETE: ("o", BLUE),
    PRUNED: ("v", ORANGE),
    PAUSED: ("D", PURPLE),
    FAILED: ("x", RED),
    RUNNING: ("s", GREEN),
}
DASHES = (0, (4, 2))
SPLIT_OFFSETS = {"test": -0.14, "val": 0.14}  # of the marks of each split, from the middle of a row
MANY_TRIALS = 200  # above this number, markers are small
_MANY_POINTS = 2000  # above this number, looking for room for a legend takes long
_MANY_CLASSES = 20  # above this number, the cells of a heat map have no room for their numbers


PAPER_WIDTH = 5.9  # inches: the text of an A4 page with usual margins

_for_paper: ContextVar[bool] = ContextVar("paper", default=False)

# Text


def drawable_text(text: object, limit: int = 28) -> str:
    """Text that can be drawn: without unprintable characters, and shortened to ``limit``.

    Characters that are unprintable or missing in the font are escaped. A longer text loses its
    middle, not its end: long names often differ at the end.
    """
    characters = [
        character if character.isprintable() and _is_in_font(character) else _escaped(character)
        for character in str(text)
    ]
    drawable = "".join(characters)
    if len(drawable) <= limit:
        return drawable
    tail = limit // 3
    return f"{drawable[: limit - tail - 1]}…{drawable[-tail:]}"


@cache
def _is_in_font(character: str) -> bool:
    font = get_font(findfont(FontProperties()))
    return font.get_char_index(ord(character)) != 0


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


# Figures and axes


class MeasuredAxes(Axes):
    """Axes that are measured once for a layout, which asks before and after it has placed them.

    What stands around them (numbers, labels, a title) is measured again only if other numbers fit.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make axes; the arguments and options are those of axes."""
        super().__init__(*arguments, **options)
        self._measured: object = None  # what the measures depend on: the drawing, and the numbers
        # How far what stands around them reaches beyond each edge, in pixels.
        self._beyond = np.zeros((2, 2))

    def get_tightbbox(
        self,
        renderer: RendererBase | None = None,
        *,
        call_axes_locator: bool = True,
        bbox_extra_artists: Sequence[Artist] | None = None,
        for_layout_only: bool = False,
    ) -> Bbox | None:
        """The box around the axes and what stands around them, in pixels."""
        numbers = [list(axis.get_majorticklocs()) for axis in (self.xaxis, self.yaxis)]
        measured = (type(renderer), self.figure.dpi, numbers)
        if renderer is not None and for_layout_only and self._measured == measured:
            locator = self.get_axes_locator() if call_axes_locator else None
            self.apply_aspect(None if locator is None else locator(self, renderer))
            return Bbox(self.bbox.get_points() + self._beyond)
        box = super().get_tightbbox(
            renderer,
            call_axes_locator=call_axes_locator,
            bbox_extra_artists=bbox_extra_artists,
            for_layout_only=for_layout_only,
        )
        if for_layout_only and box is not None:
            self._measured = measured
            self._beyond = box.get_points() - self.bbox.get_points()
        return box


class TrialFigure(Figure):
    """A figure that knows where its trials are, so that a page can tell what they are."""

    def __init__(self, **options: Any) -> None:
        """Make an empty figure; the options are those of a figure."""
        super().__init__(**options)
        self._marks: list[tuple[Axes, float, float, int]] = []

    def add_subplot(self, *arguments: Any, **options: Any) -> Any:
        """Add axes to the figure; the arguments and options are those of a figure."""
        return super().add_subplot(*arguments, **{"axes_class": MeasuredAxes, **options})

    def add_axes(self, *arguments: Any, **options: Any) -> Any:
        """Add axes at a place, as a colour bar does; they are those of a figure, too."""
        return super().add_axes(*arguments, **{"axes_class": MeasuredAxes, **options})

    def mark(self, axes: Axes, x: float, y: float, trial: int) -> None:
        """Remember that a trial is at a point of an axis, in units of its data."""
        self._marks.append((axes, x, y, trial))

    @property
    def marks(self) -> list[tuple[float, float, int]]:
        """The places of the trials, once it is drawn: shares from the left and the top, number."""
        width, height = self.get_size_inches() * self.dpi
        places = []
        for axes, x, y, trial in self._marks:
            across, up = axes.transData.transform((x, y))
            if axes.bbox.padded(2).contains(across, up):
                places.append((round(across / width, 4), round(1 - up / height, 4), trial))
        return places


def titled_figure(title: str, size: tuple[float, float]) -> TrialFigure:
    """An empty figure with a title.

    Args:
        title: what the plot shows.
        size: width and height in inches.
    """
    if is_for_paper():
        width, height = size
        share = min(1.0, PAPER_WIDTH / width)
        # Lettering keeps its size, and needs its height.
        return TrialFigure(figsize=(share * width, max(share, 0.85) * height), layout="constrained")
    figure = TrialFigure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    return figure


def is_for_paper() -> bool:
    """Whether a figure is drawn for print, with less width."""
    return _for_paper.get()


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw for print: figures without a title, as wide as a column of text."""
    token = _for_paper.set(True)
    try:
        yield
    finally:
        _for_paper.reset(token)


def mark_trial(axes: Axes, x: float, y: float, trial: int) -> None:
    """Let a page tell which trial is drawn at a point, if the figure is `titled_figure`'s."""
    figure = axes.figure
    if isinstance(figure, TrialFigure) and math.isfinite(x) and math.isfinite(y):
        figure.mark(axes, x, y, trial)


def labelled_axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    """The only axes of a figure, labelled as by `label_axes`."""
    axes = figure.subplots()
    label_axes(axes, x_label, y_label)
    return axes


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Label both axes, and let the x axis count in whole numbers."""
    use_light_frame(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(x_label)
    label_axis(axes.yaxis, y_label)


def label_axis(axis: Axis, label: str, **style: Any) -> None:
    """Label an axis; one whose label ends in ``(%)`` shows its shares in per cent."""
    axis.set_label_text(drawable_text(label, 60), parse_math=False, **style)
    if is_percent(label):
        write_out_numbers(axis)


def label_low_panel(axes: Axes, label: str) -> None:
    """Label the y axis of a low panel: in small letters, with the unit on a line of its own."""
    label_axis(axes.yaxis, label, fontsize=9)
    axes.yaxis.set_label_text(axes.get_ylabel().replace(" (", "\n("))


def grid_of_axes(figure: Figure, count: int, columns: int, **style: Any) -> list[Axes]:
    """Divide a figure into a grid, and return its first ``count`` axes, row by row."""
    rows = math.ceil(count / columns)
    grid = list(figure.subplots(rows, columns, squeeze=False, **style).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[:count]:
        use_light_frame(axes)
    return grid[:count]


def use_light_frame(axes: Axes) -> None:
    """Reduce the frame to a faint grid and the left and lower edges, which measure."""
    axes.grid(color=LIGHT, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def use_log_scale(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, its numbers written out: easier to read than powers of ten."""
    axes.set(**{f"{name}scale": "log"})
    axis: Axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_data_interval()
    if high > 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0,), numticks=6))
    elif high > 5 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    else:  # there may be no power of ten
        axis.set_major_locator(MaxNLocator(4))
    write_out_numbers(axis)
    axis.set_minor_locator(NullLocator())


def write_out_numbers(axis: Axis, *, percent: bool | None = None) -> None:
    """Let an axis show its numbers as text does: 100,000.

    Args:
        axis: of numbers.
        percent: whether they are shares to show in per cent; None if its label says so.
    """
    if percent is None:
        percent = is_percent(axis.get_label_text())
    factor = 100 if percent else 1
    axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(factor * value)))


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Let the y axis have a row for each name, the first on top."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    labels = [drawable_text(name, 36) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=9, parse_math=False)


def label_classes(set_ticks: Callable[..., Any], names: Sequence[str], **style: Any) -> None:
    """Label the classes along an axis; of many, only every second, third, ... so that none touch.

    Args:
        set_ticks: ``axes.set_xticks`` or ``axes.set_yticks``.
        names: the class names.
        **style: passed on to ``set_ticks``.
    """
    step = math.ceil(len(names) / 60)
    labels = [drawable_text(name) for name in names[::step]]
    size = 8 if len(names) <= 30 else 6
    set_ticks(range(0, len(names), step), labels, fontsize=size, parse_math=False, **style)


# Marks and legends


def mark_failed(axes: Axes, places: Sequence[float], **style: Any) -> None:
    """Mark trials without a value along the lower edge.

    Args:
        axes: where to draw.
        places: the places along the x axis.
        **style: passed on to ``axes.plot``.
    """
    marker, colour = MARKERS[FAILED]
    heights = [0.03] * len(places)
    transform = axes.get_xaxis_transform()  # y is a share of the axis
    # Not scatter: its points with such a transform do not widen the axis.
    axes.plot(places, heights, marker, color=colour, transform=transform, zorder=3, **style)


def add_legend(figure: Figure, **style: Any) -> None:
    """Explain the markers below the axes."""
    if is_for_paper():
        style["ncols"] = min(2, style.get("ncols", 1))
    legend = figure.legend(loc="outside lower center", frameon=False, fontsize=9, **style)
    _write_as_plain_text(legend)


def add_inner_legend(axes: Axes) -> None:
    """Explain the markers inside the axes, where they leave room unless there are many points."""
    points = sum(np.size(line.get_ydata()) for line in axes.lines)
    place: Any = "best" if points <= _MANY_POINTS else "center right"
    legend = axes.legend(loc=place, framealpha=0.7, prop={"size": 8})
    legend.get_frame().set_edgecolor("none")
    _write_as_plain_text(legend)


def _write_as_plain_text(legend: Legend) -> None:
    """Keep a legend from reading names as mathematics."""
    for text in legend.get_texts():
        text.set_parse_math(False)


# Colours that mean values


def add_colour_bar(axes: Axes, colours: ScalarMappable, label: str, **style: Any) -> Colorbar:
    """Say beside axes what their colours mean; in per cent if the label ends in ``(%)``."""
    bar = axes.figure.colorbar(colours, ax=axes, **style)
    label_axis(bar.ax.yaxis, label)
    return bar


def draw_heat_map(
    axes: Axes, values: np.ndarray, norm: Normalize, label: str, texts: list[list[str]]
) -> None:
    """Draw a matrix with a colour bar, and its texts in the cells unless there are many.

    Args:
        axes: where to draw.
        values: (rows, columns); a cell that is NaN is grey with a dash.
        norm: maps the values to colours.
        label: the label of the colour bar.
        texts: the text of each cell, by row.
    """
    axes.grid(False)
    axes.set_facecolor(LIGHT)
    image = axes.imshow(values, norm=norm, cmap="Blues", aspect="auto", interpolation="nearest")
    add_colour_bar(axes, image, label, shrink=0.8, pad=0.02)
    if len(values) > _MANY_CLASSES:
        return
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        text = texts[row][column] if np.isfinite(value) else "-"
        if text == "0":
            colour = GREY
        elif np.isfinite(value) and norm(value) > 0.55:
            colour = "white"
        else:
            colour = "black"
        cell = axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
        cell.set_in_layout(False)  # it lies inside, and measuring hundreds is slow
