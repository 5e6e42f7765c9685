"""Tells how a study's objective grows with the number of training images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeps.analysis.difference import Difference, image_error
from sweeps.analysis.intervals import CONFIDENCE, Z, corrected_resampled_error
from sweeps.analysis.naming import config_text, differing_fields
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials

FIELD = "train_images"


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """The objective with so many training images."""

    images: int
    entry: Ranked
    values: tuple[float, ...]  # of each repeat
    mean: float
    interval: tuple[float, float] | None  # of 95 %, of the mean; None if it is not known


@dataclass(frozen=True, kw_only=True)
class SizeCurve:
    """The objective by the number of training images, all other fields alike."""

    name: str  # the values of the other fields that vary in the study; empty if none does
    points: tuple[SizePoint, ...]  # by images, two or more


def size_curves(record: StudyRecord) -> list[SizeCurve]:
    """Return the curves of a study that searches the number of training images, the best first.

    A curve is best if its value with the most images is best. Empty for any other study.
    """
    if FIELD not in record.searched:
        return []
    entries = record.complete_configurations
    fields = differing_fields(record.searched, [entry.trials[0] for entry in entries])
    others = tuple(name for name in fields if name != FIELD)
    groups: dict[str, list[SizePoint]] = {}
    for entry in entries:
        name = config_text(entry.trials[0], others) if others else ""
        groups.setdefault(name, []).append(_point(record, entry))
    curves = [
        SizeCurve(name=name, points=tuple(sorted(points, key=lambda point: point.images)))
        for name, points in groups.items()
        if len(points) > 1
    ]
    sign = -1 if record.maximize else 1
    return sorted(curves, key=lambda curve: sign * curve.points[-1].mean)


def last_gain(record: StudyRecord, curve: SizeCurve) -> Difference | None:
    """Return by how much the most images are better than the next fewer."""
    before, last = curve.points[-2:]
    return record.difference(last.entry, before.entry)


def enough(record: StudyRecord, curve: SizeCurve) -> SizePoint:
    """Return the fewest images that are not known to be worse than the most."""
    last = curve.points[-1]
    for point in curve.points[:-1]:
        difference = record.difference(last.entry, point.entry)
        if difference is not None and difference.outcome != "ahead":
            return point
    return last


def _point(record: StudyRecord, entry: Ranked) -> SizePoint:
    trials = complete_trials(entry)
    values = tuple(trial.value for trial in trials if trial.value is not None)
    mean = math.fsum(values) / len(values)
    half_width = _half_width(record, entry, values)
    interval = None
    if half_width is not None:
        most = 1.0 if record.maximize else math.inf  # a share, or a loss
        interval = max(0.0, mean - half_width), min(most, mean + half_width)
    return SizePoint(
        images=int(trials[0].config.train_images or 0),
        entry=entry,
        values=values,
        mean=mean,
        interval=interval,
    )


def _half_width(record: StudyRecord, entry: Ranked, values: tuple[float, ...]) -> float | None:
    """Half the 95 % interval of a mean over repeats, for other seeds and other images.

    Repeats on draws of their own vary by both. With one split, the images' part is added.
    """
    from scipy.special import stdtrit

    sample = record.sample_of(entry)
    of_images = image_error(entry.trials[0], record.objective)
    if sample is not None and sample.redraw_images is not None and len(values) > 1:
        error, freedom = corrected_resampled_error(values, *sample.redraw_images)
        return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    if of_images is None:
        return None
    if len(values) < 2:
        return Z * of_images
    error, freedom = corrected_resampled_error(values, 1, 0)  # the plain one
    return math.hypot(float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error, Z * of_images)
