"""Puts the front of a study with two objectives into a table and sentences.

Also says which trial is taken as the best of a study, and why.
"""

from __future__ import annotations

import shlex

from pipeline.report.grid import Row, Section, finite_value, make_grid
from pipeline.report.scores import (
    difference_text,
    difference_values,
    entry_score_text,
    plural,
    unit_of,
)
from pipeline.system.text import clip
from sweeps.analysis.difference import Difference
from sweeps.analysis.facts import Refit
from sweeps.analysis.front import Choice, Front, Member, mean_cost
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord

_NAME_CLIP = 60  # characters of a configuration
_WITHIN = 0.005  # of the command that the report suggests
_KNOWN = {
    "ahead": "better beyond chance",
    "behind": "worse beyond chance",
    "equal": "equal in practice",
    "open": "not told apart",
}


def section(record: StudyRecord) -> Section | None:
    """The front of a study as a table, the cheapest member first; None if there is none."""
    front = record.front
    if front is None:
        return None
    columns = ["trial", "configuration", record.objective, front.cost, "gain", "known", "mark"]
    return Section(
        title=f"The front of {record.objective} and {front.cost}",
        grid=make_grid(
            columns, [_row(record, front, member) for member in front.members], limit=_NAME_CLIP
        ),
        lines=tuple(_lines(record, front)),
    )


def _row(record: StudyRecord, front: Front, member: Member) -> Row:
    entry = member.entry
    trial = entry.trials[0]
    gain = member.gain
    return {
        "trial": trial.number,
        "configuration": config_text(trial, record.varied_fields or record.searched),
        record.objective: finite_value(entry.value),
        front.cost: _exact(member.cost),
        "gain": ""
        if gain is None
        else unit_of(record.objective).difference(gain.difference, sign=True),
        "known": "" if gain is None else _known(gain),
        "mark": "knee" if member is front.knee else "",
    }


def _known(gain: Difference) -> str:
    return "not known" if gain.half_width is None else _KNOWN[gain.outcome]


def _exact(cost: float) -> float:
    """A cost as a whole number, if it is one: parameters are counted."""
    return int(cost) if float(cost).is_integer() else cost


def front_values(record: StudyRecord) -> Row | None:
    """The front of a study as exact values; None if there is none."""
    front = record.front
    if front is None:
        return None
    return {
        "objective": record.objective,
        "cost": front.cost,
        "compared": front.compared,
        "knee": None if front.knee is None else front.knee.entry.trials[0].number,
        "members": [
            {
                "trial": member.entry.trials[0].number,
                "value": finite_value(member.entry.value),
                "cost": _exact(member.cost),
                "gain": difference_values(member.gain),
            }
            for member in front.members
        ],
        "text": _lines(record, front),
    }


def _lines(record: StudyRecord, front: Front) -> list[str]:
    compared = plural(front.compared, "complete configuration")
    reading = (
        f"Of {compared}, none is as good as a member at the same {front.cost} or less. The gain is "
        "over the next cheaper member."
    )
    lines = [reading, _knee_sentence(record, front)]
    if any(member.gain is not None and max(member.gain.seeds) == 1 for member in front.members):
        lines.append(
            "With one seed of each, which of two neighbours is better is not known: another seed "
            "may put others on the front."
        )
    if front.cost == "latency_ms":
        lines.append(_latency_sentence(record))
    name = shlex.quote(record.name)
    lines.append(
        f"The cheapest whose {record.objective} is worse than the best's by no more than "
        f"{_WITHIN:g}: `pipeline report {name} --best --within {_WITHIN:g}`"
    )
    return lines


def _knee_sentence(record: StudyRecord, front: Front) -> str:
    if front.knee is None:
        reason = "none lies above the line between the two ends"
        if len(front.members) < 3:
            reason = "the front has fewer than three members"
        return f"There is no knee: {reason}."
    knee = front.knee
    score = entry_score_text(knee.entry, unit_of(record.objective))
    return (
        f"The knee is trial {knee.entry.trials[0].number}, {record.objective} "
        f"{score} with {cost_text(front.cost, knee.cost)}: of the line from the "
        f"cheapest to the best, {record.objective} and the logarithm of {front.cost} both from "
        "0 to 1, it is the farthest above."
    )


