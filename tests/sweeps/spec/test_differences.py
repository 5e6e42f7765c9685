"""What is told of two definitions of a study is short, whatever they hold."""

from sweeps.spec.differences import short_differences
from sweeps.spec.study_spec import StudySpec

RANGE = {"low": 1e-4, "high": 0.1, "log": True}


def identity(search, **keys):
    return StudySpec.model_validate(
        {"dataset": "digits", "trials": 4, "search": search, **keys}
    ).identity()


def told(search, **keys):
    """The differences of a study of `lr` from another one."""
    return short_differences(identity({"lr": RANGE}), identity(search, **keys))


def test_a_range():
    """Both ends are told, and the scale only where that differs."""
    assert told({"lr": {**RANGE, "low": 1e-3}}) == "lr: 0.0001 to 0.1 -> 0.001 to 0.1"
    linear = {"low": 1e-4, "high": 0.1}
    assert told({"lr": linear}) == (
        "lr: 0.0001 to 0.1 on a log scale -> 0.0001 to 0.1 on a linear scale"
    )


def test_a_field_that_is_no_longer_searched():
    """It is one difference, although it moves from one key of the study file to another."""
    search = {"width": [8, 16]}
    assert told(search, fixed={"lr": 0.01}) == "lr: 0.0001 to 0.1 -> 0.01; width: not set -> 8, 16"


def test_long_values_are_cut():
    """Neither many choices nor many configurations make a long text."""
    starts = [{"lr": 0.001 * n} for n in range(1, 9)]
    others = [{"lr": 0.0011 * n} for n in range(1, 9)]
    begun = identity({"lr": RANGE}, start_with=starts)
    assert short_differences(begun, begun) == ""
    asked = identity({"lr": RANGE}, start_with=others)
    assert short_differences(begun, asked) == "start_with: 8 configurations -> other values"
    asked = identity({"batch_size": list(range(8, 800))}, epochs=9, seed=1, objective="val_loss")
    text = short_differences(begun, asked)
    assert text.startswith("objective: val_acc -> val_loss; lr: 0.0001 to 0.1 -> not set; batch")
    assert text.endswith("…; and 3 more")
    assert len(text) < 200
