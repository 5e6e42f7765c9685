"""Configurations are compared over seeds and images: by hand, against other computations, and by simulation."""

import dataclasses
import math
import statistics

import numpy as np
import pytest
from scipy import stats
from support.records import first_right, make_epoch, make_record, make_result, with_bits

from sweeps.analysis import bits
from sweeps.analysis.difference import (
    PRIOR_FREEDOM,
    Comparison,
    Difference,
    Sample,
    make_sample,
    make_test_sample,
    simultaneous_quantile,
)
from sweeps.analysis.intervals import Z, wilson_interval
from sweeps.analysis.record import compare_winners
from sweeps.spec.dimension import Dimension

T_OF_2 = 4.30265  # 97.5 % of Student's t with 2 degrees of freedom, as in printed tables
LR = Dimension(field="lr", choices=(0.1, 0.01, 0.001, 0.003))


TRIALS = [make_result(seed, 0.5, epochs=0, seed=seed) for seed in range(5)]


def seeds_of(table):
    """The sample of a configuration: a row of right-or-wrong bits for each of its seeds."""
    pairs = zip(TRIALS, table, strict=False)
    return make_sample([with_bits(trial, row) for trial, row in pairs], "val_acc")


def plain(values, by_image=None, **facts):
    """A sample that is given by its figures."""
    by_image = None if by_image is None else np.asarray(by_image, dtype=float)
    return Sample(values=tuple(values), by_image=by_image, **facts)


# By hand


def test_two_seeds_and_four_images():
    """Each part of the variance is what one works out on paper."""
    first = seeds_of([[1, 1, 1, 1], [1, 1, 0, 0]])
    second = seeds_of([[0, 0, 0, 1], [0, 0, 0, 0]])
    # Values 1 and 1/2; 1/4 and 0. Residuals +-1/4 eight times; +-1/8 six times and +-3/8 twice.
    assert (first.mean, first.variance, first.residual) == pytest.approx((3 / 4, 1 / 8, 1 / 6))
    assert (second.mean, second.variance, second.residual) == pytest.approx((1 / 8, 1 / 32, 1 / 8))
    found = Comparison([first, second], maximize=True, rope=0.01).difference(first, second)
    # By image 1, 1, 1/2 and 0, and half an image more for each side: the mean of five is 1/2, of
    # their squares 13/20.
    by_images = (13 / 20 - (1 / 2) ** 2) / 5
    # By seeds 1/8 - 1/24 = 1/12 and 1/32 - 1/32 = 0, each moved by two thirds towards their mean of
    # 1/24: 1/18 and 1/36.
    by_seeds = (1 / 18 + 1 / 36) / 2
    assert found.difference == pytest.approx(5 / 8)
    expected = math.sqrt(1.959964**2 * by_images + T_OF_2**2 * by_seeds)
    assert found.half_width == pytest.approx(expected, rel=1e-5)
    assert (found.seeds, found.images, found.configurations) == ((2, 2), 4, 2)
    assert found.outcome == "open"


def test_seeds_that_agree_more_than_images_explain():
    """A negative part of the seeds counts as none, not as a reason for a narrower interval."""
    first = seeds_of([[1, 1, 1, 0], [1, 1, 0, 1]])
    second = seeds_of([[1, 0, 0, 0], [0, 1, 0, 0]])
    found = Comparison([first, second], maximize=True).difference(first, second)
    # By image 1/2 four times, and half an image more for each side.
    assert found.half_width == pytest.approx(Z * math.sqrt((2 / 5 - (2 / 5) ** 2) / 5))


@pytest.mark.parametrize(("images_ahead", "ahead"), [(1, False), (4, False), (6, True)])
def test_images_that_one_alone_has_right(images_ahead, ahead):
    """Where seeds do not differ, a handful of images decides as little as in the exact sign test."""
    assert bool(stats.binomtest(images_ahead, images_ahead).pvalue < 0.05) is ahead
    first = seeds_of([first_right((200 + images_ahead) / 250, 250)] * 3)
    second = seeds_of([first_right(200 / 250, 250)] * 3)
    found = Comparison([first, second], maximize=True).difference(first, second)
    assert (found.outcome == "ahead") is ahead