def _latency_sentence(record: StudyRecord) -> str:
    threads = record.facts.runtime.get("threads", 1)
    beside = ""
    if record.facts.workers > 1:
        beside = f", beside the trainings of up to {record.facts.workers - 1} other trials"
    return (
        "latency_ms was measured once in each trial, before its training, and is kept with it: the "
        f"median of 30 forward passes of one image, {plural(int(threads), 'thread')}{beside}. "
        "Another sweep measures others, and may draw and promote others."
    )


def front_sentence(record: StudyRecord) -> str:
    """The front in a sentence; empty if there is none."""
    front = record.front
    if front is None:
        return ""
    members = plural(len(front.members), "member")
    text = f"The front of {record.objective} and {front.cost} has {members}"
    if front.knee is None:
        return f"{text}."
    knee = front.knee
    value = unit_of(record.objective).value(knee.entry.value or 0.0)
    return (
        f"{text}; its knee is trial {knee.entry.trials[0].number}, {record.objective} "
        f"{value} with {cost_text(front.cost, knee.cost)}."
    )


def cost_text(name: str, cost: float | None) -> str:
    """A cost of a network in words."""
    if cost is None:
        return f"unknown {name}"
    if name == "parameters":
        return f"{cost:,.0f} parameters"
    if name == "mflops":
        return f"{cost:.4g} MFLOPs an image"
    return f"{cost:.4g} ms an image"


# The choice of the best


def best_text(record: StudyRecord, choice: Choice, refit: Refit | None) -> str:
    """Say which network is taken as the best of a study, and why.

    Args:
        record: the study, or the study of its finalists.
        choice: the trial of that study.
        refit: the training of its configuration on both splits, if that is taken; else the trial.
    """
    text = choice_text(record, choice)
    name = clip(record.name, 60)
    if refit is not None:
        return (
            f"The refit of {name}, run {refit.run_id}: its winner, trained once more on training "
            f"and validation images together (epochs: {refit.epochs}). {text}"
        )
    if record.refit is None:
        return text
    return f"{text} The refit of {name}, run {record.refit.run_id}, is not taken here."


def choice_text(record: StudyRecord, choice: Choice) -> str:
    """Say which trial is taken as the best of a study, and why.

    Args:
        record: the study, or the study of its finalists.
        choice: of that study.
    """
    trial = choice.entry.trials[0]
    taken = f"Trial {trial.number} of {clip(record.name, 60)}"
    if trial.run_id is not None:
        taken += f", run {trial.run_id}"
    unit = unit_of(record.objective)
    score = f"{record.objective} {entry_score_text(choice.entry, unit)}"
    whole = plural(len(record.complete_configurations), "complete configuration")
    if choice.within is None:
        return f"{taken}: the best of {whole}, {score}."
    worse = f"worse than the best's by no more than {choice.within:g}"
    cheapest = f"the cheapest by {choice.cost} of the {choice.candidates} whose {record.objective}"
    cost = cost_text(choice.cost, mean_cost(choice.entry, choice.cost))
    if choice.entry is choice.best:
        also = f"and {cheapest} is {worse}" if choice.candidates > 1 else f"none other is {worse}"
        return f"{taken}: the best of {whole}, {score} with {cost}; {also}."
    best_cost = cost_text(choice.cost, mean_cost(choice.best, choice.cost))
    text = (
        f"{taken}: {cheapest} is {worse}, {score} with {cost}. The best is trial "
        f"{choice.best.trials[0].number}, {entry_score_text(choice.best, unit)} with {best_cost}"
    )
    if choice.difference is None:
        return f"{text}."
    return f"{text}; {difference_text(choice.difference, unit)}{_margin_text(choice)}."


def _margin_text(choice: Choice) -> str:
    """Whether the taken configuration is known to be worse by no more than was asked."""
    high = None if choice.difference is None else choice.difference.high
    if high is None or choice.within is None or choice.best is choice.entry:
        return ""
    if high <= choice.within:
        return f"; it is known to be worse by no more than {choice.within:g}"
    return f"; that it is worse by no more than {choice.within:g} is not known"


def cost_of(entry: Ranked, name: str) -> float | None:
    """A cost of a configuration as a table shows it."""
    cost = mean_cost(entry, name)
    return None if cost is None else _exact(cost)
