"""Health checks: each one says what was planted, with figures and a remedy, and is silent on a healthy study."""

import dataclasses
import math
import random

import pytest
from support.records import (
    CONFIG_FIELDS,
    MIXED,
    make_confusion,
    make_epoch,
    make_record,
    make_result,
    mixed_study,
)

from pipeline.report.checks.base import tried_trials, winner_uncertainty
from pipeline.report.checks.registry import CHECKS, run_checks
from sweeps.analysis.facts import StoredSpec, StudyFacts
from sweeps.analysis.record import Promotions
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, configure

LR = Dimension(field="lr", low=1e-4, high=0.1, log=True)
DROPOUT = Dimension(field="dropout", low=0.0, high=0.5)
BATCH = Dimension(field="batch_size", choices=(32, 64, 128))
FAMILY = Dimension(field="family", choices=("mlp", "cnn"))
EPOCHS = 8
KEYS = {
    "val_acc": "val/acc",
    "val_loss": "val/loss",
    "balanced_acc": "val/balanced_acc",
    "macro_f1": "val/macro_f1",
}


def trial(
    number,
    value=None,
    *,
    curve=None,
    train=None,
    losses=None,
    images=1000,
    objective="val_acc",
    **facts,
):
    """Make a trial that has its value from the fifth epoch on.

    Args:
        number: of the trial.
        value: of the objective; without one the trial has no history.
        curve: the objective of each epoch, instead of a value.
        train: the training accuracy of every epoch; by default that of the validation images.
        losses: of each epoch; by default 1 minus the accuracy.
        images: validation images of each class.
        objective: of the study.
        facts: what `make_result` takes.
    """
    facts = {"epochs": EPOCHS, **facts}
    config = configure({name: facts.pop(name) for name in list(facts) if name in CONFIG_FIELDS})
    if value is None:
        return make_result(number, config=config, epochs=0, **facts)
    is_loss = objective == "val_loss"
    if curve is None:
        early = value + 0.1 if is_loss else value - 0.1
        curve = [early] * 4 + [value] * (EPOCHS - 4)
    accuracies = [1 - reached if is_loss else reached for reached in curve]
    if losses is None:
        losses = [1 - reached for reached in accuracies]
    best = min(curve) if is_loss else max(curve)
    confusion = make_confusion(max(accuracies), 10, images)
    history = []
    for epoch in range(1, len(curve) + 1):
        accuracy = accuracies[epoch - 1]
        metrics = {
            "train/acc": train or accuracy,
            "val/acc": accuracy,
            "val/loss": losses[epoch - 1],
            "val/loss_std": 0.01,
        }
        metrics[KEYS[objective]] = curve[epoch - 1]
        history.append(make_epoch(epoch, metrics, confusion=confusion))
    return make_result(
        number,
        best,
        config=config,
        history=tuple(history),
        best_epoch=curve.index(best) + 1,
        confusion=confusion,
        **{"seconds": 0.0, **facts},
    )


def healthy(*, dimensions=(LR, DROPOUT), more=(), objective="val_acc", seeds=1, **record):
    """Twelve complete trials all over the ranges: the best is in the middle of them and well ahead of the others.

    Further seeds are trials of the same configurations with other numbers.
    """
    values = [0.9, 0.85, 0.8, 0.97, 0.93, 0.88, 0.84, 0.86, 0.83, 0.82, 0.81, 0.87]
    rates = [0.003, 0.0002, 0.05, 0.004, 0.01, 0.0005, 0.03, 0.001, 0.0003, 0.02, 0.0006, 0.06]
    minimize = objective == "val_loss"
    results = [
        trial(
            number + len(values) * seed,
            1 - value if minimize else value,
            objective=objective,
            lr=rates[number],
            dropout=(0.2, 0.1, 0.4)[number % 3],
            batch_size=(32, 64, 128)[number % 3] if number != 3 else 64,
            family=("mlp", "cnn")[number % 2],
            seed=seed,
        )
        for seed in range(seeds)
        for number, value in enumerate(values)
    ]
    changed = {result.number: result for result in more}
    results = [changed.pop(result.number, result) for result in results] + list(changed.values())
    return make_record(
        results, dimensions=dimensions, objective=objective, maximize=not minimize, **record
    )


def said(record, name):
    """The check of a name: its level and text; None where it has nothing to judge."""
    return next(
        ((check.level, check.text) for check in run_checks(record) if check.name == name), None
    )


def levels(record):
    return {check.name: check.level for check in run_checks(record)}


# Healthy


@pytest.mark.parametrize("objective", KEYS)
def test_a_healthy_study(objective):
    """Of a healthy study all is good, whatever ranks it, and what was looked at is said."""
    found = levels(healthy(dimensions=(LR, DROPOUT), objective=objective, seeds=2))
    assert set(found.values()) == {"good"}
    assert found.keys() == {
        "gain",
        "tie",
        "edge",
        "overfitting",
        "underfitting",
        "classes",
        "unstable",
        "constant",
        "few",
    }


