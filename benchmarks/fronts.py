"""Compares a search for accuracy alone with a search for accuracy and small networks, at equal epochs.

    python -m benchmarks.fronts benchmarks/curves/mnist_1000.jsonl --seeds 50

Every search asks the table's surrogate (`benchmarks.surrogate`) how a configuration of the default
study's space learns, with the widths of the tables and without baselines and starts. Its parameters
are counted. Each study is swept by the real loop and sampler; nothing is trained.

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
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import optuna

import models
from benchmarks.record_curves import draw_values
from benchmarks.search import run_in
from benchmarks.searches import Landscape, space
from benchmarks.surrogate import Surrogate, read_table
from sweeps.search.study import Study
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE, TrialConfig, TrialResult, Value

RANDOM = 1000  # configurations whose front stands for the true one
FACTS = {"runtime": {"threads": 1, "precision": "fp32"}}
# Of the data set that a table's name begins with: the shape of an image, and the number of classes.
IMAGES: Mapping[str, tuple[tuple[int, int, int], int]] = {
    "cifar10": ((3, 32, 32), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "few_digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "tiny_imagenet": ((3, 32, 32), 20),
}

Point = tuple[float, float]  # accuracy, and logarithm of the parameters


class Table:
    """A recorded table, and what it suggests of other configurations."""

    def __init__(self, path: Path) -> None:
        rows = read_table(path)
        self._images = next(of for name, of in IMAGES.items() if path.stem.startswith(name))
        self.surrogate = Surrogate(rows)
        self.landscape = Landscape(self.surrogate)
        self.spread = statistics.stdev(row.curve[-1] for row in rows)
        self.median = statistics.median(row.curve[-1] for row in rows)

    def count_parameters(self, config: TrialConfig) -> int:
        """Count the parameters of a configuration's network."""
        shape, classes = self._images
        return _parameters(config.family, tuple(sorted(config.options.items())), shape, classes)

    def point(self, config: TrialConfig) -> Point:
        """The accuracy of a configuration in the end, and the logarithm of its parameters."""
        return self.landscape.get(config).values[-1], math.log(self.count_parameters(config))

    @cached_property
    def truth(self) -> Truth:
        """The front of random configurations."""
        spec = space()
        rng = random.Random(0)  # noqa: S311 - no secret
        points = [self.point(configuration(spec, draw_values(spec, rng))) for _ in range(RANDOM)]
        most = max(cost for _, cost in points)
        return Truth(most, hypervolume(points, self.median, most))


@dataclass(frozen=True)
class Truth:
    """What the front of a search is compared with."""

    most: float  # the logarithm of the parameters of the largest network
    area: float  # below the front


@lru_cache(100_000)
def _parameters(
    family: str,
    options: tuple[tuple[str, Value], ...],
    shape: tuple[int, int, int],
    classes: int,
) -> int:
    network = models.build(family, shape, classes, dict(options))
    return sum(parameter.numel() for parameter in network.parameters())


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
    study = Study.open(optuna.storages.InMemoryStorage(), "fronts", spec, FACTS)
    run_in(study, table.landscape, table.count_parameters)
    return study.results()


def measure(results: Sequence[TrialResult], table: Table) -> dict[str, float]:
    """What a sweep of a table found."""
    own = [result for result in results if result.duplicate_of is None]
    complete = [table.point(result.config) for result in own if result.state == COMPLETE]
    front = 0
    best = 0.0
    for accuracy, _ in sorted(complete, key=lambda point: (point[1], -point[0])):
        front += accuracy > best
        best = max(best, accuracy)
    trained = sum(len(result.history) for result in own)
    truth = table.truth
    return {
        "hypervolume": hypervolume(complete, table.median, truth.most) / truth.area,
        "front": front,
        "best": best,
        "epochs": trained / (len(results) * table.surrogate.epochs),
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
    parser.add_argument("--only", nargs="*", choices=SEARCHES, help="searches; all by default")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for path in options.table:
        table = Table(path)
        update = {"trials": options.trials, "epochs": table.surrogate.epochs}
        spec = space().model_copy(update=update)
        print(
            f"\n{path.name}: the surrogate is wrong by {table.surrogate.errors['mean error']:.4f} in "
            f"the final accuracy of configurations it has not seen (mean, five-fold), which vary by "
            f"{table.spread:.4f}; {options.trials} trials, {options.seeds} seeds\n"
        )
        print("| search | hypervolume | front | best | epochs |")
        print("| --- | --- | --- | --- | --- |")
        for name in options.only or SEARCHES:
            values = SEARCHES[name]
            found = []
            for seed in range(options.seeds):
                changed = spec.model_copy(update={**values, "seed": seed})
                found.append(measure(sweep(changed, table), table))
            cells = []
            for column in found[0]:
                figures = [figure[column] for figure in found]
                error = statistics.stdev(figures) / math.sqrt(len(figures))
                cells.append(f"{statistics.fmean(figures):.4f} ± {error:.4f}")
            print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
