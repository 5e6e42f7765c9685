"""Compares configurations by their means over seeds and images, with simultaneous intervals.

A configuration's accuracy depends on two samples: the seeds it was trained with, and the images it
was scored on. Other seeds and other images would have given another mean. A difference of two
configurations is a difference of what they would reach on the average of all seeds and images, and
its interval has to allow for both samples.

**Variance.** Let ``d`` be the difference of two configurations on an image, each the mean over its
S seeds. Then the variance of the mean difference is estimated by ``B + P``, where

- ``B = var(d) / n`` over the n images is the part of the images, including what seeds disagree on
  in single images;
- ``P``, the sum of ``(var(values) - e / n) / S`` over both configurations, is the part of the seeds
  that more images would not make smaller: ``var(values)`` is the variance of the S mean values, and
  ``e`` the mean square of the residuals of the table of seeds by images, which is in ``B`` already.

These are the components of a two-way layout with random effects (Searle, Casella and McCulloch,
Variance Components, 1992, chapter 4).

**Few images wrong.** Half an image more for each side is added to ``d``, as is usual for small
counts (Agresti, Categorical Data Analysis, 2013, section 3.1): otherwise the interval of four
images that one configuration alone has right would leave out 0.

**Few seeds.** A variance of two or three values is hardly known. Each ``var(values)`` is therefore
moved towards the mean variance of the half of the configurations whose means are nearest (poor ones
often vary much more than good ones), which counts as some further degrees of freedom: as many as
their variances suggest (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004),
but at least `PRIOR_FREEDOM`, and no more where they are too few to tell.

**Redraws.** Where each seed has a draw of train and validation of its own, no two have the same
images. The interval is that of the corrected resampled t-test (`sweeps.analysis.intervals`) of the
differences by draw, with the quantile for all pairs.

**Many configurations.** The largest of many means is ahead by chance. An interval's half-width is
``sqrt(q(inf)^2 B + q(f)^2 P)``, where q(f) is the 95 % quantile of the studentized range of all
configurations that stood to win, with f degrees of freedom, divided by the square root of 2: all
differences of all pairs are covered together (Tukey 1953, Kramer 1956). Each part of the variance
has its own quantile (Cochran, Biometrics 20, 1964), as the number of images is large and that of
the seeds is small.

``benchmarks/verdict.py`` counts by simulation how often an interval is wrong.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeps.analysis.bits import correct_images, correct_test_images
from sweeps.analysis.intervals import (
    CONFIDENCE,
    Z,
    corrected_resampled_error,
    wilson_interval,
)
from sweeps.trial import COMPLETE, TrialResult, parse_redraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Degrees of freedom with which the mean variance of similar configurations counts in each one's
# own: at least, and where they do not tell. Smyth's estimate for 14 real configurations with 6
# seeds each was 2.0, for the best five of them 6.2 (docs/statistics.md).
PRIOR_FREEDOM = 2
MOST_PRIOR_FREEDOM = 30
# They tell with at least so many configurations that have at least so many seeds.
_TELLING_CONFIGURATIONS = 4
_TELLING_SEEDS = 3
# Standard deviation, in images, of the difference of two counts, each rounded to a whole number.
_ROUNDING = (2 / 12) ** 0.5
# Half the region of practical equivalence of accuracies and macro F1, unless a study says otherwise
# (Benavoli, Corani, Demsar and Zaffalon, Journal of Machine Learning Research 18, 2017). Losses
# have no scale of their own.
DEFAULT_ROPE = 0.01
# Degrees of freedom for which quantiles are computed, as in printed tables. With more than the
# last, a variance counts as known.
_TABULATED = (*range(1, 21), 24, 30, 40, 60, 120)
_KNOWN = 1_000_000
MOST_SEEDS = 100  # more are not advised
MOST_IMAGES = 10_000_000

# How a configuration stands to another: better or worse beyond chance; equal in practice, which
# means that the whole interval lies within the region of practical equivalence; else not known.
Outcome = Literal["ahead", "behind", "equal", "open"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The complete seeds of a configuration, as a sample of all seeds and images."""

    values: tuple[float, ...]  # of the objective, one for each seed
    # The mean over the seeds of what each image adds: float64 (images,), whose mean is that of the
    # values. None if it is not known which images were right.
    by_image: NDArray[np.float64] | None = None
    # Mean square of the residuals of the table of seeds by images; 0 for one seed.
    residual: float = 0.0
    # Of seeds that have a draw of train and validation each: the values by the name of the draw.
    by_redraw: Mapping[str, float] = field(default_factory=dict)
    redraw_images: tuple[float, float] | None = None  # of a draw's train and validation split
    # Whether seeds that were planned are not complete: the mean of the others may flatter.
    lacks_seeds: bool = False
    # Standard error of one network's value by the choice of images, used where `by_image` is not
    # known; None if it is not known either.
    image_error: float | None = None

    @property
    def mean(self) -> float:
        """The mean value."""
        return statistics.fmean(self.values)

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(self.values)

    @cached_property
    def variance(self) -> float:
        """The variance of the values over the seeds; 0 for one seed."""
        return statistics.variance(self.values) if self.seeds > 1 else 0.0

    @property
    def images(self) -> int | None:
        """The number of images, if it is known which of them were right."""
        return None if self.by_image is None else len(self.by_image)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better one configuration is than another, with a simultaneous 95 % interval.

    In units of the objective, positive if the first is better, whatever the direction of the
    objective.
    """

    difference: float
    half_width: float | None  # of the interval; None if there is none
    seeds: tuple[int, int]  # of the first and the second
    images: int | None  # None if it is not known which images were right
    configurations: int  # that stood to win: the interval is one of all their pairs together
    rope: float | None  # half the region of practical equivalence; None if nothing counts as equal
    redraws: int = 0  # draws of train and validation that both have; 0 for the study's own split
    why_unknown: str | None = None  # why there is no interval
    needs: Needs | None = None  # what would decide an open outcome

    @property
    def low(self) -> float | None:
        """The low end of the interval."""
        return None if self.half_width is None else self.difference - self.half_width

    @property
    def high(self) -> float | None:
        """The high end of the interval."""
        return None if self.half_width is None else self.difference + self.half_width

    @property
    def outcome(self) -> Outcome:
        """How the first stands to the second."""
        if self.low is None or self.high is None:
            return "open"
        if self.low > 0:
            return "ahead"
        if self.high < 0:
            return "behind"
        if self.rope is not None and -self.rope < self.low and self.high < self.rope:
            return "equal"
        return "open"

    @property
    def second_is_no_worse(self) -> bool:
        """Whether the second is known to be worse by less than the region of equivalence."""
        return self.rope is not None and self.high is not None and self.high < self.rope


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What would decide an open outcome, if the difference stays as it was seen.

    Either of the two; None if no reasonable number would.
    """

    seeds: int | None  # further seeds of each
    images: int | None  # further images


