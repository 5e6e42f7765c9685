"""Puts scores, differences and the lead of a study into values and words."""

from __future__ import annotations

from pipeline.report.grid import Row
from pipeline.system.text import clip
from sweeps.analysis.difference import Difference
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import Lead, StudyRecord
from sweeps.analysis.scores import Score, complete_trials

BASELINE = "baseline"  # marks a configuration to compare with


def score_values(key: str, score: Score | None) -> Row:
    """A score as values: its mean at ``key``, its spread and number of seeds; None if unknown."""
    return {
        key: score and score.mean,
        f"{key}_spread": score and score.spread,
        f"{key}_seeds": score and score.seeds,
    }


def plural(count: int, noun: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def score_text(score: Score) -> str:
    """A mean over seeds: ``0.9896 ± 0.0010 (3 seeds)``."""
    text = f"{score.mean:.4f}"
    if score.spread is not None:
        text += f" ± {score.spread:.4f}"
    return f"{text} ({plural(score.seeds, 'seed')})"


def test_text(score: Score, interval: tuple[float, float] | None) -> str:
    """A mean test score with its interval over seeds and images, if that is known."""
    text = score_text(score)
    if interval is None:
        return text
    return f"{text}, 95 % {interval[0]:.4f} to {interval[1]:.4f} over seeds and images"


def entry_score_text(entry: Ranked) -> str:
    """The mean of a complete configuration over its seeds."""
    seeds = len(complete_trials(entry))
    return score_text(Score(mean=entry.value or 0.0, spread=entry.spread, seeds=seeds))


def signed(value: float) -> str:
    """A difference with its sign, with 4 decimals or as many as distinguish the value from 0.

    The rounding noise of sums counts as 0.
    """
    digits = next((digits for digits in range(4, 10) if round(value, digits)), 4)
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


def difference_text(difference: Difference) -> str:
    """A difference with its interval, what that rests on, and what it says."""
    text = f"difference {signed(difference.difference)}"
    if difference.half_width is None:
        return f"{text} {difference.why_unknown}: which is better is not known"
    return f"{text} ({interval_text(difference)}): {outcome_text(difference)}"


def interval_text(difference: Difference) -> str:
    """The interval of a difference, and what it rests on; empty if there is none.

    For example: ``95 % -0.0021 to +0.0102, 3 seeds, 239 images, of 12 configurations``.
    """
    if difference.low is None or difference.high is None:
        return ""
    span = f"{signed(difference.low)} to {signed(difference.high)}"
    return f"95 % {span}, {basis_text(difference)}"


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


def outcome_text(difference: Difference) -> str:
    """What the interval of a difference says, about its first side."""
    if difference.outcome == "ahead":
        text = "better beyond chance"
        if difference.second_is_no_worse:
            text += f", by less than {difference.rope:g}"
        return text
    if difference.outcome == "behind":
        return "worse beyond chance"
    if difference.outcome == "equal":
        return f"equal in practice, within {difference.rope:g}"
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


def lead_text(lead: Lead) -> str:
    """Say how far the first configuration is ahead of the second, and whether that is known."""
    sides = []
    for entry in (lead.first, lead.second):
        name = clip(config_text(entry.trials[0], lead.differing), 80)
        sides.append(f"{name} {entry_score_text(entry)}")
    return f"{' against '.join(sides)}: {difference_text(lead.difference)}"


def lead_sentences(record: StudyRecord) -> list[str]:
    """The lead of a study's search as text; empty if there is none."""
    if record.lead is None:
        return []
    text = lead_text(record.lead)
    if record.decided_finalists:
        text = f"In the search: {text}"
    return [text]


def lead_values(lead: Lead | None) -> Row | None:
    """A lead as values, with its text."""
    if lead is None:
        return None
    return {
        "first": _lead_side(lead, lead.first),
        "second": _lead_side(lead, lead.second),
        **(difference_values(lead.difference) or {}),
        "text": lead_text(lead),
    }


def _lead_side(lead: Lead, entry: Ranked) -> Row:
    return {
        "configuration": config_text(entry.trials[0], lead.differing),
        "mean": entry.value,
        "spread": entry.spread,
        "seeds": len(complete_trials(entry)),
    }
