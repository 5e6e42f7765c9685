"""What a study takes from earlier ones: their configurations in its own space, and their places."""

import pytest
from support.records import make_result
from support.searches import spec

from sweeps.analysis.record import StudyRecord
from sweeps.search.warm_start import (
    TRIED_FIRST,
    NothingFitsError,
    distance,
    spread_out,
    take_warm_start,
)
from sweeps.spec.configurations import Unfit, project
from sweeps.trial import FAILED, PRUNED, configure

SPACE = """
fixed: {optimizer: adam}
search:
  family: [mlp, cnn]
  lr: {low: 1.0e-3, high: 1.0e-1, log: true}
  width:
    - {choices: [64, 128], when: {family: mlp}}
    - {low: 8, high: 32, step: 8, when: {family: cnn}}
  batch_norm: [true, false]
"""


def record(*results, name="earlier", maximize=True):
    return StudyRecord(
        name=name,
        study="file",
        dataset="mnist",
        objective="val_acc" if maximize else "val_loss",
        maximize=maximize,
        trials=len(results),
        dimensions=(),
        classes=("a", "b"),
        results=results,
    )


def mlp(number, value, lr=0.01, **values):
    config = configure({"family": "mlp", "width": 64, "lr": lr, **values})
    return make_result(number, value, config=config)


@pytest.mark.parametrize(
    ("config", "expected", "moved"),
    [
        (
            {"family": "mlp", "width": 64, "lr": 0.01, "batch_norm": False, "dropout": 0.3},
            {"family": "mlp", "width": 64, "lr": 0.01, "batch_norm": False},
            False,
        ),
        (
            {"family": "cnn", "width": 30, "lr": 0.5},
            {"family": "cnn", "width": 32, "lr": 0.1, "batch_norm": True},
            True,
        ),
        (
            {"family": "mlp", "width": 1000, "lr": 1e-6},
            {"family": "mlp", "width": 128, "lr": 0.001, "batch_norm": True},
            True,
        ),
    ],
)
def test_projection(config, expected, moved):
    """Fields that are not searched are left out; numbers move to the nearest; what was not set has its default."""
    assert project(spec(SPACE), configure(config)) == (expected, moved)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"family": "resnet"}, "family resnet is not searched here"),
        ({"family": "cnn", "optimizer": "sgd"}, "optimizer is sgd there and adam here"),
    ],
)
def test_what_cannot_be_said(config, reason):
    """A word that is not searched, or another fixed family or optimizer, cannot be said."""
    with pytest.raises(Unfit, match=reason):
        project(spec(SPACE), configure(config))


@pytest.mark.parametrize("maximize", [True, False])
def test_places_and_what_is_left_out(maximize):
    """Places are of the source's own ranking, whatever it measured; what diverged is last; accidents do not count."""
    values = (0.9, 0.8, 0.7) if maximize else (0.1, 0.2, 0.3)
    results = [mlp(number, value, lr=0.01 + number / 100) for number, value in enumerate(values)]
    diverged = configure({"family": "mlp", "width": 64, "lr": 0.09})
    results += [
        make_result(3, config=diverged, state=FAILED, end="diverged"),
        make_result(4, config=configure({"lr": 0.05}), state=FAILED, end="timeout"),
        make_result(5, values[0], config=configure({"family": "resnet"}), state=PRUNED),
        mlp(6, values[0], lr=5.0),
    ]
    taken = take_warm_start(spec(SPACE), [record(*results, maximize=maximize)])
    (source,) = taken.sources
    assert (source.name, source.dataset, source.configurations) == ("earlier", "mnist", 6)
    assert (source.moved, dict(source.unfit)) == (1, {"family resnet is not searched here": 1})
    assert [values["lr"] for values, _ in source.observations] == [0.01, 0.02, 0.03, 0.09]
    places = [place for _, place in source.observations]
    assert sorted(places, reverse=True) == places
    assert 0 < places[-1] < 0.1
    assert taken.first[0]["lr"] == 0.01
    assert {values["lr"] for values in taken.first} == {0.01, 0.1, 0.02}  # the best three


@pytest.mark.parametrize("key", ["method: random", "objectives: [val_acc, parameters]"])
def test_a_sampler_that_learns_from_no_other_study_is_told_none(key):
    """What the plan says of the sampler holds; the best of the earlier study are tried first anyway."""
    taken = take_warm_start(spec(f"{key}\n{SPACE}"), [record(mlp(0, 0.9), mlp(1, 0.8, lr=0.02))])
    assert taken.sources[0].observations == ()
    assert len(taken.first) == 2


def test_the_first_are_good_and_different():
    """The first is the best of each source; then come those of the best quarter that are farthest apart."""
    near = [mlp(number, 0.9 - number / 1000, lr=0.01 + number / 10_000) for number in range(9)]
    far = mlp(9, 0.88, lr=0.1, width=128, batch_norm=False)
    poor = [mlp(number, 0.3, lr=0.001 + number / 10_000) for number in range(10, 40)]
    other = mlp(0, 0.5, lr=0.004)
    taken = take_warm_start(spec(SPACE), [record(*near, far, *poor), record(other, name="another")])
    assert len(taken.first) == TRIED_FIRST
    assert [values["lr"] for values in taken.first[:3]] == [0.01, 0.004, 0.1]
    assert all(values["lr"] >= 0.004 for values in taken.first)


def test_nothing_fits():
    """A study without a complete trial, or without anything that fits, is refused."""
    with pytest.raises(NothingFitsError, match=r"^study 'earlier' has no complete trial"):
        take_warm_start(spec(SPACE), [record(make_result(0, 0.5, state=PRUNED))])
    resnet = make_result(0, 0.5, config=configure({"family": "resnet"}))
    with pytest.raises(NothingFitsError, match="nothing of .* fits .*: family resnet is not"):
        take_warm_start(spec(SPACE), [record(resnet)])


def test_distance():
    """Numbers are as far apart as in their range; different words, and what only one has, count 1."""
    dimensions = {dimension.key: dimension for dimension in spec(SPACE).dimensions}
    first = {"family": "mlp", "lr": 0.001, "width [family=mlp]": 64, "batch_norm": True}
    assert distance(dimensions, first, first) == 0
    assert distance(dimensions, first, {**first, "lr": 0.01}) == pytest.approx(0.5 / 4)
    assert distance(dimensions, first, {**first, "width [family=mlp]": 128}) == pytest.approx(1 / 4)
    assert distance(dimensions, first, {**first, "batch_norm": False}) == pytest.approx(1 / 4)
    cnn = {"family": "cnn", "lr": 0.001, "width [family=cnn]": 8, "batch_norm": True}
    assert distance(dimensions, first, cnn) == pytest.approx(3 / 5)


def test_spread_out():
    """Few of many are chosen evenly, the first of them always; all of few."""
    assert spread_out(list(range(10)), 3) == [0, 3, 6]
    assert spread_out([1, 2], 3) == [1, 2]
    assert spread_out([1, 2], 0) == []