@dataclass(frozen=True)
class _Parts:
    """The parts of the variance of a difference, in squared units of the objective."""

    image: float  # of one image, with any seeds
    single: float  # of one image with one seed of each: what seeds disagree on
    seed: float  # of one seed of each, on any images


@dataclass(frozen=True)
class _Prior:
    """What similar configurations say of a configuration's variance over seeds."""

    variance: float  # mean of theirs, on all images alike
    freedom: int  # degrees of freedom of that mean
    weight: float  # degrees of freedom with which it counts

    @staticmethod
    def of(samples: Sequence[Sample]) -> _Prior:
        """Average the variances of configurations with two or more seeds."""
        freedom = sum(sample.seeds - 1 for sample in samples)
        weighted = sum((sample.seeds - 1) * _excess_variance(sample) for sample in samples)
        return _Prior(
            variance=weighted / freedom if freedom else 0.0,
            freedom=freedom,
            weight=_prior_freedom(samples),
        )


class Comparison:
    """Compares the configurations that stood to win, with one family of intervals."""

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        maximize: bool,
        rope: float | None = None,
        configurations: int | None = None,
    ) -> None:
        """Prepare the comparison.

        Args:
            samples: all configurations with complete seeds.
            maximize: whether a higher value is better.
            rope: half the region of practical equivalence, in units of the objective; None if
                nothing counts as equal.
            configurations: how many stood to win; None for as many as there are samples.
        """
        self._maximize = maximize
        self._rope = rope
        self.configurations = max(2, len(samples), configurations or 0)
        self._repeated = [sample for sample in samples if sample.seeds > 1]
        self._priors: dict[float, _Prior] = {}  # by the mean of a sample

    def difference(self, first: Sample, second: Sample) -> Difference:
        """Compare two of the configurations.

        There is no interval if one has a single seed, and if the first lacks planned seeds: it may
        be first for that.
        """
        sign = 1.0 if self._maximize else -1.0
        half_width = self._half_width(first, second)
        redraws = _shared_redraws(first, second)
        why_unknown = None
        if min(first.seeds, second.seeds) < 2:
            why_unknown = "with a single seed on one side"
            if first.seeds == second.seeds:
                why_unknown = "of one seed each"
        elif first.lacks_seeds:
            half_width = None
            why_unknown = "while planned seeds are not complete"
        elif half_width is None and (first.by_redraw or second.by_redraw) and len(redraws) < 2:
            why_unknown = "between different draws of train and validation"
        elif half_width is None:
            why_unknown = "with an unknown error by the choice of images"
        if redraws:
            mean = statistics.fmean(
                first.by_redraw[draw] - second.by_redraw[draw] for draw in redraws
            )
        else:
            mean = first.mean - second.mean
        difference = Difference(
            difference=sign * mean,
            half_width=half_width,
            seeds=(first.seeds, second.seeds),
            images=_shared_images(first, second),
            redraws=len(redraws),
            configurations=self.configurations,
            rope=self._rope,
            why_unknown=why_unknown,
        )
        if difference.outcome != "open" or difference.half_width is None:
            return difference
        return replace(difference, needs=self._needs(difference, first, second))

    def mean_interval(self, sample: Sample) -> tuple[float, float] | None:
        """Return the 95 % interval of a configuration's mean accuracy, by itself.

        Over seeds and images, as for a difference. It is Wilson's interval for as many images as
        would give the same variance without seeds (Korn and Graubard, Survey Methodology 24, 1998).

        Args:
            sample: of a configuration whose values are shares of images.

        Returns:
            The low and the high end; None for one seed, or if the images' part is not known.
        """
        by_images = _mean_variance_by_images(sample)
        if sample.seeds < 2 or by_images is None:
            return None
        freedom = self._seed_freedom(sample)
        by_seeds = max(self._seed_variance(sample), 0.0) / sample.seeds
        student = simultaneous_quantile(2, freedom)
        variance = by_images + by_seeds * (student / Z) ** 2
        share = min(max(sample.mean, 0.0), 1.0)
        if sample.images is None and share in (0, 1):
            # The error was half of Wilson's interval, all of which is on one side.
            width = 2 * Z * math.sqrt(by_images)
            return max(0.0, share - width), min(1.0, share + width)
        if not variance or not 0 < share < 1:
            return wilson_interval(share, sample.images or 1)
        return wilson_interval(share, share * (1 - share) / variance)

    def _half_width(self, first: Sample, second: Sample) -> float | None:
        if min(first.seeds, second.seeds) < 2:
            return None
        if first.by_redraw or second.by_redraw:
            return self._half_width_of_redraws(first, second)
        by_images = _variance_by_images(first, second)
        if by_images is None:
            return None
        by_seeds = self._seed_variance(first) / first.seeds
        by_seeds += self._seed_variance(second) / second.seeds
        return half_width(
            by_images,
            max(by_seeds, 0.0),
            configurations=self.configurations,
            freedom=self._seed_freedom(first, second),
        )

    def _half_width_of_redraws(self, first: Sample, second: Sample) -> float | None:
        shared = _shared_redraws(first, second)
        if len(shared) < 2 or first.redraw_images is None:
            return None
        differences = [first.by_redraw[draw] - second.by_redraw[draw] for draw in shared]
        train_images, val_images = first.redraw_images
        error, freedom = corrected_resampled_error(differences, train_images, val_images)
        if self._maximize:
            # Shares of images that are rounded to the same number show no deviation of their own.
            scale = math.sqrt(1 / len(shared) + val_images / train_images)
            error = max(error, _ROUNDING / val_images * scale)
        return simultaneous_quantile(self.configurations, freedom) * error

    def _prior(self, sample: Sample) -> _Prior:
        """What the configurations with the nearest means say of a sample's variance over seeds.

        They are half of all, and at least two, the sample among them.
        """
        mean = sample.mean
        if mean not in self._priors:
            count = similar_configurations(len(self._repeated))
            by_distance = sorted(self._repeated, key=lambda other: abs(other.mean - mean))
            self._priors[mean] = _Prior.of(by_distance[:count])
        return self._priors[mean]

    def _seed_variance(self, sample: Sample) -> float:
        """Estimate the variance over seeds that no number of images makes smaller.

        It may come out negative, where seeds differ by less than the images explain.
        """
        prior = self._prior(sample)
        own_freedom = sample.seeds - 1
        weighted = prior.weight * prior.variance + own_freedom * _excess_variance(sample)
        return weighted / (prior.weight + own_freedom)

    def _seed_freedom(self, *samples: Sample, seeds: int | None = None) -> int:
        """Degrees of freedom of the variance over seeds of one or two configurations.

        Args:
            samples: of the configurations.
            seeds: of each; None for as many as there are.
        """
        own = sum((seeds or sample.seeds) - 1 for sample in samples)
        priors = [self._prior(sample) for sample in samples]
        weight = statistics.fmean(prior.weight for prior in priors)
        most = max(own, *(prior.freedom for prior in priors))
        return max(1, min(int(own + weight), most))

    def _needs(self, difference: Difference, first: Sample, second: Sample) -> Needs | None:
        """Find out what would decide an open difference, if it stays as it was seen.

        It is decided as soon as the half-width is less than the difference, or less than what
        the difference leaves of the region of practical equivalence.
        """
        parts = self._parts(first, second)
        if parts is None:
            return None
        seeds = min(first.seeds, second.seeds)
        images = first.images or 0
        target = abs(difference.difference)
        if self._rope is not None:
            target = max(target, self._rope - target)

        def decides(seed_count: int, image_count: int) -> bool:
            projected = half_width(
                (parts.image + parts.single / seed_count) / image_count,
                parts.seed / seed_count,
                configurations=self.configurations,
                freedom=self._seed_freedom(first, second, seeds=seed_count),
            )
            return projected < target

        more_seeds = _first_that(lambda count: decides(count, images), seeds + 1, MOST_SEEDS)
        more_images = _first_that(lambda count: decides(seeds, count), images + 1, MOST_IMAGES)
        return Needs(
            seeds=None if more_seeds is None else more_seeds - seeds,
            images=None if more_images is None else more_images - images,
        )

    def _parts(self, first: Sample, second: Sample) -> _Parts | None:
        by_images = _variance_by_images(first, second)
        images = _shared_images(first, second)
        if by_images is None or images is None:
            return None
        single = first.residual + second.residual
        of_seeds = first.residual / first.seeds + second.residual / second.seeds
        return _Parts(
            image=max(by_images * images - of_seeds, 0.0),
            single=single,
            seed=max(self._seed_variance(first) + self._seed_variance(second), 0.0),
        )