def test_the_worst_comes_first():
    """Warnings stand before notes, notes before what is good; names are those of the checks, each once."""
    found = run_checks(
        healthy(
            dimensions=(LR, BATCH, FAMILY), more=[trial(12, state=FAILED), trial(13, state=FAILED)]
        )
    )
    order = [check.level for check in found]
    assert order == sorted(order, key=["warning", "note", "good"].index)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert set(names) <= {judge.__name__ for judge in CHECKS}


@pytest.mark.parametrize(
    "record",
    [
        make_record(),
        make_record([trial(0, 0.9)], dimensions=[LR]),
        make_record([make_result(0, 0.9, epochs=0)], dimensions=[LR]),
        make_record([make_result(0, state=RUNNING, epochs=0)], dimensions=[LR, FAMILY]),
        make_record([make_result(i, state=FAILED) for i in range(6)], dimensions=[LR, FAMILY]),
        make_record(
            [make_result(i, state=PRUNED, end="infeasible", epochs=0) for i in range(6)],
            dimensions=MIXED,
        ),
        *(
            mixed_study(count, objective=o, maximize=o != "val_loss")
            for count in (1, 2, 24)
            for o in KEYS
        ),
        *(mixed_study(method=method) for method in ("grid", "zip", "one_factor", "ablate")),
    ],
)
def test_any_study_is_judged(record):
    """A study without trials, of one, running, failed or of any method gives sentences with figures, and no error."""
    for check in run_checks(record):
        assert check.text.endswith(".")
        assert "nan" not in check.text
        assert "None" not in check.text


# The winner's lead


def test_no_gain_over_the_first():
    """A first configuration that none of the others beats is named; a gain is one where the seeds tell it."""
    level, text = said(healthy(more=[trial(0, 0.98, lr=0.003)]), "gain")
    assert level == "note"
    assert text.startswith(
        "None of the 11 other complete configurations has a better value than "
        "the first configuration, trial 0 (98.00 %): keep it"
    )
    near = [trial(12 * seed, 0.968, lr=0.003, dropout=0.2, seed=seed) for seed in range(2)]
    level, text = said(healthy(more=near, seeds=2), "gain")
    assert level == "note"
    assert text.startswith(
        "Trial 3 (97.00 %) is 0.20 points better than the first configuration, trial 0 (96.80 %), "
        "not told apart"
    )
    level, text = said(healthy(seeds=2), "gain")
    assert level == "good"
    assert "is 7.00 points better than the first configuration, trial 0 (90.00 %), beyond" in text
    assert "2 seeds, of 12 configurations" in text


@pytest.mark.parametrize("value", [0.968, 0.9, 0.1])
def test_one_seed_tells_no_gain(value):
    """However far the winner is ahead, another seed might have told otherwise."""
    level, text = said(healthy(more=[trial(0, value, lr=0.003)]), "gain")
    assert level == "note"
    assert text.endswith(
        "better than the first configuration, trial 0 "
        f"({100 * value:.2f} %), of one seed each: whether the search has gained is not known."
    )


def test_no_gain_over_the_centre():
    """Around a centre it is a note: that nothing is better is a finding."""
    dropout = Dimension(field="dropout", choices=(0.2, 0.1, 0.4))
    lr = Dimension(field="lr", choices=(0.003, 0.0002, 0.05))
    values = [
        (0.003, 0.2, 0.97),
        (0.0002, 0.2, 0.9),
        (0.05, 0.2, 0.8),
        (0.003, 0.1, 0.93),
        (0.003, 0.4, 0.92),
    ]
    results = [
        trial(i, value, lr=rate, dropout=drop) for i, (rate, drop, value) in enumerate(values)
    ]
    level, text = said(make_record(results, dimensions=[lr, dropout], method="one_factor"), "gain")
    assert level == "note"
    assert (
        text
        == "None of the 4 other complete configurations has a better value than the centre, trial 0 "
        "(97.00 %): keep it, or search other ranges or train longer."
    )


def test_gain_is_not_judged_of_layouts_and_of_a_few():
    """A grid has no first configuration to beat, and among four the first one is often the best."""
    assert said(healthy(method="grid"), "gain") is None
    few = healthy()
    assert said(dataclasses.replace(few, results=few.results[:4]), "gain") is None


def test_a_tie():
    """With repeats, those that are not told apart from the best are counted, and what would decide is said."""
    repeats = [trial(24 + seed, 0.975 + 0.01 * seed, lr=0.02, seed=seed) for seed in range(2)]
    repeats += [trial(26 + seed, 0.974 + 0.01 * seed, lr=0.03, seed=seed) for seed in range(2)]
    level, text = said(healthy(more=repeats, seeds=2), "tie")
    assert level == "warning"
    assert text.startswith(
        "Trial 25 leads the next, trial 27, by 0.10 points, not told apart (95 % interval -"
    )
    # The two near it and the one at 0.97; the others are at 0.93 and lower.
    assert "of 14 configurations); 2 of the 13 others may be as good: `pipeline finalists" in text
    level, text = said(healthy(seeds=2), "tie")
    assert level == "good"
    assert text.startswith(
        "Trial 3 leads the next, trial 4, by 4.00 points, beyond chance (95 % interval +"
    )


