"""A dimension of a search space: its values, how it is written, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.spec.dimension import MAX_STEPS, Dimension, parse_dimensions, round_significant


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123456, 0.1235),
        (123456.0, 123500.0),
        (1e-8, 1e-8),
        (0.00099999, 0.001),
        (0.0, 0.0),
        (0.1 + 0.2, 0.3),
    ],
)
def test_round_significant(value, expected):
    """Four significant digits are kept, whatever the size."""
    assert round_significant(value) == expected


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("activation", ["relu", "tanh"], [Dimension(field="activation", choices=("relu", "tanh"))]),
        ("lr", ["1e-3", 1], [Dimension(field="lr", choices=(0.001, 1.0))]),
        ("residual", [True, False], [Dimension(field="residual", choices=(True, False))]),
        (
            "lr",
            {"low": "1e-4", "high": 1, "log": True},
            [Dimension(field="lr", low=1e-4, high=1.0, log=True)],
        ),
        (
            "width",
            {"low": 8, "high": 64, "step": 8},
            [Dimension(field="width", low=8, high=64, step=8)],
        ),
        ("dropout", {"low": 0, "high": 0.123456}, [Dimension(field="dropout", low=0, high=0.1235)]),
        (
            "momentum",
            {"choices": [0.5, 0.9], "when": {"optimizer": "sgd"}},
            [Dimension(field="momentum", choices=(0.5, 0.9), when={"optimizer": ("sgd",)})],
        ),
        (
            "depth",
            [
                {"low": 1, "high": 3, "when": {"family": ["mlp", "cnn"]}},
                {"choices": [3], "when": {"family": "resnet"}},
            ],
            [
                Dimension(field="depth", low=1, high=3, when={"family": ("mlp", "cnn")}),
                Dimension(field="depth", choices=(3,), when={"family": ("resnet",)}),
            ],
        ),
    ],
)
def test_read(name, raw, expected):
    """A list is choices, a mapping a range or choices, a list of mappings one dimension for each condition."""
    assert list(parse_dimensions(name, raw)) == expected
    assert [type(v) for d in parse_dimensions(name, raw) for v in d.choices] == [
        type(v) for d in expected for v in d.choices
    ]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("lr", 0.1, "lr must be a list of values or a range {low: ..., high: ...}: got 0.1"),
        ("lr", None, "lr must be a list of values or a range {low: ..., high: ...}: got None"),
        ("lr", [], "lr: choices must be a list of at least one value, without low or high: got []"),
        (
            "lr",
            {"choices": 1},
            "lr: choices must be a list of at least one value, without low or high: got 1",
        ),
        (
            "lr",
            {"choices": [1], "low": 1},
            "lr: choices must be a list of at least one value, without low or high",
        ),
        ("lr", [0.1, 1000], "lr must be from 1e-08 to 100: got 1000"),
        ("lr", [0.1, {"low": 1, "high": 2}], "lr must be a number: got {'low': 1, 'high': 2}"),
        ("lr", {"low": 0.1}, "lr must have low and high, or choices: got {'low': 0.1}"),
        ("lr", {}, "lr must have low and high, or choices: got {}"),
        (
            "lr",
            {"lo": 0.1, "high": 1},
            "lr has an unknown key 'lo'; did you mean low? known: choices, low, high,",
        ),
        ("lr", {"low": 1, "high": 0.1}, "lr: low must be below high: got 1 and 0.1"),
        ("lr", {"low": 0.1, "high": 0.1}, "lr: low must be below high: got 0.1 and 0.1"),
        (
            "lr",
            {"low": 0.123451, "high": 0.123452},
            "lr: low must be below high: got 0.1235 and 0.1235",
        ),
        ("lr", {"low": float("nan"), "high": 1}, "lr must be from 1e-08 to 100: got nan"),
        ("lr", {"low": 0.1, "high": 1000}, "lr must be from 1e-08 to 100: got 1000"),
        ("lr", {"low": 0.1, "high": 1, "log": "yes"}, "lr: log must be true or false: got 'yes'"),
        (
            "dropout",
            {"low": 0, "high": 0.5, "log": True},
            "dropout: a log range must start above 0: got 0",
        ),
        (
            "lr",
            {"low": 0.1, "high": 1, "log": True, "step": 0.1},
            "lr: step must be a number above 0, and not with",
        ),
        (
            "lr",
            {"low": 0.1, "high": 1, "step": 0},
            "lr: step must be a number above 0, and not with log: got 0",
        ),
        (
            "lr",
            {"low": 0.1, "high": 1, "step": -0.1},
            "lr: step must be a number above 0, and not with log: got -0.1",
        ),
        (
            "lr",
            {"low": 0.1, "high": 1, "step": True},
            "lr: step must be a number above 0, and not with log: got True",
        ),
        (
            "lr",
            {"low": 0.1, "high": 1, "step": "a"},
            "lr: step must be a number above 0, and not with log: got 'a'",
        ),
        ("lr", {"low": 0.1, "high": 1, "step": float("nan")}, "lr: step must be a number above 0"),
        (
            "lr",
            {"low": 0.1, "high": 1, "step": float("inf")},
            "lr: step must lead from low to high: got 0.1 to 1 by",
        ),
        (
            "dropout",
            {"low": 0, "high": 0.5, "step": 0.2},
            "dropout: step must lead from low to high: got 0 to 0.5 by",
        ),
        (
            "dropout",
            {"low": 0, "high": 0.5, "step": 1e-320},
            "dropout: step must lead from low to high",
        ),
        (
            "dropout",
            {"low": 0, "high": 0.5, "step": 1.25e-6},
            "dropout: step must lead from low to high",
        ),
        (
            "lr",
            {"low": 1, "high": 2, "step": 0.0001},
            "lr: step is finer than the 4 significant digits of a value",
        ),
        (
            "width",
            {"low": 1, "high": 4, "step": 1.5},
            "width: step must be a whole number: got 1.5",
        ),
        ("width", {"low": 1.5, "high": 4}, "width must be a whole number: got 1.5"),
        ("activation", {"low": 0, "high": 1}, "activation has no ranges: list its values"),
        ("residual", {"low": 0, "high": 1}, "residual has no ranges: list its values"),
        ("residual", [0, 1], "residual must be true or false: got 0"),
        (
            "lr",
            {"low": 1, "high": 2, "when": "sgd"},
            "lr: when must be a mapping of fields to values: got 'sgd'",
        ),
        (
            "lr",
            {"low": 1, "high": 2, "when": {"optimiser": "sgd"}},
            "when names an unknown field 'optimiser'; did you",
        ),
        (
            "lr",
            {"low": 1, "high": 2, "when": {"optimizer": "sdg"}},
            "optimizer is unknown: 'sdg'; did you mean sgd?",
        ),
    ],
)
def test_refused(name, raw, message):
    """What is no dimension is refused with the rule and the value."""
    with pytest.raises(ValueError, match=r"\S") as error:
        parse_dimensions(name, raw)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Dimension(field="activation", choices=("tanh", "relu")), ("tanh", "relu")),
        (Dimension(field="width", low=1, high=4), (1, 2, 3, 4)),
        (Dimension(field="width", low=8, high=32, step=8), (8, 16, 24, 32)),
        (
            Dimension(field="dropout", low=0.0, high=0.6, step=0.1),
            (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        ),
        (Dimension(field="lr", low=0.1, high=0.7, step=0.2), (0.1, 0.3, 0.5, 0.7)),
    ],
)
def test_grid(dimension, values):
    """A grid has each choice, whole number or step once, both ends included, and contains them and nothing between."""
    assert dimension.grid() == values
    assert [type(v) for v in dimension.grid()] == [type(v) for v in values]
    assert dimension.first == values[0]
    assert all(dimension.contains(value) for value in values)
    assert not dimension.contains(None)
    assert not dimension.contains(0.15)


@pytest.mark.parametrize("log", [True, False])
def test_no_grid(log):
    """A range of numbers without a step is no grid, and contains all between its bounds."""
    dimension = Dimension(field="lr", low=0.1, high=1.0, log=log)
    with pytest.raises(
        ValueError, match=r"^lr needs a list of values or a step to be laid out as a grid$"
    ):
        dimension.grid()
    assert [dimension.contains(v) for v in (0.09, 0.1, 0.15, 1.0, 1.01)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_contains_no_word():
    """A word is in no range."""
    assert not Dimension(field="lr", low=0.1, high=1.0).contains("sgd")


@given(
    st.integers(0, 500),
    st.integers(1, 500),
    st.integers(1, 20),
    st.sampled_from([1e-4, 1e-3, 0.01, 0.1, 1]),
)
def test_steps_outlive_rounding(first, steps, step, unit):
    """A range with a step is refused, or its grid has all its steps, apart, with 4 significant digits each."""
    raw = {"low": first * unit, "high": (first + steps * step) * unit, "step": step * unit}
    try:
        (dimension,) = parse_dimensions("weight_decay", raw)
    except ValueError:
        assert (
            raw["high"] > 10
            or first + steps * step > 9999
            or len(f"{first * unit:.10g}".strip("0.")) > 4
        )
        return
    values = dimension.grid()
    assert len(set(values)) == steps + 1
    assert all(value == round_significant(value) for value in values)
    assert values[-1] == pytest.approx(raw["high"])


def test_most_steps():
    """The finest whole steps over the widest field are allowed."""
    (dimension,) = parse_dimensions("batch_size", {"low": 1, "high": 65536, "step": 1})
    assert len(dimension.grid()) == 65536 < MAX_STEPS


@pytest.mark.parametrize(
    ("dimension", "key", "needs", "text"),
    [
        (Dimension(field="lr", low=1e-4, high=0.1, log=True), "lr", set(), "0.0001 to 0.1, log"),
        (
            Dimension(field="dropout", low=0.0, high=0.5, step=0.1),
            "dropout",
            {"family"},
            "0 to 0.5, step 0.1",
        ),
        (Dimension(field="momentum", choices=(0.5, 0.9)), "momentum", {"optimizer"}, "0.5, 0.9"),
        (
            Dimension(field="shortcut", choices=("conv",)),
            "shortcut",
            {"family", "residual"},
            "conv",
        ),
        (
            Dimension(
                field="lr", low=1.0, high=2.0, when={"optimizer": ("sgd", "adam"), "depth": (1,)}
            ),
            "lr [optimizer=sgd|adam, depth=1]",
            {"optimizer", "depth"},
            "1 to 2",
        ),
    ],
)
def test_key_needs_text(dimension, key, needs, text):
    """A key names the condition; a dimension needs its conditions, its field's, and a network's option the family."""
    assert (dimension.key, dimension.needs, str(dimension)) == (key, needs, text)
