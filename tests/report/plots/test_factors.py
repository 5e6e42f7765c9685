import pytest
from support.records import (
    DROPOUT,
    LR,
    MIXED,
    POINTS,
    make_record,
    make_result,
    mixed_study,
    repeated_study,
)

from pipeline.report.plots.factors import draw_factors, factors_info
from sweeps.spec.dimension import Dimension


def test_one_factor_has_a_panel_for_each_field():
    """Each panel shows the trials whose other fields are at the centre, and marks the centre."""
    info = factors_info(repeated_study(POINTS, (LR, DROPOUT), method="one_factor"))
    lr, dropout = info.panels
    assert (lr.field, lr.log, lr.centre, lr.failed) == ("lr", True, 0.01, (0.1,))
    assert [label for _, label in lr.ticks] == ["0.001", "0.01", "0.1"]
    assert [(point.place, point.mean) for point in lr.lines[0].points] == [
        (0.001, pytest.approx(0.805)),
        (0.01, pytest.approx(0.905)),
    ]
    assert lr.lines[0].points[0].values == pytest.approx((0.8, 0.81))
    assert lr.lines[0].points[0].spread == pytest.approx(0.01 / 2**0.5)
    assert (dropout.log, dropout.centre) == (False, 1.0)
    assert [label for _, label in dropout.ticks] == ["0", "0.1", "0.5"]
    assert len(dropout.lines[0].points) == 3


def test_grid_of_two_fields_has_a_line_for_each_value():
    """The field with the most numbers is the x axis; each value of the other is a line."""
    points = [
        ({"lr": lr, "batch_norm": norm}, 0.5 + lr * 10 + norm * 0.1)
        for lr in (0.01, 0.02)
        for norm in (True, False)
    ]
    dimensions = (Dimension(field="batch_norm", choices=(True, False)), LR)
    (panel,) = factors_info(repeated_study(points, dimensions, method="grid")).panels
    assert (panel.field, panel.log, panel.centre) == ("lr", False, None)
    assert [line.name for line in panel.lines] == ["batch_norm true", "batch_norm false"]
    assert [len(line.points) for line in panel.lines] == [2, 2]


def test_zip_has_its_identifying_field_as_x_axis():
    """The rows of a zip stand side by side, by the first field with a different value in each."""
    points = [
        ({"dropout": 0.0, "activation": "relu"}, 0.5),
        ({"dropout": 0.5, "activation": "gelu"}, 0.5),
        ({"dropout": 0.5, "activation": "tanh"}, 0.5),
    ]
    dimensions = (DROPOUT, Dimension(field="activation", choices=("relu", "gelu", "tanh")))
    (panel,) = factors_info(repeated_study(points, dimensions, method="zip")).panels
    assert not panel.ordered
    assert panel.field == "activation"
    assert [label for _, label in panel.ticks] == ["relu", "gelu", "tanh"]


def test_one_searched_field_is_enough():
    """A search of one field by any method has a panel, with an axis of numbers for many values."""
    results = [make_result(i, 0.5 + i / 100, lr=0.01 + 0.001 * i) for i in range(12)]
    (panel,) = factors_info(make_record(results, dimensions=[LR])).panels
    assert (panel.log, panel.ticks, len(panel.lines[0].points)) == (False, (), 12)


@pytest.mark.parametrize(
    "record",
    [
        mixed_study(24),
        make_record(dimensions=[LR], method="grid"),
        make_record([make_result(0, 0.5)], dimensions=[LR], method="one_factor"),
        make_record([make_result(0, state="failed")], dimensions=[LR]),
        mixed_study(24, method="grid"),
    ],
    ids=["many fields", "no trials", "nothing varies", "nothing complete", "a large grid"],
)
def test_nothing_to_draw(record):
    """A study over many fields, without variation, or without a complete trial has no such plot."""
    assert factors_info(record) is None


def test_values_are_drawn_as_plain_text():
    """A choice that could be read as mathematics is drawn unchanged."""
    points = [
        ({"layer_order": order, "family": "cnn"}, 0.5)
        for order in ("conv-norm-act-drop-pool", "pool-conv-norm-act-drop")
    ]
    dimensions = [dimension for dimension in MIXED if dimension.field == "layer_order"]
    info = factors_info(repeated_study(points, dimensions, method="ablate"))
    first_label = draw_factors(info).axes[0].get_xticklabels()[0]
    assert first_label.get_text() == "conv-norm-act-drop-pool"


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_there_is_no_empty_panel(count):
    """If the panels do not fill the last row, nothing is drawn in its remaining places."""
    fields = ["lr", "dropout", "momentum", "weight_decay", "label_smoothing"][:count]
    dimensions = [Dimension(field=field, choices=(0.1, 0.2)) for field in fields]
    centre = {**dict.fromkeys(fields, 0.1), "optimizer": "sgd"}
    points = [(centre, 0.6)]
    points += [({**centre, field: 0.2}, 0.5) for field in fields]
    info = factors_info(repeated_study(points, dimensions, method="one_factor"))
    figure = draw_factors(info)
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert labels == fields
