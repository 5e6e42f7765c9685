"""Whether a warm start helps, and what it costs where the earlier study misleads, on recorded curves.

    python -m benchmarks.warm_start benchmarks/curves/mnist_1000.jsonl benchmarks/curves/cifar10_1000.jsonl

Each table of `benchmarks.record_curves` becomes a task: trees fitted to it say how any configuration of the default
study learns there; the rank correlation on configurations that they have not seen is printed. The real loop sweeps
the default study, without ``start_with``, on each task, once for each seed: cold, and warm from a sweep with another
seed of each task, its own included, and of a task that misleads: its own, turned upside down. ``--first-only`` and
``--prior-only`` leave out one half of the warm start.

For each target and source it prints, with standard errors over the seeds,

- ``sooner``: the epochs after which some trial has shown the cold sweep's best value less one standard error of 1,000
  images, as a share of those that the cold sweep took to show that: geometric mean, and the factor of its error. A
  sweep that never shows it counts with all its epochs;
- ``gain``: by how much its best complete trial is better than the cold sweep's.
"""

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

from benchmarks.search import Curve, Sweep, error, sweep_in
from pipeline.jobs.studies import read_study
from sweeps.analysis.facts import WarmStart
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import Storage, read_record
from sweeps.search.warm_start import take_warm_start
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig

IMAGES = 1000  # that validate, in the tables
OTHER_SEED = 1000  # the seed of a source is that of its target plus this
MISLEADING = "upside down"
# The words of the default study's fields.
WORDS = {
    "family": ["mlp", "cnn", "resnet"],
    "activation": ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"],
    "layer_order": [
        "conv-norm-act-pool-drop",
        "conv-act-norm-pool-drop",
        "pool-conv-norm-act-drop",
    ],
}


class Task:
    """How configurations learn on a data set, by trees fitted to a table of curves."""

    def __init__(self, path: Path, spec: StudySpec) -> None:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [row for row in rows if row["tag"] == "random" and row["end"] == "complete"]
        self.name = path.stem
        self._spec = spec
        features = np.array([self._encode(row["values"]) for row in rows])
        best = np.array([np.maximum.accumulate(row["curve"]) for row in rows])
        # By logit, in which the last percents count as the first.
        logits = np.log((best + 0.002) / (1 - best + 0.002))
        trees = ExtraTreesRegressor(100, random_state=0)
        unseen = cross_val_predict(trees, features, logits, cv=10)[:, -1]
        self.rank_correlation = float(np.corrcoef(_ranks(unseen), _ranks(logits[:, -1]))[0, 1])
        self.epochs = best.shape[1]
        self._trees = trees.fit(features, logits)
        self._known: dict[str, Curve] = {}
        self.upside_down = False

    def turned(self) -> "Task":
        """The same task with the best configurations worst."""
        other = object.__new__(Task)
        vars(other).update(vars(self))
        other._known, other.upside_down, other.name = {}, True, MISLEADING
        return other

    def _encode(self, values: Mapping[str, Any]) -> list[float]:
        """Write values as numbers: a logarithm, one of several words, a number, or -1 for none."""
        features = []
        for name in dict.fromkeys(dimension.field for dimension in self._spec.dimensions):
            value = values.get(name)
            if name in WORDS:
                features += [float(value == word) for word in WORDS[name]]
            elif name == "lr":
                features.append(math.log(values["lr"]))
            else:
                features.append(-1.0 if value is None else float(value))
        return features

    def get(self, config: TrialConfig) -> Curve:
        """Return the curve of a configuration."""
        if config.signature not in self._known:
            logits = self._trees.predict([self._encode(config.to_dict())])[0]
            values = (1.004 / (1 + np.exp(-logits))) - 0.002
            noise = np.random.default_rng(int(config.signature, 16)).normal(0, 0.004)
            values = np.clip(values + noise, 0, 1)
            if self.upside_down:
                values = np.clip(values / values[-1] * (1.1 - values[-1]), 0, 1)
            self._known[config.signature] = Curve(tuple(values.tolist()), (0.0,) * self.epochs)
        return self._known[config.signature]


