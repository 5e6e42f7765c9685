"""The front of a study with two objectives, its knee, and the cheapest that is hardly worse."""

import random

import pytest
from support.records import make_record, make_result

from sweeps.analysis.facts import StoredSpec
from sweeps.analysis.finalists import choose_finalists, study_document
from sweeps.analysis.front import knee_of, layers
from sweeps.trial import PRUNED


def beats(one, other):
    """Whether a point is no worse in goodness and cost, and better in one of them."""
    return one != other and one[0] >= other[0] and one[1] <= other[1]


@pytest.mark.parametrize("seed", range(20))
def test_layers_are_fronts_of_what_the_layers_before_leave(seed):
    """Each layer holds those that nothing left beats; equal points share a layer."""
    rng = random.Random(seed)
    points = [(rng.randrange(6), rng.randrange(6)) for _ in range(rng.randrange(1, 30))]
    found = layers([good for good, _ in points], [cost for _, cost in points])
    left = list(range(len(points)))
    layer = 0
    while left:
        front = [i for i in left if not any(beats(points[j], points[i]) for j in left)]
        assert sorted(i for i in left if found[i] == layer) == front
        left = [i for i in left if i not in front]
        layer += 1


@pytest.mark.parametrize(
    ("goodness", "costs", "knee"),
    [
        ([0.5, 0.9, 1.0], [10, 100, 1000], 1),  # half of the way for four fifths of the gain
        ([0.5, 0.6, 1.0], [10, 100, 1000], None),  # below the line
        ([0.5, 0.75, 1.0], [10, 100, 1000], None),  # on the line
        ([0.5, 0.7, 0.95, 1.0], [10, 20, 100, 1000], 2),
        ([0.5, 1.0], [10, 1000], None),  # two ends
        ([0.5], [10], None),
    ],
)
def test_the_knee_is_farthest_above_the_line(goodness, costs, knee):
    """The knee of a front, with a logarithmic axis of costs, or none."""
    assert knee_of(goodness, costs) == knee


def front_record(points, *, objectives=("val_acc", "parameters"), **facts):
    """A study with two objectives, of configurations with these values and costs."""
    name = objectives[1]
    results = [
        make_result(number, value, lr=0.01 * (1 + number), **{name: cost})
        for number, (value, cost) in enumerate(points)
    ]
    return make_record(results, spec=StoredSpec(objectives=objectives), **facts)


def test_the_front_of_a_study():
    """It holds what nothing as cheap is as good as, of equal ones the first, and knows its knee."""
    points = [(0.9, 100), (0.5, 10), (0.95, 1000), (0.8, 200), (0.9, 100), (0.4, 5000)]
    front = front_record(points).front
    assert [member.entry.trials[0].number for member in front.members] == [1, 0, 2]
    assert [member.cost for member in front.members] == [10, 100, 1000]
    assert front.knee is front.members[1]
    assert front.compared == len(points)
    record = front_record(points)
    marks = {entry.trials[0].number: front.mark(entry) for entry in record.ranked}
    assert marks == {0: "knee", 1: "front", 2: "front", 3: "", 4: "", 5: ""}
    # One seed each: which of two neighbours is better is not known.
    assert [member.gain and member.gain.half_width for member in front.members] == [None] * 3
    assert [member.gain and member.gain.outcome for member in front.members] == [
        None,
        "open",
        "open",
    ]


def test_finalists_are_the_best_of_the_front():
    """From the best down to the knee, then the next of the ranking: what is much worse is none."""
    points = [(0.9, 100), (0.5, 10), (0.95, 1000), (0.94, 2000), (0.4, 5000)]
    record = front_record(points)
    assert choose_finalists(record, top=2, seeds=3).trials == (2, 0)
    assert choose_finalists(record, top=3, seeds=3).trials == (2, 0, 3)
    chosen = choose_finalists(record, top=5, seeds=3)
    assert chosen.trials == (2, 0, 3, 1, 4)
    assert study_document(chosen)["objectives"] == ["val_acc", "parameters"]
    no_knee = front_record([(0.5, 10), (0.9, 100), (0.89, 200)])
    assert choose_finalists(no_knee, top=3, seeds=3).trials == (1, 0, 2)


def test_pruned_ones_and_ones_without_a_cost_are_on_no_front():
    """Only complete configurations whose cost is known count."""
    results = [
        make_result(0, 0.9, lr=0.1, parameters=100),
        make_result(1, 0.99, lr=0.2, parameters=10, state=PRUNED),
        make_result(2, 0.98, lr=0.3),
    ]
    record = make_record(results, spec=StoredSpec(objectives=("val_acc", "parameters")))
    assert [member.entry.trials[0].number for member in record.front.members] == [0]
    assert make_record(results).front is None


def test_a_study_without_a_known_cost_has_no_front():
    """There is nothing to be cheap in."""
    assert (
        make_record([make_result(0, 0.9)], spec=StoredSpec(objectives=("val_acc", "mflops"))).front
        is None
    )


@pytest.mark.parametrize(
    ("within", "number", "candidates"),
    [(None, 2, 1), (0, 2, 1), (0.004, 2, 1), (0.005, 0, 2), (0.5, 1, 3)],
)
def test_the_cheapest_within_a_margin(within, number, candidates):
    """--best takes the most accurate, and with a margin the cheapest that is worse by no more."""
    points = [(0.97, 100), (0.5, 10), (0.975, 1000)]
    choice = front_record(points).choose(within)
    assert choice.entry.trials[0].number == number
    assert choice.best.trials[0].number == 2
    assert choice.candidates == candidates
    assert (choice.difference is None) == (number == 2)


def test_a_loss_is_the_better_the_smaller():
    """A front of a loss, and the cheapest whose loss is larger by no more."""
    record = front_record(
        [(0.2, 100), (0.5, 10), (0.19, 1000)],
        objectives=("val_loss", "mflops"),
        objective="val_loss",
        maximize=False,
    )
    assert [member.cost for member in record.front.members] == [10, 100, 1000]
    assert record.choose(0.01).entry.trials[0].number == 0
    assert record.choose().entry.trials[0].number == 2


def test_the_cheapest_of_a_study_with_one_objective():
    """The cost is then the operations, or the parameters where those are not known."""
    results = [
        make_result(0, 0.97, lr=0.1, parameters=10, mflops=9.0),
        make_result(1, 0.97, lr=0.2, parameters=20, mflops=1.0),
    ]
    assert make_record(results).choose(0.01).entry.trials[0].number == 1
    no_operations = [
        make_result(0, 0.97, lr=0.1, parameters=20),
        make_result(1, 0.97, lr=0.2, parameters=10),
    ]
    assert make_record(no_operations).choose(0.01).entry.trials[0].number == 1
