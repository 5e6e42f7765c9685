"""Measures how often each health check speaks where it should, and where it should not.

    python -m benchmarks.checks
    python -m benchmarks.checks --only edge families --studies 1000

Studies are made up, without training, from a known truth: fields that matter or do not, learning
curves that are flat or rise, networks that diverge by chance or for their learning rate. What a
check says of them is counted. ``should`` says whether the finding would be right; the rate is then
the true rate of the check, otherwise the false one. ± is one standard error over the studies. Some
rows take recorded learning curves (``benchmarks/curves``) instead of made-up ones.

The checks `gain`, `tie` and `test_gap` compare scores: they are not measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks import rules
from pipeline.report.checks import curve, edge, images, trials
from pipeline.report.checks.base import Check
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.analysis.record import Promotions, StudyRecord
from sweeps.analysis.trend import least_visible_share, rank_correlation
from sweeps.spec.dimension import Dimension, round_significant
from sweeps.trial import COMPLETE, FAILED, PRUNED, Epoch, TrialConfig, TrialResult, configure

EPOCHS = 12
IMAGES = 239  # the validation images of digits
TRAINING_IMAGES = 1199
SEED_DEVIATION = 0.01  # of the true accuracy of one configuration, over seeds
CURVES = Path(__file__).parent / "curves"

LR = Dimension(field="lr", low=1e-4, high=1e-1, log=True)
DECAY = Dimension(field="weight_decay", low=1e-6, high=1e-2, log=True)
DROPOUT = Dimension(field="dropout", low=0.0, high=0.5)
BATCH = Dimension(field="batch_size", choices=(32, 64, 128))
WIDTH = Dimension(field="width", choices=(16, 32, 48, 64))
DEPTH = Dimension(field="depth", low=1, high=4)
FAMILY = Dimension(field="family", choices=("mlp", "cnn", "resnet"))
NUMBERS = (LR, DECAY, DROPOUT, BATCH, WIDTH, DEPTH)

Generator = np.random.Generator
Truth = Callable[[TrialConfig], float]  # the mean accuracy of a configuration


# Studies


def draw(dimension: Dimension, rng: Generator) -> Any:
    """Draw a value of a dimension at random."""
    if dimension.choices:
        return dimension.choices[rng.integers(len(dimension.choices))]
    low = dimension.low or 0.0
    high = dimension.high or 0.0
    if dimension.integer:
        return int(rng.integers(int(low), int(high) + 1))
    if dimension.log:
        return round_significant(math.exp(rng.uniform(math.log(low), math.log(high))))
    return round_significant(rng.uniform(low, high))


def suggest(dimension: Dimension, trial: optuna.Trial) -> Any:
    """Let Optuna's sampler propose a value of a dimension."""
    if dimension.choices:
        return trial.suggest_categorical(dimension.field, dimension.choices)
    low = dimension.low or 0.0
    high = dimension.high or 0.0
    if dimension.integer:
        return trial.suggest_int(dimension.field, int(low), int(high))
    value = trial.suggest_float(dimension.field, low, high, log=dimension.log)
    return round_significant(value)


def learning_curve(accuracy: float, rng: Generator, count: int = IMAGES) -> list[float]:
    """Make up the validation accuracy by epoch, on so many images."""
    slowness = rng.uniform(1, 3)
    progress = 1 - 0.6 * np.exp(-np.arange(EPOCHS) / slowness)
    true = np.clip(accuracy + rng.normal(0, SEED_DEVIATION), 0.02, 0.999) * progress
    return [float(right) / count for right in rng.binomial(count, true)]


def ended_trial(
    number: int, config: TrialConfig, values: Sequence[float], *, state: str = COMPLETE
) -> TrialResult:
    """Make a trial of a learning curve."""
    history = [
        Epoch(epoch=epoch, time=epoch, metrics={"val/acc": value}, per_class=())
        for epoch, value in enumerate(values, start=1)
    ]
    best = max(values)
    return TrialResult(
        number=number,
        config=config,
        state=state,
        end=state,
        value=best,
        best_epoch=values.index(best) + 1,
        history=tuple(history),
    )