def test_one_seed_tells_no_winner():
    """Of one seed each, no lead is called one, and the command that would tell is named."""
    for value in (0.969, 0.1):
        level, text = said(healthy(more=[trial(4, value, lr=0.01)]), "tie")
        assert level == "note"
        assert ", of one seed each: which is the best is not known; `pipeline finalists" in text
    equal = said(healthy(more=[trial(4, 0.97, lr=0.01)]), "tie")[1]
    assert equal.startswith("Trial 3 is level with trial 4 (97.00 %), of one seed each")


def finalists(values, test=None):
    """A study of finalists: the values of each one's seeds."""
    results = [
        trial(
            len(values) * seed + i,
            value,
            lr=0.001 * (i + 1),
            seed=10 + seed,
            test=test,
            state=COMPLETE if value else FAILED,
        )
        for i, seeds in enumerate(values)
        for seed, value in enumerate(seeds)
    ]
    return dataclasses.replace(
        make_record(results, dimensions=[LR], method="random"), trials=len(results)
    )


@pytest.mark.parametrize(
    ("values", "level", "part"),
    [
        (
            [(0.97, 0.972, 0.971), (0.93, 0.932, 0.931)],
            "good",
            "The best of 2 finalists is ahead of each of the others",
        ),
        (
            [(0.97, 0.95, 0.96), (0.95, 0.97, 0.955)],
            "warning",
            "Place 2 is not told apart from the winner by these runs.",
        ),
        (
            [(0.97, 0.972, 0.971), (0.99, 0.991, None)],
            "warning",
            "Place 2 did better than the winner, and is placed behind because not all of its seeds",
        ),
        (
            [(0.97, 0.972, 0.971), (None, None, None)],
            "note",
            "Place 2 cannot be compared with the winner",
        ),
    ],
)
def test_finalists_decide_a_tie(values, level, part):
    """Where finalists were trained again, they say whether it is a tie."""
    found = said(dataclasses.replace(healthy(), finalists=finalists(values)), "tie")
    assert found[0] == level
    assert part in found[1]
    assert "more seeds" not in found[1]  # which those that are chosen cannot get


def test_finalists_decide_a_gain_over_the_first():
    """Where the first configuration was trained again with the winner, their fresh seeds say whether it is better."""
    first = trial(0, 0.968, lr=0.002)  # the second of the finalists
    record = healthy(more=[first])
    clear = finalists([(0.97, 0.972, 0.971), (0.93, 0.932, 0.931)])
    level, text = said(dataclasses.replace(record, finalists=clear), "gain")
    assert level == "good"
    assert text.startswith(
        "The best finalist is 4.00 points better than the first configuration, beyond chance (95 % interval +"
    )
    assert text.endswith(", 3 seeds, of 2 configurations).")
    better = finalists([(0.93, 0.932, 0.931), (0.97, 0.972, None)])
    text = (
        "The first configuration is 4.00 points better than the best finalist, beyond chance, "
        "but not with all of its seeds."
    )
    assert said(dataclasses.replace(record, finalists=better), "gain") == ("warning", text)
    tied = finalists([(0.97, 0.95, 0.96), (0.95, 0.97, 0.955)])
    assert said(dataclasses.replace(record, finalists=tied), "gain") == said(record, "gain")
    assert said(record, "gain")[0] == "note"


# The ends of what is searched


@pytest.mark.parametrize(
    ("rate", "end"),
    [
        (0.0998, "upper"),
        (0.000105, "lower"),
        (0.07, None),  # log(0.07 / 0.0001) / log(1000) is 0.948
        (0.004, None),
    ],
)
def test_at_an_end(rate, end):
    """A winner within 5 % of an end of a range is said to be there, and why that tells nothing yet."""
    level, text = said(healthy(more=[trial(3, 0.97, lr=rate, dropout=0.2)]), "edge")
    if end is None:
        assert (level, text) == (
            "good",
            "Trial 3 lies at no end of a range that could be moved: lr, dropout.",
        )
    else:
        assert level == "note"
        assert text.startswith(f"Trial 3: lr {rate:.4g} lies at the {end} end of 0.0001 to 0.1: ")
        assert "configurations in that half are too few to tell (8 are needed)" in text


def rising(count=20, *, state=COMPLETE, cut=EPOCHS, best=1.0, dimensions=(LR, DROPOUT)):
    """Trials all over the range of lr, best at a share of it; half of them end after some epochs."""
    results = []
    for number in range(count):
        place = (number * 7 % count + 0.5) / count
        made = trial(
            number,
            0.95 - 0.3 * (place - best) ** 2,
            lr=1e-4 * 1000**place,
            dropout=(0.2, 0.1, 0.3, 0.4)[number % 4],
            batch_size=(32, 64, 128)[number % 3],
        )
        if number % 2 and number:
            made = dataclasses.replace(made, history=made.history[:cut], state=state)
        results.append(made)
    return make_record(results, dimensions=dimensions)


