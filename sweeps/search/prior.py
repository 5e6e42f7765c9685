"""Shows a sampler values that may be compared: of trials at equal epochs, and of earlier studies.

A sampler that learns from complete trials only is shown a paused trial as a complete one, see
`at_equal_epochs`. With a warm start, the configurations of earlier studies stand beside a study's
own trials. Their values are of other images, so what is compared is places: each trial and each
earlier configuration has the normal score of its place in its own study. How many of a source's
configurations are shown depends on how well its order agrees with that of the trials so far, as in
the two-stage surrogates with rankings of Wistuba, Schilling and Schmidt-Thieme (2018, Scalable
Gaussian process-based transfer surrogates for hyperparameter optimization): a source that misleads
is left out.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.analysis.facts import WarmStart
from sweeps.search.sampling import distribution
from sweeps.search.warm_start import distance, spread_out
from sweeps.spec.configurations import optuna_params
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 24  # the most earlier configurations that a sampler is shown, of all sources together
# From this share of wrongly ordered pairs of trials on, nothing of a source is shown: one that
# knows nothing of a task orders half of them wrongly. Before any trial is known, a source counts as
# if it had ordered so many pairs by chance: it is believed as far as it has been right.
_MOST_WRONG = 0.5
_PAIRS_BY_CHANCE = 10.0
_NEIGHBOURS = 3  # earlier configurations whose places predict that of a trial


def at_equal_epochs(trials: Sequence[FrozenTrial], *, maximize: bool) -> list[FrozenTrial]:
    """Show trials as complete, with values as of the end of their trainings.

    A trial that was paused after an epoch is expected to gain from there on what others have
    gained, on average, that were trained further. One without a value has diverged, or needed too
    much memory: it is as bad as the worst.

    Args:
        trials: of a study, as its sampler may see them.
        maximize: whether more of the objective is better.

    Returns:
        The trials that are in training unchanged, the others complete.
    """
    values = values_at_end(trials, maximize=maximize)
    return [
        _complete(trial, values[trial.number]) if trial.number in values else trial
        for trial in trials
    ]


def values_at_end(trials: Sequence[FrozenTrial], *, maximize: bool) -> dict[int, float]:
    """Return the value that each trial is expected to have at the end of its training.

    Args:
        trials: as for `at_equal_epochs`.
        maximize: as for `at_equal_epochs`.

    Returns:
        The values in units of the objective, by the number of the trial; without those of trials in
        training. Empty if no trial has a value.
    """
    curves = {trial.number: _Curve.of(trial) for trial in trials if _is_known(trial)}
    stops = sorted({curve.last for curve in curves.values() if not curve.ended and curve.values})
    gains = _mean_gains(list(curves.values()), stops)
    values = {}
    for number, curve in curves.items():
        if curve.ended:
            values[number] = curve.final
        elif curve.values:
            values[number] = curve.final + sum(gains[stop] for stop in stops if stop >= curve.last)
    if not values:
        return {}
    worst = min(values.values()) if maximize else max(values.values())
    return {number: values.get(number, worst) for number in curves}


@dataclass(frozen=True)
class _Curve:
    """The best values so far of a trial, by epoch."""

    values: Mapping[int, float]
    ended: bool  # whether its training has come to its end
    final: float  # the last value; not a number without one

    @staticmethod
    def of(trial: FrozenTrial) -> _Curve:
        values = dict(sorted(trial.intermediate_values.items()))
        ended = trial.state == TrialState.COMPLETE and trial.value is not None
        if ended and trial.value is not None:
            return _Curve(values, ended=True, final=trial.value)
        final = values[max(values)] if values else math.nan
        return _Curve(values, ended=False, final=final)

    @property
    def last(self) -> int:
        """The last epoch; 0 without one."""
        return max(self.values, default=0)

    def at(self, epoch: int) -> float | None:
        """The best value until an epoch; None if the training has not come so far."""
        if self.ended and epoch >= self.last:
            return self.final
        return self.values.get(epoch)


def _is_known(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _mean_gains(curves: Sequence[_Curve], stops: Sequence[int]) -> dict[int, float]:
    """The mean gain from each epoch at which trials stopped to the next, and from the last one on.

    Each is of the trials that have come to both.
    """
    gains = {}
    for stop, following in pairwise([*stops, None]):
        if stop is None:
            continue
        differences = []
        for curve in curves:
            before = curve.at(stop)
            after = curve.at(following) if following is not None else _end_of(curve)
            if before is not None and after is not None:
                differences.append(after - before)
        gains[stop] = statistics.fmean(differences) if differences else 0.0
    return gains


def _end_of(curve: _Curve) -> float | None:
    return curve.final if curve.ended else None


def _complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    """Copy a trial as a complete one with a value."""
    changed = copy.copy(trial)
    changed.state = TrialState.COMPLETE
    changed.values = [value]
    changed.intermediate_values = {}
    return changed


class Prior:
    """What a sampler is shown of earlier studies, beside the trials of its own."""

    def __init__(self, spec: StudySpec, warm_start: WarmStart) -> None:
        """Make the prior.

        Args:
            spec: the study.
            warm_start: what it took from earlier studies when it was made.

        Raises:
            KeyError, ValueError: if that is none of the study's space.
        """
        self._spec = spec
        self._dimensions = {dimension.key: dimension for dimension in spec.dimensions}
        self._sign = 1 if spec.maximize else -1
        self._sources = [
            [_Earlier(optuna_params(spec, values), place) for values, place in source.observations]
            for source in warm_start.sources
        ]
        # The place that each source expects of a trial, by the trial's number.
        self._expected: list[dict[int, float]] = [{} for _ in self._sources]

    def join(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return earlier configurations and trials, each with the normal score of its place.

        Args:
            trials: of the study, as its sampler may see them.
        """
        values = values_at_end(trials, maximize=self._spec.maximize)
        places = _places({number: self._sign * value for number, value in values.items()})
        shown: list[_Earlier] = []
        for source, weight in zip(self._sources, self.weights(trials, places), strict=True):
            shown += spread_out(source, round(weight * SHOWN / len(self._sources)))
        # A sampler takes lower numbers for older trials.
        earlier = [self._make_trial(index - len(shown), one) for index, one in enumerate(shown)]
        own = [
            _complete(trial, self._score(places[trial.number])) if trial.number in places else trial
            for trial in trials
        ]
        return [*earlier, *own]

    def weights(self, trials: Sequence[FrozenTrial], places: Mapping[int, float]) -> list[float]:
        """Return how far each source is believed, from 0 to 1.

        Args:
            trials: of the study.
            places: of the trials whose values are known, by their numbers.
        """
        known = [trial for trial in trials if trial.number in places]
        actual = np.array([places[trial.number] for trial in known])
        weights = []
        for source, expected in zip(self._sources, self._expected, strict=True):
            for trial in known:
                if source and trial.number not in expected:
                    expected[trial.number] = self._expect_place(trial.params, source)
            if source:
                predicted = np.array([expected[trial.number] for trial in known])
                weights.append(_weight(predicted, actual))
            else:
                weights.append(0.0)
        return weights

    def _expect_place(self, params: Mapping[str, Any], source: Sequence[_Earlier]) -> float:
        """The mean place of the earlier configurations nearest to a trial."""
        nearest = sorted(
            (distance(self._dimensions, params, one.params), -one.place) for one in source
        )
        return -statistics.fmean(place for _, place in nearest[:_NEIGHBOURS])

    def _score(self, place: float) -> float:
        """The normal score of a place, in the direction of the objective."""
        return self._sign * statistics.NormalDist().inv_cdf(place)

    def _make_trial(self, number: int, earlier: _Earlier) -> FrozenTrial:
        trial = create_trial(
            params=dict(earlier.params),
            distributions={key: distribution(self._dimensions[key]) for key in earlier.params},
            value=self._score(earlier.place),
        )
        trial.number = number
        return trial


