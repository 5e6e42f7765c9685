"""Whether a warm start helps, and what it costs where the earlier study misleads, on recorded curves.

    python -m benchmarks.warm_start benchmarks/curves/*_1000.jsonl benchmarks/curves/few_digits.jsonl

Each table becomes a task: its surrogate (`benchmarks.surrogate`) says how any configuration of the
default study's space learns there, with the widths of the tables and without baselines and starts.
The real loop sweeps that space on each task, once for each seed: cold, and warm from a sweep with
another seed of each task, its own included, and of a task that misleads: its own, turned upside
down. ``--first-only`` and ``--prior-only`` leave out one half of the warm start.

For each target and source it prints, with standard errors over the seeds,

- ``sooner``: the epochs after which some trial has shown the cold sweep's best value less one
  standard error of 1,000 images, as a share of those that the cold sweep took to show that: geometric
  mean, and the factor of its error. A sweep that never shows it counts with all its epochs;
- ``gain``: by how much its best complete trial is better than the cold sweep's.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna

from benchmarks.search import Curve, Sweep, error, sweep_in
from benchmarks.searches import IMAGES, Landscape, space
from benchmarks.surrogate import Surrogate, read_table
from sweeps.analysis.facts import WarmStart
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import Storage, read_record
from sweeps.search.warm_start import take_warm_start
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig

OTHER_SEED = 1000  # the seed of a source is that of its target plus this
MISLEADING = "upside down"
HIGHEST = 1.1  # the last accuracy upside down is this less the true one


class Task:
    """How configurations learn on a data set."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.surrogate = Surrogate(read_table(path))
        self._landscape = Landscape(self.surrogate)

    def get(self, config: TrialConfig) -> Curve:
        """Return the curve of a configuration."""
        return self._landscape.get(config)


class UpsideDown:
    """A task with the best configurations worst."""

    def __init__(self, task: Task) -> None:
        self.name = MISLEADING
        self.surrogate = task.surrogate
        self._task = task

    def get(self, config: TrialConfig) -> Curve:
        """Return the curve of a configuration."""
        curve = self._task.get(config)
        last = curve.values[-1]
        values = np.clip(np.array(curve.values) / last * (HIGHEST - last), 0, 1)
        return Curve(tuple(values.tolist()), curve.seconds)


class Sweeps:
    """Sweeps tasks in memory."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec

    def run(self, task: Task | UpsideDown, seed: int, warm_start: WarmStart | None = None) -> Sweep:
        """Sweep a task."""
        return self._sweep(task, seed, warm_start, optuna.storages.InMemoryStorage())

    def record(self, task: Task | UpsideDown, seed: int) -> StudyRecord:
        """Sweep a task, and return the study."""
        storage = optuna.storages.InMemoryStorage()
        self._sweep(task, seed, None, storage)
        return dataclasses.replace(read_record(storage, "search"), name=task.name)

    def _sweep(
        self, task: Task | UpsideDown, seed: int, warm_start: WarmStart | None, storage: Storage
    ) -> Sweep:
        spec = self._spec.model_copy(update={"seed": seed, "epochs": task.surrogate.epochs})
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
    update = {"trials": options.trials, "pruner": options.pruner, "method": options.method}
    spec = space().model_copy(update=update)
    tasks = [Task(path) for path in options.tables]
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
        turned = UpsideDown(target)
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
