"""What a report's importance names: of noise, of a planted cause, and after pauses.

    python -m benchmarks.importance --studies 200 --trials 24 50 100
    python -m benchmarks.importance --curves benchmarks/curves/mnist_1000.jsonl --orders 100

Nothing is trained. The first table is of studies with made-up values: of noise, or of noise and a
single field that matters (the cause). For each it prints

- ``first``: how often the cause has the largest share;
- ``told``: how often the cause is told from noise;
- ``false``: how often any other field is told from noise.

The second table is of recorded learning curves, of which a rule of `benchmarks.rules` lets each
trial see a part. It compares shares from the parts with those of the same trials trained to their
ends: from each trial's last value whatever its epoch, from the values at the first epoch alone, and
at equal epochs, as the product does it. It prints, as means over random orders of the curves,

- ``third``: the part of the best third that is right;
- ``first``: how often the same field has the largest share;
- ``correlation``: of the shares.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.rules import Rule, Trial, promote, stopping
from sweeps.analysis.equal_epochs import scores_at_equal_epochs
from sweeps.analysis.importance import QUANTILE, importance
from sweeps.analysis.record import StudyRecord
from sweeps.search.sampling import make_sampler, suggest
from sweeps.spec.configurations import choose_values, configuration
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import StudySpec
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, PAUSED, Epoch, TrialConfig, TrialResult, configure

STUDY = """
dataset: digits
method: {method}
search:
  family: [mlp, cnn, resnet]
  activation: [relu, leaky_relu, elu, gelu, silu, tanh, sigmoid]
  dropout: {{low: 0.0, high: 0.5}}
  lr: {{low: 1.0e-4, high: 1.0e-1, log: true}}
  batch_size: [32, 64, 128]
  layer_order: [conv-norm-act-pool-drop, conv-act-norm-pool-drop, pool-conv-norm-act-drop]
  residual: [true, false]
"""
NOISE = 0.01  # standard deviation of a made-up value
# What each cause adds to the value, from the worst to the best: about three times the noise.
CAUSES: Mapping[str, Callable[[TrialConfig], float]] = {
    "nothing": lambda _config: 0.0,
    "lr": lambda config: -0.03 * (math.log10(config.lr) + 2.5) ** 2,
    "dropout": lambda config: -0.08 * (config.dropout or 0),
    "batch_size": lambda config: -0.015 * math.log2(config.batch_size / 32),
    "family": lambda config: 0.02 * (config.family == "cnn"),
    "activation": lambda config: -0.02 * (config.activation in ("tanh", "sigmoid")),
}
CURVE_DIMENSIONS = (
    Dimension(field="family", choices=("mlp", "cnn", "resnet")),
    Dimension(
        field="activation",
        choices=("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"),
    ),
    Dimension(field="dropout", low=0.0, high=0.5),
    Dimension(field="lr", low=1e-4, high=0.1, log=True),
    Dimension(field="batch_size", choices=(32, 64, 128)),
    Dimension(field="depth", low=1, high=3),
)


# Made-up values


def made_up_study(
    spec: StudySpec, cause: str, *, trials: int, rng: np.random.Generator
) -> StudyRecord:
    """A study of complete trials, drawn by the product's sampler, with made-up values."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, "importance"))
    results = []
    for number in range(trials):
        trial = study.ask()
        values = choose_values(spec, lambda dimension, trial=trial: suggest(trial, dimension))
        config = configuration(spec, values)
        value = 0.8 + CAUSES[cause](config) + rng.normal(0, NOISE)
        study.tell(trial, value)
        results.append(
            TrialResult(number=number, config=config, state=COMPLETE, end=COMPLETE, value=value)
        )
    return _record(results, spec.dimensions)


def _record(results: Sequence[TrialResult], dimensions: Sequence[Dimension]) -> StudyRecord:
    return StudyRecord(
        name="importance",
        study="importance",
        dataset="digits",
        objective="val_acc",
        maximize=True,
        trials=len(results),
        dimensions=tuple(dimensions),
        classes=(),
        results=tuple(results),
    )


def measure(method: str, cause: str, *, trials: int, studies: int) -> dict[str, float]:
    """How often the cause is first and told from noise, and how often another field is told."""
    spec = parse_study(STUDY.format(method=method), "importance")
    first = told = false = 0
    for seed in range(studies):
        seeded = spec.model_copy(update={"seed": seed})
        rng = np.random.default_rng(seed)
        found = importance(made_up_study(seeded, cause, trials=trials, rng=rng))
        keys = {share.key for share in found.told}
        first += found.shares[0].key == cause
        told += cause in keys
        false += bool(keys - {cause})
    return {"first": first / studies, "told": told / studies, "false": false / studies}


# Recorded curves


