"""Tells from a specification how much a study will train at most."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from sweeps.search.promotion import BUDGET_REDUCTION, LEADERS, budget_rungs, expected_epochs
from sweeps.spec.configurations import baseline_values, total_trials
from sweeps.spec.study_spec import StudySpec


@dataclass(frozen=True)
class Extent:
    """The most that a study trains. With a budget alone, the number of trials is a good guess."""

    trials: int | None  # None for a time alone, as long as that of an epoch is not known
    epochs: float | None  # of all trials together; None as above


def extent(spec: StudySpec, *, epoch_seconds: float | None = None) -> Extent:
    """Tell how much a new study trains at most.

    Args:
        spec: the study.
        epoch_seconds: the mean time of an epoch, if it is known.
    """
    epochs = math.inf if spec.has_only_budget else _epochs_without_budget(spec)
    budget = spec.budget
    if budget is not None and budget.trainings is not None:
        epochs = min(_all_epochs(spec), budget.trainings * spec.most_epochs)
    elif budget is not None and budget.seconds is not None and epoch_seconds:
        epochs = min(_all_epochs(spec), budget.seconds / epoch_seconds)
    if math.isinf(epochs):
        return Extent(None, None)
    if not spec.has_only_budget:
        return Extent(total_trials(spec), epochs)
    return Extent(math.ceil(epochs / _epochs_of_a_draw(spec)), epochs)


def _all_epochs(spec: StudySpec) -> float:
    """The epochs of training all trials to their end; infinite with a budget alone."""
    if spec.has_only_budget:
        return math.inf
    return float(total_trials(spec) * spec.most_epochs)


def _epochs_without_budget(spec: StudySpec) -> float:
    """The epochs of a study of a given number of trials."""
    if spec.pruner != "asha":
        return _all_epochs(spec)
    configurations = math.ceil(total_trials(spec) / spec.repeats)
    leaders = LEADERS + len(baseline_values(spec))
    epochs = spec.repeats * expected_epochs(
        total=configurations, epochs=spec.most_epochs, leaders=leaders
    )
    return min(_all_epochs(spec), epochs)  # the last configuration may lack seeds


def _epochs_of_a_draw(spec: StudySpec) -> float:
    """The epochs that a trial takes on average, if one in so many goes on from rung to rung.

    A study takes more for each trial, because it also finishes the best ones.
    """
    if spec.pruner != "asha":
        return spec.most_epochs
    levels = (0, *budget_rungs(spec.most_epochs))
    mean = 0.0
    for index, (earlier, later) in enumerate(itertools.pairwise(levels)):
        mean += (later - earlier) / BUDGET_REDUCTION**index
    return mean
