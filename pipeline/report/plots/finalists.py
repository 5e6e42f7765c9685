"""Draws the finalists: each configuration's scores with new seeds, and their mean's interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    counted,
    labelled_value,
    objective_label,
    sentence,
    trial_names,
)
from pipeline.report.plots.style import (
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    SPLIT_OFFSETS,
    add_legend,
    grid_of_axes,
    label_axis,
    label_rows,
    titled_figure,
)
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.analysis.verdict import Finalist

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colour, the marker and the name of a split.
_SPLITS = {"val": (BLUE, "o", "validation"), "test": (ORANGE, "D", "test")}

_MARGIN = 0.02  # beyond the ends of intervals, of the axis


@dataclass(frozen=True, kw_only=True)
class SeedsMark:
    """One configuration's scores on one split, a score for each seed."""

    row: int
    split: str  # val or test
    values: list[float]
    mean: float
    low: float | None  # of the mean's 95 % interval over seeds and images; None if not known
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SeedsPanel:
    """The marks that share an axis."""

    label: str
    marks: list[SeedsMark]
    most: float = math.inf  # the largest possible value

    @property
    def range(self) -> tuple[float, float]:
        """The range of the axis: all values, with half as much again on both sides if possible.

        An interval that reaches further is inside, too: cut off, it would look short.
        """
        values = [value for mark in self.marks for value in mark.values]
        room = 0.5 * (max(values) - min(values)) or 0.005
        low = min(values) - room
        high = max(values) + room
        lows = [mark.low for mark in self.marks if mark.low is not None]
        highs = [mark.high for mark in self.marks if mark.high is not None]
        margin = _MARGIN * (max([high, *highs]) - min([low, *lows]))
        low = min([low, *(end - margin for end in lows)])
        high = max([high, *(end + margin for end in highs)])
        return low, min(high, self.most)


@dataclass(frozen=True, kw_only=True)
class FinalistsInfo:
    """The finalists with their new seeds, the winner first."""

    rows: list[str]
    decided: bool  # whether the winner is better than every other finalist beyond chance
    planned: int  # runs
    ended: int
    panels: list[SeedsPanel]


def finalists_info(record: StudyRecord) -> FinalistsInfo | None:
    """Collect the finalists' scores on validation and test; None if no finalist is complete."""
    if record.finalists is None:
        return None
    verdict = record.finalists.judged_as_finalists
    if verdict is None:
        return None
    finalists = [finalist for finalist in verdict.finalists if finalist.value is not None]
    return FinalistsInfo(
        rows=_names(record, finalists),
        decided=verdict.sole or len(verdict.finalists) == 1,
        planned=verdict.planned,
        ended=verdict.ended,
        panels=_panels(record, finalists),
    )


def _names(record: StudyRecord, finalists: Sequence[Finalist]) -> list[str]:
    """The finalists' places, and their names in the study itself.

    Their own numbers are those of another study.
    """
    searched = {result.config.group: result for result in reversed(record.results)}
    trials = [finalist.trial for finalist in finalists]
    names = trial_names(record, [searched.get(trial.config.group, trial) for trial in trials])
    return [f"{finalist.place}. {name}" for finalist, name in zip(finalists, names, strict=True)]


def _panels(record: StudyRecord, finalists: Sequence[Finalist]) -> list[SeedsPanel]:
    val_marks = []
    test_marks = []
    for row, finalist in enumerate(finalists):
        trials = complete_trials(finalist.entry)
        interval = _value_interval(record, finalist)
        val_marks += _marks(row, "val", [trial.value for trial in trials], interval)
        tests = [trial.test.get("acc") for trial in trials if trial.test]
        test_marks += _marks(row, "test", tests, finalist.test_interval)
    if record.objective == "val_acc":
        return [SeedsPanel(label="accuracy (%)", marks=val_marks + test_marks, most=1)]
    most = 1 if record.maximize else math.inf
    panels = [SeedsPanel(label=objective_label(record), marks=val_marks, most=most)]
    if test_marks:
        panels.append(SeedsPanel(label="test accuracy (%)", marks=test_marks, most=1))
    return panels


def _value_interval(record: StudyRecord, finalist: Finalist) -> tuple[float, float] | None:
    """The interval of the mean accuracy over seeds and images; None if it is not known."""
    study = record.finalists
    if study is None or record.objective not in ("val_acc", "balanced_acc"):
        return None
    sample = study.sample_of(finalist.entry)
    return None if sample is None else study.comparison.mean_interval(sample)