def test_a_trend_towards_an_end():
    """Where the higher ones do better up to the end it is a warning, though the winner lies at none."""
    level, text = said(rising(best=1.2), "edge")
    assert level == "warning"
    assert "lr is 0.08414, and higher ones did better over 0.0001 to 0.1 (20 configurations" in text
    assert "p below 0.001 after correction for 2 ranges" in text
    assert text.endswith("and in its upper half (10, 1.00): search higher.")
    assert "search lower" in said(rising(best=-0.2), "edge")[1]


@pytest.mark.parametrize("best", [0.3, 0.5, 0.75])
def test_no_trend_towards_an_end(best):
    """With the best value within the range, the rise or fall of the whole range does not go on at an end."""
    assert levels(rising(best=best))["edge"] == "good"


def test_a_trend_at_equal_epochs():
    """Trials that were pruned early count by the epochs that they had, and those that diverged as the worst."""
    pruned = rising(best=1.2, state=PRUNED, cut=2)
    assert said(pruned, "edge")[0] == "warning"
    last = pruned.results[1::2]
    lost = [dataclasses.replace(t, state=FAILED, end="diverged", value=None) for t in last]
    reached = {result.number: result for result in lost if result.config.lr > 0.003}
    results = [reached.get(result.number, result) for result in pruned.results]
    assert len(reached) == 5
    assert levels(dataclasses.replace(pruned, results=tuple(results)))["edge"] != "warning"


@pytest.mark.parametrize(("best", "least", "most"), [(None, 0, 3), (1.2, 24, 30)])
def test_how_often_a_trend_is_found(best, least, most):
    """Of 30 studies, hardly any shows a trend if nothing matters, and most do if the best lr lies beyond."""
    found = 0
    ranges = (LR, DROPOUT, BATCH)
    for study in range(30):
        rng = random.Random(study)
        results = []
        for number in range(24):
            values = {d.field: _drawn(d, rng) for d in ranges}
            place = math.log10(values["lr"] / LR.low) / 3
            value = 0.9 + rng.gauss(0, 0.02) - (0 if best is None else 0.3 * (place - best) ** 2)
            history = (make_epoch(1, {"val/acc": value}),)
            results.append(make_result(number, value, history=history, **values))
        level, text = said(make_record(results, dimensions=ranges), "edge")
        found += level == "warning" and (best is None or "lr is" in text)
    assert least <= found <= most


def _drawn(dimension, rng):
    if dimension.choices:
        return rng.choice(dimension.choices)
    if dimension.log:
        return math.exp(rng.uniform(math.log(dimension.low), math.log(dimension.high)))
    return rng.uniform(dimension.low, dimension.high)


def test_ends_of_lists():
    """A winner with the last of a list is said to lie there; it is a warning only with a trend."""
    level, text = said(
        healthy(dimensions=(BATCH,), more=[trial(3, 0.97, lr=0.004, batch_size=128)]), "edge"
    )
    assert level == "good"
    assert text == (
        "Trial 3: batch_size 128 lies at the upper end of 32 to 128, with no clear trend towards it "
        "(12 configurations, 9 in that half: rank correlations 0.09 and 0.09)."
    )
    results = [
        trial(i, 0.8 + 0.002 * size / 32 + i / 10_000, lr=0.001 * (i + 1), batch_size=size)
        for i, size in enumerate((32, 64, 128) * 7)
    ]
    level, text = said(make_record(results, dimensions=[BATCH]), "edge")
    assert level == "warning"
    assert "batch_size is 128, and higher ones did better over 32 to 128" in text
    two = Dimension(field="batch_size", choices=(64, 128))
    assert said(healthy(dimensions=(two,)), "edge") is None


@pytest.mark.parametrize("depth", [Dimension(field="depth", low=1, high=4), DROPOUT])
def test_an_end_of_the_field_itself(depth):
    """Less than one layer, or than no dropout, cannot be searched: such an end is none."""
    value = {"depth": 1} if depth.field == "depth" else {"dropout": 0.0}
    more = [trial(i, 0.97 + i / 1000, lr=0.001 * i, **value) for i in (3, 4, 5, 6)]
    assert levels(healthy(dimensions=(depth,), more=more))["edge"] == "good"


def test_ends_of_layouts():
    """The best of a grid's listed numbers may be the last: a note; values that are tied to others say nothing."""
    lr = Dimension(field="lr", choices=(0.001, 1.0, 0.1))
    results = [
        trial(i, value, lr=rate)
        for i, (rate, value) in enumerate([(0.001, 0.97), (1.0, 0.1), (0.1, 0.9)])
    ]
    grid = make_record(results, dimensions=[lr], method="grid")
    assert said(grid, "edge") == (
        "note",
        (
            "Trial 0: lr 0.001 lies at the lower end of 0.001 to 1: what lies beyond was not tried, "
            "and 2 configurations in that half are too few to tell (8 are needed)."
        ),
    )
    assert said(dataclasses.replace(grid, method="zip"), "edge") is None


