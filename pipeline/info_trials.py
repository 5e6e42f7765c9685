"""Pure: what a plot shows of all trials of a study, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.plotinfo import axis_label, wide
from sweeps.ranking import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PRUNED


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
    return HistoryInfo(study=record.name, label=axis_label(record), log=log, points=points, failed=failed, best=best)
