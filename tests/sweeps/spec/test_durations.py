"""Durations with units, in options and budgets."""

import pytest

from sweeps.spec.durations import parse_duration
from sweeps.spec.study_spec import parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        ("90", 90),
        ("45s", 45),
        ("10m", 600),
        ("90min", 5400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1 h 30 min", 5400),
        ("2d", 172800),
        ("1H", 3600),
    ],
)
def test_a_duration_in_seconds(text, seconds):
    """Each usual spelling of a time is read."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "10 apples", "h", "1h30", "--1h", None])
def test_what_is_no_duration(text):
    """Anything else is refused with the rule and the value."""
    with pytest.raises(ValueError, match="a duration such as 90"):
        parse_duration(text)


def test_a_budget_is_trainings_or_a_time():
    """A number alone is whole trainings; with units it is a time."""
    assert parse_budget("12").trainings == 12
    assert parse_budget("1h30m").seconds == 5400
    assert parse_budget("1.5h").seconds == parse_budget("90min").seconds == 5400
    assert [str(parse_budget(text)) for text in ("90min", "100min", "2s")] == [
        "1.5h",
        "100min",
        "2s",
    ]
    assert parse_budget(str(parse_budget("100.00001s"))).seconds == 100.00001
    with pytest.raises(ValueError, match="budget must be a number of whole trainings"):
        parse_budget("0.5")
