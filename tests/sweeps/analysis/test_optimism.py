"""The optimism of a choice: as much as the best of several really flatters itself, and known only where it can be."""

import dataclasses
import statistics

import numpy as np
import pytest
from support.records import make_record, make_result

from sweeps.analysis import bits
from sweeps.analysis.optimism import (
    epoch_optimism,
    of_best_epoch,
    optimism_of_best,
    trial_optimism,
)
from sweeps.trial import PRUNED


def equal_weights(images):
    return np.full(images, 1 / images)


def draw(rng, accuracies, images, own=0.15):
    """Which images networks classify correctly: most decide alike for all, a share by each network's own luck."""
    shared = rng.random(images)
    luck = rng.random((len(accuracies), images))
    is_own = rng.random((len(accuracies), images)) < own
    return np.where(is_own, luck, shared) < np.array(accuracies)[:, None]


def plain_bootstrap(correct, resamples=4000):
    """The best score less the mean score, on images left out, of the best on resamples drawn with replacement."""
    rng = np.random.default_rng(1)
    images = correct.shape[1]
    scores = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, images, images), minlength=images)
        sums = correct @ drawn
        scores.append(correct[sums == sums.max()][:, drawn == 0].mean())
    return correct.mean(axis=1).max() - statistics.fmean(scores)


@pytest.mark.parametrize("seed", range(3))
def test_as_the_plain_bootstrap(seed):
    """It is what the published method gives, but for the error of the resamples."""
    rng = np.random.default_rng(seed)
    correct = draw(rng, [0.9, 0.91, 0.9, 0.89, 0.9, 0.6], 300)
    expected = plain_bootstrap(correct.astype(int))
    assert 0.003 < expected < 0.03
    assert optimism_of_best(correct, equal_weights(300)) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(("networks", "images"), [(12, 239), (24, 239), (12, 1000)])
def test_as_large_as_it_is(networks, images):
    """For networks of equal true accuracy, its mean is that of what the best one has too much."""
    rng = np.random.default_rng(networks + images)
    estimates, truths = [], []
    for _ in range(150):
        correct = draw(rng, [0.93] * networks, images)
        accuracies = correct.mean(axis=1)
        # Less what the images give all networks, which has the mean 0 and hides the difference.
        truths.append(accuracies.max() - accuracies.mean())
        estimates.append(optimism_of_best(correct, equal_weights(images)))
    assert statistics.fmean(truths) > 0.004
    assert statistics.fmean(estimates) == pytest.approx(statistics.fmean(truths), rel=0.1)


def test_no_choice():
    """One network, equal networks, and one far ahead of all others flatter nobody."""
    rng = np.random.default_rng(0)
    one = draw(rng, [0.8], 500)
    assert optimism_of_best(one, equal_weights(500)) == 0
    assert optimism_of_best(np.repeat(one, 4, axis=0), equal_weights(500)) == 0
    ahead = draw(rng, [0.99, 0.6, 0.5, 0.6], 500)
    assert optimism_of_best(ahead, equal_weights(500)) == 0


def packed(correct):
    return {epoch: bits.pack(row) for epoch, row in enumerate(correct, start=1)}


def test_of_epochs():
    """A training's epochs are weighed as their objective weighs the images; other objectives have no optimism."""
    rng = np.random.default_rng(3)
    correct = draw(rng, [0.9] * 8, 200)
    balanced = [[100, 0], [0, 100]]
    accuracy = of_best_epoch("val/acc", balanced, packed(correct))
    assert accuracy == optimism_of_best(correct, equal_weights(200))
    assert of_best_epoch("val/balanced_acc", balanced, packed(correct)) == pytest.approx(accuracy)
    assert (
        of_best_epoch("val/acc", [[190, 0, 0], [0, 0, 0], [0, 0, 10]], packed(correct)) == accuracy
    )
    for metric in ("val/loss", "val/macro_f1"):
        assert of_best_epoch(metric, balanced, packed(correct)) is None


