"""Checks whether better values may lie beyond an end of a searched range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeGuard

from pipeline.report.checks.base import Check, Level
from pipeline.report.scores import probability_text
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.trend import MIN_CONFIGURATIONS, rank_correlation, standings
from sweeps.spec.dimension import Dimension
from sweeps.trial import TrialConfig, Value

# Share of a range, on its own scale. A sampler puts one winner in twenty this close to an end by
# chance, so that alone is no reason to search beyond it.
EDGE = 0.05
# A trend over a whole range has to go on in the half towards the end: with the best value at three
# quarters of the range, the whole shows a rise, and that half shows none.
HALF = 0.5
CHANCE = 0.05  # of any finding, in a study in which nothing matters
FEW = 20  # a range of so few integers has a first and a last one, as a list of choices has

_End = Literal["upper", "lower"]
_LEVELS = ("warning", "note", "good")


class _Trend(NamedTuple):
    """How the configurations in a range stand, towards one of its ends."""

    configurations: int
    correlation: float = 0.0  # of the closeness to the end with the standing
    chance: float = 1.0  # of such a correlation or a larger one, for one range

    @property
    def is_judged(self) -> bool:
        """Whether there are enough configurations."""
        return self.configurations >= MIN_CONFIGURATIONS


class _Trends(NamedTuple):
    """The trend towards an end over a whole range, and in the half of it at that end."""

    whole: _Trend
    half: _Trend


class _Finding(NamedTuple):
    """What is known of the values beyond an end of a range."""

    level: Level
    text: str


def edge(record: StudyRecord) -> Check | None:
    """Check whether values beyond the winner's end of a range may be better.

    They may if the configurations do better towards that end: over the whole range, beyond chance
    after correction for the number of ranges (Bonferroni), and in the half towards the end, too.
    Both are rank correlations. Configurations are compared at equal epochs, see
    `sweeps.analysis.trend.standings`. Layouts with conditions of their own (zip, ablation) are not
    judged. Bounds of the field itself (no dropout, one layer) do not count as ends.
    """
    winner = record.best_trial
    if winner is None or record.method in ("zip", "ablate"):
        return None
    config = winner.config
    judged = [d for d in record.dimensions if _position(d, config) is not None]
    if not judged:
        return None
    movable = [d for d in judged if _can_move(d, "lower") or _can_move(d, "upper")]
    known_standings = standings(record)
    findings: list[_Finding] = []
    for dimension in movable:
        end = _nearer_end(dimension, config)
        if end is not None:
            trends = _trends(record, dimension, end, known_standings)
            finding = _finding(dimension, config, end, trends, len(movable))
            findings += [] if finding is None else [finding]
    if findings:
        findings.sort(key=lambda finding: _LEVELS.index(finding.level))
        texts = "; ".join(finding.text for finding in findings)
        return Check(name="edge", level=findings[0].level, text=f"Trial {winner.number}: {texts}.")
    names = ", ".join(dict.fromkeys(dimension.field for dimension in judged))
    text = f"Trial {winner.number} lies at no end of a range that could be moved: {names}."
    return Check(name="edge", level="good", text=text)


def _finding(
    dimension: Dimension, config: TrialConfig, end: _End, trends: _Trends, ranges: int
) -> _Finding | None:
    """Say what is known of the values beyond an end; None if there is nothing to say.

    Args:
        dimension: the range.
        config: the winner's.
        end: the nearer end of the range.
        trends: towards that end.
        ranges: how many are looked at.
    """
    whole, half = trends
    value = value_text(config.value(dimension.field) or 0)
    corrected = min(1.0, whole.chance * ranges)
    if half.is_judged and corrected <= CHANCE and half.chance <= CHANCE:
        direction = "higher" if end == "upper" else "lower"
        probability = probability_text(corrected)
        correction = f" after correction for {ranges} ranges" if ranges > 1 else ""
        text = (
            f"{dimension.field} is {value}, and {direction} ones did better over "
            f"{_span(dimension)} ({whole.configurations} configurations, rank correlation "
            f"{whole.correlation:.2f}, p {probability}{correction}) and in its {end} half "
            f"({half.configurations}, {half.correlation:.2f}): search {direction}"
        )
        return _Finding("warning", text)
    if not _is_at_end(dimension, config):
        return None
    where = f"{dimension.field} {value} lies at the {end} end of {_span(dimension)}"
    configurations = f"{half.configurations} configurations in that half"
    if not half.is_judged:
        needed = f"{configurations} are too few to tell ({MIN_CONFIGURATIONS} are needed)"
        return _Finding("note", f"{where}: what lies beyond was not tried, and {needed}")
    correlations = f"rank correlations {whole.correlation:.2f} and {half.correlation:.2f}"
    return _Finding(
        "good",
        f"{where}, with no clear trend towards it ({whole.configurations} configurations, "
        f"{half.configurations} in that half: {correlations})",
    )


def _span(dimension: Dimension) -> str:
    low, high = _ends(dimension)
    return f"{value_text(low)} to {value_text(high)}"


def _listed_values(dimension: Dimension) -> tuple[float, ...]:
    """Return the numbers of a dimension that has a list or few of them, ascending; else none."""
    if not dimension.choices:
        smallest_step = 1 if dimension.integer else 0
        step = dimension.step or smallest_step
        width = (dimension.high or 0) - (dimension.low or 0)
        if width >= FEW * step:
            return ()
    return tuple(sorted(value for value in dimension.grid() if _is_number(value)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ends(dimension: Dimension) -> tuple[Value, Value]:
    values = _listed_values(dimension)
    if values:
        return values[0], values[-1]
    return dimension.low or 0.0, dimension.high or 0.0


def _position(dimension: Dimension, config: TrialConfig) -> float | None:
    """Locate a configuration's value between the ends of a dimension, from 0 to 1.

    None if the dimension does not apply or has no order, and if it has fewer than three values.
    """
    value = config.value(dimension.field)
    applies = all(config.value(name) in allowed for name, allowed in dimension.when.items())
    if not applies or not _is_number(value):
        return None
    values = _listed_values(dimension)
    if values or dimension.choices:
        if len(values) < 3 or value not in values:
            return None
        return values.index(value) / (len(values) - 1)
    if dimension.low is None or dimension.high is None:
        return None
    scale = math.log if dimension.log else float
    low = scale(dimension.low)
    high = scale(dimension.high)
    return (scale(value) - low) / (high - low)


def _nearer_end(dimension: Dimension, config: TrialConfig) -> _End | None:
    """Return the end in whose half a configuration lies.

    None for the middle, and if the end is a bound of the field itself.
    """
    position = _position(dimension, config)
    if position is None or position == HALF:
        return None
    end: _End = "upper" if position > HALF else "lower"
    return end if _can_move(dimension, end) else None


def _can_move(dimension: Dimension, end: _End) -> bool:
    """Whether there are values beyond an end, and they could be searched."""
    low, high = _ends(dimension)
    return (high if end == "upper" else low) not in dimension.bounds


def _is_at_end(dimension: Dimension, config: TrialConfig) -> bool:
    """Whether a configuration has the first or the last value, or one within `EDGE` of an end."""
    position = _position(dimension, config)
    margin = 0.0 if _listed_values(dimension) else EDGE
    return position is not None and not margin < position < 1 - margin


def _trends(
    record: StudyRecord, dimension: Dimension, end: _End, known_standings: Mapping[str, float]
) -> _Trends:
    """Correlate the closeness to an end with the standing, in the whole range and in its half."""
    points: list[tuple[float, float]] = []
    for entry in record.ranked:
        config = entry.trials[0].config
        position = _position(dimension, config)
        if position is not None and config.group in known_standings:
            closeness = 1 - position if end == "lower" else position
            points.append((closeness, known_standings[config.group]))
    return _Trends(_trend(points), _trend([point for point in points if point[0] >= HALF]))


def _trend(points: Sequence[tuple[float, float]]) -> _Trend:
    if len(points) < MIN_CONFIGURATIONS:
        return _Trend(configurations=len(points))
    correlation, chance = rank_correlation(
        [closeness for closeness, _ in points], [standing for _, standing in points]
    )
    return _Trend(len(points), correlation, chance)