def similar_configurations(configurations: int) -> int:
    """How many configurations, those with the nearest means, inform a variance over seeds."""
    return max(2, math.ceil(configurations / 2))


def half_width(by_images: float, by_seeds: float, *, configurations: int, freedom: int) -> float:
    """Return the half-width of a simultaneous interval from the parts of a variance.

    Args:
        by_images: the part of the images, which is well known.
        by_seeds: the part of the seeds.
        configurations: how many are compared, pair by pair.
        freedom: degrees of freedom of the part of the seeds.
    """
    known = simultaneous_quantile(configurations, _KNOWN)
    estimated = simultaneous_quantile(configurations, freedom)
    return math.sqrt(known**2 * by_images + estimated**2 * by_seeds)


def _excess_variance(sample: Sample) -> float:
    """The variance of a sample's values over seeds, less what single images explain."""
    if sample.images is None:
        return sample.variance
    return sample.variance - sample.residual / sample.images


def _prior_freedom(samples: Sequence[Sample]) -> float:
    """Estimate how many degrees of freedom the mean variance of configurations is worth in each.

    Many, if the variances differ by no more than variances of so few seeds do; few, if some
    configurations vary more than others.

    Source: Smyth (2004), section 6.2.
    """
    telling = [
        sample for sample in samples if sample.seeds >= _TELLING_SEEDS and sample.variance > 0
    ]
    if len(telling) < max(_TELLING_CONFIGURATIONS, len(samples)):
        return PRIOR_FREEDOM
    from scipy.special import digamma, polygamma

    logarithms = []
    expected = []
    for sample in telling:
        half = (sample.seeds - 1) / 2
        logarithms.append(math.log(sample.variance) - float(digamma(half)) + math.log(half))
        expected.append(float(polygamma(1, half)))
    excess = statistics.variance(logarithms) - statistics.fmean(expected)
    # The trigamma function falls: find where it is the excess.
    low = PRIOR_FREEDOM / 2
    high = MOST_PRIOR_FREEDOM / 2
    while high - low > 0.01:
        middle = (low + high) / 2
        if float(polygamma(1, middle)) > excess:
            low = middle
        else:
            high = middle
    return 2 * low


