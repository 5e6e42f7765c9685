"""Draws the plots of a study that `plotinfo` computes; the only file that imports matplotlib. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline import factors, plotinfo
from pipeline.factors import FactorsInfo, Panel
from pipeline.plotinfo import (
    ConfusionInfo,
    CurvesInfo,
    HistoryInfo,
    ImportanceInfo,
    ParallelInfo,
    PerClassInfo,
    PublishedInfo,
)
from sweeps.importance import Share
from sweeps.ranking import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 130
# Told apart by the colour-blind too (Okabe and Ito, https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY, LIGHT = "#7a7a7a", "#dcdcdc"
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
MARKERS = {COMPLETE: ("o", BLUE), PRUNED: ("v", ORANGE), FAILED: ("x", RED)}
DASHES = (0, (4, 2))
_UPRIGHT = 12  # characters of a tick's label; longer ones stand upright
CELLS = 20  # classes up to which a heat map's cells hold their number


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot: what it computes of a study (None where there is nothing to draw), and how that is drawn."""

    title: str
    info: Callable[[StudyRecord], Any]
    draw: Callable[[Any], Figure]


def save(record: StudyRecord, folder: Path) -> list[Path]:
    """Draw what can be drawn of a study into ``folder``, a PNG for each of `PLOTS`, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    # The same picture whatever the user's matplotlibrc says: LaTeX switched on there would stumble over names.
    with matplotlib.style.context("default", after_reset=True):
        for name, plot in PLOTS.items():
            info = plot.info(record)
            if info is not None:
                paths.append(folder / f"{name}.png")
                plot.draw(info).savefig(paths[-1], dpi=DPI)
    return paths


def plain(text: object, limit: int = 28) -> str:
    """Text that can be drawn: what is unprintable or missing in the font escaped, the middle cut beyond ``limit``."""
    shown = "".join(c if c.isprintable() and _drawable(c) else c.encode("unicode_escape").decode() for c in str(text))
    tail = limit // 3  # kept: long names often differ at the end
    return shown if len(shown) <= limit else f"{shown[: limit - tail - 1]}…{shown[-tail:]}"


@cache
def _drawable(character: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(character)) != 0


def draw_history(info: HistoryInfo) -> Figure:
    """Draw a marker per trial, failed ones along the lower edge, and a line of the best so far."""
    figure = _figure("Optimisation history", info.study, (8, 4.6))
    axes = _axes(figure, "trial number", info.label)
    size = 36 if len(info.failed) + sum(map(len, info.points.values())) <= 200 else 12
    if info.best:
        axes.step(*zip(*info.best, strict=True), where="post", color=GREY, lw=1.2, label="best complete so far")
    for state, points in info.points.items():
        marker, colour = MARKERS[state]
        label = f"{state} ({len(points)})"
        numbers, values = zip(*points, strict=True)
        axes.scatter(numbers, values, s=size, marker=marker, color=colour, label=label, zorder=3)
    if info.failed:
        marker, colour = MARKERS[FAILED]
        label, low = f"failed, no value ({len(info.failed)})", [0.03] * len(info.failed)
        edge = axes.get_xaxis_transform()  # across by trial number, up by share of the axis
        # Not scatter: what that draws by such a transform does not widen the axis.
        axes.plot(info.failed, low, marker, ms=size**0.5, color=colour, label=label, transform=edge, zorder=3)
    if info.log:
        axes.set_yscale("log")
    if not info.points:
        axes.set_yticks([])
    axes.margins(y=0.12)
    _legend(figure, "outside lower center", ncols=4)
    return figure


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw validation solid with a dot at the best epoch, training thin and dashed in the same colour."""
    figure = _figure("Learning curves, best trials first", info.study, (9, 4.6))
    axes = _axes(figure, "epoch", info.label)
    for curve, colour in zip(info.curves, COLOURS, strict=False):
        dot = "." if len(curve.epochs) == 1 else None  # a line through one point is invisible
        axes.plot(curve.epochs, curve.validation, color=colour, lw=1.8, marker=dot, label=plain(curve.name, 36))
        axes.plot(curve.epochs, curve.train, color=colour, lw=0.9, ls=DASHES, marker=dot, alpha=0.8)
        if curve.best_epoch in curve.epochs:
            best = curve.validation[curve.epochs.index(curve.best_epoch)]
            axes.plot([curve.best_epoch], [best], "o", color=colour, ms=7, mec="white", zorder=4)
    axes.plot([], [], color=GREY, lw=0.9, ls=DASHES, label=info.train_label)
    axes.plot([], [], "o", color=GREY, ms=7, mec="white", label="best epoch")
    if info.log:
        axes.set_yscale("log")
    _legend(figure, "outside right upper")
    return figure


