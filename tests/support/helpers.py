"""Synthetic studies for the tests: small factories of results and records, without training anything."""

from __future__ import annotations

import dataclasses
import math
import random

from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    RUNNING,
    Epoch,
    TrialConfig,
    TrialResult,
    configure,
)

DIGITS = tuple("0123456789")

# A study with dimensions that depend on others, two of them of one field.
CONDITIONAL = """
trials: 5
fixed: {optimizer: sgd}
search:
  momentum: [0.5, 0.9]
  family: [mlp, cnn, resnet]
  width:
    - {choices: [64, 128], when: {family: mlp}}
    - {low: 8, high: 16, step: 8, when: {family: [cnn, resnet]}}
  residual: [true, false]
  shortcut: [conv, pad]
"""


def make_result(
    number: int = 0,
    value: float | None = None,
    *,
    state: str = COMPLETE,
    end: str | None = None,
    epochs: int = 3,
    classes: int = 10,
    confusion: bool = False,
    predicted: tuple[int, ...] = (),
    test: dict[str, float] | None = None,
    duplicate_of: int | None = None,
    error: str | None = None,
    **config,
) -> TrialResult:
    """One trial: its history climbs (or falls, where lower is better is up to the value) to the value.

    A failed trial has diverged and, like a running one, has no value. Images were taken for the classes as often as
    ``predicted`` says; a class that none was taken for has no image right. Other keywords are fields of `TrialConfig`.
    """
    measured = value is not None
    history = (
        make_history(value if measured else 0.3, epochs, classes, 15_000 * number) if epochs else ()
    )
    if predicted:
        history = tuple(_taken_for(row, predicted) for row in history)
    return TrialResult(
        number=number,
        config=config.pop("config", None) or configure(config),
        state=state,
        end=end or ("diverged" if state == FAILED else state),
        value=value,
        best_epoch=epochs if measured and epochs else None,
        history=history,
        confusion=make_confusion(value, classes) if confusion and measured else None,
        seconds=epochs * 1.5,
        run_id=f"run{number}",
        test=test,
        duplicate_of=duplicate_of,
        error=error,
    )


def _taken_for(row: Epoch, predicted: tuple[int, ...]) -> Epoch:
    right = tuple(
        share if count else 0.0 for share, count in zip(row.per_class, predicted, strict=True)
    )
    return dataclasses.replace(row, per_class=right, predicted=predicted)


def make_history(value: float, epochs: int, classes: int, began: int = 0) -> tuple[Epoch, ...]:
    """Metrics that approach the value, which the last epoch reaches on validation; it began so many milliseconds in."""
    rows = []
    rng = random.Random(value)
    speed = rng.uniform(2, 6)
    for epoch in range(1, epochs + 1):
        accuracy = value * (
            1 - 0.5 * math.exp(-speed * (epoch - 1) / max(epochs - 1, 1)) - rng.uniform(0, 0.04)
        )
        accuracy = value if epoch == epochs else accuracy
        metrics = {
            "train/loss": 2.3 * (1.05 - min(accuracy, 1)),
            "train/acc": min(1.0, accuracy + 0.02 * epoch / epochs),
            "train/lr": 0.001,
            "val/loss": 2.3 * (1.1 - min(accuracy, 1)),
            "val/acc": accuracy,
            "time/epoch_seconds": 1.5,
            "time/images_per_second": 1000.0,
        }
        wobble = [min(max(rng.gauss(accuracy, 0.03), 0), 1) for _ in range(classes)]
        time = 1_700_000_000_000 + began + 1500 * epoch
        rows.append(Epoch(epoch=epoch, time=time, metrics=metrics, per_class=tuple(wobble)))
    return tuple(rows)


def make_confusion(accuracy: float, classes: int, images: int = 30) -> tuple[tuple[int, ...], ...]:
    """Counts with about the accuracy on the diagonal, the rest on the next class."""
    right = round(images * min(max(accuracy, 0), 1))
    rows = [[0] * classes for _ in range(classes)]
    for c in range(classes):
        rows[c][c] += right
        for image in range(images - right):
            rows[c][(c + 1 + (c * image) % 3) % classes] += 1
    return tuple(map(tuple, rows))


def make_record(
    results=(),
    *,
    dimensions=(),
    classes=DIGITS,
    objective="val_acc",
    maximize=True,
    method="tpe",
    reference=(),
) -> StudyRecord:
    """A study of the results; each reference is given by its keys."""
    return StudyRecord(
        name="test",
        study="test",
        dataset="digits",
        objective=objective,
        maximize=maximize,
        trials=max(24, len(results)),
        dimensions=tuple(dimensions),
        classes=tuple(classes),
        results=tuple(results),
        method=method,
        reference=tuple(map(Reference.model_validate, reference)),
    )


