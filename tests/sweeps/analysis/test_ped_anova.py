"""PED-ANOVA's arithmetic, against Optuna's."""

import math
import random

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeps.analysis.ped_anova import Choices, Range, divergences, to_grid

DISTRIBUTIONS = {
    "linear": FloatDistribution(0, 0.5),
    "log": FloatDistribution(1e-4, 0.1, log=True),
    "few whole": IntDistribution(0, 5),
    "many whole": IntDistribution(0, 200),
    "whole log": IntDistribution(16, 512, log=True),
    "list": CategoricalDistribution(["a", "b", "c", "d"]),
    "true or false": CategoricalDistribution([True, False]),
}


def draw(rng, distribution):
    """A random value of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return rng.randint(distribution.low, distribution.high)
    if distribution.log:
        return math.exp(rng.uniform(math.log(distribution.low), math.log(distribution.high)))
    return rng.uniform(distribution.low, distribution.high)


def space(distribution):
    """The values of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Choices(distribution.choices)
    return Range(
        low=distribution.low,
        high=distribution.high,
        log=distribution.log,
        is_whole=isinstance(distribution, IntDistribution),
    )


@pytest.mark.parametrize("trials", [4, 24, 150])
def test_shares_are_those_of_optuna(trials):
    """The divergences are in the proportions of Optuna's importances, also with equal values."""
    rng = random.Random(trials)
    points = [
        {key: draw(rng, distribution) for key, distribution in DISTRIBUTIONS.items()}
        for _ in range(trials)
    ]
    values = [round(point["linear"] + rng.random(), 1) for point in points]
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(value=value, params=point, distributions=DISTRIBUTIONS)
            for value, point in zip(values, points, strict=True)
        ]
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=1 / 3)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    last_good = sorted(values)[math.ceil(trials / 3) - 1]
    good = np.array([[value <= last_good for value in values]])
    found = {
        key: divergences(to_grid(space(distribution), [point[key] for point in points]), good)[0]
        for key, distribution in DISTRIBUTIONS.items()
    }
    total = sum(found.values())
    assert {key: value / total for key, value in found.items()} == pytest.approx(expected)


def test_many_sets_at_once():
    """Each set of good trials has the divergence that it has alone."""
    rng = np.random.default_rng(0)
    good = rng.random((50, 30)) < 0.4
    for distribution in DISTRIBUTIONS.values():
        values = [draw(random.Random(seed), distribution) for seed in range(30)]
        gridded = to_grid(space(distribution), values)
        alone = [divergences(gridded, row[None])[0] for row in good]
        assert divergences(gridded, good) == pytest.approx(alone)


def test_good_trials_like_all():
    """If all trials are good, nothing diverges."""
    values = [0.1, 0.2, 0.2, 0.4]
    gridded = to_grid(space(DISTRIBUTIONS["linear"]), values)
    assert divergences(gridded, np.ones((1, 4), dtype=bool)) == pytest.approx(0)
