"""Draws every trial's value in the order of the trials, and the best value so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.labels import (
    counted,
    in_words,
    labelled_value,
    needs_log_scale,
    objective_label,
    sentence,
)
from pipeline.report.plots.style import (
    GREY,
    MANY_TRIALS,
    MARKERS,
    add_legend,
    labelled_axes,
    mark_failed,
    mark_trial,
    titled_figure,
    use_log_scale,
)
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class HistoryInfo:
    """The value of each ended or paused trial, in the order of the trial numbers."""

    label: str
    log: bool
    points: dict[str, list[tuple[int, float]]]  # by state: number and value
    failed: list[int]  # numbers of the failed trials, which have no value
    best: list[tuple[int, float]]  # number and best value so far, of the complete trials


def history_info(record: StudyRecord) -> HistoryInfo | None:
    """Collect values by trial number; None before the first trial has ended or paused."""
    better = max if record.maximize else min
    points: dict[str, list[tuple[int, float]]] = {}
    best: list[tuple[int, float]] = []
    results = sorted(record.results, key=lambda result: result.number)
    for result in results:
        if result.value is None or result.state not in (COMPLETE, PRUNED, PAUSED):
            continue
        points.setdefault(result.state, []).append((result.number, result.value))
        if result.state == COMPLETE:
            best_value = result.value
            if best:
                best_value = better(best[-1][1], result.value)
            best.append((result.number, best_value))
    failed = [result.number for result in results if result.state == FAILED]
    if not points and not failed:
        return None
    values = [value for state in points.values() for _, value in state]
    return HistoryInfo(
        label=objective_label(record),
        log=needs_log_scale(values),
        points=points,
        failed=failed,
        best=best,
    )


def history_alt(info: HistoryInfo) -> str:
    """Tell how many trials ended how, and how the best value so far moved."""
    counts = {state: len(points) for state, points in info.points.items()}
    counts["failed"] = len(info.failed)
    total = counted(sum(counts.values()), "trial")
    ends = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    if not info.best:
        return sentence(f"{total}: {ends}", "none is complete")
    first = info.best[0][1]
    last = info.best[-1][1]
    best_number = next(number for number, value in info.best if value == last)
    end = labelled_value(info.label, last)
    if first == last:
        progress = "the first complete one was not surpassed"
    else:
        direction = "rose" if last > first else "fell"
        begin = labelled_value(info.label, first)
        progress = f"the best so far {direction} from {begin} to {end}"
    best = f"{in_words(info.label)}: best {end} at trial {best_number}"
    return sentence(f"{total}: {ends}", best, progress)


def draw_history(info: HistoryInfo) -> Figure:
    """Draw a marker per trial, failed trials at the lower edge, and a line of the best so far."""
    figure = titled_figure("Optimisation history", (8, 4.6))
    axes = labelled_axes(figure, "trial number", info.label)
    trials = len(info.failed) + sum(len(points) for points in info.points.values())
    size = 36 if trials <= MANY_TRIALS else 12
    if info.best:
        numbers, values = zip(*info.best, strict=True)
        axes.step(numbers, values, where="post", color=GREY, lw=1.2, label="best complete so far")
    for state, points in info.points.items():
        marker, colour = MARKERS[state]
        label = f"{state} ({len(points)})"
        numbers, values = zip(*points, strict=True)
        axes.scatter(numbers, values, s=size, marker=marker, color=colour, label=label, zorder=3)
        for number, value in points:
            mark_trial(axes, number, value, number)
    if info.failed:
        label = f"failed, no value ({len(info.failed)})"
        mark_failed(axes, info.failed, ms=size**0.5, label=label)
    if info.log:
        use_log_scale(axes, "y")
    if not info.points:
        axes.set_yticks([])
    axes.margins(y=0.12)
    add_legend(figure, ncols=4)
    return figure


PLOT = Plot(
    title="Optimisation history",
    about="Trials in the order in which they began: where the grey line still climbs at the right "
    "end, more trials would probably find something better.",
    info=history_info,
    alt=history_alt,
    draw=draw_history,
)
