"""How much each searched field matters to the objective."""

import dataclasses
import random

import pytest
from support.records import (
    MIXED,
    lr_value,
    make_epoch,
    make_record,
    make_result,
    mixed_study,
    sample_config,
)

from sweeps.analysis.importance import MIN_CONFIGURATIONS, importance
from sweeps.spec.dimension import Dimension
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING

SPACE = (
    Dimension(field="weight_decay", low=1e-6, high=1e-2, log=True),
    Dimension(field="dropout", low=0.0, high=0.5, step=0.1),
    Dimension(field="batch_size", choices=(32, 64, 128)),
    Dimension(field="lr", low=1e-5, high=1e-1, log=True),
    Dimension(field="activation", choices=("relu", "gelu", "silu")),
    Dimension(field="width", low=16, high=64, log=True),
)
RESIDUAL = Dimension(field="residual", choices=(True, False), when={"family": ("resnet",)})


def study(trials, value=lr_value, *, seed=0, dimensions=SPACE, **record):
    """Random trials of a space and the value given to each."""
    rng = random.Random(seed)
    configs = [sample_config(rng, dimensions) for _ in range(trials)]
    results = [
        make_result(i, value(config, rng), config=config, epochs=0)
        for i, config in enumerate(configs)
    ]
    return make_record(results, dimensions=dimensions, **record)


def by_key(shares):
    return {share.key: share.share for share in shares}


def test_names_the_planted_cause():
    """In nearly all studies of 24 trials whose value the learning rate decides, it is named first.

    In most it is told from noise; other fields are in hardly any.
    """
    found = [importance(study(24, seed=seed)) for seed in range(20)]
    assert sum(one.shares[0].key == "lr" for one in found) >= 18  # 20 seen
    told = [{share.key for share in one.told} for one in found]
    assert sum("lr" in keys for keys in told) >= 15
    assert sum(bool(keys - {"lr"}) for keys in told) <= 3


def test_minimised_objective():
    """Where less is better, the cause of low values is named, and high values do not matter."""
    found = importance(
        study(
            60, lambda config, rng: 1 - lr_value(config, rng), objective="val_loss", maximize=False
        )
    )
    assert found == importance(study(60))
    assert found != importance(study(60, maximize=False))


def test_shares_add_up():
    """The dimensions that all trials have share 1 among them, the largest first."""
    shares = [share.share for share in importance(study(30)).shares]
    assert len(shares) == len(SPACE)
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)


def test_few_trials():
    """With fewer trials than needed there are no shares, but a note with both numbers."""
    found = importance(study(MIN_CONFIGURATIONS - 1))
    assert (found.shares, found.note) == ((), "too few to say (19 of the 20 configurations needed)")
    assert importance(study(MIN_CONFIGURATIONS)).note is None


@pytest.mark.parametrize(
    ("state", "counted"), [(COMPLETE, 24), (PRUNED, 24), (FAILED, 12), (RUNNING, 12)]
)
def test_counts_what_has_a_value(state, counted):
    """Pruned trials count like complete ones; failed and running ones do not, whatever value they reached."""
    record = study(24)
    changed = [dataclasses.replace(result, state=state) for result in record.results[:12]]
    assert (
        importance(
            dataclasses.replace(record, results=(*changed, *record.results[12:]))
        ).configurations
        == counted
    )


def test_duplicates_are_no_evidence():
    """A trial that reused another's result does not count."""
    record = study(24)
    copies = [
        dataclasses.replace(result, number=24 + i, duplicate_of=i)
        for i, result in enumerate(record.results[:12])
    ]
    assert importance(
        dataclasses.replace(record, results=(*record.results, *copies))
    ) == importance(record)


def test_equal_values():
    """Where the best third has the same value as the rest nothing decides, and a note says so."""
    found = importance(study(24, lambda config, rng: 0.1))
    assert found.shares == ()
    assert "too alike" in found.note


def test_conditional_apart():
    """A dimension that only some trials have is judged among those, and takes no share from the others."""

    def value(config, rng):
        return 0.5 + (0.3 if config.residual else 0) + rng.gauss(0, 0.01)

    dimensions = (Dimension(field="family", choices=("mlp", "resnet")), *SPACE[2:4], RESIDUAL)
    found = importance(study(80, value, dimensions=dimensions))
    assert by_key(found.shares).keys() == {"family", "batch_size", "lr"}
    assert sum(by_key(found.shares).values()) == pytest.approx(1)
    (residual,) = found.conditional
    assert residual.key == "residual [family=resnet]"
    assert MIN_CONFIGURATIONS <= residual.configurations < 80
    assert residual.share > 0.5


def test_rare_condition():
    """A conditional dimension that too few trials have gets a note of its own."""
    found = importance(mixed_study(30))
    notes = {share.key: share.note for share in found.conditional if share.share is None}
    having = sum(
        1 for r in mixed_study(30).results if r.value is not None and r.config.residual is not None
    )
    assert notes["residual"] == f"too few to say ({having} of the 20 configurations needed)"


