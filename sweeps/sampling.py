"""How Optuna chooses a trial's values: every choice from a seed of its own. Knows no store."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import optuna

from sweeps.dimension import Dimension, round_significant
from sweeps.layout import decide
from sweeps.space import StudySpec
from sweeps.trial import Value

if TYPE_CHECKING:
    from optuna.trial import Trial


def sampler(spec: StudySpec, what: str) -> optuna.samplers.BaseSampler:
    """A fresh sampler, seeded by the study's seed and by what it samples: a restart changes nothing."""
    digest = hashlib.sha256(f"{spec.seed}:{what}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if spec.method != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Grouped: dimensions that apply to one family are modelled together, over the trials that have them.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def params(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    """The Optuna parameters of a configuration: its values by the keys of the dimensions that apply."""
    made: dict[str, Value] = {}

    def choose(dimension: Dimension) -> Value:
        made[dimension.key] = values[dimension.field]
        return values[dimension.field]

    decide(spec, choose)
    return made


def suggest(trial: Trial, dimension: Dimension) -> Value:
    """Draw a dimension's value for a trial."""
    if dimension.choices:
        return cast("Value", trial.suggest_categorical(dimension.key, tuple(dict.fromkeys(dimension.choices))))
    low, high, step = float(dimension.low or 0), float(dimension.high or 0), dimension.step
    if dimension.integer:
        return trial.suggest_int(dimension.key, int(low), int(high), step=int(step or 1), log=dimension.log)
    return round_significant(trial.suggest_float(dimension.key, low, high, step=step, log=dimension.log))
