"""Draws one line per trial through its searched fields to its value: parallel coordinates."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    best_trial_text,
    counted,
    is_percent,
    listed,
    needs_log_scale,
    number_text,
    objective_label,
    ranked_trials,
    sentence,
    thin_evenly,
    valued_trials,
)
from pipeline.report.plots.scales import Scale, scale_of
from pipeline.report.plots.style import (
    GREY,
    add_colour_bar,
    add_legend,
    drawable_text,
    is_for_paper,
    mark_trial,
    titled_figure,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PAUSED, PRUNED, TrialResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_LINES = {COMPLETE: 150, PRUNED: 50, PAUSED: 50}  # by state: more lines are one smear
_MANY_LINES = 60  # above this number, lines are thin
_WRAP = 12  # characters on a line of a tick's label
_NOT_APPLICABLE = -0.13  # height at which a line passes a field that does not apply


@dataclass(frozen=True, kw_only=True)
class ParallelAxis:
    """One axis, from 0 at its lower to 1 at its upper end."""

    name: str
    ticks: list[tuple[float, str]]
    gaps: bool = False  # whether the field does not apply to some line


@dataclass(frozen=True, kw_only=True)
class TrialLine:
    """One trial across the axes."""

    trial: int  # number
    places: list[float | None]  # on each axis, from 0 to 1; None where the field does not apply
    state: str
    goodness: float  # 1 for the best value, 0 for the worst


@dataclass(frozen=True, kw_only=True)
class ParallelInfo:
    """One axis for each searched field and one for the value."""

    axes: list[ParallelAxis]  # the last one is the value's
    lines: list[TrialLine]  # the worst first, so that the best are drawn on top
    trials: int  # number of trials from which the lines are chosen
    maximize: bool
    best: str  # the best trial in words


def parallel_info(record: StudyRecord) -> ParallelInfo | None:
    """Lay out the trials that have a value; None without any, or if nothing was searched.

    Of many trials an even selection over their ranks is taken, with the best and the worst.
    """
    valued = valued_trials(record)
    if not valued or not record.searched:
        return None
    valued.sort(key=lambda pair: pair[0], reverse=not record.maximize)
    values = [value for value, _ in valued]
    results = [result for _, result in valued]
    scales = [scale_of(record, name, results) for name in record.searched]
    log = needs_log_scale(values)
    scales.append(Scale.numeric(objective_label(record), values, log=log))
    lines = [_trial_line(record, result, scales) for result in _selection(results)]
    axes = []
    for index, scale in enumerate(scales):
        gaps = any(line.places[index] is None for line in lines)
        axes.append(ParallelAxis(name=scale.name, ticks=scale.ticks, gaps=gaps))
    axes[-1] = _in_percent(axes[-1])
    return ParallelInfo(
        axes=axes,
        lines=lines,
        trials=len(results),
        maximize=record.maximize,
        best=best_trial_text(record, ranked_trials(record)[0]),
    )


def _in_percent(axis: ParallelAxis) -> ParallelAxis:
    """The axis of the value, with its ticks in per cent if its name says so."""
    if not is_percent(axis.name):
        return axis
    ticks = [(place, number_text(100 * float(text))) for place, text in axis.ticks]
    return dataclasses.replace(axis, ticks=ticks)


def _selection(results: Sequence[TrialResult]) -> list[TrialResult]:
    """An even selection of the results of each state, in the order of the results."""
    selected: set[int] = set()
    for state, limit in _MAX_LINES.items():
        of_state = [result for result in results if result.state == state]
        selected |= {result.number for result in thin_evenly(of_state, limit)}
    return [result for result in results if result.number in selected]


def _trial_line(record: StudyRecord, result: TrialResult, scales: Sequence[Scale]) -> TrialLine:
    values = [result.config.value(name) for name in record.searched]
    values.append(result.value)
    places = [
        None if value is None else scale.place(value)
        for scale, value in zip(scales, values, strict=True)
    ]
    height = places[-1] or 0.0
    goodness = height if record.maximize else 1 - height
    return TrialLine(trial=result.number, places=places, state=result.state, goodness=goodness)


def parallel_alt(info: ParallelInfo) -> str:
    """Tell the number of trials, the axes, and the best trial's values."""
    axes = listed([axis.name for axis in info.axes], 20)
    return sentence(f"{counted(info.trials, 'trial')} across {axes}", info.best)


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw a line per trial, stronger for a better value.

    Where a field does not apply, the line drops to "n/a", dotted.
    """
    widths = [_width(axis) for axis in info.axes]
    places = np.cumsum(widths)
    figure = titled_figure("Parallel coordinates", (places[-1] + 0.9, 5))
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, places[-1] + 0.5), ylim=(-0.2, 1.17))
    for place, axis in zip(places, info.axes, strict=True):
        _draw_axis(axes, axis, place)
    _draw_lines(axes, info, places)
    if any(line.state == COMPLETE for line in info.lines):
        _add_values_bar(axes, info)
    handles = []
    if any(line.state != COMPLETE for line in info.lines):
        handles.append(Line2D([], [], color=GREY, lw=0.7, label=_thin_label(info)))
    if any(axis.gaps for axis in info.axes):
        style: dict[str, Any] = {"color": GREY, "lw": 1, "ls": ":"}
        handles.append(Line2D([], [], label="field does not apply (n/a)", **style))
    if handles:
        add_legend(figure, ncols=2, handles=handles)
    if len(info.lines) < info.trials:
        note = f"{len(info.lines)} of {info.trials} trials, evenly over their ranks"
        axes.set_title(note, fontsize=9, loc="left")
    return figure


def _add_values_bar(axes: Axes, info: ParallelInfo) -> None:
    """Say which colour is which value."""
    height = np.linspace(0, 1, 256)
    goodness = height if info.maximize else 1 - height
    colours = ScalarMappable(Normalize(0, 1), ListedColormap([_shade(one) for one in goodness]))
    label = f"{info.axes[-1].name} of complete trials"
    bar = add_colour_bar(axes, colours, label, shrink=0.72, pad=0.01)
    bar.ax.yaxis.label.set_fontsize(9)
    ticks = info.axes[-1].ticks
    bar.set_ticks([place for place, _ in ticks], labels=[text for _, text in ticks])
    bar.ax.tick_params(labelsize=8)


def _thin_label(info: ParallelInfo) -> str:
    """The states of the trials with thin lines."""
    states = {line.state for line in info.lines} - {COMPLETE}
    return " or ".join(state for state in _MAX_LINES if state in states) or PRUNED


def _width(axis: ParallelAxis) -> float:
    """The width in inches of an axis with the texts to the left."""
    names = [] if is_for_paper() else [_name_text(axis)]
    texts = [*names, *(label for _, label in _tick_labels(axis))]
    lines = "\n".join(texts).split("\n")
    longest = max(len(line) for line in lines)
    return max(0.75, 0.3 + 0.068 * longest)


def _name_text(axis: ParallelAxis) -> str:
    name = drawable_text(axis.name, 44)
    if is_for_paper():  # there it is set at a slant, on one line; the colour bar names the split
        return name.removeprefix("validation ")
    return name.replace(" (", "\n(").replace("validation ", "validation\n")


def _tick_labels(axis: ParallelAxis) -> list[tuple[float, str]]:
    if is_for_paper():
        return [(height, drawable_text(_short(label), _WRAP)) for height, label in axis.ticks]
    return [(height, textwrap.fill(drawable_text(label), _WRAP)) for height, label in axis.ticks]


def _short(label: str) -> str:
    """Abbreviate the words of an order, such as ``conv-norm-act-pool-drop``: ``CNAPD``."""
    words = label.split("-")
    if len(label) <= _WRAP or len(words) < 3:
        return label
    return "".join(word[:1] for word in words).upper()


def _draw_axis(axes: Axes, axis: ParallelAxis, place: float) -> None:
    axes.plot([place, place], [0, 1], color="black", lw=0.8, zorder=3)
    style: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "parse_math": False}
    if is_for_paper():
        style |= {"rotation": 45, "rotation_mode": "anchor", "ha": "left"}
    else:
        style["ha"] = "center"
    axes.text(place, 1.08, _name_text(axis), va="bottom", **style)
    labels = _tick_labels(axis)
    if axis.gaps:
        labels.append((_NOT_APPLICABLE, "n/a"))
    box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    style = {"fontsize": 8, "parse_math": False, "bbox": box, "zorder": 4}
    for height, label in labels:
        axes.plot([place - 0.04, place + 0.04], [height, height], color="black", lw=0.8, zorder=3)
        axes.text(place - 0.07, height, label, ha="right", va="center", **style)


def _draw_lines(axes: Axes, info: ParallelInfo, places: np.ndarray) -> None:
    complete_width = 1.8 if len(info.lines) <= _MANY_LINES else 0.9
    # By line style: the ends, the colour and the width of each piece.
    pieces: dict[str, list[tuple[Any, Any, float]]] = {"-": [], ":": []}
    for line in sorted(info.lines, key=lambda line: line.state == COMPLETE):  # others below
        if line.state != COMPLETE:
            colour = GREY
            width = 0.5
        else:
            colour = _shade(line.goodness)
            width = complete_width
        for place, height in zip(places, line.places, strict=True):
            if height is not None:
                mark_trial(axes, place, height, line.trial)
        heights = [_NOT_APPLICABLE if height is None else height for height in line.places]
        corners = list(zip(places, heights, strict=True))
        for index in range(len(corners) - 1):
            ends = corners[index : index + 2]
            if None in line.places[index : index + 2]:
                pieces[":"].append((ends, colour, 0.6 * width))
            else:
                pieces["-"].append((ends, colour, width))
    for style, styled_pieces in pieces.items():
        if styled_pieces:
            lines, colours, widths = zip(*styled_pieces, strict=True)
            axes.add_collection(
                LineCollection(lines, colors=colours, linewidths=widths, linestyles=style, zorder=2)
            )


def _shade(goodness: float) -> Any:
    """Yellow for the worst, dark violet for the best.

    The colours differ from each other for the colour-blind, from grey, and when inverted.
    """
    return mpl.colormaps["viridis"](0.93 * (1 - goodness))


PLOT = Plot(
    title="Parallel coordinates",
    about="Each line is one trial from its first field to its value: where the strongest lines "
    "pass together, the good trials agree.",
    info=parallel_info,
    alt=parallel_alt,
    draw=draw_parallel,
)