def test_condition_of_a_fixed_value():
    """A condition that holds in every trial makes a dimension like any other."""
    found = importance(
        study(
            24, dimensions=(Dimension(field="family", choices=("resnet",)), *SPACE[2:4], RESIDUAL)
        )
    )
    # The family is left out: it has a single value.
    assert by_key(found.shares).keys() == {"batch_size", "lr", "residual [family=resnet]"}
    assert found.conditional == ()


def test_rounded_values_fit():
    """A value that rounding put outside its range, or off its steps, is taken as the nearest one inside."""
    dimensions = (
        Dimension(field="lr", low=0.000123456, high=0.0987654, log=True),
        Dimension(
            field="momentum", low=0.1, high=0.95, step=0.3
        ),  # the last step ends below the upper bound
    )
    edges = [(0.0001235, 0.4), (0.0001234, 0.7), (0.09877, 0.3999999)]
    results = [
        make_result(
            i,
            i / 30,
            epochs=0,
            optimizer="sgd",
            lr=edges[i % 3][0],
            momentum=edges[i % 3][1],
            weight_decay=i / 100,
        )
        for i in range(24)
    ]
    assert by_key(importance(make_record(results, dimensions=dimensions)).shares).keys() == {
        "lr",
        "momentum",
    }


def test_nothing_searched():
    """A study that searches nothing, or has no trials, has no shares."""
    for record in (
        study(0, dimensions=MIXED),
        make_record([make_result(i, i / 30) for i in range(24)]),
    ):
        found = importance(record)
        assert (found.shares, [s.share for s in found.conditional if s.share]) == ((), [])
        assert found.note


# Told from noise


def test_noise_names_no_cause():
    """Where nothing matters, some share is told from noise in about 5 % of studies of 24 trials."""
    named = [
        seed
        for seed in range(40)
        if importance(study(24, lambda config, rng: rng.random(), seed=seed)).told
    ]
    assert len(named) <= 6  # of a binomial of 40 and .05, more than 6 has a probability of .003


def test_second_cause_is_told_beside_a_strong_one():
    """A cause whose share a stronger one makes small is told from noise all the same."""

    def value(config, rng):
        return lr_value(config, rng, noise=0.01) - (0.06 if config.batch_size == 128 else 0)

    found = importance(study(200, value))
    assert {share.key for share in found.told} == {"lr", "batch_size"}
    assert by_key(found.shares)["batch_size"] < 0.2


def test_told_if_beyond_the_band():
    """A share is told from noise if and only if it is larger than its band."""
    found = importance(mixed_study(90))
    known = [share for share in (*found.shares, *found.conditional) if share.share is not None]
    assert {share.is_told for share in known} == {True, False}
    assert all(share.is_told == (share.share > share.noise) for share in known)


def test_only_dimension():
    """The share of an only dimension is 1 in any case, but it is told from noise where it matters."""
    found = importance(study(60, dimensions=(SPACE[3],)))
    assert [(share.share, share.is_told) for share in found.shares] == [(1, True)]
    noise = importance(study(60, lambda config, rng: rng.random(), dimensions=(SPACE[3],)))
    assert [(share.share, share.is_told) for share in noise.shares] == [(1, False)]


def test_seeds_are_one_observation():
    """Further seeds of the same configurations are no further evidence."""
    record = study(24)
    again = [
        dataclasses.replace(
            result, number=24 + i, config=dataclasses.replace(result.config, seed=1)
        )
        for i, result in enumerate(record.results)
    ]
    assert importance(dataclasses.replace(record, results=(*record.results, *again))) == importance(
        record
    )


def test_a_report_says_the_same_each_time():
    """The permutations have a fixed seed."""
    assert importance(study(30)) == importance(study(30))


# Equal epochs


def test_trials_are_compared_at_equal_epochs():
    """A field that decides only how far trials were trained, and no value at equal epochs, is no cause."""

    def trained(i, config, rng):
        # All rise alike; half of the learning rates are stopped at the third of 12 epochs.
        last = 12 if config.lr > 1e-3 else 3
        luck = rng.gauss(0, 0.01)
        history = tuple(
            make_epoch(epoch, {"val/acc": 0.5 + 0.03 * epoch + luck})
            for epoch in range(1, last + 1)
        )
        state = COMPLETE if last == 12 else PRUNED
        value = history[-1].metrics["val/acc"]
        return make_result(i, value, config=config, state=state, history=history)

    rng = random.Random(0)
    configs = [sample_config(rng, SPACE) for _ in range(60)]
    results = [trained(i, config, rng) for i, config in enumerate(configs)]
    found = importance(make_record(results, dimensions=SPACE))
    assert found.told == ()
    without = [dataclasses.replace(result, history=()) for result in results]
    assert [share.key for share in importance(make_record(without, dimensions=SPACE)).told] == [
        "lr"
    ]