def draw_per_class(info: PerClassInfo) -> Figure:
    """Draw classes down and trials across, the first-ranked trial leftmost."""
    classes, trials = info.accuracy.shape
    size = (max(6.0, 3.4 + 0.62 * trials), min(11.0, max(3.0, 1.8 + 0.3 * classes)))
    figure = _figure("Accuracy per class, best trials first", info.study, size)
    axes = _axes(figure, "trial", "true class")
    known = info.accuracy[np.isfinite(info.accuracy)]
    low = float(known.min()) if known.size else 0.0
    texts = [[f"{value:.2f}" for value in row] for row in info.accuracy]
    _heat(axes, info.accuracy, Normalize(min(low, 0.99), 1), "validation accuracy (fraction)", texts)
    axes.set_xticks(
        range(trials),
        ["\n".join(plain(word, 9) for word in words) for words in info.trials],
        fontsize=8,
        parse_math=False,
    )
    _class_ticks(axes.set_yticks, info.classes)
    return figure


def draw_confusion(info: ConfusionInfo) -> Figure:
    """Draw each row as shares of the true class's images."""
    side = min(10.0, max(4.4, 2.4 + 0.4 * len(info.counts)))
    figure = _figure(f"Confusion on validation, trial {plain(info.trial, 36)}", info.study, (side + 1.6, side))
    axes = _axes(figure, "predicted class", "true class")
    with np.errstate(invalid="ignore"):  # a class without images: 0 / 0
        shares = info.counts / info.counts.sum(axis=1, keepdims=True)
    _heat(axes, shares, Normalize(0, 1), "share of the true class's images", info.counts.astype(str).tolist())
    axes.set_aspect("equal")
    _class_ticks(axes.set_xticks, info.classes, rotation=90 if max(map(len, info.classes)) > 3 else 0)
    _class_ticks(axes.set_yticks, info.classes)
    return figure


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw a bar for each dimension, conditional ones below in a group of their own; a note where there is no bar."""
    found = info.importance
    groups = [(f"Searched in every trial ({found.trials}), adding up to 100 %", found.shares)] if found.shares else []
    if groups or any(share.share is not None for share in found.conditional):
        groups += [("Conditional: each among only the trials that have it", found.conditional)]
    groups = [(title, shares) for title, shares in groups if shares]
    rows = [len(shares) for _, shares in groups]
    title = "Importance for being among the best third of trials"
    figure = _figure(title, info.study, (8, (1.1 if rows else 0.7) + 0.4 * sum(rows) + 0.4 * len(rows)))
    if found.note:
        figure.supxlabel(found.note, x=0.01, ha="left", fontsize=10)
    if groups:
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=[n + 0.6 for n in rows])
        for axes, (title, shares) in zip(panels[:, 0], groups, strict=True):
            _bars(axes, shares)
            axes.set_title(title, loc="left", fontsize=9)
        panels[-1, 0].set_xlabel("share of importance (%), PED-ANOVA")
    return figure


def _bars(axes: Axes, shares: Sequence[Share]) -> None:
    _light(axes)
    axes.grid(False, axis="y")
    for row, share in enumerate(shares):
        percent = 100 * (share.share or 0)
        axes.barh(row, percent, height=0.62, color=BLUE, zorder=2)
        notes = [] if share.share is None else [f"{percent:.0f} %" if percent >= 0.5 else "<1 %"]
        axes.text(percent + 0.8, row, ", ".join([*notes, *filter(None, [share.note])]), va="center", fontsize=9)
    axes.set_xlim(0, 108)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks(range(len(shares)), [plain(s.key, 40) for s in shares], fontsize=9, parse_math=False)


def draw_published(info: PublishedInfo) -> Figure:
    """Draw variants down, ours as dots with their spread, published figures as crosses; twice if a few lie far off."""
    panels = 2 if info.close else 1
    size = (10.0 if info.close else 8.0, 1.9 + 0.5 * len(info.rows))
    figure = _figure("Published accuracy and ours", info.study, size)
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in grid:
        _light(axes)
        _variants(axes, info)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("accuracy (fraction)")
    grid[0].set_ylim(len(info.rows) - 0.5, -0.5)
    grid[0].set_yticks(range(len(info.rows)), [plain(r.name, 36) for r in info.rows], fontsize=9, parse_math=False)
    if info.close:
        low, high = info.close
        margin = max(0.08 * (high - low), 0.001)
        grid[1].set_xlim(low - margin, high + margin)
        grid[0].set_title("all", loc="left", fontsize=9)
        grid[1].set_title("those that lie close together, larger", loc="left", fontsize=9)
    handles = [Line2D([], [], color=c, ls="", marker=m, ms=6, mew=1.8, label=t) for c, m, t in _PUBLISHED.values()]
    seen = {("published", split) for row in info.rows for split in row.published}
    seen |= {("ours", split) for row in info.rows for split in row.ours}
    shown = [handle for key, handle in zip(_PUBLISHED, handles, strict=True) if key in seen]
    if not all(row.comparable for row in info.rows):
        shown.append(Line2D([], [], color=GREY, ls="", marker="x", ms=6, mew=1.8, label="published, not comparable"))
    _legend(figure, "outside lower center", ncols=min(len(shown), 4), handles=shown)
    return figure


_PUBLISHED = {
    ("published", "test"): ("black", "x", "published, test"),
    ("published", "val"): ("black", "+", "published, validation"),
    ("ours", "test"): (ORANGE, "o", "ours, test (mean, spread)"),
    ("ours", "val"): (BLUE, "o", "ours, validation (mean, spread)"),
}
_LANES = {"test": -0.14, "val": 0.14}


def _variants(axes: Axes, info: PublishedInfo) -> None:
    for y, row in enumerate(info.rows):
        for split, lane in _LANES.items():
            if split in row.ours:
                score, (colour, marker, _) = row.ours[split], _PUBLISHED["ours", split]
                style: dict[str, Any] = {"color": colour, "ms": 6, "capsize": 3, "elinewidth": 1.4}
                axes.errorbar(score.mean, y + lane, xerr=score.spread, fmt=marker, **style)
            if split in row.published:
                colour, marker, _ = _PUBLISHED["published", split]
                colour = colour if row.comparable else GREY
                axes.plot([row.published[split]], [y + lane], marker, color=colour, ms=8, mew=1.8, zorder=4)
        if y:
            axes.axhline(y - 0.5, color=LIGHT, lw=0.8, zorder=0)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)


def draw_factors(info: FactorsInfo) -> Figure:
    """Draw a panel for each field: means with their spread, single seeds faintly, the centre ringed."""
    columns = min(3, len(info.panels))
    rows = math.ceil(len(info.panels) / columns)
    long = any(len(label) > _UPRIGHT for panel in info.panels for _, label in panel.ticks)
    size = (1.2 + max(3.6 * columns, 5.6), 1.3 + (4.2 if long else 3.0) * rows)
    figure = _figure("Effect of each factor", info.study, size)
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for i, (axes, panel) in enumerate(zip(grid, info.panels, strict=False)):
        _light(axes)
        _panel(axes, panel)
        if i % columns == 0:
            axes.set_ylabel(plain(info.label, 60), fontsize=9, parse_math=False)
        if info.log:
            axes.set_yscale("log")
    for axes in grid[len(info.panels) :]:
        axes.set_visible(False)
    _factor_legend(figure, info)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    width = 0.08 * (len(panel.lines) > 1) * bool(panel.ticks) * (not panel.log)  # lines beside each other
    join = "o-" if panel.ordered or len(panel.lines) > 1 else "o"
    for i, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        shift = width * (i - (len(panel.lines) - 1) / 2)
        places = [point.place + shift for point in line.points]
        means, spreads = [point.mean for point in line.points], [point.spread for point in line.points]
        style: dict[str, Any] = {"fmt": join, "color": colour, "ms": 5, "lw": 1.2, "capsize": 3, "zorder": 3}
        axes.errorbar(places, means, yerr=spreads if any(spreads) else None, **style)
        for place, point in zip(places, line.points, strict=True):
            if len(point.values) > 1:
                axes.scatter([place] * len(point.values), point.values, s=14, color=colour, alpha=0.3, lw=0, zorder=2)
            if panel.centre == point.place:
                axes.plot([place], [point.mean], "o", ms=12, mfc="none", mec="black", mew=1.1, zorder=4)
    marker, colour = MARKERS[FAILED]
    edge = axes.get_xaxis_transform()
    style = {"ls": "", "marker": marker, "ms": 6, "color": colour, "transform": edge, "zorder": 3}
    axes.plot(panel.failed, [0.03] * len(panel.failed), **style)
    if panel.log:
        axes.set_xscale("log")
    if panel.ticks:
        labels = [plain(label, 24) for _, label in panel.ticks]
        crowded = sum(map(len, labels)) > 30 or (panel.log and len(labels) > 4)
        turn: dict[str, Any] = {"rotation": 90 if max(map(len, labels)) > _UPRIGHT else 30} if crowded else {}
        axes.set_xticks([place for place, _ in panel.ticks], labels, fontsize=8, parse_math=False, **turn)
        axes.minorticks_off()
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(panel.field)


def _factor_legend(figure: Figure, info: FactorsInfo) -> None:
    names = [line.name for line in info.panels[0].lines if line.name]
    handles = [Line2D([], [], color=c, marker="o", label=plain(n, 48)) for n, c in zip(names, COLOURS, strict=False)]
    points = [point for panel in info.panels for line in panel.lines for point in line.points]
    if any(len(point.values) > 1 for point in points):
        handles += [
            Line2D([], [], color=GREY, marker="o", ls="", label="mean over seeds, with its spread"),
            Line2D([], [], color=GREY, marker="o", ls="", ms=4, alpha=0.4, label="one seed"),
        ]
    if any(panel.centre is not None for panel in info.panels):
        handles.append(Line2D([], [], color="black", marker="o", ls="", ms=11, mfc="none", label="centre"))
    if any(panel.failed for panel in info.panels):
        marker, colour = MARKERS[FAILED]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", label="failed, no value"))
    if handles:
        _legend(figure, "outside lower center", ncols=2 if len(names) > 1 else 4, handles=handles)


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw a line per trial, darker for a better value; it drops to "n/a", dotted, where a field does not apply."""
    widths = [max(0.9, 0.3 + 0.068 * max(len(plain(t)) for _, t in [*a.ticks, (0, a.name[:14])])) for a in info.axes]
    places = np.cumsum(widths)
    figure = _figure("Parallel coordinates", info.study, (places[-1] + 0.9, 5))
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, places[-1] + 0.5), ylim=(-0.2, 1.14))
    for x, axis in zip(places, info.axes, strict=True):
        axes.plot([x, x], [0, 1], color="black", lw=0.8, zorder=3)
        name = plain(axis.name, 44).replace(" (", "\n(").replace("validation ", "validation\n")
        axes.text(x, 1.05, name, ha="center", va="bottom", fontsize=9, fontweight="bold", parse_math=False)
        for y, label in [*axis.ticks, *([(-0.13, "n/a")] if axis.gaps else [])]:
            axes.plot([x - 0.04, x + 0.04], [y, y], color="black", lw=0.8, zorder=3)
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "parse_math": False, "bbox": box}
            axes.text(x - 0.07, y, plain(label), zorder=4, **style)
    _lines(axes, info, places)
    legend = [
        Line2D([], [], color=_shade(1.0), lw=2, label="complete: the better, the darker"),
        Line2D([], [], color=GREY, lw=0.7, label="pruned"),
        Line2D([], [], color=GREY, lw=1, ls=":", label="field does not apply (n/a)"),
    ]
    _legend(figure, "outside lower center", ncols=3, handles=legend)
    if len(info.lines) < info.trials:
        axes.set_title(f"{len(info.lines)} of {info.trials} trials, evenly over their ranks", fontsize=9, loc="left")
    return figure


