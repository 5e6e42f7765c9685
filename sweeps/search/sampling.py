"""Has Optuna choose the values of a trial reproducibly.

Every choice has a seed of its own, and learns from the trials that the caller lets it see.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import warnings
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection

from sweeps.spec.dimension import Dimension, round_significant
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial, TrialState


class BufferedTrialStorage:
    """An Optuna storage that buffers one trial in memory until it is written whole.

    A new trial is written with all values in a single transaction: until then, every setter changes
    only the trial in memory. Calls about anything else go to the storage of the study.
    """

    def __init__(
        self, storage: BaseStorage, study_id: int, trial: FrozenTrial, trial_id: int | None
    ) -> None:
        """Make the storage.

        Args:
            storage: the storage of the study.
            study_id: the study.
            trial: the trial, in memory.
            trial_id: its id in the storage; None for a new trial.
        """
        self._storage = storage
        self._study_id = study_id
        self._trial = trial
        self.trial_id = trial_id

    def write(self) -> int:
        """Write the trial as the study's next, and return its id.

        The trial gets another number if another program has added one, too.
        """
        trial_id = self._storage.create_new_trial(self._study_id, self._trial)
        number = self._trial.number
        if (
            self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            != trial_id
        ):
            self._trial.number = self._storage.get_trial_number_from_id(trial_id)
        self.trial_id = trial_id
        return trial_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_study_id_from_name(self, _name: str) -> int:
        """Return the study's id."""
        return self._study_id

    def get_trial(self, _trial_id: int) -> FrozenTrial:
        """Return the trial in memory; the owner keeps the trial up to date."""
        return self._trial

    def get_trial_system_attrs(self, _trial_id: int) -> dict[str, Any]:
        """Return the sampler's notes about the trial."""
        return self._trial.system_attrs

    def set_trial_system_attr(self, _trial_id: int, key: str, value: Any) -> None:
        """Store a note of the sampler about the trial."""
        self._trial.system_attrs[key] = value
        if self.trial_id is not None:
            self._storage.set_trial_system_attr(self.trial_id, key, value)

    def set_trial_user_attr(self, _trial_id: int, key: str, value: Any) -> None:
        """Store an attribute of the trial."""
        if self.trial_id is not None:
            self._storage.set_trial_user_attr(self.trial_id, key, value)

    def set_trial_param(
        self, _trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Store a parameter of the trial."""
        if self.trial_id is not None:
            self._storage.set_trial_param(self.trial_id, name, value, distribution)


class SamplerView(optuna.Study):
    """A study with the trials that the sampler of a new trial may see."""

    def __init__(
        self,
        name: str,
        storage: BufferedTrialStorage,
        sampler: optuna.samplers.BaseSampler,
        trials: Callable[[], Sequence[FrozenTrial]],
        *,
        has_cost: bool = False,
    ) -> None:
        """Make the view.

        Args:
            name: the study's name in the storage.
            storage: its storage, with the new trial.
            sampler: chooses the new trial's values.
            trials: returns the trials to see, by number. A sampler that learns nothing does not
                call it.
            has_cost: whether they have a second value, which is to be small. The study in the
                storage has one objective in any case.
        """
        super().__init__(name, cast("BaseStorage", storage), sampler)
        self._seen_trials = functools.cache(trials)
        self._has_cost = has_cost

    @property
    def directions(self) -> list[StudyDirection]:
        """The directions of what the trials to see have as values; a cost is minimised."""
        directions = super().directions
        return [*directions, StudyDirection.MINIMIZE] if self._has_cost else directions

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002 - Optuna's signature
    ) -> list[FrozenTrial]:
        trials = [t for t in self._seen_trials() if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def make_sampler(spec: StudySpec, purpose: str) -> optuna.samplers.BaseSampler:
    """Make a sampler whose seed is a function of the study's seed and of the sampler's purpose.

    A restart of the program changes nothing.
    """
    digest = hashlib.sha256(f"{spec.seed}:{purpose}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if spec.method == "gp":
        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
    if spec.method != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Grouped: dimensions that apply to one family are modelled together, over the trials that
        # have them.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def distribution(
    dimension: Dimension,
) -> CategoricalDistribution | IntDistribution | FloatDistribution:
    """Return the dimension as Optuna has it in a study."""
    if dimension.choices:
        return CategoricalDistribution(tuple(dict.fromkeys(dimension.choices)))
    low = float(dimension.low or 0)
    high = float(dimension.high or 0)
    if dimension.integer:
        step = int(dimension.step or 1)
        return IntDistribution(int(low), int(high), log=dimension.log, step=step)
    return FloatDistribution(low, high, log=dimension.log, step=dimension.step)


def suggest(trial: Trial, dimension: Dimension) -> Value:
    """Have Optuna draw the value of a dimension for a trial."""
    found = distribution(dimension)
    if isinstance(found, CategoricalDistribution):
        return cast("Value", trial.suggest_categorical(dimension.key, found.choices))
    if isinstance(found, IntDistribution):
        return trial.suggest_int(
            dimension.key, found.low, found.high, step=found.step, log=found.log
        )
    value = trial.suggest_float(
        dimension.key, found.low, found.high, step=found.step, log=found.log
    )
    return round_significant(value)
