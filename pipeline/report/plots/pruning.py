"""Every trial by epoch, and the epochs that pruning spared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    BLUE,
    MARKERS,
    ORANGE,
    SKY,
    add_legend,
    label_axes,
    log_scale,
    titled_figure,
)
from sweeps.trial import COMPLETE, FAILED, PRUNED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

import itertools
import math
from collections import Counter
from dataclasses import dataclass

from pipeline.report.plots.labels import (
    axis_label,
    counted,
    evenly,
    history_key,
    sentence,
    wide,
    with_value,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import TrialResult

MOST_COURSES = {COMPLETE: 100, PRUNED: 100, FAILED: 30}  # more of them are one smear


@dataclass(frozen=True, kw_only=True)
class Course:
    """The objective of one trial after each epoch; NaN where an epoch lacks it."""

    state: str
    epochs: list[int]
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class PruningInfo:
    """How the objective went in each trial, and how many of the planned epochs were trained."""

    study: str
    label: str
    log: bool
    courses: list[Course]  # the worst first, so that the best are drawn on top
    trials: int  # how many the courses are chosen from
    trained: list[int]  # by epoch, from the first: the complete and pruned trials that trained it
    pruned: list[int]  # by epoch: those that pruning spared it
    stopped: list[int]  # by epoch: those that early stopping spared it

    @property
    def spared(self) -> bool:
        """Whether any epoch was."""
        return any(self.pruned) or any(self.stopped)

    @property
    def saved(self) -> str:
        """What was saved, in words: ``pruning and early stopping saved 120 of 288 epochs (42 %)``."""
        saved = sum(self.pruned) + sum(self.stopped)
        total = sum(self.trained) + saved
        if not self.spared:
            return f"no epoch was saved: all {total:,} were trained"
        by = [
            name
            for name, count in (("pruning", self.pruned), ("early stopping", self.stopped))
            if any(count)
        ]
        return f"{' and '.join(by)} saved {saved:,} of {counted(total, 'epoch')} ({100 * saved / total:.0f} %)"


def pruning_info(record: StudyRecord) -> PruningInfo | None:
    """Collect the epochs that trials trained and were spared; None before two trials have ended.

    Failed trials are drawn but not counted: what they did not train was not saved.
    """
    key = history_key(record)
    ended = [
        result
        for _, result in sorted(with_value(record), key=lambda p: p[0], reverse=not record.maximize)
    ]
    ended = [result for result in ended if result.history]
    failed = [
        r for r in record.results if r.state == FAILED and r.history and r.duplicate_of is None
    ]
    if len(ended) < 2:
        return None
    chosen = [
        result
        for state, most in reversed(MOST_COURSES.items())
        for result in evenly([r for r in (*failed, *ended) if r.state == state], most)
    ]
    courses = [
        Course(
            state=result.state,
            epochs=[row.epoch for row in result.history],
            values=[row.metrics.get(key, math.nan) for row in result.history],
        )
        for result in chosen
    ]
    trained = _reaching([len(result.history) for result in ended])
    return PruningInfo(
        study=record.name,
        label=axis_label(record),
        log=wide(value for course in courses for value in course.values),
        courses=courses,
        trials=len(ended) + len(failed),
        trained=trained,
        pruned=_spared(ended, PRUNED),
        stopped=_spared(ended, COMPLETE),
    )


def _reaching(lengths: Sequence[int]) -> list[int]:
    """How many of the lengths reach to each epoch, from the first."""
    ends = Counter(lengths)
    return list(
        itertools.accumulate(
            range(1, max(ends)), lambda left, e: left - ends[e], initial=len(lengths)
        )
    )


def _spared(ended: Sequence[TrialResult], state: str) -> list[int]:
    """By epoch, from the first: how many trials that ended so planned it and did not train it."""
    own = [result for result in ended if result.state == state]
    last = max(max(r.config.epochs, len(r.history)) for r in ended)
    changes = [0] * (last + 1)
    for result in own:
        changes[min(len(result.history), result.config.epochs)] += 1
        changes[result.config.epochs] -= 1
    return list(itertools.accumulate(changes))[:last]


def pruning_alt(info: PruningInfo) -> str:
    """What was saved, and how far the trials came."""
    first = info.trained[0]
    last = info.trained[-1]
    reached = f"of {counted(first, 'trial')} {last:,} trained epoch {len(info.trained)}, the last"
    return sentence(info.saved, reached)


FAINT = 30  # lines from which on they are fainter, so that a dense bundle shows


def draw_pruning(info: PruningInfo) -> Figure:
    """Draw each trial's course, ending where it was pruned, and under it the epochs trained and spared, if any was."""
    figure = titled_figure(
        "Every trial by epoch, and the epochs spared", info.study, (8, 6 if info.spared else 4.4)
    )
    panels = figure.subplots(
        1 + info.spared, 1, sharex=True, squeeze=False, height_ratios=[1.6, 1][: 1 + info.spared]
    )
    upper = panels[0, 0]
    lower = panels[-1, 0]
    label_axes(upper, "", info.label)
    handles = _courses(upper, info)
    if len(info.courses) < info.trials:
        note = f"{len(info.courses)} of {info.trials:,} trials, evenly over their ranks"
        upper.set_title(note, fontsize=9, loc="left")
    if info.spared:
        label_axes(lower, "epoch", "trials")
        handles += _epochs(lower, info)
        lower.set_title(f"{info.saved[:1].upper()}{info.saved[1:]}", fontsize=9, loc="left")
    lower.set_xlabel("epoch")
    lower.set_xlim(0.5, len(info.pruned) + 0.5)
    add_legend(figure, "outside lower center", ncols=3, handles=handles)
    return figure


