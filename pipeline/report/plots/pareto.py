"""What accuracy costs: value against parameters, operations and time, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    BLUE,
    GREEN,
    MANY,
    MARKERS,
    ORANGE,
    add_legend,
    grid_of_axes,
    log_scale,
    plain,
    titled_figure,
    write_out,
)
from sweeps.trial import COMPLETE, PRUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

import math
import statistics
from dataclasses import dataclass

from pipeline.report.plots.labels import (
    axis_label,
    listed,
    rounded,
    sentence,
    wide,
)
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials

COSTS = {
    "parameters": "parameters of the network",
    "mflops": "MFLOPs of one image's forward pass",
    "seconds": "training time (s)",
}


_LOG = 20  # how many times the smallest cost the largest is where an axis turns logarithmic


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One configuration: what it cost and what it reached."""

    cost: float
    value: float
    name: str


@dataclass(frozen=True, kw_only=True)
class CostPanel:
    """The objective against one cost."""

    cost: str
    log: bool
    front: list[
        Spot
    ]  # complete ones that no other beats at the same cost or less; the cheapest first
    complete: list[Spot]  # the others
    pruned: list[Spot]


@dataclass(frozen=True, kw_only=True)
class ParetoInfo:
    """What accuracy costs, a panel for each cost in which configurations differ."""

    study: str
    label: str
    log: bool
    shown: tuple[
        float, float
    ]  # the part of the objective's axis where half of the complete ones and the fronts lie
    outside: int  # complete configurations worse than that
    panels: list[CostPanel]

    @property
    def range(self) -> tuple[float, float]:
        """What of the axis to show: that part, with room around it."""
        low, high = self.shown
        room = 0.15 * (high - low) or 0.01
        if self.log:
            return (low / 1.2, high * 1.2)
        return (low - room, high + room)

    @property
    def pruned(self) -> bool:
        """Whether a pruned one is seen."""
        low, high = self.range
        return any(low <= spot.value <= high for panel in self.panels for spot in panel.pruned)


def pareto_info(record: StudyRecord) -> ParetoInfo | None:
    """Collect configurations (repeats over seeds by their means) by cost; None unless two complete ones differ."""
    entries = [e for e in record.ranked if e.value is not None]
    panels = [panel for name in COSTS if (panel := _cost_panel(record, name, entries))]
    if not panels:
        return None
    sign = 1 if record.maximize else -1
    goods = [sign * e.value for e in entries if e.state == COMPLETE and e.value is not None]
    lowest = min(statistics.median(goods), *(sign * panel.front[0].value for panel in panels))
    kept = [sign * good for good in goods if good >= 2 * lowest - max(goods)]
    return ParetoInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(kept),
        shown=(min(kept), max(kept)),
        outside=len(goods) - len(kept),
        panels=panels,
    )


def _cost_panel(record: StudyRecord, name: str, entries: Sequence[Ranked]) -> CostPanel | None:
    """One cost's panel; None where it is unknown or the same for all."""
    found = [
        (
            entry,
            Spot(
                cost=cost,
                value=entry.value,
                name=f"#{entry.trials[0].number} {entry.trials[0].config.family}",
            ),
        )
        for entry in entries
        if entry.value is not None
        and math.isfinite(entry.value)
        and (cost := _cost(entry, name)) is not None
    ]
    spots = sorted((s for e, s in found if e.state == COMPLETE), key=lambda s: s.cost)
    costs = [spot.cost for spot in spots]
    if len(set(costs)) < 2:
        return None
    front = _front(spots, record.maximize)
    return CostPanel(
        cost=COSTS[name],
        log=costs[0] > 0 and costs[-1] > _LOG * costs[0],
        front=front,
        complete=[spot for spot in spots if spot not in front],
        pruned=[spot for entry, spot in found if entry.state == PRUNED],
    )


