"""Makes trials and studies without training, which tests rank, tabulate and plot."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random

import numpy as np

from sweeps.analysis import bits
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    RUNNING,
    ConfidenceBin,
    Epoch,
    TrialConfig,
    TrialResult,
    configure,
)

CONFIG_FIELDS = frozenset(field.name for field in dataclasses.fields(TrialConfig))
DIGITS = tuple("0123456789")
START = 1_700_000_000_000  # when the first trial of a study begins: milliseconds since 1970, UTC

# Dimensions that some tests search. Each has its default first.
LR = Dimension(field="lr", choices=(0.01, 0.001, 0.1))
DROPOUT = Dimension(field="dropout", choices=(0.1, 0.0, 0.5))

# A study of one factor at a time over both: each configuration with its value, the centre first.
POINTS = [
    ({"lr": 0.01, "dropout": 0.1}, 0.9),
    ({"lr": 0.001, "dropout": 0.1}, 0.8),
    ({"lr": 0.1, "dropout": 0.1}, None),
    ({"lr": 0.01, "dropout": 0.0}, 0.7),
    ({"lr": 0.01, "dropout": 0.5}, 0.6),
]

# Families that share some options: conditional ranges, and options of one family.
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


# Trials


def make_result(
    number: int = 0,
    value: float | None = None,
    *,
    state: str = COMPLETE,
    end: str | None = None,
    config: TrialConfig | None = None,
    epochs: int = 3,
    classes: int = 10,
    history: tuple[Epoch, ...] | None = None,
    predicted: tuple[int, ...] = (),
    with_confusion: bool = False,
    **facts,
) -> TrialResult:
    """Make a trial whose validation accuracy reaches its value in the last epoch.

    Args:
        number: of the trial.
        value: of the objective. A failed or a running trial has none.
        state: of the trial. A failed trial has diverged unless ``end`` says otherwise.
        end: how the trial ended.
        config: the whole configuration, instead of single fields.
        epochs: how many epochs the made-up history has.
        classes: how many classes the made-up history and confusion matrix have.
        history: the epochs, instead of a made-up history.
        predicted: how many images were taken for each class. A class without any has accuracy 0.
        with_confusion: make up a confusion matrix too.
        facts: fields of `TrialConfig` for the configuration, and fields of `TrialResult`.
    """
    config_fields = {name: facts.pop(name) for name in list(facts) if name in CONFIG_FIELDS}
    if history is None:
        history = make_history(0.3 if value is None else value, epochs, classes, 15_000 * number)
    if predicted:
        history = tuple(_with_predictions(row, predicted) for row in history)
    if end is None:
        end = "diverged" if state == FAILED else state
    made_up = {
        "best_epoch": len(history) if history and value is not None else None,
        "seconds": 1.5 * len(history),
        "run_id": f"run{number}",
    }
    if with_confusion and value is not None:
        confusion = make_confusion(value, classes)
        right = sum(row[index] for index, row in enumerate(confusion))
        images = sum(map(sum, confusion))
        made_up["confusion"] = confusion
        surely = ConfidenceBin(images=images, right=right, confidence=0.95 * images)
        made_up["confidences"] = (*[ConfidenceBin(0, 0, 0.0)] * 14, surely)
    return TrialResult(
        number=number,
        config=config or configure(config_fields),
        state=state,
        end=end,
        value=value,
        history=history,
        **{**made_up, **facts},
    )


def with_bits(result: TrialResult, correct) -> TrialResult:
    """Give a trial the validation images that it classifies correctly, and their share as its value.

    Args:
        result: of the trial.
        correct: booleans (images,). All images are of the first of two classes.
    """
    correct = np.asarray(correct, dtype=bool)
    right = int(correct.sum())
    return dataclasses.replace(
        result,
        value=right / len(correct),
        confusion=((right, len(correct) - right), (0, 0)),
        correct=bits.pack(correct),
    )


def first_right(value: float, images: int) -> np.ndarray:
    """Booleans (images,): the first ones are right, as many as a value says.

    Of two trials the better one has all images right that the other has: their difference is as
    certain as it can be by so many images.
    """
    return np.arange(images) < round(value * images)


def make_epoch(
    epoch: int = 1,
    metrics: dict[str, float] | None = None,
    *,
    confusion: tuple[tuple[int, ...], ...] | None = None,
    **facts,
) -> Epoch:
    """Make one line of a history.

    Args:
        epoch: its number, counted from 1, which is also its time.
        metrics: by MLflow key; none by default.
        confusion: validation counts [true][predicted], from which per_class and predicted follow.
        facts: other fields of `Epoch`.
    """
    if confusion is not None:
        facts["per_class"] = tuple(
            row[true] / sum(row) if sum(row) else None for true, row in enumerate(confusion)
        )
        facts["predicted"] = tuple(sum(column) for column in zip(*confusion, strict=True))
    return Epoch(
        **{"epoch": epoch, "time": epoch, "metrics": metrics or {}, "per_class": (), **facts}
    )


def _with_predictions(row: Epoch, predicted: tuple[int, ...]) -> Epoch:
    per_class = [
        accuracy if images else 0.0
        for accuracy, images in zip(row.per_class, predicted, strict=True)
    ]
    return dataclasses.replace(row, per_class=tuple(per_class), predicted=predicted)


def make_history(value: float, epochs: int, classes: int, start: int = 0) -> tuple[Epoch, ...]:
    """Make up epochs whose validation accuracy approaches the value, and reaches it in the last.

    Args:
        value: the last accuracy.
        epochs: how many.
        classes: how many accuracies of single classes each epoch has.
        start: when the training begins, in milliseconds after `START`.
    """
    rows = []
    rng = random.Random(value)
    speed = rng.uniform(2, 6)
    for epoch in range(1, epochs + 1):
        progress = (epoch - 1) / max(epochs - 1, 1)
        accuracy = value * (1 - 0.5 * math.exp(-speed * progress) - rng.uniform(0, 0.04))
        if epoch == epochs:
            accuracy = value
        metrics = {
            "train/loss": 2.3 * (1.05 - min(accuracy, 1)),
            "train/acc": min(1.0, accuracy + 0.02 * epoch / epochs),
            "train/loss_std": 0.3 / epoch,
            "train/lr": 0.001,
            "val/loss": 2.3 * (1.1 - min(accuracy, 1)),
            "val/loss_std": 0.1 / epoch,
            "val/acc": accuracy,
            "time/epoch_seconds": 1.5,
            "time/images_per_second": 1000.0,
        }
        per_class = [min(max(rng.gauss(accuracy, 0.03), 0), 1) for _ in range(classes)]
        time = START + start + 1500 * epoch
        rows.append(make_epoch(epoch, metrics, time=time, per_class=tuple(per_class)))
    return tuple(rows)


def make_confusion(accuracy: float, classes: int, images: int = 30) -> tuple[tuple[int, ...], ...]:
    """Make up counts [true][predicted] of so many images a class, with about this accuracy."""
    right = round(images * min(max(accuracy, 0), 1))
    rows = [[0] * classes for _ in range(classes)]
    for true in range(classes):
        rows[true][true] += right
        for image in range(images - right):
            rows[true][(true + 1 + (true * image) % 3) % classes] += 1
    return tuple(map(tuple, rows))


# Studies


def make_record(results=(), *, reference=(), **facts) -> StudyRecord:
    """Make a study of the results.

    Args:
        results: its trials.
        reference: published figures, each given by its keys in a study file.
        facts: other fields of `StudyRecord`.
    """
    results = tuple(results)
    defaults = {
        "name": "test",
        "study": "test",
        "dataset": "digits",
        "objective": "val_acc",
        "maximize": True,
        "trials": max(24, len(results)),
        "dimensions": (),
        "classes": DIGITS,
    }
    facts = {**defaults, **facts}
    facts["dimensions"] = tuple(facts["dimensions"])
    facts["classes"] = tuple(facts["classes"])
    return StudyRecord(
        results=results,
        reference=tuple(map(Reference.model_validate, reference)),
        **facts,
    )


def mixed_study(
    trials: int = 24, *, seed: int = 0, classes=DIGITS, epochs: int = 10, **facts
) -> StudyRecord:
    """Make a study over `MIXED`: a third is pruned, one trial has diverged, the last still runs."""
    rng = random.Random(seed)
    results = []
    for number in range(trials):
        config = sample_config(rng)
        state = _state_in_mixed_study(number, trials)
        value = None if state in (FAILED, RUNNING) else lr_value(config, rng)
        size = {"mlp": 20_000, "cnn": 5_000, "resnet": 60_000}[config.family] * (1 + number % 7)
        results.append(
            make_result(
                number,
                value,
                state=state,
                config=config,
                epochs=epochs if state == COMPLETE else max(1, epochs // 3),
                classes=len(classes),
                with_confusion=state == COMPLETE,
                parameters=size,
                mflops=size / 1e4 * (1 + number % 3),
            )
        )
    return make_record(results, dimensions=MIXED, classes=classes, **facts)


def _state_in_mixed_study(number: int, trials: int) -> str:
    if number == 4:
        return FAILED
    if number == trials - 1 > 0:
        return RUNNING
    return PRUNED if number % 3 == 2 else COMPLETE


def sample_config(rng: random.Random, dimensions=MIXED) -> TrialConfig:
    """Draw a configuration. A dimension whose condition does not hold is left out."""
    values: dict = {}
    for dimension in dimensions:
        if all(values.get(name) in allowed for name, allowed in dimension.when.items()):
            values[dimension.field] = _sample(rng, dimension)
    return configure({**values, "seed": 0})


def _sample(rng: random.Random, dimension: Dimension):
    low, high = dimension.low, dimension.high
    if dimension.choices:
        return rng.choice(dimension.choices)
    if dimension.step is not None:
        return low + dimension.step * rng.randint(0, round((high - low) / dimension.step))
    if dimension.integer:
        return rng.randint(int(low), int(high))
    if dimension.log:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    return float(f"{value:.4g}")


def lr_value(config: TrialConfig, rng: random.Random, noise: float = 0.02) -> float:
    """Make up an accuracy from the learning rate alone (best at 1e-2.5), with some noise."""
    accuracy = 0.97 - 0.12 * (math.log10(config.lr) + 2.5) ** 2 + rng.gauss(0, noise)
    return round(min(max(accuracy, 0.1), 1), 4)


def repeated_study(points, dimensions, *, seeds=2, **facts) -> StudyRecord:
    """Make a study that trains each configuration with several seeds.

    Args:
        points: configurations, each with the value of its first seed; None where it diverges.
        dimensions: of the study.
        seeds: how many. Each reaches 0.01 more than the one before.
        facts: other fields of `StudyRecord`.
    """
    results = []
    for seed in range(seeds):
        for config, value in points:
            state = COMPLETE if value else FAILED
            reached = value and value + 0.01 * seed
            results.append(make_result(len(results), reached, state=state, seed=seed, **config))
    return make_record(results, dimensions=dimensions, **facts)


def study_of_sizes(values, *, seeds=2, noise=0.01, families=("cnn",), **facts) -> StudyRecord:
    """Make a study of the number of training images, with a draw of train and validation a seed.

    Args:
        values: the value of the first draw, by the number of training images.
        seeds: how many draws.
        noise: by how much each draw is better than the one before.
        families: of networks; each reaches 0.1 less than the one before.
        facts: other fields of `StudyRecord`.
    """
    results = [
        make_result(
            number,
            value + noise * draw - 0.1 * families.index(family),
            config=configure(
                {"family": family, "train_images": images, "seed": draw, "redraw": f"draw-{draw}"}
            ),
        )
        for number, (draw, family, (images, value)) in enumerate(
            itertools.product(range(seeds), families, values.items())
        )
    ]
    sizes = Dimension(field="train_images", choices=tuple(values))
    dimensions = (Dimension(field="family", choices=families), sizes)
    facts = {"facts": StudyFacts(images={"train": 800, "val": 200}), **facts}
    spec = StoredSpec(split_seeds=seeds, repeats=seeds)
    return make_record(results, dimensions=dimensions, method="grid", spec=spec, **facts)


def study_with_finalists(**facts) -> StudyRecord:
    """Make a study of two configurations. With three new seeds each, the second is better."""
    results = [make_result(4, 0.9, lr=0.01), make_result(7, 0.8, lr=0.1)]
    points = [({"lr": 0.01}, 0.85), ({"lr": 0.1}, 0.88)]
    finalists = repeated_study(points, (LR,), seeds=3, **facts, trials=6)
    scored = [
        dataclasses.replace(result, test={"acc": result.value - 0.02})
        for result in finalists.results
    ]
    finalists = dataclasses.replace(finalists, results=tuple(scored))
    return make_record(results, dimensions=(LR,), finalists=finalists, **facts)
