"""How Optuna chooses a trial's values: every choice from a seed of its own, and from some of the trials only."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps.spec.configurations import choose_values
from sweeps.spec.dimension import Dimension, round_significant
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import Trial


class BufferedTrialStorage:
    """A store as the owner of one of its trials sees it: that trial is in memory, and all else in the store.

    A trial is made with all its values in one transaction: what is set of it before stays in memory until then.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._study, self._storage, self._trial = study, study._storage, trial  # noqa: SLF001 - as Optuna's own samplers

    @property
    def made(self) -> bool:
        """Whether the trial is in the store."""
        return self._trial._trial_id >= 0  # noqa: SLF001

    def make(self) -> None:
        """Write the trial, as the study's next: its number is another where another program made one, too."""
        storage, of = self._storage, self._study._study_id  # noqa: SLF001
        made = storage.create_new_trial(of, self._trial)
        if storage.get_trial_id_from_study_id_trial_number(of, self._trial.number) != made:
            self._trial.number = storage.get_trial_number_from_id(made)
        self._trial._trial_id = made  # noqa: SLF001

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_study_id_from_name(self, _name: str) -> int:
        """The study's id."""
        return self._study._study_id  # noqa: SLF001

    def get_trial(self, _trial_id: int) -> FrozenTrial:
        """The trial, which its owner keeps up to date."""
        return self._trial

    def get_trial_system_attrs(self, _trial_id: int) -> dict[str, Any]:
        """What the sampler has noted with it."""
        return self._trial.system_attrs

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Have the sampler note something with it."""
        self._trial.system_attrs[key] = value
        if self.made:
            self._storage.set_trial_system_attr(trial_id, key, value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write a fact of it."""
        if self.made:
            self._storage.set_trial_user_attr(trial_id, key, value)

    def set_trial_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Write one of its values."""
        if self.made:
            self._storage.set_trial_param(trial_id, name, value, distribution)


class SamplerView(optuna.Study):
    """A study as it is shown to the sampler of one trial.

    Of the trials before it only the first ones show what came of them. The others are shown as under way, whether or
    not they have ended by now: so the sampler keeps away from their values, and does so each time alike.
    """

    def __init__(
        self,
        study: optuna.Study,
        held: BufferedTrialStorage,
        trials: Callable[[], list[FrozenTrial]],
        sampler: optuna.samplers.BaseSampler,
        number: int,
        seen: int,
    ) -> None:
        """Show the study.

        Args:
            study: the whole study.
            held: its store, with the trial.
            trials: its trials, by number.
            sampler: chooses the trial's values.
            number: the trial's number; what comes after it is not shown, if `seen` leaves off before it.
            seen: how many of the first trials show what came of them.
        """
        super().__init__(study.study_name, cast("BaseStorage", held), sampler)
        self._all = trials
        self._number = number
        self._seen = seen

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002 - Optuna's signature
    ) -> list[FrozenTrial]:
        trials = self._all()[: max(self._number + 1, self._seen)]
        shown = [
            _under_way(trial) if self._seen <= trial.number < self._number else trial
            for trial in trials
        ]
        found = [trial for trial in shown if states is None or trial.state in states]
        if deepcopy:
            return copy.deepcopy(found)
        return found


def _under_way(trial: FrozenTrial) -> FrozenTrial:
    """A trial as it was when it had just been asked for."""
    trial = copy.copy(trial)
    trial.state = TrialState.RUNNING
    trial.values = None
    trial.intermediate_values = {}
    return trial


def make_sampler(spec: StudySpec, what: str) -> optuna.samplers.BaseSampler:
    """A fresh sampler, seeded by the study's seed and by what it samples: a restart changes nothing."""
    digest = hashlib.sha256(f"{spec.seed}:{what}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if spec.method != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Grouped: dimensions that apply to one family are modelled together, over the trials that have them.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def optuna_params(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    """The Optuna parameters of a configuration: its values by the keys of the dimensions that apply."""
    made: dict[str, Value] = {}

    def choose(dimension: Dimension) -> Value:
        made[dimension.key] = values[dimension.field]
        return values[dimension.field]

    choose_values(spec, choose)
    return made


def suggest(trial: Trial, dimension: Dimension) -> Value:
    """Draw a dimension's value for a trial."""
    if dimension.choices:
        return cast(
            "Value",
            trial.suggest_categorical(dimension.key, tuple(dict.fromkeys(dimension.choices))),
        )
    low = float(dimension.low or 0)
    high = float(dimension.high or 0)
    step = dimension.step
    if dimension.integer:
        return trial.suggest_int(
            dimension.key, int(low), int(high), step=int(step or 1), log=dimension.log
        )
    return round_significant(
        trial.suggest_float(dimension.key, low, high, step=step, log=dimension.log)
    )