def _courses(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Draw a line for each trial, and a marker where one ends that is not complete."""
    handles: list[Artist] = []
    for state in (COMPLETE, PRUNED, FAILED):
        marker, colour = MARKERS[state]
        courses = [course for course in info.courses if course.state == state]
        lines = [list(zip(course.epochs, course.values, strict=True)) for course in courses]
        alpha = 0.6 if len(courses) <= FAINT else 0.35
        lowest = 3 if state == COMPLETE else 2
        axes.add_collection(
            LineCollection(lines, colors=colour, alpha=alpha, linewidths=1.0, zorder=lowest)
        )
        ends = [line[-1] for line in lines if state != COMPLETE or len(line) == 1]
        if ends:
            epochs, values = zip(*ends, strict=True)
            axes.scatter(epochs, values, s=22, marker=marker, color=colour, zorder=4)
        if courses:
            end = "" if state == COMPLETE else marker
            handles.append(Line2D([], [], color=colour, marker=end, lw=1.6, label=state))
    if info.log:
        log_scale(axes, "y")
    axes.autoscale_view()
    return handles


def _epochs(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Stack by epoch the trials that trained it, and those that were spared it."""
    length = len(info.pruned)
    edges = [epoch + 0.5 for epoch in range(length + 1)]
    trained = [*info.trained, *[0] * (length - len(info.trained))]
    base = [0] * length
    areas: list[Artist] = []
    for counts, colour, hatch, label in (
        (trained, BLUE, None, "epochs trained"),
        (info.pruned, ORANGE, "////", "epochs spared by pruning"),
        (info.stopped, SKY, "....", "epochs spared by early stopping"),
    ):
        top = [a + b for a, b in zip(base, counts, strict=True)]
        if any(counts):
            style: dict[str, Any] = {
                "fill": True,
                "facecolor": colour,
                "hatch": hatch,
                "edgecolor": "white",
                "lw": 0,
            }
            areas.append(axes.stairs(top, edges, baseline=base, label=label, **style))
        base = top
    axes.set_ylim(bottom=0)
    return areas


PLOT = Plot(
    title="Every trial by epoch, and the epochs spared",
    about="Above, lines that end early are trials given up because they lagged; below, the hatched area is the "
    "training that this saved.",
    info=pruning_info,
    alt=pruning_alt,
    draw=draw_pruning,
)
