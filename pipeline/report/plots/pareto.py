"""Draws the objective against parameters, operations and time, with the Pareto front."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    in_words,
    labelled_value,
    listed,
    needs_log_scale,
    number_text,
    objective_label,
    sentence,
)
from pipeline.report.plots.style import (
    BLUE,
    GREEN,
    MANY_TRIALS,
    MARKERS,
    PURPLE,
    add_legend,
    drawable_text,
    grid_of_axes,
    label_low_panel,
    mark_trial,
    titled_figure,
    use_log_scale,
    write_out_numbers,
)
from sweeps.analysis.front import mean_cost
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PAUSED, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = {
    "parameters": "parameters of the network",
    "mflops": "MFLOPs of one image's forward pass",
    "latency_ms": "measured time of one image's forward pass (ms)",
    "seconds": "training time (s)",
}
_KNEE_LABEL = "knee, the farthest above the line"
_LOG_RATIO = 20  # largest cost to smallest, above which an axis of costs is logarithmic


@dataclass(frozen=True, kw_only=True)
class Spot:
    """The cost and the value of one configuration."""

    cost: float
    value: float
    name: str
    trial: int  # number of the best trial


@dataclass(frozen=True, kw_only=True)
class CostPanel:
    """The objective against one cost."""

    cost: str
    log: bool
    front: list[Spot]  # complete, and unbeaten at the same cost or less; the cheapest first
    complete: list[Spot]  # without those of the front
    pruned: list[Spot]
    paused: list[Spot]
    knee: Spot | None = None  # of the front; only for the cost that the study searched


@dataclass(frozen=True, kw_only=True)
class ParetoInfo:
    """A panel for each cost in which the configurations differ."""

    label: str
    log: bool
    shown: tuple[float, float]  # values of the better half of the complete ones, and of the fronts
    outside: int  # number of complete configurations that are worse
    panels: list[CostPanel]

    @property
    def range(self) -> tuple[float, float]:
        """The range of the objective's axis: the values in ``shown``, with room around them."""
        low, high = self.shown
        if self.log:
            return (low / 1.2, high * 1.2)
        room = 0.15 * (high - low) or 0.01
        return (low - room, high + room)

    @property
    def pruned(self) -> bool:
        """Whether a pruned configuration lies inside the range."""
        return any(self._is_inside(spot) for panel in self.panels for spot in panel.pruned)

    @property
    def paused(self) -> bool:
        """Whether a paused configuration lies inside the range."""
        return any(self._is_inside(spot) for panel in self.panels for spot in panel.paused)

    def _is_inside(self, spot: Spot) -> bool:
        low, high = self.range
        return low <= spot.value <= high


def pareto_info(record: StudyRecord) -> ParetoInfo | None:
    """Collect the configurations by cost; several seeds of a configuration count by their means.

    The cost that the study searched comes first, on a logarithmic axis, on which its knee is found.
    A latency that the study did not ask for is only a record, of a few passes, and has no panel.
    None unless the costs of two complete configurations differ.
    """
    entries = [entry for entry in record.ranked if entry.value is not None]
    panels = []
    for name in _costs(record):
        panel = _cost_panel(record, name, entries)
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    sign = 1 if record.maximize else -1
    goodness = [
        sign * entry.value
        for entry in entries
        if entry.state == COMPLETE and entry.value is not None
    ]
    cheapest = [sign * panel.front[0].value for panel in panels]
    # Show as far below the worst of these as the best lies above it.
    lowest = min(statistics.median(goodness), *cheapest)
    limit = 2 * lowest - max(goodness)
    values = [sign * good for good in goodness if good >= limit]
    return ParetoInfo(
        label=objective_label(record),
        log=needs_log_scale(values),
        shown=(min(values), max(values)),
        outside=len(goodness) - len(values),
        panels=panels,
    )


def _costs(record: StudyRecord) -> list[str]:
    """The costs to show, that of the search first."""
    names = list(COSTS)
    has_limit = record.spec.constraints.get("latency_ms") is not None
    if not has_limit and record.cost != "latency_ms":
        names.remove("latency_ms")
    return sorted(names, key=lambda name: name != record.cost)


def _cost_panel(record: StudyRecord, name: str, entries: Sequence[Ranked]) -> CostPanel | None:
    """The panel of one cost; None if the cost is unknown or the same for all."""
    complete = []
    pruned = []
    paused = []
    for entry in entries:
        spot = _spot(entry, name)
        if spot is None:
            continue
        if entry.state == COMPLETE:
            complete.append(spot)
        elif entry.state == PRUNED:
            pruned.append(spot)
        elif entry.state == PAUSED:
            paused.append(spot)
    complete.sort(key=lambda spot: spot.cost)
    costs = [spot.cost for spot in complete]
    if len(set(costs)) < 2:
        return None
    front = _front(complete, record.maximize)
    ratio = 1 if name == record.cost else _LOG_RATIO
    return CostPanel(
        cost=COSTS[name],
        log=costs[0] > 0 and costs[-1] > ratio * costs[0],
        front=front,
        complete=[spot for spot in complete if spot not in front],
        pruned=pruned,
        paused=paused,
        knee=_knee(record, name),
    )


def _knee(record: StudyRecord, name: str) -> Spot | None:
    """The knee of a study's front; None if it has none, or it is that of another cost."""
    if name != record.cost or record.front is None or record.front.knee is None:
        return None
    return _spot(record.front.knee.entry, name)


def _spot(entry: Ranked, name: str) -> Spot | None:
    """A configuration at its cost; None if its cost or value is unknown or not finite."""
    if entry.value is None or not math.isfinite(entry.value):
        return None
    cost = mean_cost(entry, name)
    if cost is None:
        return None
    best = entry.trials[0]
    return Spot(
        cost=cost, value=entry.value, name=f"#{best.number} {best.config.family}", trial=best.number
    )