@dataclass(frozen=True)
class _Earlier:
    """A configuration of an earlier study."""

    params: Mapping[str, Value]  # by their names in Optuna
    place: float  # in the ranking of its study: above 0, below 1 for the best


def _weight(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """How far a source is believed that expects these places of trials, from 0 to 1.

    Of each pair of trials with different places, it orders them rightly, wrongly, or not at all,
    which counts half.
    """
    first, second = np.triu_indices(len(actual), 1)
    true_order = np.sign(actual[first] - actual[second])
    expected_order = np.sign(expected[first] - expected[second])
    differ = true_order != 0
    pairs = int(differ.sum())
    agreement = float((true_order * expected_order).sum())  # rightly less wrongly ordered pairs
    wrong = (pairs - agreement) / 2
    share = (wrong + _MOST_WRONG * _PAIRS_BY_CHANCE) / (pairs + _PAIRS_BY_CHANCE)
    return max(0.0, 1 - (share / _MOST_WRONG) ** 2)


def _places(values: Mapping[int, float]) -> dict[int, float]:
    """The place of each value among all, above 0 and below 1, the highest best; ties share one."""
    found = np.array(list(values.values()))
    _, which, counts = np.unique(found, return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - counts / 2) / max(1, len(found))
    return dict(zip(values, middles[which].tolist(), strict=True))