def _ranks(values: Any) -> Any:
    return np.argsort(np.argsort(values))


class Sweeps:
    """Sweeps tasks in memory."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec

    def run(self, task: Task, seed: int, warm_start: WarmStart | None = None) -> Sweep:
        """Sweep a task."""
        return self._sweep(task, seed, warm_start, optuna.storages.InMemoryStorage())

    def record(self, task: Task, seed: int) -> StudyRecord:
        """Sweep a task, and return the study."""
        storage = optuna.storages.InMemoryStorage()
        self._sweep(task, seed, None, storage)
        return dataclasses.replace(read_record(storage, "search"), name=task.name)

    def _sweep(
        self, task: Task, seed: int, warm_start: WarmStart | None, storage: Storage
    ) -> Sweep:
        spec = self._spec.model_copy(update={"seed": seed, "epochs": task.epochs})
        facts = {} if warm_start is None else {"warm_start": dataclasses.asdict(warm_start)}
        return sweep_in(spec, task, storage, facts)


def compare(cold: Sequence[Sweep], warm: Sequence[Sweep]) -> dict[str, float]:
    """How much sooner and better the warm sweeps are."""
    ratios, gains = [], []
    for one, other in zip(cold, warm, strict=True):
        target = one.best - error(one.best, IMAGES)
        needed, found = one.reached(target), other.reached(target)
        epochs = other.epochs if found is None else found[0]
        ratios.append(math.log(epochs / (needed or (one.epochs, 0))[0]))
        gains.append(other.best - one.best)
    scale = math.sqrt(len(cold))
    return {
        "sooner": math.exp(statistics.fmean(ratios)),
        "factor_error": math.exp(statistics.stdev(ratios) / scale),
        "gain": statistics.fmean(gains),
        "gain_error": statistics.stdev(gains) / scale,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+", help="files of benchmarks.record_curves")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--source-trials", type=int, default=24, help="of the earlier sweeps")
    parser.add_argument("--pruner", default="asha")
    parser.add_argument("--method", default="tpe")
    parser.add_argument("--first-only", action="store_true")
    parser.add_argument("--prior-only", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    overrides = {"trials": options.trials, "pruner": options.pruner, "method": options.method}
    spec = read_study("default", overrides)[2].model_copy(update={"start_with": ()})
    tasks = [Task(path, spec) for path in options.tables]
    for task in tasks:
        print(f"{task.name}: rank correlation on unseen configurations {task.rank_correlation:.2f}")
    print_table(tasks, spec, options)


def print_table(tasks: Sequence[Task], spec: StudySpec, options: argparse.Namespace) -> None:
    """Compare warm with cold sweeps of each task, from each source."""
    seeds = range(options.seeds)
    sweeps = Sweeps(spec)
    earlier = Sweeps(spec.model_copy(update={"trials": options.source_trials}))
    sources = [[earlier.record(task, seed + OTHER_SEED) for seed in seeds] for task in tasks]
    print(f"{'target':22}{'source':22}{'sooner':>8}{'x/':>6}{'gain':>9}{'+-':>8}")
    for target in tasks:
        cold = [sweeps.run(target, seed) for seed in seeds]
        turned = target.turned()
        misleading = [earlier.record(turned, seed + OTHER_SEED) for seed in seeds]
        for source, records in zip([*tasks, turned], [*sources, misleading], strict=True):
            warm = []
            for seed, record in zip(seeds, records, strict=True):
                taken = take_warm_start(spec, [record])
                if options.first_only:
                    nothing = [dataclasses.replace(one, observations=()) for one in taken.sources]
                    taken = dataclasses.replace(taken, sources=tuple(nothing))
                if options.prior_only:
                    taken = dataclasses.replace(taken, first=())
                warm.append(sweeps.run(target, seed, taken))
            found = compare(cold, warm)
            print(
                f"{target.name:22}{source.name:22}{found['sooner']:8.2f}{found['factor_error']:6.2f}"
                f"{found['gain']:+9.4f}{found['gain_error']:8.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
