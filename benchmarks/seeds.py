"""Measures how networks of one configuration differ by their seeds, and those of two configurations.

    python -m benchmarks.seeds --data-dir data --out seeds.jsonl
    python -m benchmarks.seeds --table seeds.jsonl

Configurations of the default study's search space (those of a table that ``benchmarks.record_curves``
makes, every few places of its upper half) are trained with several seeds each, on the first 1,000
training images of Fashion-MNIST, and scored on the first 5,000 validation images. A row of the file
is one training. ``--table`` prints what the file says:

- on how many images two seeds of a configuration disagree, and two configurations;
- the components of the variance of a difference of two configurations: of an image with all seeds
  alike, of an image with one seed, and of a seed on all images (`sweeps.analysis.difference`);
- how unlike the variances of the configurations are: Smyth's prior degrees of freedom, which is how
  many further seeds the mean variance of all is worth for each one (`PRIOR_FREEDOM`);
- how the deviations of equal seeds of different configurations are correlated.

`sweeps.analysis.power` and `benchmarks.verdict` take their figures from here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma

from pipeline.data.search_data import SearchData, Split, load_for
from pipeline.jobs.preflight import resolve_runtime
from pipeline.jobs.studies import read_study
from pipeline.training.process import prepare_process
from pipeline.training.train import train
from sweeps.analysis.bits import unpack
from sweeps.spec.configurations import configuration

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN_IMAGES = 1000
VAL_IMAGES = 5000
EPOCHS = 5
PLACES = (0, 2, 4, 6, 9, 12, 16, 20, 26, 32, 40, 50, 62, 75)  # in the table, by value
SEEDS = 6
TOP = 5  # configurations, of which figures are given apart
MOST_FREEDOM = 100.0  # stands for equal variances


def record(options: argparse.Namespace) -> None:
    """Train what is not in the file yet."""
    spec = read_study("default", {"dataset": "fashion_mnist", "epochs": EPOCHS})[2]
    data = load_for(configuration(spec, {}), options.data_dir)
    data = replace(data, train=_first(data.train, TRAIN_IMAGES), val=_first(data.val, VAL_IMAGES))
    resolved = resolve_runtime(spec)
    table = [json.loads(line) for line in options.curves.read_text("utf-8").splitlines()]
    rows = [row for row in table if row["best"]]
    rows.sort(key=lambda row: -row["best"])
    done = len(options.out.read_text("utf-8").splitlines()) if options.out.exists() else 0
    jobs = [(seed, place) for seed in range(SEEDS) for place in PLACES]
    for seed, place in jobs[done:]:
        values = {**resolved, **rows[place]["values"], "seed": seed}
        row = _train(configuration(spec, values), data)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"place": place, "seed": seed, **row}) + "\n")


def _first(split: Split, images: int) -> Split:
    return Split(split.images[:images], split.labels[:images])


def _train(config: Any, data: SearchData) -> dict[str, Any]:
    prepare_process(config)
    with tempfile.TemporaryDirectory() as folder:
        result = train(0, config, data, Path(folder), objective="val_acc")
    return {"value": result.value, "epoch": result.best_epoch, "correct": result.correct}


def print_table(path: Path) -> None:
    """Print what a file of trainings says."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    tables = []
    for place in PLACES:
        found = [unpack(row["correct"], VAL_IMAGES) for row in rows if row["place"] == place]
        known = [row for row in found if row is not None]
        if len(known) == SEEDS:
            tables.append(np.stack(known))
    tables.sort(key=lambda table: -table.mean())
    print(f"{len(tables)} configurations with {SEEDS} seeds, {VAL_IMAGES:,} images")
    print(f"mean accuracies: {', '.join(f'{table.mean():.4f}' for table in tables)}")
    for name, chosen in ((f"the best {TOP}", tables[:TOP]), ("all", tables)):
        _print_components(name, chosen)


def _print_components(name: str, tables: list[NDArray[np.bool_]]) -> None:
    between_seeds = [np.mean(a != b) for table in tables for a, b in combinations(table, 2)]
    between = [
        np.mean(a != b) for one, other in combinations(tables, 2) for a in one for b in other
    ]
    values = np.array([table.mean(axis=1) for table in tables])
    variances = values.var(axis=1, ddof=1)
    residuals = np.array([_residual(table) for table in tables])
    seed = np.maximum(variances - residuals / VAL_IMAGES, 0).mean()
    alike = []
    for (i, one), (j, other) in combinations(enumerate(tables), 2):
        difference = one.mean(axis=0) - other.mean(axis=0)
        alike.append(difference.var(ddof=1) - (residuals[i] + residuals[j]) / SEEDS)
    single = 2 * residuals.mean()
    correlations = np.corrcoef(values - values.mean(axis=1, keepdims=True))
    pairs = correlations[np.triu_indices(len(tables), 1)]
    print(f"{name}:")
    print(f"  disagree: two seeds {np.mean(between_seeds):.4f}, two others {np.mean(between):.4f}")
    print(f"  of an image, all seeds alike {np.mean(alike):.4f}; with one seed {single:.4f}")
    print(f"  the share of the former {np.mean(alike) / (np.mean(alike) + single):.2f}")
    print(f"  standard deviation over seeds on all images alike {seed**0.5:.4f}")
    print(f"  prior degrees of freedom {_prior_freedom(variances):.1f}")
    print(f"  mean correlation of equal seeds {pairs.mean():.3f}")


def _residual(table: NDArray[np.bool_]) -> float:
    """The mean square of the residuals of a table of seeds by images."""
    values = table.astype(float)
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    seeds, images = table.shape
    return float(np.square(residuals).sum() / ((seeds - 1) * (images - 1)))


def _prior_freedom(variances: NDArray[np.float64]) -> float:
    """Estimate the prior degrees of freedom of variances.

    Source: G. K. Smyth, Linear models and empirical Bayes methods for assessing differential
    expression in microarray experiments, Statistical Applications in Genetics and Molecular Biology
    3 (2004), section 6.2.
    """
    excess = float(np.log(variances).var(ddof=1) - polygamma(1, (SEEDS - 1) / 2))
    if excess <= polygamma(1, MOST_FREEDOM / 2):
        return MOST_FREEDOM
    return 2 * float(brentq(lambda half: polygamma(1, half) - excess, 1e-3, MOST_FREEDOM / 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument(
        "--curves", type=Path, default=Path("benchmarks/curves/fashion_mnist.jsonl")
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print what this file says; train nothing")
    options = parser.parse_args()
    if options.table is not None:
        print_table(options.table)
    elif options.out is None:
        parser.error("--out FILE, or --table FILE")
    else:
        record(options)


if __name__ == "__main__":
    main()