def test_conditional_ranges():
    """A range whose condition does not hold for the winner is not its own."""
    depth = Dimension(field="lr", low=1e-4, high=0.0041, when={"family": ("cnn",)})
    assert (
        said(
            healthy(dimensions=(depth, FAMILY), more=[trial(3, 0.97, lr=0.004, family="mlp")]),
            "edge",
        )
        is None
    )
    assert (
        said(
            healthy(dimensions=(depth, FAMILY), more=[trial(3, 0.97, lr=0.004, family="cnn")]),
            "edge",
        )[0]
        == "note"
    )


# Its curve and its test score


def test_overfitting():
    """A gap beyond chance with a rising validation loss is a warning; either alone is none."""
    rising = [0.5, 0.3, 0.2, 0.21, 0.24, 0.28, 0.33, 0.4]
    level, text = said(
        healthy(more=[trial(3, 0.97, train=0.9995, losses=rising, lr=0.004)]), "overfitting"
    )
    assert level == "warning"
    assert "training accuracy 99.95 % and validation 97.00 %" in text
    assert "rose from 0.2000 at epoch 3 to 0.4000 at epoch 8" in text
    for alone in ({"train": 0.9995}, {"losses": rising}):
        assert said(healthy(more=[trial(3, 0.97, lr=0.004, **alone)]), "overfitting")[0] == "good"
    few = trial(3, 0.97, train=0.9995, losses=rising, lr=0.004, images=10)
    assert said(healthy(more=[few]), "overfitting")[0] == "good"


def test_a_training_too_short():
    """A winner that is best at its last epoch and was still getting better should be trained longer."""
    curve = [0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.96, 0.97]
    level, text = said(healthy(more=[trial(3, 0.97, curve=curve, lr=0.004)]), "underfitting")
    assert level == "note"
    assert text.startswith(
        "Trial 3 was still learning when its 8 epochs were over: in the last 2 epochs "
        "val_acc got better by 3.00 points and the training accuracy rose from 94.00 % to 97.00 % "
        "and the validation loss fell from 0.0600 to 0.0300"
    )
    assert "--epochs 16 under another --name" in text
    flat = [0.6, 0.7, 0.8, 0.95, 0.969, 0.969, 0.9695, 0.97]
    assert said(healthy(more=[trial(3, 0.97, curve=flat, lr=0.004)]), "underfitting")[0] == "good"
    losses = [1 - v for v in curve]
    falling = healthy(
        objective="val_loss", more=[trial(3, 0.03, curve=losses, objective="val_loss", lr=0.004)]
    )
    assert said(falling, "underfitting")[0] == "note"


def alone(train, val, *, losses=None, **values):
    """A study of one trial with these accuracies by epoch."""
    made = trial(0, max(val), curve=val, losses=losses, images=24, **values)
    history = [
        dataclasses.replace(row, metrics={**row.metrics, "train/acc": accuracy})
        for row, accuracy in zip(made.history, train, strict=True)
    ]
    facts = StudyFacts(images={"train": 1200})
    return make_record([dataclasses.replace(made, history=tuple(history))], facts=facts)


def test_a_training_accuracy_that_rises():
    """Few validation images show no rise: a low training accuracy that rises does."""
    train = [0.2, 0.25, 0.29, 0.33, 0.36, 0.39, 0.41, 0.43]
    val = [0.2, 0.26, 0.31, 0.36, 0.4, 0.42, 0.425, 0.424]
    level, text = said(alone(train, val), "underfitting")
    assert level == "note"
    assert (
        "in the last 2 epochs the training accuracy rose from 39.00 % to 43.00 %: train longer"
        in text
    )
    high = [
        0.5 + value for value in train
    ]  # above the validation images: it may be learning by heart
    assert said(alone(high, val), "underfitting")[0] == "good"


def test_underfitting():
    """A training accuracy that is low, flat, and no better than that of the validation images is named."""
    flat = [0.3, 0.5, 0.6, 0.6, 0.6, 0.601, 0.6, 0.603]
    level, text = said(alone(flat, flat, dropout=0.5, losses=[1.0] * 8), "underfitting")
    assert level == "note"
    assert text == (
        "Trial 0 does not fit its training images: after 8 epochs its accuracy is 60.30 % on them "
        "and 60.30 % on the 240 validation images, and on the training images it changed by +0.20 points "
        "in the last 2 epochs: try a larger network, another lr, more epochs or less dropout, "
        "unless no network tells more of them apart."
    )
    high = [value + 0.37 for value in flat]
    assert said(alone(high, high, losses=[1.0] * 8), "underfitting") == (
        "good",
        "Trial 0 is best at epoch 8 of 8: no clear sign in its last 2 epochs that more epochs would help.",
    )


@pytest.mark.parametrize(
    ("test", "level", "part"),
    [
        (0.93, "warning", "97.00 % is 4.00 points above its test accuracy 93.00 %"),
        (0.99, "note", "97.00 % is 2.00 points below its test accuracy 99.00 %"),
        (0.968, "good", "within chance"),
    ],
)
def test_test_gap(test, level, part):
    """A test accuracy other than the validation accuracy beyond chance is named with its interval."""
    found = said(
        healthy(more=[trial(3, 0.97, lr=0.004, test={"acc": test, "images": 10_000})]), "test_gap"
    )
    assert found[0] == level
    assert part in found[1]
    assert said(healthy(), "test_gap") is None


