"""Compares a search for accuracy alone with a search for accuracy and small networks, at equal epochs.

    python -m benchmarks.fronts benchmarks/curves/mnist_1000.jsonl --seeds 50

The table's learning curves are learned by a forest of trees, one for all searches: any configuration
of the space of the study ``default`` (with the table's widths, and without starts) then has a curve. Its
parameters are counted. Each study is swept by the real loop and sampler; nothing is trained.

For each search it prints, with the standard error over the seeds:

- ``hypervolume``: the area below the front of the complete trials, in accuracy times the logarithm
  of the parameters, as a share of that of the front of 1,000 random configurations. Accuracies below
  the median of the table, and more parameters than the largest network has, do not count;
- ``front``: how many configurations the front has;
- ``best``: the best accuracy of a complete trial;
- ``epochs``: that were trained, of those that training every trial to its end takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

import models
from benchmarks.record_curves import WIDTHS, draw_values
from pipeline.jobs.studies import read_study
from sweeps.search import loop
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import Search, StudySpec
from sweeps.trial import COMPLETE, PAUSED, Epoch, TrialConfig, TrialResult, Value

SHAPE = (1, 28, 28)
CLASSES = 10
TREES = 100
RANDOM = 1000  # configurations whose front stands for the true one
_FACTS = {"runtime": {"threads": 1, "precision": "fp32"}}

Point = tuple[float, float]  # accuracy, and logarithm of the parameters


class Table:
    """A recorded table, and the curves that it suggests for other configurations."""

    def __init__(self, path: Path) -> None:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [row for row in rows if row["end"] == "complete"]
        self._curves: dict[str, tuple[float, ...]] = {}  # by signature
        self._names = sorted({name for row in rows for name in row["values"]})
        self._words = {
            name: sorted({str(row["values"].get(name)) for row in rows})
            for name in self._names
            if any(isinstance(row["values"].get(name), str | bool) for row in rows)
        }
        features = np.stack([self._features(row["values"]) for row in rows])
        curves = np.array([tuple(accumulate(row["curve"], max)) for row in rows])
        self.epochs = curves.shape[1]
        self._forest = ExtraTreesRegressor(TREES, random_state=0).fit(features, curves)
        guessed = cross_val_predict(
            ExtraTreesRegressor(TREES, random_state=0), features, curves, cv=10
        )
        self.error = float(np.sqrt(np.mean((guessed[:, -1] - curves[:, -1]) ** 2)))
        self.spread = float(curves[:, -1].std())
        self.median = float(np.median(curves[:, -1]))

    def _features(self, values: Mapping[str, Any]) -> np.ndarray:
        features: list[float] = []
        for name in self._names:
            value = values.get(name)
            if name in self._words:
                features += [float(str(value) == word) for word in self._words[name]]
            else:
                number = -1.0 if value is None else float(value)
                features.append(math.log(number) if name == "lr" else number)
        return np.array(features)

    def learn(self, configs: Sequence[TrialConfig]) -> None:
        """Predict the curves of configurations, all at once."""
        features = np.stack([self._features(vars(config)) for config in configs])
        for config, values in zip(configs, self._forest.predict(features), strict=True):
            self._curves[config.signature] = tuple(map(float, accumulate(values, max)))

    def curve(self, config: TrialConfig) -> tuple[float, ...]:
        """The best accuracy so far of a configuration, by epoch."""
        if config.signature not in self._curves:
            self.learn([config])
        return self._curves[config.signature]

    def point(self, config: TrialConfig) -> Point:
        """The accuracy of a configuration in the end, and the logarithm of its parameters."""
        return self.curve(config)[-1], math.log(parameters(config))


def parameters(config: TrialConfig) -> int:
    """Count the parameters of a configuration's network."""
    return _parameters(config.family, tuple(sorted(config.options.items(), key=str)))


@functools.lru_cache(100_000)
def _parameters(family: str, options: tuple[tuple[str, Value], ...]) -> int:
    network = models.build(family, SHAPE, CLASSES, dict(options))
    return sum(parameter.numel() for parameter in network.parameters())


