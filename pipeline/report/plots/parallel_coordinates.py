"""Parallel coordinates: one line per trial through its searched fields to its value."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    GREY,
    add_legend,
    plain,
    titled_figure,
)
from sweeps.trial import COMPLETE, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from dataclasses import dataclass

from pipeline.report.plots.labels import (
    axis_label,
    by_rank,
    counted,
    evenly,
    listed,
    sentence,
    wide,
    with_value,
)
from pipeline.report.plots.scales import Scale, scale_of
from sweeps.analysis.naming import config_text
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

MOST_LINES = {COMPLETE: 150, PRUNED: 50}  # of parallel coordinates: more of them are one smear


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of parallel coordinates, from 0 at its lower to 1 at its upper end."""

    name: str
    ticks: list[tuple[float, str]]
    gaps: bool = False  # whether some line lacks it


@dataclass(frozen=True, kw_only=True)
class Line:
    """One trial across the axes."""

    places: list[float | None]  # per axis, from 0 to 1; None where the field does not apply
    state: str
    goodness: float  # 1 for the best value, 0 for the worst


@dataclass(frozen=True, kw_only=True)
class ParallelInfo:
    """One axis for each searched field and one for the value."""

    study: str
    axes: list[Axis]
    lines: list[Line]  # the worst first, so that the best are drawn on top
    trials: int  # how many the lines are chosen from
    best: str  # its trial in words


def parallel_info(record: StudyRecord) -> ParallelInfo | None:
    """Lay out the trials that have a value; None where there are none or nothing was searched.

    Of many trials an even selection over their ranks is taken, the best and the worst among them.
    """
    valued = with_value(record)
    if not valued or not record.searched:
        return None
    valued.sort(key=lambda pair: pair[0], reverse=not record.maximize)
    scales = [scale_of(record, name, [r for _, r in valued]) for name in record.searched]
    values = [value for value, _ in valued]
    scales.append(Scale.numeric(axis_label(record), values, log=wide(values)))
    chosen: list[TrialResult] = []
    for state, most in MOST_LINES.items():
        chosen += evenly([r for _, r in valued if r.state == state], most)
    order = {r.number: i for i, (_, r) in enumerate(valued)}
    lines = []
    for result in sorted(chosen, key=lambda r: order[r.number]):
        row = [getattr(result.config, name) for name in record.searched] + [result.value]
        places = [
            None if v is None else scale.place(v) for scale, v in zip(scales, row, strict=True)
        ]
        height = places[-1] or 0.0
        lines.append(
            Line(
                places=places,
                state=result.state,
                goodness=height if record.maximize else 1 - height,
            )
        )
    axes = [
        Axis(name=scale.name, ticks=scale.ticks, gaps=any(line.places[i] is None for line in lines))
        for i, scale in enumerate(scales)
    ]
    return ParallelInfo(
        study=record.name,
        axes=axes,
        lines=lines,
        trials=len(valued),
        best=trial_in_words(record, by_rank(record)[0]),
    )


def trial_in_words(record: StudyRecord, best: TrialResult) -> str:
    """Name a trial, its value and its searched fields, for readers who do not see the picture."""
    return f"best: trial {best.number} with {config_text(best, record.searched)}: {best.value:.4g}"


def parallel_alt(info: ParallelInfo) -> str:
    """What is shown, and the best trial's values."""
    return sentence(
        f"{counted(info.trials, 'trial')} across {listed([a.name for a in info.axes], 20)}",
        info.best,
    )


_WRAP = 12  # characters of a line of a label between parallel coordinates


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw a line per trial, stronger for a better value; it drops to "n/a", dotted, where a field does not apply."""
    names = [
        plain(axis.name, 44).replace(" (", "\n(").replace("validation ", "validation\n")
        for axis in info.axes
    ]
    labels = [
        [(y, textwrap.fill(plain(label), _WRAP)) for y, label in axis.ticks] for axis in info.axes
    ]
    texts = [
        "\n".join([name, *(label for _, label in own)])
        for name, own in zip(names, labels, strict=True)
    ]
    widths = [max(0.75, 0.3 + 0.068 * max(map(len, text.split("\n")))) for text in texts]
    places = np.cumsum(widths)
    figure = titled_figure("Parallel coordinates", info.study, (places[-1] + 0.9, 5))
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, places[-1] + 0.5), ylim=(-0.2, 1.17))
    for x, axis, name, own in zip(places, info.axes, names, labels, strict=True):
        axes.plot([x, x], [0, 1], color="black", lw=0.8, zorder=3)
        axes.text(
            x, 1.08, name, ha="center", va="bottom", fontsize=9, fontweight="bold", parse_math=False
        )
        for y, label in [*own, *([(-0.13, "n/a")] if axis.gaps else [])]:
            axes.plot([x - 0.04, x + 0.04], [y, y], color="black", lw=0.8, zorder=3)
            box = {
                "boxstyle": "square,pad=0.1",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.75,
            }
            style: dict[str, Any] = {
                "ha": "right",
                "va": "center",
                "fontsize": 8,
                "parse_math": False,
                "bbox": box,
            }
            axes.text(x - 0.07, y, label, zorder=4, **style)
    _lines(axes, info, places)
    legend = [
        Line2D([], [], color=_shade(1.0), lw=2, label="complete: the better, the stronger"),
        Line2D([], [], color=GREY, lw=0.7, label="pruned"),
        Line2D([], [], color=GREY, lw=1, ls=":", label="field does not apply (n/a)"),
    ]
    add_legend(figure, "outside lower center", ncols=3, handles=legend)
    if len(info.lines) < info.trials:
        axes.set_title(
            f"{len(info.lines)} of {info.trials} trials, evenly over their ranks",
            fontsize=9,
            loc="left",
        )
    return figure


def _lines(axes: Axes, info: ParallelInfo, places: np.ndarray) -> None:
    width = 1.8 if len(info.lines) <= 60 else 0.9
    pieces: dict[str, list[tuple[Any, Any, float]]] = {
        "-": [],
        ":": [],
    }  # points, colour, line width
    for line in sorted(
        info.lines, key=lambda line: line.state == COMPLETE
    ):  # pruned ones lie below
        corners = [(x, -0.13 if y is None else y) for x, y in zip(places, line.places, strict=True)]
        colour, lw = (GREY, 0.5) if line.state == PRUNED else (_shade(line.goodness), width)
        for i in range(len(corners) - 1):
            style = ":" if None in line.places[i : i + 2] else "-"
            pieces[style].append((corners[i : i + 2], colour, lw if style == "-" else 0.6 * lw))
    for style, drawn in pieces.items():
        if drawn:
            points, colours, widths = zip(*drawn, strict=True)
            axes.add_collection(
                LineCollection(
                    points, colors=colours, linewidths=widths, linestyles=style, zorder=2
                )
            )


def _shade(goodness: float) -> Any:
    """Yellow for the worst, dark violet for the best: told apart by the colour-blind, from grey, and when inverted."""
    return mpl.colormaps["viridis"](0.93 * (1 - goodness))


PLOT = Plot(
    title="Parallel coordinates",
    about="Each line is one trial from its first field to its value: where the strongest lines pass together, "
    "the good trials agree.",
    info=parallel_info,
    alt=parallel_alt,
    draw=draw_parallel,
)