def _marks(
    row: int,
    split: str,
    scores: Iterable[float | None],
    interval: tuple[float, float] | None,
) -> list[SeedsMark]:
    """The mark of a configuration on a split; none if no seed has a score."""
    values = [score for score in scores if score is not None]
    if not values:
        return []
    low, high = interval or (None, None)
    mean = statistics.fmean(values)
    return [SeedsMark(row=row, split=split, values=values, mean=mean, low=low, high=high)]


def finalists_alt(info: FinalistsInfo) -> str:
    """Tell the means, their intervals, and whether the winner is known to be the best."""
    rows = []
    for row, name in enumerate(info.rows):
        texts = ", ".join(
            _mark_text(panel.label, mark)
            for panel in info.panels
            for mark in panel.marks
            if mark.row == row
        )
        rows.append(f"{name}: {texts}")
    doubt = "" if info.decided else "not all told apart"
    return sentence(doubt, *rows, _ended_text(info))


def _mark_text(label: str, mark: SeedsMark) -> str:
    detail = counted(len(mark.values), "seed")
    if mark.low is not None and mark.high is not None:
        detail += f", 95 % {labelled_value(label, mark.low)} to {labelled_value(label, mark.high)}"
    return f"{mark.split} {labelled_value(label, mark.mean)} ({detail})"


def _ended_text(info: FinalistsInfo) -> str:
    """How many runs have ended; empty if all have."""
    if info.ended >= info.planned:
        return ""
    return f"{info.ended} of {info.planned} runs have ended"


def draw_finalists(info: FinalistsInfo) -> Figure:
    """Draw finalists down, each seed as a small dot, and the mean with its interval.

    Test stands beside validation.
    """
    title = "Finalists, the winner first" if info.decided else "Finalists, not all told apart"
    figure = titled_figure(title, (8, 1.7 + 0.6 * len(info.rows)))
    grid = grid_of_axes(figure, len(info.panels), len(info.panels), sharey=True)
    for axes, panel in zip(grid, info.panels, strict=True):
        for mark in panel.marks:
            _draw_mark(axes, mark)
        axes.grid(False, axis="y")
        axes.set_xlim(*panel.range)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        label_axis(axes.xaxis, panel.label)
        for row in range(1, len(info.rows)):
            axes.axhline(row - 0.5, color=LIGHT, lw=0.8, zorder=0)
    if info.ended < info.planned:
        grid[0].set_title(_ended_text(info), loc="left", fontsize=9)
    label_rows(grid[0], info.rows)
    add_legend(figure, ncols=3, handles=_legend_handles(info))
    return figure


def _draw_mark(axes: Axes, mark: SeedsMark) -> None:
    height = mark.row + SPLIT_OFFSETS[mark.split]
    heights = [height] * len(mark.values)
    colour, marker, _ = _SPLITS[mark.split]
    # All marks lie within the axis, and are not to be cut off at its edge.
    style: dict[str, Any] = {"color": colour, "clip_on": False}
    axes.scatter(mark.values, heights, s=22, alpha=0.9, lw=0, zorder=3, **style)
    axes.plot([mark.mean], [height], marker, ms=8, mec="black", mew=0.6, zorder=4, **style)
    if mark.low is not None and mark.high is not None:
        axes.plot([mark.low, mark.high], [height, height], color=colour, lw=1.8, zorder=2)


def _legend_handles(info: FinalistsInfo) -> list[Line2D]:
    drawn = {mark.split for panel in info.panels for mark in panel.marks}
    handles = []
    for split, (colour, marker, name) in _SPLITS.items():
        if split in drawn:
            label = f"{name}: mean, 95 %"
            handles.append(Line2D([], [], color=colour, marker=marker, ms=7, lw=1.8, label=label))
    handles.append(Line2D([], [], color=GREY, marker="o", ms=5, alpha=0.9, ls="", label="one seed"))
    return handles


PLOT = Plot(
    title="Finalists",
    about="Each finalist was trained again with fresh seeds, the small dots; the intervals are of "
    "each mean by itself, over seeds and images; whether one is better is told by the interval of "
    "their difference, in the table.",
    info=finalists_info,
    alt=finalists_alt,
    draw=draw_finalists,
)