def study_of(
    results: Sequence[TrialResult], dimensions: Sequence[Dimension] = (), **facts: Any
) -> StudyRecord:
    """Make a study of trials."""
    settings: dict[str, Any] = {
        "name": "made up",
        "study": "made up",
        "dataset": "digits",
        "objective": "val_acc",
        "maximize": True,
        "trials": len(results),
        "classes": tuple("0123456789"),
        "spec": StoredSpec(pruner="none"),
        "facts": StudyFacts(images={"train": TRAINING_IMAGES, "val": IMAGES}),
    }
    settings |= facts
    return StudyRecord(results=tuple(results), dimensions=tuple(dimensions), **settings)


def random_study(
    rng: Generator, truth: Truth, dimensions: Sequence[Dimension] = NUMBERS, count: int = 24
) -> StudyRecord:
    """Make a study of random configurations, all trained to their end."""
    results = []
    for number in range(count):
        config = configure({d.field: draw(d, rng) for d in dimensions})
        results.append(ended_trial(number, config, learning_curve(truth(config), rng)))
    return study_of(results, dimensions)


def tpe_study(
    rng: Generator, truth: Truth, dimensions: Sequence[Dimension] = NUMBERS, count: int = 24
) -> StudyRecord:
    """Make a study whose configurations are proposed by TPE, all trained to their end."""
    sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)), multivariate=False)
    search = optuna.create_study(direction="maximize", sampler=sampler)
    results = []
    for number in range(count):
        asked = search.ask()
        config = configure({d.field: suggest(d, asked) for d in dimensions})
        result = ended_trial(number, config, learning_curve(truth(config), rng))
        search.tell(asked, result.value)
        results.append(result)
    return study_of(results, dimensions)


def promoted_study(
    rng: Generator, truth: Truth, dimensions: Sequence[Dimension] = NUMBERS, count: int = 24
) -> StudyRecord:
    """Make a study of random configurations, of which the product's rule decides which go on."""
    whole = random_study(rng, truth, dimensions, count)
    return promote(whole)


def promote(whole: StudyRecord) -> StudyRecord:
    """Cut the trials of a study where the product's rule leaves them."""
    curves = [[row.metrics["val/acc"] for row in trial.history] for trial in whole.results]
    places = [rules.Trial(list(accumulate(values, max)), 0.0) for values in curves]
    rules.promote(places, len(curves[0]))
    results = []
    for trial, values, place in zip(whole.results, curves, places, strict=True):
        state = COMPLETE if place.is_complete else PRUNED
        results.append(ended_trial(trial.number, trial.config, values[: place.epochs], state=state))
    pauses = Promotions(promotions=0, pauses=0)
    return dataclasses.replace(whole, results=tuple(results), promoted=pauses)


def nothing_matters(config: TrialConfig) -> float:
    """The same accuracy for all configurations."""
    del config
    return 0.9


def best_at(position: float, curvature: float = 0.3) -> Truth:
    """The best learning rate is at a position of its range, 0 to 1 or beyond."""

    def truth(config: TrialConfig) -> float:
        place = (math.log10(config.lr) + 4) / 3
        return 0.95 - curvature * (place - position) ** 2

    return truth


def family_matters(config: TrialConfig) -> float:
    """One family is better than the others by .06."""
    return 0.95 if config.family == "cnn" else 0.89


# The winner's training, alone


def trained(
    train: Sequence[float], val: Sequence[float], losses: Sequence[float], rng: Generator
) -> StudyRecord:
    """Make a study of one trial with these true figures by epoch, and the chance of its images."""
    history = []
    confusion = tuple((24,) + (0,) * 9 for _ in range(10))  # which only counts the images
    values = [float(right) / 240 for right in rng.binomial(240, val)]
    seen = rng.binomial(TRAINING_IMAGES, train) / TRAINING_IMAGES
    noise = rng.normal(1, 0.02, len(val))
    for index, value in enumerate(values):
        metrics = {
            "train/acc": float(seen[index]),
            "val/acc": value,
            "val/loss": float(losses[index] * noise[index]),
        }
        history.append(
            Epoch(epoch=index + 1, time=index, metrics=metrics, per_class=(), predicted=(24,) * 10)
        )
    best = max(values)
    result = TrialResult(
        number=0,
        config=configure({"epochs": len(values)}),
        state=COMPLETE,
        end=COMPLETE,
        value=best,
        best_epoch=values.index(best) + 1,
        history=tuple(history),
        confusion=confusion,
    )
    return study_of([result])


