"""The optimisation history: every trial's value in the order of the trials, and the best so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report.plots.base import Plot
from pipeline.report.plots.style import (
    GREY,
    MANY,
    MARKERS,
    add_legend,
    labelled_axes,
    log_scale,
    titled_figure,
)
from sweeps.trial import FAILED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, counted, sentence, wide
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, PRUNED


@dataclass(frozen=True, kw_only=True)
class HistoryInfo:
    """The value of each ended trial, in the order of their numbers."""

    study: str
    label: str
    log: bool
    points: dict[str, list[tuple[int, float]]]  # by state: number and value
    failed: list[int]  # numbers; they have no value
    best: list[tuple[int, float]]  # best value so far over complete trials


def history_info(record: StudyRecord) -> HistoryInfo | None:
    """Collect values by trial number; None before the first trial has ended."""
    points: dict[str, list[tuple[int, float]]] = {}
    best: list[tuple[int, float]] = []
    results = sorted(record.results, key=lambda r: r.number)
    for result in results:
        if result.value is None or result.state not in (COMPLETE, PRUNED):
            continue
        points.setdefault(result.state, []).append((result.number, result.value))
        if result.state == COMPLETE:
            values = [value for _, value in best[-1:]] + [result.value]
            best.append((result.number, max(values) if record.maximize else min(values)))
    failed = [result.number for result in results if result.state == FAILED]
    if not points and not failed:
        return None
    log = wide(value for state in points.values() for _, value in state)
    return HistoryInfo(
        study=record.name,
        label=axis_label(record),
        log=log,
        points=points,
        failed=failed,
        best=best,
    )


def history_alt(info: HistoryInfo) -> str:
    """How many ended how, and how the best so far moved."""
    counts = {
        **{state: len(points) for state, points in info.points.items()},
        "failed": len(info.failed),
    }
    total = counted(sum(counts.values()), "trial")
    ends = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    if not info.best:
        return sentence(f"{total}: {ends}", "none is complete")
    first = info.best[0][1]
    last = info.best[-1][1]
    number = next(number for number, value in info.best if value == last)
    moved = f"the best so far {'rose' if last > first else 'fell'} from {first:.4g} to {last:.4g}"
    return sentence(
        f"{total}: {ends}",
        f"{info.label}: best {last:.4g} at trial {number}",
        moved if first != last else "the first complete one was not surpassed",
    )


def draw_history(info: HistoryInfo) -> Figure:
    """Draw a marker per trial, failed ones along the lower edge, and a line of the best so far."""
    figure = titled_figure("Optimisation history", info.study, (8, 4.6))
    axes = labelled_axes(figure, "trial number", info.label)
    size = 36 if len(info.failed) + sum(map(len, info.points.values())) <= MANY else 12
    if info.best:
        axes.step(
            *zip(*info.best, strict=True),
            where="post",
            color=GREY,
            lw=1.2,
            label="best complete so far",
        )
    for state, points in info.points.items():
        marker, colour = MARKERS[state]
        label = f"{state} ({len(points)})"
        numbers, values = zip(*points, strict=True)
        axes.scatter(numbers, values, s=size, marker=marker, color=colour, label=label, zorder=3)
    if info.failed:
        marker, colour = MARKERS[FAILED]
        label = f"failed, no value ({len(info.failed)})"
        low = [0.03] * len(info.failed)
        edge = axes.get_xaxis_transform()  # across by trial number, up by share of the axis
        # Not scatter: what that draws by such a transform does not widen the axis.
        axes.plot(
            info.failed,
            low,
            marker,
            ms=size**0.5,
            color=colour,
            label=label,
            transform=edge,
            zorder=3,
        )
    if info.log:
        log_scale(axes, "y")
    if not info.points:
        axes.set_yticks([])
    axes.margins(y=0.12)
    add_legend(figure, "outside lower center", ncols=4)
    return figure


PLOT = Plot(
    title="Optimisation history",
    about="Trials in the order in which they began: where the grey line still climbs at the right end, more trials "
    "would probably find something better.",
    info=history_info,
    alt=history_alt,
    draw=draw_history,
)