def _front(spots: Sequence[Spot], maximize: bool) -> list[Spot]:
    """The spots that no other equals or beats at the same cost or less; of equal ones the first."""
    sign = 1 if maximize else -1
    best = -math.inf
    front = []
    for spot in sorted(spots, key=lambda spot: (spot.cost, -sign * spot.value)):
        if sign * spot.value > best:
            front.append(spot)
            best = sign * spot.value
    return front


def pareto_alt(info: ParetoInfo) -> str:
    """Tell the front of each panel."""
    fronts = []
    for panel in info.panels:
        spots = [
            f"{spot.name} {labelled_value(info.label, spot.value)} at {number_text(spot.cost)}"
            for spot in panel.front
        ]
        knee = f"; the knee is {panel.knee.name}" if panel.knee is not None else ""
        fronts.append(f"{panel.cost}: {listed(spots)}{knee}")
    return sentence(f"{in_words(info.label)}, the best at each cost", *fronts)


def draw_pareto(info: ParetoInfo) -> Figure:
    """Draw a panel for each cost, the front as steps.

    The trials of the front are named above and left of their spots, where nothing else can lie.
    """
    count = len(info.panels)
    figure = titled_figure("What accuracy costs", (8, 1.1 + 2.1 * count))
    grid = grid_of_axes(figure, count, 1)
    for axes, panel in zip(grid, info.panels, strict=True):
        _draw_spots(axes, panel)
        _draw_knee(axes, panel)
        if panel.log:
            use_log_scale(axes, "x")
        else:
            write_out_numbers(axes.xaxis)
        if info.log:
            use_log_scale(axes, "y")
        axes.set_ylim(*info.range)
        axes.margins(x=0.14)  # room for a name
        axes.set_xlabel(panel.cost)
        label_low_panel(axes, info.label)
        _name_front(axes, panel.front)
    handles = [
        Line2D([], [], color=GREEN, marker="o", ms=6, label="best at that cost or less"),
        Line2D([], [], color=BLUE, marker="o", ms=5, ls="", alpha=0.6, label="other complete ones"),
    ]
    if any(panel.knee is not None for panel in info.panels):
        handles.append(
            Line2D([], [], color=PURPLE, marker="D", ms=8, ls="--", lw=1, label=_KNEE_LABEL)
        )
    for state, is_shown in ((PRUNED, info.pruned), (PAUSED, info.paused)):
        if is_shown:
            marker, colour = MARKERS[state]
            handles.append(
                Line2D([], [], color=colour, marker=marker, ms=5, ls="", alpha=0.9, label=state)
            )
    add_legend(figure, ncols=3, handles=handles)
    if info.outside:
        note = f"{info.outside:,} more complete ones are worse, and not shown"
        grid[0].set_title(note, loc="left", fontsize=9)
    return figure


def _draw_spots(axes: Axes, panel: CostPanel) -> None:
    size = 22 if len(panel.complete) <= MANY_TRIALS else 6
    layers = (
        (PRUNED, panel.pruned, 0.9),
        (PAUSED, panel.paused, 0.9),
        (COMPLETE, panel.complete, 0.6),
    )
    for state, spots, alpha in layers:
        if not spots:
            continue
        marker, colour = MARKERS[state]
        costs = [spot.cost for spot in spots]
        values = [spot.value for spot in spots]
        axes.scatter(
            costs, values, s=size, marker=marker, color=colour, alpha=alpha, lw=0, zorder=2
        )
    for spot in (*panel.pruned, *panel.paused, *panel.complete, *panel.front):
        mark_trial(axes, spot.cost, spot.value, spot.trial)
    front_costs = [spot.cost for spot in panel.front]
    front_values = [spot.value for spot in panel.front]
    axes.step(front_costs, front_values, where="post", color=GREEN, lw=1.2, zorder=3)
    axes.plot(front_costs, front_values, "o", color=GREEN, ms=6, mec="black", mew=0.6, zorder=4)


def _draw_knee(axes: Axes, panel: CostPanel) -> None:
    """Mark the knee, and draw the line above which it is the farthest."""
    if panel.knee is None:
        return
    ends = (panel.front[0], panel.front[-1])
    axes.plot(
        [spot.cost for spot in ends],
        [spot.value for spot in ends],
        "--",
        color=PURPLE,
        lw=1,
        zorder=2,
    )
    axes.plot(
        [panel.knee.cost],
        [panel.knee.value],
        "D",
        color=PURPLE,
        ms=9,
        mec="black",
        mew=0.6,
        zorder=4,
    )


def _name_front(axes: Axes, front: Sequence[Spot]) -> None:
    """Name the trials of the front, the best first; leave out a name that would cover another."""
    names: list[tuple[float, float, float]] = []  # left end, right end and height, in points
    for spot in reversed(front):
        name = drawable_text(spot.name, 12)
        right, height = axes.transData.transform((spot.cost, spot.value)) * 72 / axes.figure.dpi
        left = right - 5 * len(name)
        covers_another = any(
            abs(height - other_height) <= 10 and right >= other_left and left <= other_right
            for other_left, other_right, other_height in names
        )
        if covers_another:
            continue
        names.append((left, right, height))
        axes.annotate(
            name,
            (spot.cost, spot.value),
            (-3, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            parse_math=False,
            zorder=5,
        )


PLOT = Plot(
    title="What accuracy costs",
    about="No trial is better at the same cost than those on the green steps: choose the step "
    "after which more cost buys little.",
    info=pareto_info,
    alt=pareto_alt,
    draw=draw_pareto,
)