# Families that share some options: a conditional range, an option of one family, a condition on another field.
MIXED = (
    Dimension(field="family", choices=("mlp", "cnn", "resnet")),
    Dimension(field="lr", low=1e-4, high=0.1, log=True),
    Dimension(field="dropout", low=0.0, high=0.5),
    Dimension(field="batch_size", choices=(32, 64, 128)),
    Dimension(field="activation", choices=("relu", "leaky_relu", "gelu", "silu")),
    Dimension(field="optimizer", choices=("sgd", "adam", "adamw")),
    Dimension(field="depth", low=1, high=4, when={"family": ("mlp",)}),
    Dimension(field="depth", low=1, high=3, when={"family": ("cnn", "resnet")}),
    Dimension(field="layer_order", choices=("conv-norm-act-drop-pool", "conv-act-norm-pool-drop")),
    Dimension(field="residual", choices=(True, False)),
    Dimension(field="momentum", low=0.5, high=0.99),
)


def sample_config(rng: random.Random, dimensions=MIXED) -> TrialConfig:
    """A random configuration; a dimension whose condition does not hold is left out."""
    values: dict = {}
    for dimension in dimensions:
        if any(values.get(name) not in allowed for name, allowed in dimension.when.items()):
            continue
        values[dimension.field] = _sample(rng, dimension)
    return configure({**values, "seed": 0})


def _sample(rng: random.Random, dimension: Dimension):
    if dimension.choices:
        return rng.choice(dimension.choices)
    if dimension.step is not None:
        return dimension.low + dimension.step * rng.randint(
            0, round((dimension.high - dimension.low) / dimension.step)
        )
    if dimension.integer:
        return rng.randint(int(dimension.low), int(dimension.high))
    low, high = dimension.low, dimension.high
    value = (
        math.exp(rng.uniform(math.log(low), math.log(high)))
        if dimension.log
        else rng.uniform(low, high)
    )
    return float(f"{value:.4g}")


def lr_value(config: TrialConfig, rng: random.Random, noise: float = 0.02) -> float:
    """An accuracy that the learning rate decides (best at 1e-2.5), but for some noise."""
    accuracy = 0.97 - 0.12 * (math.log10(config.lr) + 2.5) ** 2 + rng.gauss(0, noise)
    return round(min(max(accuracy, 0.1), 1), 4)


def mixed_study(
    trials: int = 24, *, seed: int = 0, classes=DIGITS, epochs: int = 10, **record
) -> StudyRecord:
    """A study as they come: mixed families, a third pruned, one diverged, the last one still running."""
    rng = random.Random(seed)
    results = []
    for number in range(trials):
        config = sample_config(rng)
        state = PRUNED if number % 3 == 2 else COMPLETE
        state = FAILED if number == 4 else RUNNING if number == trials - 1 > 0 else state
        value = None if state in (FAILED, RUNNING) else lr_value(config, rng)
        ran = max(1, epochs // 3) if state != COMPLETE else epochs
        result = make_result(
            number,
            value,
            state=state,
            config=config,
            epochs=ran,
            classes=len(classes),
            confusion=state == COMPLETE,
        )
        size = {"mlp": 20_000, "cnn": 5_000, "resnet": 60_000}[config.family] * (1 + number % 7)
        results.append(
            dataclasses.replace(result, parameters=size, mflops=size / 1e4 * (1 + number % 3))
        )
    return make_record(results, dimensions=MIXED, classes=classes, **record)


def repeated(points, dimensions, *, seeds=2, **record):
    """A study whose configurations, given with their values, were each trained with several seeds."""
    pairs = [(seed, *pair) for seed in range(seeds) for pair in points]
    results = [
        make_result(
            number,
            value and value + 0.01 * seed,
            state=COMPLETE if value else FAILED,
            seed=seed,
            **config,
        )
        for number, (seed, config, value) in enumerate(pairs)
    ]
    return make_record(results, dimensions=dimensions, **record)


# A study of one factor at a time: its dimensions, the centre first, and each configuration with its value.
LR = Dimension(field="lr", choices=(0.01, 0.001, 0.1))
DROPOUT = Dimension(field="dropout", choices=(0.1, 0.0, 0.5))
POINTS = [
    ({"lr": 0.01, "dropout": 0.1}, 0.9),
    ({"lr": 0.001, "dropout": 0.1}, 0.8),
    ({"lr": 0.1, "dropout": 0.1}, None),
    ({"lr": 0.01, "dropout": 0.0}, 0.7),
    ({"lr": 0.01, "dropout": 0.5}, 0.6),
]


def with_finalists(objective="val_acc", maximize=True) -> StudyRecord:
    """A study of two configurations, the second of which comes first with three fresh seeds each."""
    study = make_record(
        [make_result(4, 0.9, lr=0.01), make_result(7, 0.8, lr=0.1)],
        dimensions=(LR,),
        objective=objective,
        maximize=maximize,
    )
    fresh = repeated(
        [({"lr": 0.01}, 0.85), ({"lr": 0.1}, 0.88)],
        (LR,),
        seeds=3,
        objective=objective,
        maximize=maximize,
    )
    scored = [
        dataclasses.replace(r, test={"acc": r.value - 0.02})
        for r in fresh.results
        if r.value is not None
    ]
    return dataclasses.replace(
        study, finalists=dataclasses.replace(fresh, results=tuple(scored), trials=6)
    )