def towards(end: float, epochs: float, start: float) -> list[float]:
    """A figure that goes from a start to an end, two thirds of the way in so many epochs."""
    return [end + (start - end) * math.exp(-epoch / epochs) for epoch in range(EPOCHS)]


def flat(rng: Generator) -> StudyRecord:
    """A training that has come to its end: everything is flat in its last half."""
    return trained(towards(0.97, 1, 0.5), towards(0.93, 1, 0.5), towards(0.25, 1, 1.5), rng)


def rising(rng: Generator) -> StudyRecord:
    """A training that is cut while it learns: from .3 to .93 in the end, .86 so far."""
    return trained(towards(0.95, 5, 0.3), towards(0.93, 5, 0.3), towards(0.25, 5, 2.0), rng)


def slow(rng: Generator) -> StudyRecord:
    """A training accuracy of .43 that rises by .01 an epoch, as that of validation does."""
    line = [0.31 + 0.01 * epoch for epoch in range(EPOCHS)]
    return trained(line, line, [2.2 - 0.02 * epoch for epoch in range(EPOCHS)], rng)


def too_small(rng: Generator) -> StudyRecord:
    """A network that fits no more than .6 of any images."""
    return trained(towards(0.6, 1, 0.3), towards(0.6, 1, 0.3), towards(1.2, 1, 2.0), rng)


def overfitted(rng: Generator) -> StudyRecord:
    """A training accuracy of 1, .88 of validation, and a loss that doubles."""
    losses = [0.4 + 0.05 * max(0, epoch - 3) for epoch in range(EPOCHS)]
    return trained(towards(1.0, 1.5, 0.5), towards(0.88, 1.5, 0.5), losses, rng)


def wide_gap(rng: Generator) -> StudyRecord:
    """The same gap, with a loss that stays."""
    return trained(towards(1.0, 1.5, 0.5), towards(0.88, 1.5, 0.5), [0.4] * EPOCHS, rng)


def of_classes(rare: float, count: int) -> Callable[[Generator], StudyRecord]:
    """A winner that recognises .6 to .95 of each class, but of the first only a given share."""

    def make(rng: Generator) -> StudyRecord:
        shares = rng.uniform(0.6, 0.95, 10)
        if rare < 1:
            shares[0] = rare
        right = rng.binomial(count, shares)
        confusion = []
        for index in range(10):
            row = [0] * 10
            row[index] = int(right[index])
            row[(index + 1) % 10] += count - int(right[index])
            confusion.append(tuple(row))
        columns = zip(*confusion, strict=True)
        row = Epoch(
            epoch=1,
            time=1,
            metrics={"val/acc": float(right.sum()) / (10 * count)},
            per_class=tuple(float(value) / count for value in right),
            predicted=tuple(map(sum, columns)),
        )
        result = TrialResult(
            number=0,
            config=configure({}),
            state=COMPLETE,
            end=COMPLETE,
            value=row.metrics["val/acc"],
            best_epoch=1,
            history=(row,),
            confusion=tuple(confusion),
        )
        return study_of([result])

    return make


def near(accuracy: float, count: int) -> Callable[[Generator], StudyRecord]:
    """Twelve complete trials of one true accuracy, on so many images."""

    def make(rng: Generator) -> StudyRecord:
        results = []
        for number in range(12):
            value = float(rng.binomial(count, accuracy)) / count
            trial = ended_trial(number, configure({"lr": 0.001 * (number + 1)}), [value])
            confusion = ((count, 0), (0, 0))
            results.append(dataclasses.replace(trial, confusion=confusion))
        return study_of(results, [LR])

    return make


# Trials


def lost_by_chance(share: float, end: str = "diverged") -> Callable[[Generator], StudyRecord]:
    """Each of 24 trials is lost with the same probability."""

    def make(rng: Generator) -> StudyRecord:
        whole = random_study(rng, nothing_matters, [LR, DECAY])
        return _without(whole, rng.random(24) < share, end)

    return make


def lost_for_lr(rng: Generator) -> StudyRecord:
    """A trial with an lr above .03 (one in six) diverges in .9 of cases, another in .05."""
    whole = random_study(rng, nothing_matters, [LR, DECAY])
    chances = [0.9 if trial.config.lr > 0.03 else 0.05 for trial in whole.results]
    return _without(whole, rng.random(24) < chances, "diverged")