def _cost(entry: Ranked, name: str) -> float | None:
    costs = [
        c for t in complete_trials(entry) or entry.trials[:1] if (c := getattr(t, name)) is not None
    ]
    if costs:
        return statistics.fmean(costs)
    return None


def _front(spots: Sequence[Spot], maximize: bool) -> list[Spot]:
    """Those that no other equals or beats at the same cost or less; of equal ones the first."""
    sign = 1 if maximize else -1
    best = -math.inf
    front = []
    for spot in sorted(spots, key=lambda s: (s.cost, -sign * s.value)):
        if sign * spot.value > best:
            front.append(spot)
            best = sign * spot.value
    return front


def pareto_alt(info: ParetoInfo) -> str:
    """The front of each panel."""
    fronts = (
        f"{panel.cost}: {listed([f'{s.name} {s.value:.4g} at {rounded(s.cost)}' for s in panel.front])}"
        for panel in info.panels
    )
    return sentence(f"{info.label}, the best at each cost", *fronts)


def draw_pareto(info: ParetoInfo) -> Figure:
    """Draw a panel for each cost: the front as steps, its trials named above and left, where nothing can lie."""
    count = len(info.panels)
    figure = titled_figure("What accuracy costs", info.study, (8, 1.1 + 2.1 * count))
    for axes, panel in zip(grid_of_axes(figure, count, 1), info.panels, strict=True):
        _costs(axes, panel)
        if panel.log:
            log_scale(axes, "x")
        else:
            write_out(axes.xaxis)
        if info.log:
            log_scale(axes, "y")
        axes.set_ylim(*info.range)
        axes.margins(x=0.14)  # room for a name
        axes.set_xlabel(panel.cost)
        axes.set_ylabel(plain(info.label, 60).replace(" (", "\n("), fontsize=9, parse_math=False)
        _names(axes, panel.front)
    handles = [
        Line2D([], [], color=GREEN, marker="o", ms=6, label="best at that cost or less"),
        Line2D([], [], color=BLUE, marker="o", ms=5, ls="", alpha=0.6, label="other complete ones"),
    ]
    if info.pruned:
        handles.append(
            Line2D([], [], color=ORANGE, marker="v", ms=5, ls="", alpha=0.9, label="pruned")
        )
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    if info.outside:
        figure.axes[0].set_title(
            f"{info.outside:,} more complete ones are worse, and not shown", loc="left", fontsize=9
        )
    return figure


def _costs(axes: Axes, panel: CostPanel) -> None:
    size = 22 if len(panel.complete) <= MANY else 6
    for state, spots, alpha in ((PRUNED, panel.pruned, 0.9), (COMPLETE, panel.complete, 0.6)):
        marker, colour = MARKERS[state]
        style: dict[str, Any] = {
            "s": size,
            "marker": marker,
            "color": colour,
            "alpha": alpha,
            "lw": 0,
            "zorder": 2,
        }
        axes.scatter([spot.cost for spot in spots], [spot.value for spot in spots], **style)
    costs = [spot.cost for spot in panel.front]
    values = [spot.value for spot in panel.front]
    axes.step(costs, values, where="post", color=GREEN, lw=1.2, zorder=3)
    axes.plot(costs, values, "o", color=GREEN, ms=6, mec="black", mew=0.6, zorder=4)


def _names(axes: Axes, front: Sequence[Spot]) -> None:
    """Name the trials of the front, the best first, those left out that would lie on another's name."""
    taken: list[tuple[float, float, float]] = []  # from where to where, and how high, in points
    for spot in reversed(front):
        name = plain(spot.name, 12)
        x, y = axes.transData.transform((spot.cost, spot.value)) * 72 / axes.figure.dpi
        left = x - 5 * len(name)
        if all(abs(y - other) > 10 or x < start or left > end for start, end, other in taken):
            taken.append((left, x, y))
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
    about="No trial is better at the same cost than those on the green steps: choose the step after which more "
    "cost buys little.",
    info=pareto_info,
    alt=pareto_alt,
    draw=draw_pareto,
)