def test_a_rare_class_brings_more_luck():
    """In a balanced accuracy, each image of a rare class counts more, and the best epoch flatters more."""
    rng = np.random.default_rng(3)
    means = {}
    draws = [packed(draw(rng, [0.9] * 8, 200)) for _ in range(30)]
    for metric in ("val/acc", "val/balanced_acc"):
        found = [of_best_epoch(metric, [[190, 0], [0, 10]], correct) for correct in draws]
        means[metric] = statistics.fmean(found)
    # The standard deviations are as sqrt(1 / 200) to sqrt(1 / 4 / 190 + 1 / 4 / 10).
    assert means["val/balanced_acc"] == pytest.approx(2.3 * means["val/acc"], rel=0.3)


def test_of_epochs_not_known():
    """Without counts, or with an epoch's images lost, nothing is estimated."""
    correct = packed(np.ones((2, 20), dtype=bool))
    assert of_best_epoch("val/acc", [[20]], correct) == 0
    assert of_best_epoch("val/acc", None, correct) is None
    assert of_best_epoch("val/acc", [[20]], {}) is None
    assert of_best_epoch("val/acc", [[20]], {**correct, 3: "damaged"}) is None


def test_mean_over_trials():
    """The mean is over complete trials that were trained themselves, with its standard error."""
    results = [
        make_result(0, 0.9, optimism=0.002),
        make_result(1, 0.9, optimism=0.006),
        make_result(2, 0.9),
        make_result(3, 0.9, optimism=0.9, state=PRUNED),
        make_result(4, 0.9, optimism=0.9, duplicate_of=1),
    ]
    found = epoch_optimism(results)
    assert (found.mean, found.trials) == (pytest.approx(0.004), 2)
    assert found.error == pytest.approx(0.002)
    assert epoch_optimism(results[:1]).error is None
    assert epoch_optimism(results[2:]) is None


def trial(number, correct, **facts):
    """A complete trial with one class, and these images classified correctly."""
    right = int(correct.sum())
    confusion = ((right, len(correct) - right), (0, 0))
    facts = {"confusion": confusion, "correct": bits.pack(correct), **facts}
    return make_result(number, float(correct.mean()), **facts)


def test_of_the_best_trial():
    """The choice is among the complete configurations, each by the mean of its seeds."""
    rng = np.random.default_rng(4)
    correct = draw(rng, [0.9] * 12, 239)
    singles = [trial(n, row, lr=0.001 * (n + 1)) for n, row in enumerate(correct)]
    found = trial_optimism(make_record(singles))
    assert (found.configurations, found.images) == (12, 239)
    assert found.value == optimism_of_best(correct, equal_weights(239))
    pairs = [trial(n, row, lr=0.001 * (n // 2 + 1), seed=n % 2) for n, row in enumerate(correct)]
    of_pairs = trial_optimism(make_record(pairs))
    assert of_pairs.configurations == 6
    means = correct.reshape(6, 2, 239).mean(axis=1)
    assert of_pairs.value == optimism_of_best(means, equal_weights(239))
    # A configuration that lacks a seed is no choice.
    assert trial_optimism(make_record(pairs[:-1])).configurations == 5


def test_of_the_best_trial_not_known():
    """With no choice, images unknown or not the same, or another objective, nothing is estimated."""
    rng = np.random.default_rng(5)
    correct = draw(rng, [0.9] * 3, 239)
    results = [trial(n, row, lr=0.001 * (n + 1)) for n, row in enumerate(correct)]
    assert trial_optimism(make_record(results)) is not None
    assert trial_optimism(make_record(results[:1])) is None
    assert trial_optimism(make_record(results, objective="val_loss", maximize=False)) is None
    without = dataclasses.replace(results[0], correct=None)
    assert trial_optimism(make_record([without, *results[1:]])) is None
    elsewhere = dataclasses.replace(
        results[0], config=dataclasses.replace(results[0].config, redraw="draw-1")
    )
    assert trial_optimism(make_record([elsewhere, *results[1:]])) is None
