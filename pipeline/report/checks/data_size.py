"""Health check of studies that search the number of training images: whether more would help."""

from __future__ import annotations

from pipeline.report.checks.base import Check
from pipeline.report.plots.size_curves import enough, last_gain, size_curves
from pipeline.report.scores import interval_text, unit_of
from sweeps.analysis.record import StudyRecord


def data_size(record: StudyRecord) -> Check | None:
    """Say what the last images brought, and how few are not known to be worse than all.

    Of several curves, this is about the best with the most images. Silent without one, and where
    nothing is known of the difference.
    """
    curves = size_curves(record)
    if not curves:
        return None
    best = curves[0]
    gain = last_gain(record, best)
    if gain is None or gain.half_width is None:
        return None
    unit = unit_of(record.objective)
    before, last = best.points[-2:]
    subject = f" of {best.name}" if best.name else ""
    finding = (
        f"{last.images:,} instead of {before.images:,} training images improve the "
        f"{record.objective}{subject} by {unit.difference(gain.difference, sign=True)} "
        f"({interval_text(gain, unit)})"
    )
    if gain.outcome == "ahead":
        text = f"More images help to the end: {finding}. Still more would probably help, too."
        return Check(name="data_size", level="note", text=text)
    fewest = enough(record, best)
    text = (
        f"{finding}, which is not told from nothing. The fewest that are not known to be worse "
        f"than {last.images:,} are {fewest.images:,}."
    )
    return Check(name="data_size", level="note", text=text)
