"""Asks SMAC3's multi-fidelity facade for configurations of a study's space, and how long to train each.

A trial that SMAC trains again with more epochs goes on from where it stopped, as with checkpoints.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeps.spec.configurations import choose_values
from sweeps.spec.dimension import Dimension, round_significant
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import Value

Values = Mapping[str, Value]


def configuration_space(spec: StudySpec, seed: int) -> Any:
    """Say a study's space as a ConfigSpace: logarithms, orders and conditions as they are."""
    from ConfigSpace import ConfigurationSpace, InCondition

    space = ConfigurationSpace(seed=seed)
    added = {dimension.key: _hyperparameter(dimension) for dimension in spec.dimensions}
    space.add(list(added.values()))
    for dimension in spec.dimensions:
        for parent, allowed in dimension.when.items():
            condition = InCondition(
                added[dimension.key], added[parent], [str(of) for of in allowed]
            )
            space.add(condition)
    return space


def _hyperparameter(dimension: Dimension) -> Any:
    from ConfigSpace import Categorical, Float, Integer

    if dimension.choices:
        # Choices are said as words, since ConfigSpace would take True for 1.
        words = [str(choice) for choice in dimension.choices]
        of_numbers = all(type(choice) is int for choice in dimension.choices)
        return Categorical(dimension.key, words, ordered=of_numbers)
    bounds = (dimension.low, dimension.high)
    if dimension.integer:
        return Integer(dimension.key, (int(bounds[0] or 0), int(bounds[1] or 0)))
    return Float(dimension.key, bounds, log=dimension.log)


def values_of(spec: StudySpec, configuration: Mapping[str, Any]) -> dict[str, Value]:
    """The searched values of a configuration of `configuration_space`."""

    def choose(dimension: Dimension) -> Value:
        value = configuration[dimension.key]
        if dimension.choices:
            return next(choice for choice in dimension.choices if str(choice) == value)
        return int(value) if dimension.integer else round_significant(float(value))

    return choose_values(spec, choose)


def search(
    spec: StudySpec, *, epochs: int, trials: int, seed: int, learns: Callable[[Values, int], float]
) -> Iterator[tuple[Values, int, int]]:
    """Search without end, with SMAC's defaults.

    Args:
        spec: gives the space.
        epochs: of a whole training.
        trials: that SMAC is told to have: a quarter of them at most are its first, random ones.
        seed: decides the search.
        learns: returns the accuracy of a configuration after some epochs.

    Yields:
        The values of the next trial, the epochs that it has been trained for, and those until which
        it is trained. Its accuracy is asked for when the next one is.
    """
    from smac import MultiFidelityFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    trained: dict[Any, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            configuration_space(spec, seed),
            deterministic=True,
            n_trials=trials,
            min_budget=1,
            max_budget=epochs,
            seed=seed,
            output_directory=Path(folder),
        )

        def unused(_configuration: object, seed: int, budget: float) -> float:
            raise NotImplementedError  # SMAC is asked and told

        facade = MultiFidelityFacade(scenario, unused, logging_level=logging.ERROR)
        while True:
            asked = facade.ask()
            values = values_of(spec, asked.config)
            until = max(1, round(asked.budget))
            before = trained.get(asked.config, 0)
            yield values, before, until
            trained[asked.config] = max(before, until)
            facade.tell(asked, TrialValue(cost=1 - learns(values, until)), save=False)