def make_sample(
    trials: Sequence[TrialResult],
    objective: str,
    images: Mapping[str, int] = MappingProxyType({}),
) -> Sample | None:
    """Make the sample of a configuration.

    Args:
        trials: its seeds. Only complete ones with a finite value count.
        objective: of the study.
        images: their number in each split of the study, which redraws need.

    Returns:
        The sample; None if no trial counts.
    """
    complete = [
        trial
        for trial in trials
        if trial.state == COMPLETE and trial.value is not None and math.isfinite(trial.value)
    ]
    values = tuple(trial.value for trial in complete if trial.value is not None)
    if not values:
        return None
    if len(values) == 1:
        return Sample(values=values)
    if any(trial.config.redraw is not None for trial in complete):
        return Sample(
            values=values,
            by_redraw={
                trial.config.redraw: trial.value
                for trial in complete
                if trial.config.redraw is not None and trial.value is not None
            },
            redraw_images=_redraw_images(complete[0], images),
        )
    table = _table(complete, objective)
    if table is None:
        errors = [image_error(trial, objective) for trial in complete]
        known = [error for error in errors if error is not None]
        whole = len(known) == len(errors)
        return Sample(values=values, image_error=max(known) if whole else None)
    return Sample(values=values, by_image=table.mean(axis=0), residual=_residual(table))