def compare(
    rows: Sequence[Mapping[str, Any]], rule: Rule, *, trials: int, orders: int
) -> dict[str, dict[str, float]]:
    """How well the shares of partly trained trials agree with those of whole trainings."""
    agreements: dict[str, list[dict[str, float]]] = {}
    for order in range(orders):
        drawn = random.Random(order).sample(rows, trials)  # noqa: S311 - no secret
        whole = [_curve_result(number, row, None) for number, row in enumerate(drawn)]
        states = [Trial(tuple(accumulate(row["curve"], max)), 0.0) for row in drawn]
        rule(states, len(drawn[0]["curve"]))
        parts = [
            _curve_result(number, row, state.epochs)
            for number, (row, state) in enumerate(zip(drawn, states, strict=True))
        ]
        ways = {
            "last value": [dataclasses.replace(part, history=()) for part in parts],
            "first epoch": [_curve_result(number, row, 1) for number, row in enumerate(drawn)],
            "equal epochs": parts,
        }
        for name, results in ways.items():
            agreements.setdefault(name, []).append(_agreement(results, whole))
    return {
        name: {key: statistics.fmean(one[key] for one in found) for key in found[0]}
        for name, found in agreements.items()
    }


def _curve_result(number: int, row: Mapping[str, Any], epochs: int | None) -> TrialResult:
    """A trial trained for so many epochs of its curve; None for all."""
    curve = row["curve"][:epochs]
    state = COMPLETE if len(curve) == len(row["curve"]) else PAUSED
    history = [
        Epoch(epoch=epoch, time=0, metrics={"val/acc": value}, per_class=())
        for epoch, value in enumerate(curve, start=1)
    ]
    return TrialResult(
        number=number,
        config=configure({**row["values"], "seed": row["seed"]}),
        state=state,
        end=state,
        value=max(curve),
        history=tuple(history),
    )


def _agreement(results: Sequence[TrialResult], whole: Sequence[TrialResult]) -> dict[str, float]:
    found = _common_shares(results)
    expected = _common_shares(whole)
    keys = list(expected)
    correlation = np.corrcoef(
        [found.get(key, 0.0) for key in keys], [expected[key] for key in keys]
    )[0, 1]
    best = _best_third(results)
    return {
        "third": len(best & _best_third(whole)) / len(best),
        "first": float(max(found, key=found.__getitem__) == max(keys, key=expected.__getitem__)),
        "correlation": float(correlation),
    }


def _common_shares(results: Sequence[TrialResult]) -> dict[str, float]:
    found = importance(_record(results, CURVE_DIMENSIONS))
    return {share.key: share.share or 0.0 for share in found.shares}


def _best_third(results: Sequence[TrialResult]) -> set[int]:
    scores = scores_at_equal_epochs(results, "val_acc", maximize=True)
    limit = np.sort(scores)[-math.ceil(QUANTILE * len(scores))]
    return set(np.flatnonzero(scores >= limit))


# Tables


def _print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _print_header(*names: str) -> None:
    _print_row(*names)
    _print_row(*["---" for _ in names])


def _rounded(figures: Mapping[str, float]) -> list[str]:
    return [f"{figure:.3f}" for figure in figures.values()]


def _print_made_up(method: str, sizes: Sequence[int], causes: Sequence[str], studies: int) -> None:
    """Print the first table."""
    _print_header("trials", "cause", "first", "told", "false")
    for trials in sizes:
        for cause in causes:
            figures = measure(method, cause, trials=trials, studies=studies)
            _print_row(trials, cause, *_rounded(figures))


def _print_curves(paths: Sequence[Path], sizes: Sequence[int], orders: int) -> None:
    """Print the second table."""
    rules: Mapping[str, Rule] = {"promotion": promote, "asha of 0.1.0": stopping("asha")}
    _print_header("curves", "trials", "rule", "compared", "third", "first", "correlation")
    for path in paths:
        lines = path.read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row["end"] == "complete"]
        for trials in sizes:
            for rule_name, rule in rules.items():
                found = compare(rows, rule, trials=trials, orders=orders)
                for way, figures in found.items():
                    _print_row(path.stem, trials, rule_name, way, *_rounded(figures))


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=["random", "tpe"], default="random")
    parser.add_argument("--trials", type=int, nargs="+", default=[24])
    parser.add_argument("--causes", nargs="+", choices=list(CAUSES), default=list(CAUSES))
    parser.add_argument("--studies", type=int, default=200, help="of each row of the first table")
    parser.add_argument("--curves", type=Path, nargs="+", help="prints the second table instead")
    parser.add_argument("--orders", type=int, default=100, help="of the curves")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if options.curves:
        _print_curves(options.curves, options.trials, options.orders)
    else:
        _print_made_up(options.method, options.trials, options.causes, options.studies)


if __name__ == "__main__":
    main()
