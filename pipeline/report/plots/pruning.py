"""Draws the learning curves of all trials, and the epochs that pausing or pruning saved."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    counted,
    needs_log_scale,
    objective_key,
    objective_label,
    sentence,
    thin_evenly,
    valued_trials,
)
from pipeline.report.plots.style import (
    BLUE,
    MARKERS,
    ORANGE,
    SKY,
    add_legend,
    label_axes,
    mark_trial,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, TrialResult

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# By state, in the order of drawing: more courses are one smear.
_MAX_COURSES = {FAILED: 30, PRUNED: 100, PAUSED: 100, COMPLETE: 100}
_PROMOTED_MARK = ("^", SKY)  # of a trial that was promoted, and is not trained to its end
_MAX_NUMBERS = 24  # epochs with room for the number of trials that trained them
_MANY_COURSES = 30  # above this number, lines are fainter, so that a dense bundle shows


@dataclass(frozen=True, kw_only=True)
class Course:
    """The objective of one trial after each epoch; NaN where an epoch lacks it."""

    trial: int  # number
    state: str
    promoted: bool  # whether it was paused, and went on
    epochs: list[int]
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class PruningInfo:
    """The course of the objective in each trial, and how many of the planned epochs were trained.

    ``trained``, ``pruned`` and ``stopped`` count trials by epoch, from the first.
    """

    label: str
    log: bool
    courses: list[Course]  # the worst first, so that the best are drawn on top
    trials: int  # number of trials from which the courses are chosen
    trained: list[int]  # complete, pruned and paused trials that trained the epoch
    pruned: list[int]  # trials that pruning or pausing spared the epoch
    stopped: list[int]  # trials that early stopping spared the epoch
    promotes: bool  # whether trials that lag are paused, and go on if their place allows
    paused: bool  # whether any trial is, so that what is spared may still be trained

    @property
    def spared(self) -> bool:
        """Whether any epoch was spared."""
        return any(self.pruned) or any(self.stopped)

    @property
    def saved(self) -> str:
        """The saving in words: ``pruning and early stopping saved 120 of 288 epochs (42 %)``."""
        saved = sum(self.pruned) + sum(self.stopped)
        total = sum(self.trained) + saved
        if not self.spared:
            return f"no epoch was saved: all {total:,} were trained"
        causes = []
        if any(self.pruned):
            causes.append("pausing" if self.promotes else "pruning")
        if any(self.stopped):
            causes.append("early stopping")
        percent = f"{100 * saved / total:.0f} %"
        cause = " and ".join(causes)
        verb = "has spared" if self.paused else "saved"
        so_far = " so far" if self.paused else ""
        return f"{cause} {verb} {saved:,} of {counted(total, 'epoch')} ({percent}){so_far}"


def pruning_info(record: StudyRecord) -> PruningInfo | None:
    """Count the epochs that trials trained and were spared; None before two ended or were paused.

    Failed trials are drawn but not counted: no pruning saved the epochs that they did not train.
    """
    valued = valued_trials(record)
    valued.sort(key=lambda pair: pair[0], reverse=not record.maximize)
    ended = [result for _, result in valued if result.history]
    if len(ended) < 2:
        return None
    failed = [
        result
        for result in record.results
        if result.state == FAILED and result.history and result.duplicate_of is None
    ]
    first_rung = math.inf
    if record.promoted is not None:
        first_rung = min(len(result.history) for result in ended)
    courses = []
    for state, limit in _MAX_COURSES.items():
        of_state = [result for result in (*failed, *ended) if result.state == state]
        courses += [_course(record, result, first_rung) for result in thin_evenly(of_state, limit)]
    return PruningInfo(
        label=objective_label(record),
        log=needs_log_scale(value for course in courses for value in course.values),
        courses=courses,
        trials=len(ended) + len(failed),
        trained=_trained(ended),
        pruned=_spared(ended, (PRUNED, PAUSED)),
        stopped=_spared(ended, (COMPLETE,)),
        promotes=record.promoted is not None,
        paused=any(result.state == PAUSED for result in ended),
    )


def _course(record: StudyRecord, result: TrialResult, first_rung: float) -> Course:
    key = objective_key(record)
    return Course(
        trial=result.number,
        state=result.state,
        promoted=len(result.history) > first_rung,
        epochs=[epoch.epoch for epoch in result.history],
        values=[epoch.metrics.get(key, math.nan) for epoch in result.history],
    )


def _trained(ended: Sequence[TrialResult]) -> list[int]:
    """By epoch, from the first: how many trials trained it."""
    last = max(len(result.history) for result in ended)
    return _count_covering(((0, len(result.history)) for result in ended), last)


def _spared(ended: Sequence[TrialResult], states: Sequence[str]) -> list[int]:
    """By epoch, from the first: how many trials in these states planned but did not train it."""
    last = max(max(result.config.epochs, len(result.history)) for result in ended)
    spans = []
    for result in ended:
        if result.state in states:
            planned = result.config.epochs
            spans.append((min(len(result.history), planned), planned))
    return _count_covering(spans, last)


def _count_covering(spans: Iterable[tuple[int, int]], length: int) -> list[int]:
    """For each position below ``length``: how many spans, from begin to before end, cover it."""
    changes = [0] * (length + 1)
    for begin, end in spans:
        changes[begin] += 1
        changes[end] -= 1
    return list(itertools.accumulate(changes))[:length]


def pruning_alt(info: PruningInfo) -> str:
    """Tell the saving, and how many trials came how far."""
    first = info.trained[0]
    last = info.trained[-1]
    reached = f"of {counted(first, 'trial')} {last:,} trained epoch {len(info.trained)}, the last"
    return sentence(info.saved, reached)


def draw_pruning(info: PruningInfo) -> Figure:
    """Draw each trial's course, and under it the epochs trained and spared, if any was spared."""
    height = 6 if info.spared else 4.4
    figure = titled_figure("Learning curves of all trials", (8, height))
    height_ratios = [1.6, 1] if info.spared else [1.6]
    panels = figure.subplots(
        len(height_ratios), 1, sharex=True, squeeze=False, height_ratios=height_ratios
    )
    upper = panels[0, 0]
    lower = panels[-1, 0]
    label_axes(upper, "", info.label)
    handles = _draw_courses(upper, info)
    if len(info.courses) < info.trials:
        note = f"{len(info.courses)} of {info.trials:,} trials, evenly over their ranks"
        upper.set_title(note, fontsize=9, loc="left")
    if info.spared:
        label_axes(lower, "epoch", "trials")
        handles += _draw_epochs(lower, info)
        lower.set_title(f"{info.saved[:1].upper()}{info.saved[1:]}", fontsize=9, loc="left")
    lower.set_xlabel("epoch")
    lower.set_xlim(0.5, len(info.pruned) + 0.5)
    add_legend(figure, ncols=3, handles=handles)
    return figure