def _without(whole: StudyRecord, lost: Sequence[bool], end: str) -> StudyRecord:
    results = [
        dataclasses.replace(trial, state=FAILED, end=end, value=None, best_epoch=None)
        if is_lost
        else trial
        for trial, is_lost in zip(whole.results, lost, strict=True)
    ]
    return dataclasses.replace(whole, results=tuple(results))


def repeated(share: float) -> Callable[[Generator], StudyRecord]:
    """Each of 24 trials repeats an earlier one with a given probability."""

    def make(rng: Generator) -> StudyRecord:
        whole = random_study(rng, nothing_matters, [LR, DECAY])
        results = [
            dataclasses.replace(trial, duplicate_of=0) if rng.random() < share else trial
            for trial in whole.results
        ]
        return dataclasses.replace(whole, results=tuple(results))

    return make


def two_choices(count: int) -> Callable[[Generator], StudyRecord]:
    """Random configurations over four fields of two choices each."""
    dimensions = [
        Dimension(field="batch_norm", choices=(True, False)),
        Dimension(field="optimizer", choices=("sgd", "adam")),
        Dimension(field="batch_size", choices=(32, 64)),
        Dimension(field="activation", choices=("relu", "gelu")),
    ]

    def make(rng: Generator) -> StudyRecord:
        return random_study(rng, nothing_matters, [*dimensions, LR], count)

    return make


def with_families(truth: Truth, shares: Sequence[float]) -> Callable[[Generator], StudyRecord]:
    """Twelve complete trials of three families, drawn with these probabilities."""

    def make(rng: Generator) -> StudyRecord:
        results = []
        for number in range(12):
            family = str(FAMILY.choices[rng.choice(3, p=shares)])
            config = configure({"family": family, "lr": draw(LR, rng)})
            results.append(ended_trial(number, config, learning_curve(truth(config), rng)))
        return study_of(results, [FAMILY, LR])

    return make


# Recorded curves


def recorded(name: str) -> list[dict[str, Any]]:
    """Read a table of recorded learning curves."""
    lines = (CURVES / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["end"] == "complete"]


def recorded_study(
    rows: Sequence[Mapping[str, Any]], high: float, *, pauses: bool
) -> Callable[[Generator], StudyRecord]:
    """Draw 24 recorded trials with an lr up to a limit, which is the end of the range."""
    lr = dataclasses.replace(LR, high=high)
    allowed = [row for row in rows if row["values"]["lr"] <= high]

    def make(rng: Generator) -> StudyRecord:
        results = []
        for number, row in enumerate(rng.choice(len(allowed), 24, replace=False)):
            values = dict(allowed[row]["values"])
            results.append(ended_trial(number, configure(values), allowed[row]["curve"]))
        whole = study_of(results, [lr, DROPOUT, BATCH])
        return promote(whole) if pauses else whole

    return make


def cut_training(row: Mapping[str, Any], epochs: int) -> StudyRecord:
    """Make a study of one recorded trial, cut after so many epochs."""
    history = []
    for index in range(epochs):
        metrics = {
            "train/acc": row["tacc"][index],
            "val/acc": row["curve"][index],
            "val/loss": row["vloss"][index],
        }
        history.append(
            Epoch(epoch=index + 1, time=index, metrics=metrics, per_class=(), predicted=(100,) * 10)
        )
    values = row["curve"][:epochs]
    best = max(values)
    result = TrialResult(
        number=0,
        config=configure({"epochs": epochs}),
        state=COMPLETE,
        end=COMPLETE,
        value=best,
        best_epoch=values.index(best) + 1,
        history=tuple(history),
        confusion=tuple((100,) + (0,) * 9 for _ in range(10)),
    )
    facts = StudyFacts(images={"train": 1000, "val": 1000})
    return study_of([result], facts=facts)


def print_cut_trainings(permutations: int) -> None:
    """Print what twice the epochs bring where `underfitting` speaks, and where it does not."""
    print(
        "\n| underfitting, best of 24 recorded trials | speaks | gain of twice the epochs | else |"
    )
    print("| --- | --- | --- | --- |")
    for name in ("mnist_1000", "cifar10_1000"):
        rows = recorded(name)
        for epochs in (3, 4, 6):
            gains: dict[bool, list[float]] = {True: [], False: []}
            for seed in range(permutations):
                drawn = random.Random(seed).sample(rows, 24)  # noqa: S311 - no secret
                winner = max(drawn, key=lambda row: max(row["curve"][:epochs]))
                found = curve.underfitting(cut_training(winner, epochs))
                speaks = found is not None and "still learning" in found.text
                gain = max(winner["curve"][: 2 * epochs]) - max(winner["curve"][:epochs])
                gains[speaks].append(gain)
            cells = [_rate([True] * len(gains[True]) + [False] * len(gains[False]))]
            cells += [_mean(gains[True]), _mean(gains[False])]
            print(f"| {name}, {epochs} epochs | {' | '.join(cells)} |")