def test_unequal_numbers_of_seeds():
    """Each side's variance counts by its own seeds, and is moved towards that of the nearest two configurations."""
    by_image = [0.5] * 1000
    first = plain((0.9, 0.92, 0.94), by_image)
    second = plain((0.8, 0.81), by_image)
    third = plain((0.7, 0.7, 0.7), by_image)
    found = Comparison([first, second, third], maximize=True).difference(first, second)
    # The second is the nearest to the first, and the third to the second.
    means = [(2 * 0.0004 + 1 * 0.00005) / 3, (1 * 0.00005 + 2 * 0) / 3]
    by_seeds = [
        (PRIOR_FREEDOM * mean + (seeds - 1) * variance) / (PRIOR_FREEDOM + seeds - 1) / seeds
        for mean, seeds, variance in zip(means, (3, 2), (0.0004, 0.00005), strict=True)
    ]
    by_images = (1 / 1001) / 1001
    quantiles = [  # 3 degrees of freedom, as many as two configurations have, and not 3 + 2
        stats.studentized_range.ppf(0.95, 3, freedom) / math.sqrt(2) for freedom in (math.inf, 3)
    ]
    expected = math.sqrt(quantiles[0] ** 2 * by_images + quantiles[1] ** 2 * sum(by_seeds))
    assert found.half_width == pytest.approx(expected, rel=1e-6)
    assert (found.seeds, found.difference) == ((3, 2), pytest.approx(0.115))


def test_poor_configurations_do_not_hide_a_lead():
    """What varies much, far below, says nothing of the two at the top."""
    by_image = [0.9] * 10_000
    good = [spread_sample(mean, 1e-6, 3, by_image) for mean in (0.93, 0.92)]
    poor = [spread_sample(0.5 + 0.1 * n, 1e-2, 3, by_image) for n in range(3)]
    assert Comparison(good + poor[:1], maximize=True).difference(*good).outcome == "ahead"
    better = [*good, spread_sample(0.91, 1e-6, 3, by_image)]
    assert Comparison(better + poor, maximize=True).difference(*good).outcome == "ahead"
    assert Comparison(better + poor, maximize=True).difference(*poor[:2]).outcome == "open"


# Against other computations


@pytest.mark.parametrize(("seeds", "images"), [(2, 5), (3, 40), (5, 17)])
def test_components_are_those_of_a_two_way_analysis(seeds, images):
    """Residual and variances are the mean squares of a least-squares fit of a row and a column for each bit."""
    table = np.random.default_rng(seeds).random((seeds, images)) < 0.7
    sample = seeds_of(table)
    rows, columns = np.indices(table.shape)
    row_terms = rows.reshape(-1, 1) == np.arange(seeds)
    column_terms = columns.reshape(-1, 1) == np.arange(images)
    target = table.reshape(-1).astype(float)

    def left_over(*terms):
        design = np.hstack([np.ones((target.size, 1)), *terms]).astype(float)
        fitted = design @ np.linalg.lstsq(design, target, rcond=None)[0]
        return float(np.square(target - fitted).sum())

    both = left_over(row_terms, column_terms)
    of_seeds = (left_over(column_terms) - both) / (seeds - 1)  # a mean square
    of_images = (left_over(row_terms) - both) / (images - 1)
    assert sample.residual == pytest.approx(both / (seeds - 1) / (images - 1))
    assert sample.variance == pytest.approx(of_seeds / images)
    assert sample.by_image.var(ddof=1) == pytest.approx(of_images / seeds)


