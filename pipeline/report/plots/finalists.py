"""The finalists: each configuration's scores with new seeds, and the interval of their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.published import _LANES
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    add_legend,
    grid_of_axes,
    plain,
    titled_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, counted, sentence, trial_names
from sweeps.analysis.intervals import mean_interval
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials


@dataclass(frozen=True, kw_only=True)
class SeedsMark:
    """What a configuration reached with each of its seeds."""

    row: int
    split: str  # val or test
    values: list[float]
    mean: float
    low: float | None  # of the interval of 95 % of the mean; None for one seed
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SeedsPanel:
    """One figure across."""

    label: str
    marks: list[SeedsMark]
    most: float = math.inf  # that there can be

    @property
    def range(self) -> tuple[float, float]:
        """What of the axis to show: all values, and half as much again on both sides that can be; no whole interval."""
        values = [value for mark in self.marks for value in mark.values]
        room = 0.5 * (max(values) - min(values)) or 0.005
        return min(values) - room, min(max(values) + room, self.most)


@dataclass(frozen=True, kw_only=True)
class FinalistsInfo:
    """The finalists with their fresh seeds, the winner first."""

    study: str
    rows: list[str]
    tied: bool  # whether the winner is not known to be better than another
    planned: int  # runs
    ended: int
    panels: list[SeedsPanel]


def finalists_info(record: StudyRecord) -> FinalistsInfo | None:
    """Collect what the finalists reached on validation and test; None where there are none, or none is complete."""
    verdict = None if record.finalists is None else record.finalists.judged_as_finalists
    if verdict is None:
        return None
    shown = [finalist for finalist in verdict.finalists if finalist.value is not None]
    val = [
        mark
        for i, f in enumerate(shown)
        for mark in _mark(i, "val", [t.value for t in complete_trials(f.entry)])
    ]
    scored = [[t.test.get("acc") for t in complete_trials(f.entry) if t.test] for f in shown]
    test = [mark for i, values in enumerate(scored) for mark in _mark(i, "test", values)]
    if record.objective == "val_acc":
        panels = [SeedsPanel(label="accuracy (fraction)", marks=val + test, most=1)]
    else:
        panels = [
            SeedsPanel(label=axis_label(record), marks=val, most=1 if record.maximize else math.inf)
        ]
        panels += [SeedsPanel(label="test accuracy (fraction)", marks=test, most=1)] if test else []
    # Named as in the study itself: the finalists' own numbers are those of another study.
    known = {result.config.group: result for result in reversed(record.results)}
    trials = [known.get(finalist.trial.config.group, finalist.trial) for finalist in shown]
    return FinalistsInfo(
        study=record.name,
        rows=trial_names(record, trials),
        tied=bool(verdict.tied),
        planned=verdict.planned,
        ended=verdict.ended,
        panels=panels,
    )


def _mark(row: int, split: str, values: Sequence[float | None]) -> list[SeedsMark]:
    known = [value for value in values if value is not None]
    if not known:
        return []
    low, high = mean_interval(known)
    return [
        SeedsMark(
            row=row, split=split, values=known, mean=statistics.fmean(known), low=low, high=high
        )
    ]


def finalists_alt(info: FinalistsInfo) -> str:
    """The means, their intervals, and whether it is a tie."""
    rows = []
    for i, name in enumerate(info.rows):
        marks = [mark for panel in info.panels for mark in panel.marks if mark.row == i]
        rows.append(f"{name}: {', '.join(map(_in_words, marks))}")
    if info.ended >= info.planned:
        ended = ""
    else:
        ended = f"{info.ended} of {info.planned} runs have ended"
    return sentence("a tie" if info.tied else "", *rows, ended)


def _in_words(mark: SeedsMark) -> str:
    if mark.low is None or mark.high is None:
        interval = ""
    else:
        interval = f", 95 % {mark.low:.4f} to {mark.high:.4f}"
    return f"{mark.split} {mark.mean:.4f} ({counted(len(mark.values), 'seed')}{interval})"


def draw_finalists(info: FinalistsInfo) -> Figure:
    """Draw finalists down: each seed as a small dot, the mean with its interval, test beside validation."""
    title = "Finalists, a tie" if info.tied else "Finalists, the winner first"
    figure = titled_figure(title, info.study, (8, 1.7 + 0.6 * len(info.rows)))
    grid = grid_of_axes(figure, len(info.panels), len(info.panels), sharey=True)
    for axes, panel in zip(grid, info.panels, strict=True):
        for mark in panel.marks:
            y = mark.row + _LANES[mark.split]
            colour, marker, _ = _SEEDS[mark.split]
            # Whole also at the edge of the axis, which all of them are within.
            seeds: dict[str, Any] = {
                "s": 22,
                "color": colour,
                "alpha": 0.9,
                "lw": 0,
                "zorder": 3,
                "clip_on": False,
            }
            axes.scatter(mark.values, [y] * len(mark.values), **seeds)
            axes.plot(
                [mark.mean],
                [y],
                marker,
                color=colour,
                ms=8,
                mec="black",
                mew=0.6,
                zorder=4,
                clip_on=False,
            )
            if mark.low is not None and mark.high is not None:
                axes.plot([mark.low, mark.high], [y, y], color=colour, lw=1.8, zorder=2)
        axes.grid(False, axis="y")
        axes.set_xlim(*panel.range)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(plain(panel.label, 60), parse_math=False)
    if info.ended < info.planned:
        grid[0].set_title(f"{info.ended} of {info.planned} runs have ended", loc="left", fontsize=9)
    for y in range(1, len(info.rows)):
        for axes in grid:
            axes.axhline(y - 0.5, color=LIGHT, lw=0.8, zorder=0)
    grid[0].set_ylim(len(info.rows) - 0.5, -0.5)
    grid[0].set_yticks(
        range(len(info.rows)), [plain(name, 36) for name in info.rows], fontsize=9, parse_math=False
    )
    splits = [
        split
        for split in _SEEDS
        if any(mark.split == split for panel in info.panels for mark in panel.marks)
    ]
    handles = [
        Line2D(
            [],
            [],
            color=_SEEDS[s][0],
            marker=_SEEDS[s][1],
            ms=7,
            lw=1.8,
            label=f"{_SEEDS[s][2]}: mean, 95 %",
        )
        for s in splits
    ]
    handles.append(Line2D([], [], color=GREY, marker="o", ms=5, alpha=0.9, ls="", label="one seed"))
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


_SEEDS = {"val": (BLUE, "o", "validation"), "test": (ORANGE, "D", "test")}


PLOT = Plot(
    title="Finalists",
    about="Each finalist was trained again with fresh seeds, the small dots; the intervals are of each mean "
    "alone, and whether one is better is judged seed by seed, in the table.",
    info=finalists_info,
    alt=finalists_alt,
    draw=draw_finalists,
)
