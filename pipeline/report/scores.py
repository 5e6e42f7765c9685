"""Puts scores, differences and the lead of a study into values and words."""

from __future__ import annotations

from pipeline.report.grid import Row
from pipeline.system.text import clip
from sweeps.analysis.lead import Lead
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials


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


def difference_text(difference: float, spread: float | None) -> str:
    """Say whether a difference of two means exceeds the spread of the seeds.

    Args:
        difference: of the means, not negative.
        spread: the larger of the two; None for one seed each.
    """
    if spread is None:
        comment = "comes of one seed each: it may be noise"
    elif difference <= spread:
        comment = "is within the seeds' spread"
    else:
        comment = "is larger than the seeds' spread"
    return f"the difference {difference:.4f} {comment}"


def lead_text(lead: Lead) -> str:
    """Say how far the first configuration is ahead of the second, and whether seeds differ so."""
    sides = []
    for entry in (lead.first, lead.second):
        name = clip(config_text(entry.trials[0], lead.differing), 80)
        sides.append(f"{name} {entry_score_text(entry)}")
    return f"{' against '.join(sides)}: {difference_text(lead.difference, lead.spread)}"


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
        "difference": lead.difference,
        "within": lead.within,
        "text": lead_text(lead),
    }


def _lead_side(lead: Lead, entry: Ranked) -> Row:
    return {
        "configuration": config_text(entry.trials[0], lead.differing),
        "mean": entry.value,
        "spread": entry.spread,
        "seeds": len(complete_trials(entry)),
    }
