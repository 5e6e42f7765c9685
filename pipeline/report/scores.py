"""Puts scores, differences and the lead of a study into values and words."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.grid import SHARES, Row
from pipeline.system.text import clip
from sweeps.analysis.difference import Difference
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import Lead, StudyRecord
from sweeps.analysis.scores import Score, complete_trials

BASELINE = "baseline"  # marks a configuration to compare with


@dataclass(frozen=True)
class Unit:
    """How sentences write the values of an objective and their differences."""

    percent: bool

    def value(self, value: float) -> str:
        """A value: ``97.39 %``, or ``0.1234`` of an objective without a unit."""
        return f"{self._digits(value)} %" if self.percent else f"{value:.4f}"

    def score(self, score: Score) -> str:
        """A mean and its spread: ``98.96 ± 0.10 %``."""
        text = self._digits(score.mean)
        if score.spread is not None:
            text += f" ± {self._digits(score.spread)}"
        return f"{text} %" if self.percent else text

    def mean(self, score: Score) -> str:
        """A mean, its spread and number of seeds: ``98.96 ± 0.10 % (3 seeds)``."""
        return f"{self.score(score)} ({plural(score.seeds, 'seed')})"

    def interval(self, low: float, high: float) -> str:
        """An interval: ``96.93 to 99.29 %``."""
        text = f"{self._digits(low)} to {self._digits(high)}"
        return f"{text} %" if self.percent else text

    def difference(self, value: float, *, sign: bool = False) -> str:
        """A difference: ``0.22 points`` of a percentage, or ``0.0022``."""
        text = signed(100 * value, 2) if self.percent else signed(value)
        if not sign:
            text = text.removeprefix("+")
        return f"{text} points" if self.percent else text

    def signed_interval(self, low: float, high: float) -> str:
        """An interval of a difference: ``-0.21 to +1.02 points``."""
        texts = [self.difference(end, sign=True).removesuffix(" points") for end in (low, high)]
        text = " to ".join(texts)
        return f"{text} points" if self.percent else text

    def margin(self, value: float | None) -> str:
        """A difference that was settled beforehand, in few digits: ``1 point``, ``0.01``."""
        if not self.percent or value is None:
            return f"{value:g}"
        points = f"{100 * value:g}"
        return f"{points} point" if points == "1" else f"{points} points"

    def _digits(self, value: float) -> str:
        return f"{100 * value:.2f}" if self.percent else f"{value:.4f}"


PERCENT = Unit(percent=True)


def unit_of(objective: str) -> Unit:
    """The unit in which sentences give an objective."""
    return Unit(percent=objective in SHARES)


def score_values(key: str, score: Score | None) -> Row:
    """A score as values: its mean at ``key``, its spread and number of seeds; None if unknown."""
    return {
        key: score and score.mean,
        f"{key}_spread": score and score.spread,
        f"{key}_seeds": score and score.seeds,
    }


def probability_text(probability: float) -> str:
    """A probability of what was seen, if all is chance; none is written as 0."""
    return "below 0.001" if probability < 0.001 else f"{probability:.3f}"


def plural(count: int, noun: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``, ``1,151 images``."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def test_text(score: Score, interval: tuple[float, float] | None) -> str:
    """A mean test accuracy with its interval over seeds and images, if that is known."""
    text = PERCENT.mean(score)
    if interval is None:
        return text
    return f"{text}, 95 % interval {PERCENT.interval(*interval)} over seeds and images"


def entry_score_text(entry: Ranked, unit: Unit) -> str:
    """The mean of a complete configuration over its seeds."""
    seeds = len(complete_trials(entry))
    return unit.mean(Score(mean=entry.value or 0.0, spread=entry.spread, seeds=seeds))


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign, with ``decimals`` or as many as distinguish the value from 0.

    The rounding noise of sums counts as 0.
    """
    digits = next(
        (digits for digits in range(decimals, decimals + 6) if round(value, digits)), decimals
    )
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def difference_values(difference: Difference | None) -> Row | None:
    """A difference as values; None without one."""
    if difference is None:
        return None
    needs = difference.needs
    return {
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "outcome": difference.outcome,
        "seeds": list(difference.seeds),
        "images": difference.images,
        "redraws": difference.redraws,
        "configurations": difference.configurations,
        "rope": difference.rope,
        "further_seeds": needs and needs.seeds,
        "further_images": needs and needs.images,
    }