def test_gap_of_finalists():
    """Where finalists were scored on the test split, theirs is the gap, once all have ended."""
    again = finalists([(0.97, 0.972), (0.93, 0.931)], test={"acc": 0.9, "images": 1000})
    level, text = said(dataclasses.replace(healthy(), finalists=again), "test_gap")
    assert level == "warning"
    assert text.startswith(
        "The best finalist's validation accuracy is 7.10 points above its test accuracy (95 % interval +5."
    )
    begun = dataclasses.replace(again, trials=6)
    assert said(dataclasses.replace(healthy(), finalists=begun), "test_gap") is None


def test_a_perfect_accuracy_is_not_certain():
    """Near 1 a lead has to exceed what other images might do, though no seed and no image of these says otherwise."""
    results = [
        trial(2 * seed + place, value, lr=lr, images=100, seed=seed)
        for seed in range(2)
        for place, (value, lr) in enumerate([(1.0, 0.003), (0.996, 0.01)])
    ]
    level, text = said(make_record(results, dimensions=[LR], rope=0.0), "tie")
    assert level == "warning"
    assert text.startswith(
        "Trial 0 leads the next, trial 1, by 0.40 points, not told apart (95 % interval -0."
    )
    text = said(make_record(results, dimensions=[LR]), "tie")[1]
    assert "by 0.40 points, equal in practice, within 1 point (95 % interval -0." in text


# Its images