def _draw_courses(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Draw a line for each trial, and a marker at the end of each that is not complete.

    Returns:
        The legend's entries.
    """
    handles: list[Artist] = []
    with_marks = len(info.courses) <= _MANY_COURSES
    for state, promoted in itertools.product((COMPLETE, PRUNED, PAUSED, FAILED), (False, True)):
        courses = [
            course
            for course in info.courses
            if course.state == state and _is_promoted(course) == promoted
        ]
        if not courses:
            continue
        marker, colour = MARKERS[state]
        if promoted:
            marker, colour = _PROMOTED_MARK
        for course in courses:
            last = len(course.epochs) - 1
            for index, (epoch, value) in enumerate(zip(course.epochs, course.values, strict=True)):
                if with_marks or index == last:
                    mark_trial(axes, epoch, value, course.trial)
        lines = [list(zip(course.epochs, course.values, strict=True)) for course in courses]
        alpha = 0.6 if len(courses) <= _MANY_COURSES else 0.35
        zorder = 3 if state == COMPLETE else 2
        axes.add_collection(
            LineCollection(lines, colors=colour, alpha=alpha, linewidths=1.0, zorder=zorder)
        )
        # A line of a single epoch would be invisible.
        ends = [line[-1] for line in lines if state != COMPLETE or len(line) == 1]
        if ends:
            epochs, values = zip(*ends, strict=True)
            axes.scatter(epochs, values, s=22, marker=marker, color=colour, zorder=4)
        end_marker = "" if state == COMPLETE else marker
        label = f"{_label(info, state, promoted=promoted)} ({len(courses)})"
        handles.append(Line2D([], [], color=colour, marker=end_marker, lw=1.6, label=label))
    if info.log:
        use_log_scale(axes, "y")
    axes.autoscale_view()
    return handles


def _is_promoted(course: Course) -> bool:
    """Whether a trial was promoted, and yet is not trained to its end."""
    return course.promoted and course.state in (PRUNED, PAUSED)


def _label(info: PruningInfo, state: str, *, promoted: bool) -> str:
    """What the lines of a state are, in the legend."""
    if promoted:
        return "promoted, then paused"
    if not info.promotes:
        return state
    return {COMPLETE: "promoted to the end", PRUNED: "paused at the first rung"}.get(state, state)


def _draw_epochs(axes: Axes, info: PruningInfo) -> list[Artist]:
    """Stack by epoch the trials that trained it and those that were spared it.

    Returns:
        The legend's entries.
    """
    length = len(info.pruned)
    trained = [*info.trained, *[0] * (length - len(info.trained))]
    cause = "pausing" if info.promotes else "pruning"
    layers = (
        (trained, BLUE, None, "epochs trained"),
        (info.pruned, ORANGE, "////", f"epochs spared by {cause}"),
        (info.stopped, SKY, "....", "epochs spared by early stopping"),
    )
    edges = [epoch + 0.5 for epoch in range(length + 1)]
    base = [0] * length
    areas: list[Artist] = []
    style: dict[str, Any] = {"fill": True, "edgecolor": "white", "lw": 0}
    for counts, colour, hatch, label in layers:
        top = [below + count for below, count in zip(base, counts, strict=True)]
        if any(counts):
            areas.append(
                axes.stairs(
                    top, edges, baseline=base, label=label, facecolor=colour, hatch=hatch, **style
                )
            )
        base = top
    if info.promotes and length <= _MAX_NUMBERS:
        _write_numbers(axes, trained)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    return areas


def _write_numbers(axes: Axes, trained: Sequence[int]) -> None:
    """Write how many trials went on to each epoch."""
    for epoch, count in enumerate(trained, start=1):
        if count:
            axes.text(
                epoch, count, f"{count}", ha="center", va="top", fontsize=8, color="white", zorder=5
            )


PLOT = Plot(
    title="Learning curves of all trials",
    about="Lines that end early are trials that lagged, and were stopped or paused there; where "
    "that saved training, the hatched area below shows how much.",
    info=pruning_info,
    alt=pruning_alt,
    draw=draw_pruning,
)