# Counting


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of study, and a finding of a check that is right or wrong there."""

    check: Callable[[StudyRecord], Check | None]
    says: str  # the finding is counted if this is in its text
    study: str  # in words
    should: bool
    make: Callable[[Generator], StudyRecord]


def _of(
    make: Callable[..., StudyRecord], truth: Truth, **options: Any
) -> Callable[[Generator], StudyRecord]:
    return lambda rng: make(rng, truth, **options)


def edge_cases() -> list[Case]:
    """Where the best values are within their ranges, beyond them, or anywhere."""
    result = []

    def add(says: str, study: str, make: Callable[[Generator], StudyRecord], *, yes: bool) -> None:
        result.append(Case(check=edge.edge, says=says, study=study, should=yes, make=make))

    makers = [("random", random_study), ("TPE", tpe_study), ("promotion", promoted_study)]
    for name, maker in makers:
        study = f"nothing matters, 6 ranges, 24 trials, {name}"
        add("search ", study, _of(maker, nothing_matters), yes=False)
    fifty = _of(random_study, nothing_matters, count=50)
    add("search ", "nothing matters, 6 ranges, 50 trials, random", fifty, yes=False)
    for position in (0.75, 0.9, 1.1, 1.3):
        for name, maker in makers:
            study = f"best lr at {position:g} of its range, {name}"
            add("lr is", study, _of(maker, best_at(position)), yes=position > 1)
    fifty = _of(random_study, best_at(1.1), count=50)
    add("lr is", "best lr at 1.1 of its range, 50 trials, random", fifty, yes=True)
    mnist = recorded("mnist_1000")
    for high in (1e-3, 1e-1):
        for name, pauses in (("whole", False), ("promotion", True)):
            study = f"recorded MNIST, lr 0.0001 to {high:g} (best near .005), {name}"
            make = recorded_study(mnist, high, pauses=pauses)
            add("lr is", study, make, yes=high < 0.005)
    return result


def image_cases() -> list[Case]:
    """What validation images can tell, of configurations and of classes."""
    result = []
    for accuracy, count in ((0.998, 239), (0.999, 2000), (0.95, 239), (0.95, 2000), (0.99, 2000)):
        result.append(
            Case(
                check=images.saturated,
                says="saturated",
                study=f"12 configurations of true accuracy {accuracy}, {count} images",
                should=accuracy > 0.99,
                make=near(accuracy, count),
            )
        )
    for rare, count in (
        (0.02, 10),
        (0.02, 24),
        (0.02, 100),
        (0.35, 24),
        (1, 10),
        (1, 24),
        (1, 100),
    ):
        study = f"one class of ten at {rare:g}, {count} images each"
        if rare == 1:
            study = f"all classes at .6 to .95, {count} images each"
        result.append(
            Case(
                check=images.classes,
                says="nearly never",
                study=study,
                should=rare < 0.1,
                make=of_classes(rare, count),
            )
        )
    return result


def curve_cases() -> list[Case]:
    """Trainings that went on for too long, were cut, or cannot fit."""
    over = "Overfitting"
    learning = "still learning"
    unfit = "does not fit"
    rows: list[tuple[Any, str, str, Callable[[Generator], StudyRecord], bool]] = [
        (curve.overfitting, over, "gap of .12, the loss doubles", overfitted, True),
        (curve.overfitting, over, "gap of .12, the loss stays", wide_gap, False),
        (curve.overfitting, over, "gap of .04, flat", flat, False),
        (curve.underfitting, learning, "rising, .86 of .93 reached", rising, True),
        (curve.underfitting, learning, "training .43, rises .01 an epoch", slow, True),
        (curve.underfitting, learning, "flat at .97 and .93", flat, False),
        (curve.underfitting, learning, "flat at .6 and .6", too_small, False),
        (curve.underfitting, unfit, "flat at .6 and .6", too_small, True),
        (curve.underfitting, unfit, "flat at .97 and .93", flat, False),
        (curve.underfitting, unfit, "training .43, rises .01 an epoch", slow, False),
    ]
    return [
        Case(check=check, says=says, study=study, should=should, make=make)
        for check, says, study, make, should in rows
    ]


def trial_cases() -> list[Case]:
    """How trials ended, and what they tried."""
    result = []

    def add(
        check: Any, says: str, study: str, make: Callable[[Generator], StudyRecord], *, yes: bool
    ) -> None:
        result.append(Case(check=check, says=says, study=study, should=yes, make=make))

    for share in (0.05, 0.1, 0.3, 0.5):
        study = f"each of 24 diverges with {share}, whatever its lr"
        add(trials.unstable, "may hold", study, lost_by_chance(share), yes=share > 0.2)
    higher = "their lr are higher"
    study = "each of 24 diverges with .3, whatever its lr"
    add(trials.unstable, higher, study, lost_by_chance(0.3), yes=False)
    study = "lr above .03 diverges in .9, others in .05"
    add(trials.unstable, higher, study, lost_for_lr, yes=True)
    for share in (0.05, 0.3):
        study = f"each of 24 fails with {share}"
        make = lost_by_chance(share, "error:Some")
        add(trials.failed, "failed", study, make, yes=share > 0.2)
        study = f"each of 24 repeats another with {share}"
        add(trials.duplicates, "repeated", study, repeated(share), yes=share > 0.2)
    for shares in ((1 / 3, 1 / 3, 1 / 3), (0.1, 0.8, 0.1)):
        parts = ", ".join(f"{share:.2f}" for share in shares)
        drawn = f"12 complete, families drawn with {parts}"
        make = with_families(nothing_matters, shares)
        add(trials.families, "keep to", f"families do not matter, {drawn}", make, yes=False)
        make = with_families(family_matters, shares)
        add(trials.families, "keep to", f"the second is better by .06, {drawn}", make, yes=True)
    for count in (8, 24):
        study = f"4 fields of 2 choices, {count} random trials"
        add(trials.constant, " was ", study, two_choices(count), yes=False)
    return result


def _rate(found: Sequence[bool]) -> str:
    share = sum(found) / len(found)
    return f"{share:.3f} ± {math.sqrt(share * (1 - share) / len(found)):.3f}"


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{np.mean(values):+.4f} ± {error:.4f} (n {len(values)})"


def visible(count: int, rng: Generator, studies: int) -> float:
    """Return how often a field that explains what `few` names is seen."""
    share = least_visible_share(count)
    if share is None:
        raise ValueError(f"nothing can be seen among {count}")
    found = 0
    # Pearson's correlation of normal variables whose rank correlation is the given one.
    pearson = 2 * math.sin(math.pi / 6 * math.sqrt(share))
    for _ in range(studies):
        field = rng.normal(size=count)
        value = pearson * field + math.sqrt(1 - pearson**2) * rng.normal(size=count)
        found += rank_correlation(field.tolist(), value.tolist())[1] <= 0.025
    return found / studies


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of checks")
    parser.add_argument("--studies", type=int, default=200, help="of each kind")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"n {options.studies}\n\n| check | study | says | should | rate |")
    print("| --- | --- | --- | --- | --- |")
    all_cases = [*edge_cases(), *image_cases(), *curve_cases(), *trial_cases()]
    for number, case in enumerate(all_cases):
        name = case.check.__name__
        if options.only and name not in options.only:
            continue
        found = []
        for seed in range(options.studies):
            outcome = case.check(case.make(np.random.default_rng([number, seed])))
            found.append(outcome is not None and case.says in outcome.text)
        should = "yes" if case.should else "no"
        cells = [name, case.study, f'"{case.says.strip()}"', should, _rate(found)]
        print(f"| {' | '.join(cells)} |")
        sys.stdout.flush()
    if not options.only or "few" in options.only:
        print("\n| few: complete configurations | share named | seen |")
        print("| --- | --- | --- |")
        for count in (12, 24, 50):
            seen = visible(count, np.random.default_rng(count), 2000)
            print(f"| {count} | {least_visible_share(count):.2f} | {seen:.3f} |")
    if not options.only or "underfitting" in options.only:
        print_cut_trainings(options.studies)


if __name__ == "__main__":
    main()