@pytest.mark.parametrize(
    ("configurations", "freedom", "printed"),
    [(2, 10**7, 2.772), (3, 10**7, 3.314), (10, 10**7, 4.474), (5, 10, 4.654), (10, 20, 5.008)],
)
def test_quantiles_of_printed_tables(configurations, freedom, printed):
    """Divided by the square root of 2 they are those of the studentized range."""
    found = simultaneous_quantile(configurations, freedom)
    assert found == pytest.approx(printed / math.sqrt(2), abs=5e-4)


@pytest.mark.parametrize(("configurations", "freedom"), [(3, 1), (36, 120), (47, math.inf)])
def test_tabulated_quantiles_are_those_of_scipy(configurations, freedom):
    """The file has what scipy computes, which takes a second to import and a quarter for each."""
    computed = stats.studentized_range.ppf(0.95, configurations, freedom) / math.sqrt(2)
    tabulated = simultaneous_quantile(configurations, min(freedom, 10**7))
    assert tabulated == pytest.approx(computed, rel=1e-9, abs=0)


def test_quantiles_of_two_are_students():
    """Two configurations are one pair: Student's t, and 1.96 where the variance is known."""
    assert simultaneous_quantile(2, 10**7) == pytest.approx(1.959964, abs=1e-5)
    assert simultaneous_quantile(2, 7) == pytest.approx(stats.t.ppf(0.975, 7), rel=1e-6)
    # Between the tables' degrees of freedom the lower ones count, and less than one never does.
    assert simultaneous_quantile(3, 23) == simultaneous_quantile(3, 20)
    assert simultaneous_quantile(2, 0) == simultaneous_quantile(2, 1)


def test_balanced_accuracy_weighs_images_by_class():
    """What the images add has the value as its mean, however unequal the classes are."""
    rows = [
        np.array([1, 0, 1, 1, 1, 1, 1, 0, 0, 1], dtype=bool),
        np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 1], dtype=bool),
    ]
    results = []
    for seed, row in enumerate(rows):
        # Two images of the first class, none of the second, eight of the third.
        right = (int(row[:2].sum()), int(row[2:].sum()))
        recalls = (right[0] / 2, right[1] / 8)
        trial = make_result(seed, statistics.fmean(recalls), epochs=0, seed=seed)
        confusion = ((right[0], 0, 2 - right[0]), (0, 0, 0), (8 - right[1], 0, right[1]))
        facts = {"confusion": confusion, "correct": bits.pack(row)}
        results.append(dataclasses.replace(trial, **facts))
    sample = make_sample(results, "balanced_acc")
    assert sample.by_image.mean() == pytest.approx(statistics.fmean(sample.values))
    # An image of the small class counts 10 / (2 * 2), of the large one 10 / (2 * 8).
    assert sample.by_image[:3] == pytest.approx([2.5, 1.25, 0.625])


# What is not known


def test_a_study_without_bits_has_the_wider_interval_of_two_samples():
    """Of 0.1.0, nobody knows which images were right: both sides' errors are added, as if of different images."""
    values = {"first": (0.95, 0.95), "second": (0.85, 0.85)}
    old = {
        side: make_sample(
            [
                make_result(seed, value, classes=1, predicted=(1000,))
                for seed, value in enumerate(of)
            ],
            "val_acc",
        )
        for side, of in values.items()
    }
    found = Comparison(list(old.values()), maximize=True).difference(old["first"], old["second"])
    # Each error is half of Wilson's interval, here written out, in units of 1.96.
    errors = [
        math.sqrt(share * (1 - share) / 1000 + Z * Z / 4_000_000) / (1 + Z * Z / 1000)
        for share in (0.95, 0.85)
    ]
    assert found.half_width == pytest.approx(Z * math.hypot(*errors))
    assert (found.images, found.needs) == (None, None)
    new = {
        side: seeds_of([first_right(value, 1000) for value in of]) for side, of in values.items()
    }
    paired = Comparison(list(new.values()), maximize=True).difference(new["first"], new["second"])
    assert paired.difference == pytest.approx(found.difference)
    assert paired.half_width < 0.8 * found.half_width


