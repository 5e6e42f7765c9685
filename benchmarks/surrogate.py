"""Predicts how any configuration of the default space learns, from a table of recorded curves.

A Gaussian process for each table maps a configuration to its curve: the best validation accuracy so
far after each epoch, and the test accuracy of the best epoch's weights. Accuracies are predicted as
logits. All tables have one kernel, so that no table's predictions depend on a fit to it.

    python -m benchmarks.surrogate benchmarks/curves/*.jsonl

prints for each table the error of the last accuracy in a five-fold cross-validation.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from sweeps.trial import COMPLETE, Value

Floats = NDArray[np.float64]

# What a configuration is described by, and over which distance in it accuracies are alike. The
# lengths are the rounded means of those with the highest marginal likelihood for the tables of MNIST,
# Fashion-MNIST and CIFAR-10, each with 1,000 training images.
LENGTHS: Mapping[str, float] = {
    "family mlp": 10,
    "family cnn": 30,
    "family resnet": 1.2,
    "activation relu": 20,
    "activation leaky_relu": 20,
    "activation elu": 20,
    "activation gelu": 20,
    "activation silu": 20,
    "activation tanh": 6,
    "activation sigmoid": 2.2,
    "dropout": 4,  # 1 for .5
    "width": 12,  # 1 for twice the family's smallest
    "depth": 2.6,  # 1 for two more
    "layer_order conv-norm-act-pool-drop": 4,
    "layer_order conv-act-norm-pool-drop": 10,
    "layer_order pool-conv-norm-act-drop": 15,
    "residual": 10,
    "lr": 2.4,  # 1 for ten times as much
    "batch_size": 17,  # 1 for twice as much
}
VARIANCE = 4.0  # of the standardised logits
NOISE = 0.02  # of them, by the seed and the images
_SMALLEST = {"mlp": 128, "cnn": 16, "resnet": 8}  # widths
_MARGIN = 0.01  # keeps the logits of 0 and 1 finite
_JITTER = 1e-6  # keeps a covariance positive where rounding would not
_FOLDS = 5


@dataclass(frozen=True)
class Row:
    """A recorded training."""

    values: Mapping[str, Value]
    curve: tuple[float, ...]  # best validation accuracy so far, by epoch
    test: float  # accuracy of the best epoch's weights


def read_table(path: Path) -> list[Row]:
    """Read the trainings of a table that came to their end."""
    rows: list[Row] = []
    for line in path.read_text("utf-8").splitlines():
        recorded: dict[str, Any] = json.loads(line)
        if recorded["end"] == COMPLETE:
            curve = tuple(accumulate(recorded["curve"], max))
            rows.append(Row(recorded["values"], curve, recorded["test"]))
    return rows


def describe(values: Mapping[str, Value]) -> list[float]:
    """Describe a configuration by numbers, in the order of `LENGTHS`."""
    family = str(values["family"])
    numbers = {
        "dropout": float(values["dropout"]) / 0.5,
        "width": math.log2(float(values["width"]) / _SMALLEST[family]),
        "depth": (float(values["depth"]) - 1) / 2,
        "residual": {None: 0.0, True: 0.5, False: -0.5}[values.get("residual")],
        "lr": math.log10(float(values["lr"])),
        "batch_size": math.log2(float(values["batch_size"])),
    }
    described = []
    for name in LENGTHS:
        field, _, choice = name.partition(" ")
        if choice:
            described.append(float(values.get(field) == choice))
        else:
            described.append(numbers[field])
    return described


class Surrogate:
    """How configurations learn on one data set, as far as a table tells."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.epochs = len(rows[0].curve)
        accuracies = np.array([[*row.curve, row.test] for row in rows])
        logits = _to_logits(accuracies)
        self._mean = logits.mean(axis=0)
        self._deviation = logits.std(axis=0)
        kernel = ConstantKernel(VARIANCE) * Matern(list(LENGTHS.values()), nu=1.5)
        self._process = GaussianProcessRegressor(kernel + WhiteKernel(NOISE), optimizer=None)
        described = np.array([describe(row.values) for row in rows])
        self._process.fit(described, (logits - self._mean) / self._deviation)

    def predict(self, configurations: Sequence[Mapping[str, Value]]) -> Floats:
        """Predict how configurations learn.

        Returns:
            (configurations, epochs + 1): the best validation accuracy so far after each epoch, and
            the test accuracy.
        """
        described = np.array([describe(values) for values in configurations])
        predicted = _to_accuracies(self._process.predict(described) * self._deviation + self._mean)
        predicted[:, :-1] = np.maximum.accumulate(predicted[:, :-1], axis=1)
        return predicted

    def sample_last(
        self, configurations: Sequence[Mapping[str, Value]], *, count: int, seed: int
    ) -> Floats:
        """Draw last validation accuracies of configurations, as they may be by what is known.

        Args:
            configurations: the configurations, which are drawn together.
            count: the number of draws.
            seed: decides them.

        Returns:
            (count, configurations).
        """
        last = self.epochs - 1
        described = np.array([describe(values) for values in configurations])
        means, covariances = self._process.predict(described, return_cov=True)
        covariance = covariances[..., last]
        # The noise of a single training is no property of the configuration.
        covariance = covariance - NOISE * np.eye(len(covariance))
        root = np.linalg.cholesky(covariance + _JITTER * np.eye(len(covariance)))
        normal = np.random.default_rng(seed).standard_normal((count, len(covariance)))
        drawn = means[:, last] + normal @ root.T
        return _to_accuracies(drawn * self._deviation[last] + self._mean[last])

    @cached_property
    def errors(self) -> dict[str, float]:
        """The errors of the last validation accuracy in a five-fold cross-validation."""
        folds = np.arange(len(self.rows)) % _FOLDS
        predicted = np.empty(len(self.rows))
        for fold in range(_FOLDS):
            kept = [row for row, of in zip(self.rows, folds, strict=True) if of != fold]
            left = [row.values for row, of in zip(self.rows, folds, strict=True) if of == fold]
            predicted[folds == fold] = Surrogate(kept).predict(left)[:, -2]
        true = np.array([row.curve[-1] for row in self.rows])
        error = np.abs(predicted - true)
        explained = 1 - np.square(predicted - true).sum() / np.square(true - true.mean()).sum()
        best_quarter = true >= np.quantile(true, 0.75)
        return {
            "explained": float(explained),
            "mean error": float(error.mean()),
            "of the best quarter": float(error[best_quarter].mean()),
        }


def _to_logits(accuracies: Floats) -> Floats:
    logits: Floats = np.log((accuracies + _MARGIN) / (1 + _MARGIN - accuracies))
    return logits


def _to_accuracies(logits: Floats) -> Floats:
    shares: Floats = 1 / (1 + np.exp(-logits))
    return np.clip(shares * (1 + 2 * _MARGIN) - _MARGIN, 0.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="recorded curves")
    options = parser.parse_args()
    print("| table | curves | best | variance explained | mean error | of the best quarter |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in options.table:
        rows = read_table(path)
        errors = Surrogate(rows).errors
        cells = [f"{value:.3f}" for value in errors.values()]
        best = max(row.curve[-1] for row in rows)
        print(f"| {path.stem} | {len(rows)} | {best:.3f} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