def _lines(axes: Axes, info: ParallelInfo, places: np.ndarray) -> None:
    width = 1.8 if len(info.lines) <= 60 else 0.9
    pieces: dict[str, list[tuple[Any, Any, float]]] = {"-": [], ":": []}  # points, colour, line width
    for line in sorted(info.lines, key=lambda line: line.state == COMPLETE):  # pruned ones lie below
        corners = [(x, -0.13 if y is None else y) for x, y in zip(places, line.places, strict=True)]
        colour, lw = (GREY, 0.5) if line.state == PRUNED else (_shade(line.goodness), width)
        for i in range(len(corners) - 1):
            style = ":" if None in line.places[i : i + 2] else "-"
            pieces[style].append((corners[i : i + 2], colour, lw if style == "-" else 0.6 * lw))
    for style, drawn in pieces.items():
        if drawn:
            points, colours, widths = zip(*drawn, strict=True)
            axes.add_collection(LineCollection(points, colors=colours, linewidths=widths, linestyles=style, zorder=2))


def _shade(goodness: float) -> Any:
    """Yellow for the worst, dark violet for the best: told apart by the colour-blind, and from grey."""
    return matplotlib.colormaps["viridis"](0.93 * (1 - goodness))


def _figure(title: str, study: str, size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"{title}: {plain(study, 40)}", fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    return figure


def _axes(figure: Figure, across: str, up: str) -> Axes:
    axes = figure.subplots()
    _light(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(across)
    axes.set_ylabel(plain(up, 60), parse_math=False)
    return axes


def _light(axes: Axes) -> None:
    axes.grid(color=LIGHT, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, place: Any, **style: Any) -> None:
    for text in figure.legend(loc=place, frameon=False, fontsize=9, **style).get_texts():
        text.set_parse_math(False)


def _heat(axes: Axes, values: np.ndarray, norm: Normalize, label: str, texts: list[list[str]]) -> None:
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


def _class_ticks(set_ticks: Callable[..., Any], names: Sequence[str], **style: Any) -> None:
    """Label the classes; of many only every second, third, ... so that no two labels touch."""
    every = math.ceil(len(names) / 60)
    size = 8 if len(names) <= 30 else 6
    set_ticks(range(0, len(names), every), [plain(n) for n in names[::every]], fontsize=size, parse_math=False, **style)


PLOTS: dict[str, Plot] = {
    "published": Plot(title="Published accuracy and ours", info=plotinfo.published_info, draw=draw_published),
    "factors": Plot(title="Effect of each factor", info=factors.factors_info, draw=draw_factors),
    "optimization_history": Plot(title="Optimisation history", info=plotinfo.history_info, draw=draw_history),
    "learning_curves": Plot(title="Learning curves", info=plotinfo.curves_info, draw=draw_curves),
    "per_class": Plot(title="Accuracy per class", info=plotinfo.per_class_info, draw=draw_per_class),
    "confusion": Plot(title="Confusion of the best trial", info=plotinfo.confusion_info, draw=draw_confusion),
    "parallel_coordinates": Plot(title="Parallel coordinates", info=plotinfo.parallel_info, draw=draw_parallel),
    "importance": Plot(title="Importance", info=plotinfo.importance_info, draw=draw_importance),
}