def space(epochs: int, overrides: Mapping[str, Any]) -> StudySpec:
    """The study ``default`` without starts, with the widths of the tables."""
    spec = read_study("default", {**overrides, "epochs": epochs, "dataset": "mnist"})[2]
    searched = {name: getattr(spec.search, name) for name in type(spec.search).model_fields}
    searched["width"] = tuple(
        dataclasses.replace(dimension, choices=WIDTHS[str(dimension.when["family"][0])])
        for dimension in searched["width"]
    )
    return spec.model_copy(update={"start_with": (), "search": Search.model_construct(**searched)})


def hypervolume(points: Sequence[Point], least: float, most: float) -> float:
    """The area below the front of some points, above an accuracy and up to a cost."""
    area = 0.0
    best = least
    for accuracy, cost in sorted(points, key=lambda point: (point[1], -point[0])):
        if accuracy > best and cost < most:
            area += (accuracy - best) * (most - cost)
            best = accuracy
    return area


def sweep(spec: StudySpec, table: Table) -> Sequence[TrialResult]:
    """Sweep a study on a table, in memory."""
    study = Study.open(optuna.storages.InMemoryStorage(), "fronts", spec, _FACTS)

    def trained(asked: AskedTrial) -> TrialResult:
        history = [] if asked.progress is None else list(asked.progress.history)
        curve = table.curve(asked.config)
        last = len(curve) if asked.until is None else asked.until
        for epoch in range(len(history) + 1, last + 1):
            value = curve[epoch - 1]
            history.append(Epoch(epoch=epoch, time=0, metrics={"val/acc": value}, per_class=()))
            study.report(asked, epoch, value)
        state = COMPLETE if asked.until is None else PAUSED
        return TrialResult(
            number=asked.number,
            config=asked.config,
            state=state,
            end=state,
            value=curve[last - 1],
            best_epoch=last,
            history=tuple(history),
            parameters=parameters(asked.config),
        )

    loop.run(study, loop.SequentialRunner(trained), max_failures=sys.maxsize)
    return study.results()


def measure(
    results: Sequence[TrialResult], table: Table, most: float, whole: float
) -> dict[str, float]:
    """What a sweep found.

    Args:
        results: of its trials.
        table: that it was swept on.
        most: the logarithm of the parameters of the largest network.
        whole: the area below the true front.
    """
    own = [result for result in results if result.duplicate_of is None]
    complete = [table.point(result.config) for result in own if result.state == COMPLETE]
    front = 0
    best = 0.0
    for accuracy, _ in sorted(complete, key=lambda point: (point[1], -point[0])):
        front += accuracy > best
        best = max(best, accuracy)
    trained = sum(len(result.history) for result in own)
    return {
        "hypervolume": hypervolume(complete, table.median, most) / whole,
        "front": front,
        "best": best,
        "epochs": trained / (len(results) * table.epochs),
    }


SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "accuracy": {},
    "accuracy and parameters": {"objectives": ("val_acc", "parameters")},
    "accuracy, at random": {"method": "random"},
    "accuracy and parameters, at random": {
        "method": "random",
        "objectives": ("val_acc", "parameters"),
    },
    "all to their end": {"pruner": "none"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="recorded curves")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=50)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for path in options.table:
        table = Table(path)
        spec = space(table.epochs, {"trials": options.trials})
        rng = random.Random(0)  # noqa: S311 - no secret
        drawn = [configuration(spec, draw_values(spec, rng)) for _ in range(RANDOM)]
        table.learn(drawn)
        points = [table.point(config) for config in drawn]
        most = max(cost for _, cost in points)
        whole = hypervolume(points, table.median, most)
        print(
            f"\n{path.name}: the forest is wrong by {table.error:.4f} in the final accuracy of "
            f"configurations it has not seen (ten-fold), which vary by {table.spread:.4f}; "
            f"{options.trials} trials, {options.seeds} seeds\n"
        )
        print("| search | hypervolume | front | best | epochs |")
        print("| --- | --- | --- | --- | --- |")
        for name, values in SEARCHES.items():
            found = []
            for seed in range(options.seeds):
                changed = spec.model_copy(update={**values, "seed": seed})
                found.append(measure(sweep(changed, table), table, most, whole))
            cells = []
            for column in found[0]:
                figures = [figure[column] for figure in found]
                error = statistics.stdev(figures) / math.sqrt(len(figures))
                cells.append(f"{statistics.fmean(figures):.4f} ± {error:.4f}")
            print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