def difference_text(difference: Difference, unit: Unit) -> str:
    """A difference with its interval, what that rests on, and what it says."""
    text = f"difference {unit.difference(difference.difference, sign=True)}"
    if difference.half_width is None:
        return f"{text} {difference.why_unknown}: which is better is not known"
    return f"{text} ({interval_text(difference, unit)}): {outcome_text(difference, unit)}"


def interval_text(difference: Difference, unit: Unit) -> str:
    """The interval of a difference, and what it rests on; empty if there is none.

    For example: ``95 % interval -0.21 to +1.02, 3 seeds, 239 images, of 12 configurations``.
    """
    if difference.low is None or difference.high is None:
        return ""
    span = unit.signed_interval(difference.low, difference.high)
    return f"95 % interval {span}, {basis_text(difference)}"


def basis_text(difference: Difference) -> str:
    """What the interval of a difference rests on."""
    first, second = difference.seeds
    seeds = plural(first, "seed")
    if difference.redraws:
        seeds = plural(difference.redraws, "draw")
        seeds += " of train and validation"
    elif first != second:
        seeds = f"{first} and {plural(second, 'seed')}"
    parts = [seeds]
    if difference.images is not None:
        parts.append(plural(difference.images, "image"))
    return f"{', '.join(parts)}, of {difference.configurations} configurations"


def outcome_text(difference: Difference, unit: Unit) -> str:
    """What the interval of a difference says, about its first side."""
    if difference.outcome == "ahead":
        text = "better beyond chance"
        if difference.second_is_no_worse:
            text += f", by less than {unit.margin(difference.rope)}"
        return text
    if difference.outcome == "behind":
        return "worse beyond chance"
    if difference.outcome == "equal":
        return f"equal in practice, within {unit.margin(difference.rope)}"
    return f"not told apart{needs_text(difference)}"


def needs_text(difference: Difference) -> str:
    """What would decide an open difference, after a semicolon; empty if it is not known."""
    if difference.needs is None:
        return ""
    seeds = difference.needs.seeds
    images = difference.needs.images
    if seeds is None and images is None:
        return ""
    parts = []
    if seeds is not None:
        parts.append(f"{plural(seeds, 'more seed')} of each")
    if images is not None:
        noun = "image" if images == 1 else "images"
        parts.append(f"{images:,} more {noun}")
    return f"; {' or '.join(parts)} would decide, if the difference stays as it is"


def lead_text(lead: Lead, unit: Unit) -> str:
    """Say how far the first configuration is ahead of the second, and whether that is known."""
    sides = []
    for entry in (lead.first, lead.second):
        name = clip(config_text(entry.trials[0], lead.differing), 80)
        sides.append(f"{name} {entry_score_text(entry, unit)}")
    return f"{' against '.join(sides)}: {difference_text(lead.difference, unit)}"


def lead_sentences(record: StudyRecord) -> list[str]:
    """The lead of a study's search as text; empty if there is none."""
    if record.lead is None:
        return []
    text = lead_text(record.lead, unit_of(record.objective))
    if record.decided_finalists:
        text = f"In the search: {text}"
    return [text]


def lead_values(record: StudyRecord) -> Row | None:
    """The lead of a study as values, with its text; None without one."""
    lead = record.lead
    if lead is None:
        return None
    return {
        "first": _lead_side(lead, lead.first),
        "second": _lead_side(lead, lead.second),
        **(difference_values(lead.difference) or {}),
        "text": lead_text(lead, unit_of(record.objective)),
    }


def _lead_side(lead: Lead, entry: Ranked) -> Row:
    return {
        "configuration": config_text(entry.trials[0], lead.differing),
        "mean": entry.value,
        "spread": entry.spread,
        "seeds": len(complete_trials(entry)),
    }