def _redraw_images(trial: TrialResult, images: Mapping[str, int]) -> tuple[float, float] | None:
    """How many images the train and validation split of a trial's draw have; None if unknown.

    These tell how much the draws overlap. A trial that trains on a part counts as if on all: its
    parts overlap less.
    """
    train = images.get("train", 0)
    val = images.get("val", 0)
    if trial.config.redraw is None or not train or not val:
        return None
    folds = parse_redraw(trial.config.redraw).folds
    if folds is None:
        return train, val
    of_fold = (train + val) / folds
    return train + val - of_fold, of_fold


def make_test_sample(trials: Sequence[TrialResult]) -> Sample | None:
    """Make the sample of a configuration's accuracy on the test split.

    Args:
        trials: its seeds. Only those with a test score count.

    Returns:
        The sample; None if no trial counts.
    """
    scored = [trial for trial in trials if trial.test and "acc" in trial.test]
    values = tuple(float(trial.test["acc"]) for trial in scored if trial.test)
    if not values:
        return None
    rows = [row for row in map(correct_test_images, scored) if row is not None]
    if len(rows) == len(scored) and len({len(row) for row in rows}) == 1:
        table = np.stack(rows).astype(np.float64)
        return Sample(values=values, by_image=table.mean(axis=0), residual=_residual(table))
    images = min(int((trial.test or {}).get("images", 0)) for trial in scored)
    if not images:
        return Sample(values=values)
    error = _share_error(min(max(statistics.fmean(values), 0.0), 1.0), images)
    return Sample(values=values, image_error=error)


def _table(trials: Sequence[TrialResult], objective: str) -> NDArray[np.float64] | None:
    """What each image adds to each seed's value: float64 (seeds, images).

    The mean of a row is the seed's value. None for an objective that is no mean over images, or if
    it is not known of every seed which images were right.
    """
    rows = []
    for trial in trials:
        row = correct_images(trial)
        if row is None:
            return None
        if objective == "balanced_acc":
            weights = _class_weights(trial)
        elif objective == "val_acc":
            weights = np.ones(len(row))
        else:
            return None
        rows.append(row * weights)
    if len({len(row) for row in rows}) != 1:
        return None
    return np.stack(rows)


def _class_weights(trial: TrialResult) -> NDArray[np.float64]:
    """Weights of the images, by class, with which each class counts alike; their mean is 1."""
    sizes = np.array([sum(row) for row in trial.confusion or ()])
    classes = np.count_nonzero(sizes)
    weights = sizes.sum() / (classes * np.maximum(sizes, 1))
    by_image: NDArray[np.float64] = np.repeat(weights, sizes)
    return by_image


def _residual(table: NDArray[np.float64]) -> float:
    """Return the mean square of the residuals of a table of seeds by images."""
    seeds, images = table.shape
    if seeds < 2 or images < 2:
        return 0.0
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    square_sum = float(np.square(residuals).sum())
    return square_sum / float((seeds - 1) * (images - 1))


