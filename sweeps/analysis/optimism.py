"""Estimates the optimism of a choice: by how much the best of several networks flatters itself.

The networks are those after the epochs of a training, or those of the trials of a study. Who takes
the one with the best score on some images also takes its luck on these images: on new images, its
score is lower on average. A bootstrap tells by how much. It repeats the choice on resamples of the
images, and reads what each choice is worth from the images that the resample left out.

Let c[k, i] be 1 if network k classifies image i correctly, else 0. Let v[i] be the weight of the
image in the score, which is the sum of v[i] c[k, i], and w[b, i] how often the image is in resample
b. Let K be the network with the best score, and K[b] the one with the best sum of
w[b, i] v[i] c[k, i]. Then

    optimism = mean over b of the sum of v[i] (c[K, i] - c[K[b], i]) over the i with w[b, i] = 0,
               divided by the probability of w[b, i] = 0.

Its expectation is the score of K on all images, less the mean score of the K[b] on images left out:
the bias that the method BBC corrects. The difference to K is taken on the images left out, not on
all images, because it varies much less. It is no estimate for a resample's own images less
those left out: a resample has more noise than the images, and that would be 1.4 times too large.

Each w[b, i] is drawn from a Poisson distribution with mean 1. Images on which all networks agree
change nothing then, and are left out. Networks with equal sums share the choice.

In simulations of networks with equal true accuracies (12 to 100 of them, 239 to 10,000 images), the
mean estimate is within about a tenth of the true optimism. Where the accuracies differ, it is too
large, at 239 images by .001 to .002: a resample decides less well than all images.

Sources: I. Tsamardinos, E. Greasidou and G. Borboudakis, Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation, Machine Learning 107 (2018); J. A. Hanley
and B. MacGibbon, Creating non-parametric bootstrap samples using Poisson frequencies, Computer
Methods and Programs in Biomedicine 83 (2006).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sweeps.analysis import bits
from sweeps.analysis.scores import complete_trials
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeps.analysis.record import StudyRecord
    from sweeps.trial import TrialConfig, TrialResult

MOST_EPOCHS = 100  # of a training; of a longer one, those with the best values
METRICS = ("val/acc", "val/balanced_acc")  # objectives that are a weighted mean over the images

_RESAMPLES = 200
_SEED = 0
_EQUAL = 0.01  # images: sums of weights that differ by no more are equal
_LEVELS = 2**16  # the uniform numbers from which Poisson numbers are drawn
# Standard deviations of a difference by which a network may be behind and still be the choice in a
# resample. Leaving out those that are further behind saves most of the work.
_HOPELESS = 6.0


@dataclass(frozen=True, kw_only=True)
class EpochOptimism:
    """The optimism of the best epoch, as a mean over trials."""

    mean: float
    error: float | None  # standard error of the mean over trials; None for one trial
    trials: int


@dataclass(frozen=True, kw_only=True)
class TrialOptimism:
    """The optimism of the best configuration of a study."""

    value: float
    configurations: int  # that it was chosen from
    images: int  # in the validation split


def of_best_epoch(
    metric: str, confusion: Sequence[Sequence[int]] | None, packed: Mapping[int, str]
) -> float | None:
    """Estimate the optimism of the best of a training's epochs.

    Args:
        metric: the objective, by its MLflow key.
        confusion: validation counts [true][predicted], of any epoch.
        packed: which images are classified correctly after each epoch, as `sweeps.analysis.bits`
            packs them.

    Returns:
        The optimism, in the unit of the objective; None if the objective is none of `METRICS`, or
        an epoch's images are not known.
    """
    if confusion is None or metric not in METRICS or not packed:
        return None
    sizes = [sum(row) for row in confusion]
    epochs = [bits.unpack(text, sum(sizes)) for text in packed.values()]
    known = [correct for correct in epochs if correct is not None]
    if len(known) < len(epochs):
        return None
    return optimism_of_best(np.stack(known), _image_weights(metric, sizes))


def epoch_optimism(results: Iterable[TrialResult]) -> EpochOptimism | None:
    """Average the optimism of the best epoch over the complete trials that have it.

    The trials have the same images, so the error does not say how it would be on others.
    """
    values = [
        result.optimism
        for result in results
        if result.state == COMPLETE and result.duplicate_of is None and result.optimism is not None
    ]
    if not values:
        return None
    error = None
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    return EpochOptimism(mean=statistics.fmean(values), error=error, trials=len(values))


def trial_optimism(record: StudyRecord) -> TrialOptimism | None:
    """Estimate the optimism of the best of a study's complete configurations.

    A configuration counts by the mean over its seeds; one with fewer seeds than the best cannot
    lead, and is no choice. Trials that were stopped early are none either, although they were in
    the running: where many were, the estimate is too small.

    That of their best epochs is not included, see `epoch_optimism`. Both together are more than
    either, but less than their sum, which is too large by a fifth for equal networks and by up to
    a half for unequal ones (simulations of 3 to 24 trials).

    Returns:
        The optimism; None if there is no choice, if the objective is none of `METRICS`, if it is
        not known of a trial which images are classified correctly, or if not all trials have the
        same images.
    """
    metric, _ = OBJECTIVES[record.objective]
    entries = [complete_trials(entry) for entry in record.complete_configurations]
    if metric not in METRICS or len(entries) < 2:
        return None
    choices = [trials for trials in entries if len(trials) >= len(entries[0])]
    sizes = {_class_sizes(trial) for trials in choices for trial in trials}
    splits = {_split(trial.config) for trials in choices for trial in trials}
    if len(sizes) > 1 or len(splits) > 1 or len(choices) < 2:
        return None
    rows = []
    for trials in choices:
        known = [bits.correct_images(trial) for trial in trials]
        correct = [images for images in known if images is not None]
        if len(correct) < len(known):
            return None
        rows.append(np.mean(correct, axis=0, dtype=np.float32))
    value = optimism_of_best(np.stack(rows), _image_weights(metric, sizes.pop()))
    return TrialOptimism(value=value, configurations=len(rows), images=rows[0].size)


def optimism_of_best(
    correct: NDArray[np.bool_] | NDArray[np.float32], weights: NDArray[np.float64]
) -> float:
    """Estimate the optimism of the network with the best score, as the module's formula says.

    The resamples are the same each time.

    Args:
        correct: (networks, images): whether, or how often, a network classifies an image correctly.
        weights: (images,): of each image in the score.

    Returns:
        The optimism, in the unit of the score.
    """
    unit = float(weights.mean())
    in_images = (weights / unit).astype(np.float32)
    rows = correct.astype(np.float32) * in_images
    rows = rows[_is_a_choice(rows)]
    differ = (rows != rows[0]).any(axis=0)
    rows = rows[:, differ]
    if rows.size == 0:
        return 0.0
    draws = _poisson_numbers()
    generator = np.random.default_rng(_SEED)
    shape = (_RESAMPLES, rows.shape[1])
    drawn = draws[generator.integers(0, _LEVELS, shape, dtype=np.uint16)]
    # No product of matrices: numpy's would begin threads, which compete with other trainings.
    sums = np.einsum("bi,ki->bk", drawn, rows)
    chosen = _share_of_best(sums)
    best = _share_of_best(rows.sum(axis=1, keepdims=True).T)[0]
    ever = (best > 0) | (chosen > 0).any(axis=0)
    left_out = np.einsum("bi,ki->bk", (drawn == 0).astype(np.float32), rows[ever])
    advantage = ((best[ever] - chosen[:, ever]) * left_out).sum(axis=1)
    is_left_out = float((draws == 0).mean())
    return float(advantage.mean()) * unit / is_left_out


def _is_a_choice(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether networks can have the best sum in a resample, (networks,); see `_HOPELESS`."""
    totals = rows.sum(axis=1, dtype=np.float64)
    best = rows[totals.argmax()]
    # The variance of a difference of sums over a resample: that of a Poisson number is its mean, 1.
    variances = np.square(rows - best).sum(axis=1, dtype=np.float64)
    behind = totals.max() - totals
    is_a_choice: NDArray[np.bool_] = behind <= _HOPELESS * np.sqrt(variances) + _EQUAL
    return is_a_choice