def test_one_seed_has_no_interval():
    """A single seed says nothing of others, on whichever side it is."""
    one = seeds_of([first_right(0.99, 1000)])
    two = seeds_of([first_right(0.1, 1000)] * 2)
    comparison = Comparison([one, two], maximize=True, rope=0.01)
    for first, second, why in [
        (one, one, "of one seed each"),
        (one, two, "with a single seed on one side"),
        (two, one, "with a single seed on one side"),
    ]:
        found = comparison.difference(first, second)
        assert (found.half_width, found.low, found.high) == (None, None, None)
        assert (found.outcome, found.why_unknown, found.needs) == ("open", why, None)


def test_a_first_that_lacks_seeds_leads_by_nothing():
    """It may be first because the others of its seeds are missing; a second that lacks some may be beaten."""
    high = seeds_of([first_right(0.9, 1000)] * 3)
    low = seeds_of([first_right(0.5, 1000)] * 3)
    comparison = Comparison([high, low], maximize=True)
    assert comparison.difference(high, low).outcome == "ahead"
    found = comparison.difference(dataclasses.replace(high, lacks_seeds=True), low)
    assert (found.outcome, found.half_width) == ("open", None)
    assert found.why_unknown == "while planned seeds are not complete"
    assert comparison.difference(high, dataclasses.replace(low, lacks_seeds=True)).outcome == (
        "ahead"
    )


def losses(value, images):
    """Two seeds with the same validation loss, whose batches differ by 0.02."""
    epoch = make_epoch(metrics={"val/loss_std": 0.02}, predicted=(images,))
    return make_sample(
        [make_result(seed, value, history=(epoch,), best_epoch=1) for seed in range(2)], "val_loss"
    )


def test_a_loss_is_known_by_its_batches():
    """The error of a loss is that of the mean of its batches of 512; of a single batch nothing is known."""
    first, second = losses(0.3, 2000), losses(0.5, 2000)
    comparison = Comparison([first, second], maximize=False)
    found = comparison.difference(first, second)
    assert found.half_width == pytest.approx(Z * math.sqrt(2) * 0.02 / math.sqrt(4))
    # Lower is better: positive, if the first is better.
    assert (found.difference, found.outcome) == (pytest.approx(0.2), "ahead")
    assert comparison.difference(second, first).outcome == "behind"
    found = comparison.difference(losses(0.3, 500), losses(0.5, 500))
    assert (found.half_width, found.outcome) == (None, "open")
    assert found.why_unknown == "with an unknown error by the choice of images"


def test_what_is_no_sample():
    """Trials without a finite value are none, and bits of other numbers of images are no table."""
    assert make_sample([], "val_acc") is None
    assert make_sample([make_result(0, None, state="failed")], "val_acc") is None
    assert make_sample([make_result(0, math.nan)], "val_loss") is None
    mixed = [
        with_bits(make_result(seed, 0.5, epochs=0, seed=seed), first_right(0.5, images))
        for seed, images in enumerate((100, 200))
    ]
    sample = make_sample(mixed, "val_acc")
    assert (sample.values, sample.by_image) == ((0.5, 0.5), None)


# Outcomes, and what would decide


@pytest.mark.parametrize(
    ("difference", "half_width", "rope", "outcome"),
    [
        (0.03, 0.02, 0.01, "ahead"),
        (-0.03, 0.02, 0.01, "behind"),
        (0.005, 0.004, 0.01, "ahead"),
        (0.001, 0.002, 0.01, "equal"),
        (-0.001, 0.002, 0.01, "equal"),
        (0.001, 0.02, 0.01, "open"),
        (0.005, 0.006, 0.01, "open"),
        (0.001, 0.002, None, "open"),
        (0.0, 0.0, 0.0, "open"),
        (0.5, None, 0.01, "open"),
    ],
)
def test_outcomes(difference, half_width, rope, outcome):
    """A side is ahead where the interval leaves out 0, equal where all of it lies within the region, else open."""
    found = Difference(
        difference=difference,
        half_width=half_width,
        seeds=(3, 3),
        images=100,
        configurations=2,
        rope=rope,
    )
    assert found.outcome == outcome