def _shared_images(first: Sample, second: Sample) -> int | None:
    """The number of images that both were scored on; None if it is not known which were right."""
    if first.images is None or first.images != second.images:
        return None
    return first.images


def _shared_redraws(first: Sample, second: Sample) -> list[str]:
    """The draws of train and validation that both were trained on."""
    return [draw for draw in first.by_redraw if draw in second.by_redraw]


def _variance_by_images(first: Sample, second: Sample) -> float | None:
    """Estimate the variance of a difference by the choice of images; None if it is not known."""
    images = _shared_images(first, second)
    if images is None or first.by_image is None or second.by_image is None:
        # Both mistake many of the same images. Without knowing which, they count as two samples.
        if first.image_error is None or second.image_error is None:
            return None
        return first.image_error**2 + second.image_error**2
    differences = first.by_image - second.by_image
    # Half an image more for each side.
    count = images + 1
    mean = float(differences.sum()) / count
    mean_square = (float(np.square(differences).sum()) + 1) / count
    return (mean_square - mean**2) / count


def _mean_variance_by_images(sample: Sample) -> float | None:
    """Estimate the variance of a mean by the choice of images; None if it is not known."""
    if sample.by_image is not None:
        return float(sample.by_image.var(ddof=1)) / len(sample.by_image)
    if sample.image_error is not None:
        return sample.image_error**2
    return None


def image_error(trial: TrialResult, objective: str) -> float | None:
    """Return the standard error of a network's value by the choice of validation images.

    The balanced accuracy's is taken for a macro F1, too.

    Args:
        trial: of the network.
        objective: of the study.

    Returns:
        The standard error, in units of the objective; None if it is unknown.
    """
    images = 0
    if trial.confusion:
        images = sum(map(sum, trial.confusion))
    elif trial.best is not None:
        images = sum(trial.best.predicted)
    if trial.best is None or trial.value is None or not images:
        return None
    if objective == "val_acc":
        return _share_error(min(max(trial.value, 0.0), 1.0), images)
    if objective == "val_loss":
        batches = math.ceil(images / trial.config.eval_batch_size)
        deviation = trial.best.metrics.get("val/loss_std")
        if deviation is None or batches < 2:
            return None
        return float(deviation) / math.sqrt(batches)
    errors = []
    for row, share in zip(trial.confusion or (), trial.best.per_class, strict=False):
        class_images = sum(row)
        if share is not None and class_images:
            errors.append(_share_error(share, class_images))
    if not errors:
        return None
    return float(math.hypot(*errors)) / len(errors)


def _share_error(share: float, images: int) -> float:
    low, high = wilson_interval(share, images)
    return (high - low) / 2 / Z


def simultaneous_quantile(configurations: int, freedom: int) -> float:
    """Return the 95 % quantile of the largest of all pairs' standardised differences.

    Args:
        configurations: how many there are.
        freedom: degrees of freedom of the standard error.

    Returns:
        The quantile of the studentized range, divided by the square root of 2; for the next lower
        degrees of freedom of the tables. For two configurations and a known error it is 1.96.
    """
    tabulated = max(degrees for degrees in _TABULATED if degrees <= max(1, freedom))
    if freedom > _TABULATED[-1]:
        tabulated = _KNOWN
    return _quantile(configurations, tabulated)


@cache
def _quantile(configurations: int, freedom: int) -> float:
    row = _tables().get(configurations)
    if row is not None:
        return row[freedom] / math.sqrt(2)
    from scipy.stats import studentized_range  # takes a second to import, and longer to compute

    degrees = math.inf if freedom == _KNOWN else freedom
    return float(studentized_range.ppf(CONFIDENCE, configurations, degrees)) / math.sqrt(2)


@cache
def _tables() -> dict[int, dict[int, float]]:
    """The quantiles of the studentized range, by the number of configurations and the freedom.

    They are those of scipy.
    """
    text = Path(__file__).with_name("studentized_range.csv").read_text("utf-8")
    _, *rows = csv.reader(text.splitlines())
    columns = (*_TABULATED, _KNOWN)
    return {
        int(configurations): dict(zip(columns, map(float, quantiles), strict=True))
        for configurations, *quantiles in rows
    }


def _first_that(decides: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest number from ``low`` to ``high`` that decides; None if none does.

    All numbers above one that decides do, too.
    """
    if low > high or not decides(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if decides(middle):
            high = middle
        else:
            low = middle + 1
    return low