def _share_of_best(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each row's choice, (rows, networks), among the networks with the largest sum."""
    is_best = sums >= sums.max(axis=1, keepdims=True) - _EQUAL
    shares: NDArray[np.float32] = is_best / is_best.sum(axis=1, keepdims=True, dtype=np.float32)
    return shares


@cache
def _poisson_numbers() -> NDArray[np.float32]:
    """The quantiles of a Poisson distribution with mean 1, at evenly spaced levels."""
    probabilities = [math.exp(-1) / math.factorial(number) for number in range(12)]
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    return np.searchsorted(np.cumsum(probabilities), levels).astype(np.float32)


def _image_weights(metric: str, sizes: Sequence[int]) -> NDArray[np.float64]:
    """The weight of each image in an objective, the images by class.

    Args:
        metric: one of `METRICS`.
        sizes: the number of images of each class.
    """
    if metric == "val/acc":
        return np.full(sum(sizes), 1 / max(1, sum(sizes)))
    present = [size for size in sizes if size > 0]
    weights = [1 / (len(present) * size) for size in present]
    return np.repeat(weights, present)


def _class_sizes(trial: TrialResult) -> tuple[int, ...]:
    """The number of validation images of each class; empty if it is not known."""
    return tuple(sum(row) for row in trial.confusion or ())


def _split(config: TrialConfig) -> tuple[object, ...]:
    """What decides the images of a trial."""
    return config.dataset, config.split_seed, config.split_file, config.redraw
