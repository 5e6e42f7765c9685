"""Which trials a pruner stops, at which epochs."""

import pytest

from sweeps.search.pruning import rungs, should_prune


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, ()),
        (2, (1,)),
        (3, (1, 2)),
        (4, (1, 2)),
        (9, (1, 2, 4, 8)),
        (10, (1, 2, 4, 8)),
        (15, (2, 4, 8)),
        (27, (3, 6, 12, 24)),
        (81, (9, 18, 36, 72)),
        (100, (11, 22, 44, 88)),
    ],
)
def test_rungs(epochs, expected):
    """Trials are compared at a ninth of the epochs, then at twice as many, and never at the last."""
    assert rungs(epochs) == expected


def flat(value, epochs=9):
    """Reports of the same value from the first epoch on."""
    return dict.fromkeys(range(1, epochs + 1), value)


def asha(value, others, *, epoch=4, epochs=9, maximize=True):
    return should_prune(
        "asha", flat(value, epoch), [flat(v) for v in others], epochs=epochs, maximize=maximize
    )


@pytest.mark.parametrize(
    ("others", "stops"),
    [
        ([], False),
        ([0.1], False),
        ([0.9], True),
        ([0.5], False),  # a tie is not better
        ([0.9, *[0.1] * 5], True),  # of seven that came one goes on
        ([0.9, *[0.1] * 6], False),  # of eight, two
        ([0.9, 0.9, *[0.1] * 5], True),
        ([0.9, 0.9, *[0.1] * 9], False),  # of twelve, three
        ([0.9, 0.9, 0.9, *[0.1] * 8], True),
    ],
)
def test_asha_keeps_a_quarter(others, stops):
    """Of the trials that reach a rung, the best quarter goes on, and at least one."""
    assert asha(0.5, others) is stops
    assert asha(-0.5, [-v for v in others], maximize=False) is stops


@pytest.mark.parametrize(
    ("epoch", "stops"),
    [(1, True), (2, True), (3, False), (4, True), (5, False), (7, False), (8, True), (9, False)],
)
def test_asha_at_rungs_only(epoch, stops):
    """Successive halving stops a trial at a rung and nowhere else, least of all at the last epoch."""
    assert asha(0.1, [0.9, 0.8], epoch=epoch) is stops


def test_asha_compares_those_who_came():
    """Trials that stopped before the rung are not compared with."""
    others = [flat(0.9, 2), flat(0.8, 1), flat(0.2, 4)]
    assert not should_prune("asha", flat(0.5, 4), others, epochs=9, maximize=True)
    assert should_prune("asha", flat(0.5, 1), others, epochs=9, maximize=True)


@pytest.mark.parametrize(
    ("value", "others", "stops"),
    [
        (0.5, [], False),
        (0.5, [0.6], True),
        (0.5, [0.4, 0.6], False),  # the median itself goes on
        (0.49, [0.4, 0.6], True),
        (0.5, [0.1, 0.6, 0.9], True),
        (0.7, [0.1, 0.6, 0.9], False),
    ],
)
def test_median(value, others, stops):
    """What is below the median of the others at the same epoch stops."""
    histories = [flat(v) for v in others]
    assert should_prune("median", flat(value, 2), histories, epochs=9, maximize=True) is stops
    negative = [flat(-v) for v in others]
    assert should_prune("median", flat(-value, 2), negative, epochs=9, maximize=False) is stops


@pytest.mark.parametrize(
    ("epoch", "stops"), [(1, False), (2, True), (3, True), (14, True), (15, False)]
)
def test_median_from_the_first_rung(epoch, stops):
    """The median stops trials from the first rung on, at any epoch but the last."""
    assert (
        should_prune("median", flat(0.1, epoch), [flat(0.9, 15)], epochs=15, maximize=True) is stops
    )


@pytest.mark.parametrize("epoch", range(1, 10))
def test_none_never_stops(epoch):
    """Without a rule nothing stops."""
    assert not should_prune(
        "none", flat(0.0, epoch), [flat(1.0), flat(0.9)], epochs=9, maximize=True
    )


@pytest.mark.parametrize("rule", ["asha", "median", "none"])
@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_never_at_the_last_epoch(rule, epochs):
    """A trial that has trained all its epochs is not pruned, be it a single one."""
    others = [flat(1.0, 9), flat(0.9, 9)]
    assert not should_prune(rule, flat(0.0, epochs), others, epochs=epochs, maximize=True)


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_newest_report_decides(rule):
    """The newest report is compared, in whatever order they were given."""
    reports = {4: 0.5, 1: 0.0, 2: 0.1, 3: 0.1}
    assert not should_prune(rule, reports, [flat(0.4)], epochs=9, maximize=True)
    assert should_prune(rule, reports, [flat(0.6)], epochs=9, maximize=True)


@pytest.mark.parametrize("rule", ["asha", "median", "none"])
def test_pure(rule):
    """The decision changes nothing that it was given, and is the same the second time and in another order."""
    reports, others = flat(0.5, 4), [flat(0.9), flat(0.2, 2), flat(0.7)]
    copies = [dict(other) for other in others]
    first = should_prune(rule, reports, others, epochs=9, maximize=True)
    assert (reports, others) == (flat(0.5, 4), copies)
    assert (
        should_prune(rule, reports, others[::-1], epochs=9, maximize=True)
        is first
        is (rule != "none")
    )
