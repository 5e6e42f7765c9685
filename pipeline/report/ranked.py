"""Builds the ranked table of a study, one row for each configuration, and the texts around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.grid import Row, finite_value
from pipeline.report.problems import INFEASIBLE, entry_problems
from pipeline.system.text import clean
from sweeps.analysis.lead import Lead
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked, ends_text, searched_values
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.trial import COMPLETE, FAILED, RUNNING, TrialResult


@dataclass(frozen=True, kw_only=True)
class RankedTable:
    """The configurations of a study in the order shown.

    Values are exact; None is an empty cell. Trial, epoch and parameters are those of the best
    repeat, seconds the sum over the repeats, and ``repeats`` counts the complete ones behind the
    mean. The state of a failed or infeasible trial is its end. ``notes`` names further problems.
    """

    columns: list[str]  # spread, repeats and notes only if a configuration has any
    rows: list[Row]  # of these columns


def ranked_table(record: StudyRecord) -> RankedTable:
    """Build the ranked table of a study."""
    entries = shown_entries(record)
    rows = [_row(record, entry) for entry in entries]
    columns = _columns(record, entries)
    if any(row["notes"] for row in rows):
        columns.append("notes")
    return RankedTable(
        columns=columns,
        rows=[{name: row[name] for name in columns} for row in rows],
    )


def shown_entries(record: StudyRecord) -> list[Ranked]:
    """The ranked configurations of a study, with running ones at the end."""
    return sorted(record.ranked, key=lambda entry: entry.state == RUNNING)


def _columns(record: StudyRecord, entries: Sequence[Ranked]) -> list[str]:
    columns = ["rank", "trial", "family"]
    columns += [name for name in record.searched if name != "family"]
    columns.append(record.objective)
    if any(len(entry.trials) > 1 for entry in entries):
        columns += ["spread", "repeats"]
    return [*columns, "epoch", "parameters", "seconds", "state"]


def _row(record: StudyRecord, entry: Ranked) -> Row:
    trial = entry.trials[0]
    searched = searched_values(trial, record.searched)
    return {
        **{name: finite_value(value) for name, value in searched.items()},
        "rank": entry.rank,
        "trial": trial.number,
        "family": trial.config.family,
        record.objective: finite_value(entry.value),
        "spread": finite_value(entry.spread),
        "repeats": sum(repeat.state == COMPLETE for repeat in entry.trials),
        "epoch": trial.best_epoch,
        "parameters": trial.parameters,
        "seconds": math.fsum(repeat.seconds for repeat in entry.trials),
        "state": _shown_state(trial),
        "notes": entry_problems(record, entry),
    }


def _shown_state(trial: TrialResult) -> str:
    if trial.state == FAILED or trial.end == INFEASIBLE:
        return trial.end
    return trial.state


def failures(record: StudyRecord) -> list[Row]:
    """A row for each failed trial: how it ended, and its error on one line."""
    return [
        {"trial": trial.number, "end": trial.end, "error": clean(trial.error or "", 300)}
        for trial in record.results
        if trial.state == FAILED
    ]


def study_facts(record: StudyRecord) -> Row:
    """The facts of a study, and how far it has come."""
    return {
        "study": record.name,
        "study_file": record.study,
        "dataset": record.dataset,
        "objective": record.objective,
        "maximize": record.maximize,
        "split": "validation",
        "trials_planned": record.trials,
        "ended": ends_text(record.results),
        "searched": list(record.searched),
        "classes": list(record.classes),
        "parent_run_id": record.parent_run_id,
    }


def title_lines(record: StudyRecord, shown: int, total: int) -> tuple[str, str]:
    """The two lines above a ranked table: the study, and how its trials ended.

    Args:
        record: the study.
        shown: the rows of the table.
        total: the configurations of the study.
    """
    title = f"Study {clean(record.name, 60)}"
    if record.study != record.name:
        title += f" (study file {clean(record.study, 60)})"
    title += f" on {clean(record.dataset, 80)}"
    parts = [ends_text(record.results)]
    if len(record.results) < record.trials:
        parts.append(f"{record.trials} planned")
    parts.append(f"{record.objective} on the validation split")
    if shown < total:
        parts.append(f"showing {shown} of {total}")
    return title, clean("; ".join(parts), 300)


def plural(count: int, noun: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def score_text(mean: float, spread: float | None, seeds: int) -> str:
    """A mean over seeds: ``0.9896 ± 0.0010 (3 seeds)``."""
    text = f"{mean:.4f}"
    if spread is not None:
        text += f" ± {spread:.4f}"
    return f"{text} ({plural(seeds, 'seed')})"


def entry_score_text(entry: Ranked) -> str:
    """The mean of a complete configuration over its seeds."""
    return score_text(entry.value or 0.0, entry.spread, len(complete_trials(entry)))


def difference_text(difference: float, spread: float | None) -> str:
    """Say whether a difference of two means exceeds the spread of the seeds.

    Args:
        difference: of the means, not negative.
        spread: the larger one of the two; None for one seed each.
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
        name = clean(config_text(entry.trials[0], lead.differing), 80)
        sides.append(f"{name} {entry_score_text(entry)}")
    return f"{' against '.join(sides)}: {difference_text(lead.difference, lead.spread)}"


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
