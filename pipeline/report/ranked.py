"""Builds the ranked table of a study, with a row for each configuration, and the titles above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.grid import Row, finite_value
from pipeline.report.problems import INFEASIBLE, entry_problems
from pipeline.system.text import clip
from sweeps.analysis.ranking import Ranked, ends_text, searched_values
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, FAILED, RUNNING, TrialResult


@dataclass(frozen=True, kw_only=True)
class RankedTable:
    """The configurations of a study in the order shown.

    Values are exact; None is an empty cell. Trial, epoch and parameters belong to the best repeat,
    seconds are the sum over the repeats, and ``repeats`` counts the complete repeats behind the
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
    """A row for each failed trial: how it ended, and its error."""
    return [
        {"trial": trial.number, "end": trial.end, "error": clip(trial.error or "", 300)}
        for trial in record.results
        if trial.state == FAILED
    ]


def study_facts(record: StudyRecord) -> Row:
    """The facts of a study, and how its trials ended."""
    return {
        "study": record.name,
        "study_file": record.study,
        "dataset": record.dataset,
        "objective": record.objective,
        "maximize": record.maximize,
        "split": "validation",
        "trials_planned": None if record.has_only_budget else record.trials,
        "budget": record.budget,
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
    title = f"Study {clip(record.name, 60)}"
    if record.study != record.name:
        title += f" (study file {clip(record.study, 60)})"
    title += f" on {clip(record.dataset, 80)}"
    parts = [ends_text(record.results)]
    if record.has_only_budget:
        parts.append(f"budget {record.budget}")
    elif len(record.results) < record.trials:
        parts.append(f"{record.trials} planned")
    parts.append(f"{record.objective} on the validation split")
    if shown < total:
        parts.append(f"showing {shown} of {total}")
    return title, clip("; ".join(parts), 300)
