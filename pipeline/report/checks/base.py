"""The outcome of a health check, and measurements for several checks."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sweeps.analysis.difference import image_error
from sweeps.analysis.intervals import Z
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import PLANNED_METHODS
from sweeps.trial import COMPLETE, PRUNED, TrialResult

TOO_FEW_MISTAKES = 5  # a sign test of 95 % needs 6

Level = Literal["good", "note", "warning"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one health check."""

    name: str
    level: Level  # good: nothing to do; note: worth knowing; warning: the result may mislead
    text: str  # the finding, with figures and a remedy; names in it are not escaped


def is_sampled(record: StudyRecord) -> bool:
    """Whether a sampler chose the configurations, rather than a layout such as a grid."""
    return record.method not in PLANNED_METHODS


def tried_trials(record: StudyRecord) -> list[TrialResult]:
    """Return the trials that have ended, without those that reused another trial's result."""
    return [result for result in record.results if result.has_ended and result.duplicate_of is None]


def trained_trials(record: StudyRecord) -> list[TrialResult]:
    """Return the tried trials with a training and a value."""
    return [
        trial
        for trial in tried_trials(record)
        if trial.state in (COMPLETE, PRUNED) and trial.value is not None
    ]


def validation_images(trial: TrialResult | None) -> int | None:
    """Count a trial's validation images; None if they were not counted."""
    if trial is None:
        return None
    if trial.confusion:
        return sum(map(sum, trial.confusion)) or None
    if trial.best:
        return sum(trial.best.predicted) or None
    return None


def training_images(record: StudyRecord, trial: TrialResult | None) -> int | None:
    """Count a trial's training images; None if that is not known."""
    if trial is not None and trial.config.train_images is not None:
        return trial.config.train_images
    return record.facts.images.get("train") or None


def winner_uncertainty(record: StudyRecord) -> float | None:
    """Half the 95 % interval of the winner's value, due to the choice of validation images alone.

    Two networks are validated on the same images, and mistake many of the same. The half-width
    therefore serves for the difference of two networks, too, in the absence of a better estimate.
    The balanced accuracy's standard deviation is taken for a macro F1, too.

    Returns:
        The half-width, in units of the objective; None if it is unknown.
    """
    trial = record.best_trial
    error = None if trial is None else image_error(trial, record.objective)
    return None if error is None else Z * error


class FewMistakes(NamedTuple):
    """The configurations with too few mistakes to be ranked by these validation images."""

    configurations: tuple[Ranked, ...]  # the best first
    most: float  # mistakes of any of them, mean over its seeds


def mistakes_too_few_to_rank(record: StudyRecord) -> FewMistakes | None:
    """Find the configurations that the validation images cannot tell from a perfect network.

    A perfect network beats one with k mistakes on k images and loses on none. By the sign test
    that is chance with a probability of 2 ** (1 - k), two-sided: fewer than 6 mistakes are too few
    for 95 %, however many images there are. At least two configurations must be so good, the
    winner among them; the objective must count right and wrong images, as a loss does not; and all
    repeats must have the same validation images.

    Returns:
        The configurations; None if the images can still tell.
    """
    images = validation_images(record.best_trial)
    has_redraws = any(trial.config.redraw is not None for trial in record.results)
    if record.objective == "val_loss" or has_redraws or not images:
        return None
    found = []
    for entry in record.complete_configurations:
        accuracies = [
            trial.best.metrics.get("val/acc")
            for trial in entry.trials
            if trial.state == COMPLETE and trial.best is not None
        ]
        known = [accuracy for accuracy in accuracies if accuracy is not None]
        if not known or len(known) < len(accuracies):
            continue
        mistakes = images * (1 - statistics.fmean(known))
        if mistakes <= TOO_FEW_MISTAKES + 1e-9:
            found.append((entry, round(mistakes, 1)))
    if len(found) < 2 or found[0][0] is not record.complete_configurations[0]:
        return None
    return FewMistakes(
        configurations=tuple(entry for entry, _ in found),
        most=max(mistakes for _, mistakes in found),
    )


def improvement(record: StudyRecord, value: float, reference: float) -> float:
    """Return by how much a value of the objective is better than another; negative if worse."""
    if record.maximize:
        return value - reference
    return reference - value