def near_perfect(mistakes, images=240):
    """Complete trials with so many mistakes each."""
    results = []
    for number, wrong in enumerate(mistakes):
        right = (images - wrong) / images
        made = trial(number, right, curve=[right] * EPOCHS, images=images // 10, lr=0.001 + number)
        results.append(made)
    return make_record(results)


def test_saturated():
    """Several configurations with five mistakes or fewer cannot be told from a perfect one; six are told."""
    level, text = said(near_perfect([0, 0, 3, 9]), "saturated")
    assert level == "warning"
    assert text.startswith(
        "Validation is saturated: 3 of 4 complete configurations get at most 3 of the 240 validation "
        "images wrong. A network without a mistake could not be told from them"
    )
    assert "On other images, as few as 96.39 % of their answers may be right (95 %)" in text
    assert (
        "get none of the 240 validation images wrong" in said(near_perfect([0, 0]), "saturated")[1]
    )
    few = said(near_perfect([3, 4], images=30), "saturated")[1]
    assert few.startswith(
        "30 validation images are too few to rank networks: 2 of 2 complete configurations"
    )
    for told in ([0, 6, 9], [6, 6, 6], [2]):
        assert said(near_perfect(told), "saturated") is None


def test_a_saturated_study_says_nothing_of_its_gain():
    """Where the first configuration is as good as the images can show, that none beats it is no doubt."""
    lr = Dimension(field="lr", low=1e-4, high=10)
    many = dataclasses.replace(near_perfect([2, 0, 3, 9, 9, 9]), dimensions=(lr,))
    assert "gain" not in levels(many)
    worse = dataclasses.replace(near_perfect([9, 0, 3, 9, 9, 9]), dimensions=(lr,))
    assert "gain" in levels(worse)


def of_classes(right, predicted=None, images=30):
    """A study of one trial that gets so many images of each class right; others are taken for the first."""
    count = len(right)
    confusion = [[0] * count for _ in right]
    for index, number in enumerate(right):
        confusion[index][index] += number
        confusion[index][(index + 1) % count if index == 0 else 0] += images - number
    rows = tuple(map(tuple, confusion))
    epoch = make_epoch(1, {"val/acc": 0.9}, confusion=rows)
    if predicted:
        epoch = dataclasses.replace(epoch, predicted=predicted)
    result = make_result(7, 0.9, history=(epoch,), confusion=rows)
    return make_record([result], classes=("ant", "bee", "cat"))


def test_classes():
    """A class that is nearly never right is a warning if its images tell that; otherwise the worst is named."""
    assert said(of_classes([29, 15, 28]), "classes") == (
        "good",
        "Of its 3 classes, trial 7 recognises bee least: 15 of 30 images (95 % interval 33.15 to 66.85 %).",
    )
    assert said(of_classes([30, 30, 30]), "classes")[1] == (
        "Trial 7 recognises all 90 images of its 3 classes."
    )
    level, text = said(of_classes([29, 1, 28]), "classes")
    assert level == "warning"
    assert text.startswith(
        "Trial 7, right on 64.44 % of all images, nearly never recognises bee (1 of 30 right): "
    )
    never = said(of_classes([30, 0, 28]), "classes")
    assert never[0] == "warning"
    assert "bee (0 of 30 right, never predicted)" in never[1]
    few = of_classes([4, 0, 4], images=4)
    assert said(few, "classes") == (
        "note",
        (
            "Trial 7 never predicts bee (4 images): too few images to tell more; "
            "look at the confusion matrix."
        ),
    )


def of_sizes(right, images, objective="val_acc"):
    """A study whose winner gets so many images of each class right."""
    confusion = [[0] * len(images) for _ in images]
    for index, (hits, count) in enumerate(zip(right, images, strict=True)):
        confusion[index][index] = hits
        confusion[index][index - 1] += count - hits
    rows = tuple(map(tuple, confusion))
    epoch = make_epoch(1, {"val/acc": 0.9, "val/macro_f1": 0.9}, confusion=rows)
    result = make_result(7, 0.9, history=(epoch,), confusion=rows)
    return make_record([result], classes=("ant", "bee", "cat"), objective=objective)


def test_unequal():
    """Where a large class makes the accuracy, both means are said; equal classes are silent."""
    level, text = said(of_sizes([90, 5, 5], [100, 10, 10]), "unequal")
    assert level == "warning"
    assert text == (
        "Accuracy counts large classes most: ant has 83.3 % of the validation images, bee 8.3 %. "
        "Always answering ant is right on 83.33 %; trial 7 is right on 83.33 % of the images, and on "
        "63.33 % as the mean over the classes. objective: balanced_acc ranks by this mean, "
        "class_weights: balanced or sqrt trains for it."
    )
    assert said(of_sizes([90, 9, 9], [100, 10, 10]), "unequal")[0] == "note"
    assert said(of_sizes([20, 5, 5], [29, 10, 10]), "unequal") is None
    assert said(of_sizes([90, 5, 5], [100, 10, 10], "macro_f1"), "unequal") is None


# All trials


def test_unstable():
    """Trials that diverged or collapsed are counted, and that their learning rates are higher is said."""
    lost = [trial(12 + i, state=FAILED, lr=0.07 + 0.005 * i) for i in range(3)]
    level, text = said(healthy(more=lost), "unstable")
    assert level == "warning"
    assert text == (
        "3 of 15 trials diverged or collapsed to one class (#12, #13, #14): their lr are higher than "
        "those of the other 12 (medians 0.075 and 0.0035; rank sum, p 0.002): search lower ones."
    )
    many = [trial(12 + i, state=FAILED, lr=0.07 + 0.005 * i) for i in range(9)]
    assert "p below 0.001)" in said(healthy(more=many), "unstable")[1]
    assert said(healthy(more=lost[:1]), "unstable")[0] == "good"
    spread = [trial(12 + i, state=FAILED, lr=0.0001) for i in range(3)]
    assert "grad_clip" in said(healthy(more=spread), "unstable")[1]
    two = [trial(12 + i, state=FAILED, lr=0.004 + 0.003 * i) for i in range(3)]
    assert "grad_clip" in said(healthy(more=two), "unstable")[1]


def test_failed():
    """Trials that failed of something else are counted by their ends."""
    lost = [
        trial(12, state=FAILED, end="oom"),
        trial(13, state=FAILED, end="oom"),
        trial(14, state=FAILED, end="error:A"),
    ]
    assert said(healthy(more=lost), "failed") == (
        "warning",
        "3 of 15 trials failed (2 oom, 1 error:A) (#12, #13, #14): the best may be among them.",
    )
    assert said(healthy(), "failed") is None


def test_one_family():
    """One family alone among the complete is a warning; one that does better than chance is a note."""
    dimensions = (LR, FAMILY)
    level, text = said(healthy(dimensions=dimensions), "families")
    assert (level, text) == (
        "good",
        (
            "Complete configurations by family: cnn 6, mlp 6; that cnn is the best one's may be chance "
            "(rank sum)."
        ),
    )
    best = [
        trial(i, 0.97 + i / 1000, lr=0.004, dropout=0.1 + i / 100, family="cnn")
        for i in range(3, 8)
    ]
    level, text = said(healthy(dimensions=dimensions, more=best), "families")
    assert level == "note"
    assert text == (
        "Complete configurations by family: cnn 8, mlp 4. cnn does better than the others "
        "(rank sum, p 0.033 after correction for 2 families); the best other, mlp, is trial 0 in "
        "place 6 (90.00 %): a next study could keep to --families cnn."
    )
    only = [trial(i, 0.9, lr=0.001 * (i + 1), family="cnn") for i in range(12)]
    only += [trial(12, 0.5, state=PRUNED, family="mlp")]
    level, text = said(healthy(dimensions=dimensions, more=only), "families")
    assert level == "warning"
    assert text == (
        "All 12 complete configurations are cnn; none is mlp (1 pruned): what these can do in the "
        "end is not known; search them alone with --families mlp."
    )
    assert said(healthy(), "families") is None


def test_constant():
    """A searched field with one value in all trials is named; one that is searched in name only is not."""
    record = healthy(dimensions=(LR, Dimension(field="activation", choices=("relu", "gelu"))))
    assert said(record, "constant")[0] == "note"
    assert said(record, "constant")[1].startswith(
        "Activation was relu in all 12 trials that have it"
    )
    single = healthy(dimensions=(LR, Dimension(field="activation", choices=("relu",))))
    assert said(single, "constant") == ("good", "Tried with several values: lr.")


def test_few():
    """Fewer than five complete configurations for each searched field are a note, with what they can show."""
    level, text = said(healthy(dimensions=(LR, DROPOUT, BATCH)), "few")
    assert level == "note"
    assert text == (
        "12 complete configurations for 3 searched fields, 4.0 each: a field must explain 0.55 of "
        "the differences among them to be seen four times in five (rank correlation, 95 %); "
        "let there be more trials, or search fewer."
    )
    pruned = healthy(dimensions=(LR, DROPOUT, BATCH), more=[trial(12, state=PRUNED)])
    remedy = "a study with --pruner none trains all to the end, or search fewer."
    assert said(pruned, "few")[1].endswith(remedy)
    assert said(healthy(dimensions=(LR, DROPOUT)), "few")[0] == "good"
    assert said(healthy(dimensions=(LR, DROPOUT, BATCH), method="grid"), "few") is None
    three = healthy(dimensions=(LR, DROPOUT, BATCH))
    three = dataclasses.replace(three, results=three.results[:3])
    assert "too few to see among them what a single field does" in said(three, "few")[1]


def test_how_many_trials_would_do():
    """A total is named only where the number of complete trials grows with it: without a pruner."""
    failed = [trial(12 + i, state=FAILED) for i in range(3)]
    unpruned = healthy(dimensions=(LR, DROPOUT, BATCH), more=failed, spec=StoredSpec(pruner="none"))
    assert "--trials 19 gives about 5 each" in said(unpruned, "few")[1]
    pruned = dataclasses.replace(unpruned, spec=StoredSpec(pruner="asha"))
    assert "--trials" not in said(pruned, "few")[1]


def test_stopped():
    """Where trials were stopped for good it is said how often the best is among them."""
    pruned = [
        dataclasses.replace(t, history=t.history[:1])
        for t in (trial(i, 0.5, state=PRUNED, lr=0.0001 * i) for i in range(12, 40))
    ]
    old = healthy(more=pruned, spec=StoredSpec(pruner="asha"))
    level, text = said(old, "stopped")
    assert level == "note"
    assert text.startswith("28 of 40 trials were stopped for good, after epoch 1 at the earliest; ")
    assert "as in .32 to .55 of studies of 24 trials" in text
    assert said(healthy(), "stopped") is None
    promoted = Promotions(promotions=5, pauses=33)
    assert said(dataclasses.replace(old, promoted=promoted), "stopped") is None


def test_duplicates():
    """Trials that repeated an earlier configuration are counted where they are many."""
    again = [trial(12 + i, 0.97, lr=0.004, duplicate_of=3) for i in range(3)]
    assert said(healthy(more=again), "duplicates")[1].startswith(
        "3 of 15 trials repeated an earlier configuration"
    )
    assert said(healthy(more=again[:2]), "duplicates") is None


# What chance may do


@pytest.mark.parametrize(
    ("objective", "value", "images", "chance"),
    [
        ("val_acc", 0.9, 100, 0.0187),  # of 1,000 images
        ("val_acc", 1.0, 24, 0.0079),  # none of 240 wrong, which is not certainty
        ("balanced_acc", 0.9, 100, 0.0187),
        ("macro_f1", 0.9, 100, 0.0187),
    ],
)
def test_chance(objective, value, images, chance):
    """How far chance may move a value follows from the validation images: half an interval of 95 %."""
    record = make_record([trial(0, value, images=images, objective=objective)], objective=objective)
    assert winner_uncertainty(record) == pytest.approx(chance, abs=0.0005)


def test_chance_of_a_loss():
    """Of a loss it follows from how the batches differ; from one batch nothing does."""
    found = [
        winner_uncertainty(
            make_record(
                [trial(0, 0.1, objective="val_loss", images=images)],
                objective="val_loss",
                maximize=False,
            )
        )
        for images in (1000, 50)
    ]
    assert found[0] == pytest.approx(1.96 * 0.01 / 20**0.5, rel=1e-3)
    assert found[1] is None


def test_of_a_study_with_promotion():
    """More trials are not said to give more complete ones, and that one family leads is a note."""
    promoted = Promotions(promotions=5, pauses=33)
    few = said(healthy(dimensions=(LR, DROPOUT, BATCH), promoted=promoted), "few")
    assert "--trials" not in few[1]
    only = [trial(i, 0.9, lr=0.001 * (i + 1), family="cnn") for i in range(12)]
    only += [trial(12, 0.5, state=PRUNED, family="mlp")]
    families = (LR, Dimension(field="family", choices=("mlp", "cnn")))
    level, text = said(healthy(dimensions=families, more=only, promoted=promoted), "families")
    assert level == "note"
    assert "none is mlp (1 pruned): what these can do in the end is not known" in text


def test_paused_trials_have_not_been_tried_yet():
    """A paused trial is judged once it has ended."""
    record = make_record([trial(0, 0.9), trial(1, 0.5, state=PAUSED)])
    assert [result.number for result in tried_trials(record)] == [0]