def test_a_lead_may_be_known_to_be_small():
    """What is ahead by less than the region for certain leaves the second no worse in practice."""
    facts = {"seeds": (3, 3), "images": 100, "configurations": 2}
    small = Difference(difference=0.005, half_width=0.004, rope=0.01, **facts)
    assert small.second_is_no_worse
    assert not dataclasses.replace(small, half_width=0.006).second_is_no_worse
    assert not dataclasses.replace(small, rope=None).second_is_no_worse
    assert not dataclasses.replace(small, half_width=None).second_is_no_worse


def spread_sample(mean, variance, seeds, by_image):
    """A sample of so many seeds with a given mean and variance, and nothing that seeds disagree on."""
    pattern = np.array([1.0, -1.0] * (seeds // 2) + [0.0] * (seeds % 2))
    values = mean + pattern * math.sqrt(variance / pattern.var(ddof=1))
    return plain(values.tolist(), by_image)


def test_more_seeds_that_would_decide():
    """With as many more seeds of the same variance the outcome is decided, with one less it is not."""
    by_image = [0.9] * 10_000

    def found(seeds):
        first, second = (spread_sample(mean, 1e-4, seeds, by_image) for mean in (0.91, 0.90))
        return Comparison([first, second], maximize=True).difference(first, second)

    needed = found(3).needs.seeds
    assert needed > 1
    assert found(3).outcome == "open"
    assert found(3 + needed - 1).outcome == "open"
    assert found(3 + needed).outcome == "ahead"


def test_more_images_that_would_decide():
    """Where seeds do not differ, images alone decide, and the half-width falls with the root of their number."""
    first = seeds_of([first_right(0.904, 1000)] * 2)
    second = seeds_of([first_right(0.9, 1000)] * 2)
    comparison = Comparison([first, second], maximize=True)
    found = comparison.difference(first, second)
    assert found.outcome == "open"
    assert found.needs.seeds is None
    squared = found.half_width**2 * 1000  # for one image
    assert math.sqrt(squared / (1000 + found.needs.images)) < 0.004
    assert math.sqrt(squared / (1000 + found.needs.images - 1)) >= 0.004


def test_a_region_may_be_nearer_than_a_lead():
    """A difference near 0 is decided as soon as the interval fits into the region: here 0.008 is left of it."""
    first = seeds_of([first_right(0.902, 500)] * 2)
    second = seeds_of([first_right(0.9, 500)] * 2)
    found = Comparison([first, second], maximize=True, rope=0.01).difference(first, second)
    assert found.outcome == "equal"
    wider = Comparison([first, second], maximize=True, rope=0.006).difference(first, second)
    squared = wider.half_width**2 * 500
    assert math.sqrt(squared / (500 + wider.needs.images)) < 0.006 - 0.002
    assert math.sqrt(squared / (500 + wider.needs.images - 1)) >= 0.006 - 0.002


def test_nothing_would_decide_no_difference():
    """A difference of exactly 0 without a region stays open, whatever is trained."""
    sample = seeds_of([first_right(0.9, 100), first_right(0.8, 100)])
    found = Comparison([sample, sample], maximize=True).difference(sample, sample)
    assert (found.needs.seeds, found.needs.images) == (None, None)


# A mean by itself


def test_the_interval_of_a_mean():
    """Without a variance of seeds it is Wilson's of one image less; with one it is wider; one seed has none."""
    same = seeds_of([first_right(0.9, 200)] * 3)
    comparison = Comparison([same], maximize=True)
    assert comparison.mean_interval(same) == pytest.approx(wilson_interval(0.9, 199))
    other = seeds_of([first_right(share, 200) for share in (0.8, 0.9, 1.0)])
    low, high = Comparison([other], maximize=True).mean_interval(other)
    assert low < wilson_interval(0.9, 199)[0]
    assert wilson_interval(0.9, 199)[1] < high < 1
    assert comparison.mean_interval(seeds_of([first_right(0.9, 200)])) is None
    assert comparison.mean_interval(plain((0.9, 0.9))) is None


def test_the_interval_of_a_perfect_mean():
    """All right with each seed is Wilson's interval of the images, whether or not the bits are known."""
    expected = pytest.approx(wilson_interval(1.0, 200))
    sample = seeds_of([first_right(1.0, 200)] * 2)
    assert Comparison([sample], maximize=True).mean_interval(sample) == expected
    trials = [make_result(seed, 1.0, classes=1, predicted=(200,)) for seed in range(2)]
    sample = make_sample(trials, "val_acc")
    assert Comparison([sample], maximize=True).mean_interval(sample) == expected


def test_of_the_test_split():
    """Test accuracies are a sample as validation accuracies are: with bits where they are kept."""
    correct = first_right(0.9, 50)
    scored = dataclasses.replace(
        make_result(0, 0.8), test={"acc": 0.9, "images": 50.0}, test_correct=bits.pack(correct)
    )
    sample = make_test_sample([scored, scored])
    assert sample.values == (0.9, 0.9)
    assert np.array_equal(sample.by_image, correct)
    older = dataclasses.replace(scored, test_correct=None)
    low, high = wilson_interval(0.9, 50)
    assert make_test_sample([scored, older]).image_error == pytest.approx((high - low) / 2 / Z)
    assert make_test_sample([make_result(0, 0.8)]) is None


# Studies


def study(values, *, images=1000, seeds=2, **facts):
    """A study with a learning rate for each value, the same bits with each seed."""
    results = [
        with_bits(
            make_result(number, value, epochs=0, lr=lr, seed=seed), first_right(value, images)
        )
        for number, (lr, value, seed) in enumerate(
            (lr, value, seed)
            for lr, value in zip(LR.choices, values, strict=False)
            for seed in range(seeds)
        )
    ]
    return make_record(results, dimensions=[LR], **facts)


def test_two_studies_cover_the_pairs_of_all_configurations_of_both():
    """Each winner was the best of its study: the interval is that of seven configurations, not of two."""
    first = study((0.95, 0.9, 0.91, 0.92))
    second = study((0.93, 0.8, 0.85))
    found = compare_winners(first, second)
    assert found.configurations == 7
    assert found.difference == pytest.approx(0.02)
    # Twenty images that the first alone has right, and half of one for each side; no variance of
    # seeds.
    by_images = (21 / 1001 - (20 / 1001) ** 2) / 1001
    quantile = stats.studentized_range.ppf(0.95, 7, math.inf) / math.sqrt(2)
    assert found.half_width == pytest.approx(quantile * math.sqrt(by_images), rel=1e-6)
    assert compare_winners(first, make_record([])) is None


def test_the_best_of_four_seeds_is_not_held_against_a_mean():
    """A best of four with one seed each is a maximum: no interval, however large the difference is."""
    found = compare_winners(study((0.99, 0.9, 0.91, 0.92), seeds=1), study((0.5,), seeds=2))
    assert (found.outcome, found.half_width) == ("open", None)


# Redraws


def redrawn(values, images=None, **config):
    """The sample of a configuration with a fold of its own for each seed."""
    trials = [
        make_result(seed, value, seed=seed, redraw=f"fold-{seed + 1}-of-{len(values)}", **config)
        for seed, value in enumerate(values)
        if value is not None
    ]
    return make_sample(trials, "val_acc", images or {"train": 800, "val": 160})


def test_folds_are_compared_fold_by_fold():
    """The error is that of the corrected resampled t-test, of the folds that both have."""
    first = redrawn((0.92, 0.94, 0.96))
    second = redrawn((0.90, 0.90, 0.90))
    found = Comparison([first, second], maximize=True).difference(first, second)
    # Differences .02, .04 and .06; three folds of 960 images validate on half as many as they train.
    expected = T_OF_2 * 0.02 * math.sqrt(1 / 3 + 1 / 2)
    assert found.half_width == pytest.approx(expected, rel=1e-5)
    assert (found.redraws, found.images) == (3, None)
    lacking = redrawn((0.90, None, 0.90))
    found = Comparison([first, lacking], maximize=True).difference(first, lacking)
    assert (found.redraws, found.difference) == (2, pytest.approx(0.04))


def test_equal_differences_of_all_folds():
    """Differences that are equal to the image have the deviation of counting whole images."""
    first = redrawn((0.92, 0.94, 0.96))
    second = redrawn((0.91, 0.93, 0.95))
    found = Comparison([first, second], maximize=True).difference(first, second)
    expected = T_OF_2 * math.sqrt(2 / 12) / 320 * math.sqrt(1 / 3 + 1 / 2)
    assert found.half_width == pytest.approx(expected, rel=1e-5)


def test_redraws_and_the_studys_own_split_are_not_compared():
    """They have other images, and without the number of images nothing is known either."""
    first = redrawn((0.92, 0.94, 0.96))
    own = seeds_of([first_right(0.5, 1000)] * 3)
    for found in (
        Comparison([first, own], maximize=True).difference(first, own),
        Comparison([first, own], maximize=True).difference(own, first),
    ):
        assert found.half_width is None
        assert found.why_unknown == "between different draws of train and validation"
    unknown = redrawn((0.92, 0.94, 0.96), {"train": 0})
    assert Comparison([unknown], maximize=True).difference(unknown, unknown).half_width is None


# By simulation


def test_prior_freedom_follows_the_variances():
    """Alike variances are worth many seeds, unlike ones with the same mean the least."""
    by_image = [0.9] * 10_000
    pair = [spread_sample(mean, 1e-4, 5, by_image) for mean in (0.905, 0.895)]

    def half_width(variances):
        others = [spread_sample(0.9, variance, 5, by_image) for variance in variances]
        return Comparison([*pair, *others], maximize=True).difference(*pair).half_width

    alike = half_width([1e-4] * 20)
    unlike = half_width([1e-6, 1.99e-4] * 10)
    assert alike < 0.9 * unlike


def simulated(rng, accuracies, *, seeds=3, images=500):
    """Samples of configurations with these true accuracies.

    An image is as hard for all in 80 %, for each configuration by itself in 10 % and for each seed
    in 10 % of all cases. Each seed's own accuracy deviates by half a percent.
    """
    common = rng.random(images)
    samples = []
    for accuracy in accuracies:
        own = np.where(rng.random(images) < 0.1 / 0.9, rng.random(images), common)
        draws = np.where(rng.random((seeds, images)) < 0.1, rng.random((seeds, images)), own)
        thresholds = accuracy + 0.005 * rng.standard_normal((seeds, 1))
        samples.append(seeds_of(draws < thresholds))
    return samples


def claims(accuracies, studies=200):
    """In how many studies the first by its mean is told apart from any other."""
    rng = np.random.default_rng(17)
    count = 0
    for _ in range(studies):
        samples = simulated(rng, accuracies)
        samples.sort(key=lambda sample: -sample.mean)
        comparison = Comparison(samples, maximize=True)
        outcomes = [comparison.difference(samples[0], other).outcome for other in samples[1:]]
        count += "ahead" in outcomes
    return count


def test_nothing_different():
    """Of 200 studies of four equal configurations, at most 14 (5 % and two standard errors) claim a lead."""
    assert claims([0.9] * 4) <= 14


def test_something_different():
    """A configuration that is worse by 0.04 is told apart in at least 150 of 200 studies."""
    assert claims([0.9, 0.9, 0.86]) >= 150
