"""The ranked table of a study's configurations: rows, as values and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.report.checks.registry import run_checks
from pipeline.report.grid import plain_value
from pipeline.report.problems import INFEASIBLE, Row, entry_problems
from pipeline.system.text import clean
from sweeps.analysis.lead import Lead
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked, ends_text, searched_values
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.trial import COMPLETE, FAILED, RUNNING


def ranked(record: StudyRecord) -> list[Ranked]:
    """The configurations in the order shown: ranked, what still runs at the end."""
    entries = record.ranked
    return sorted(entries, key=lambda entry: entry.state == RUNNING)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A study, ranked, and its table, made once for all that shows it: of thousands of trials it takes seconds."""

    record: StudyRecord
    entries: Sequence[Ranked]  # in the order shown
    names: Sequence[str]  # of the columns
    rows: Sequence[Row]  # one for each entry

    @cached_property
    def findings(self) -> list[Row]:
        """What the health checks say, warnings first: ``level``, ``check`` and ``text``."""
        return [
            {"level": c.level, "check": c.name, "text": clean(c.text, 600)}
            for c in run_checks(self.record)
        ]


def columns(record: StudyRecord) -> list[str]:
    """The names of the columns; those of repeats and notes only where some configuration has any."""
    return list(listing(record).names)


def rows(record: StudyRecord, top: int | None = None) -> list[Row]:
    """One row for each of the ``top`` configurations (None: all), by the names of `columns`; None is blank.

    Values are exact, not rounded. The trial, epoch and parameters are those of the best repeat, seconds the sum over
    the repeats, ``repeats`` the complete ones behind the mean. The state of a failed or infeasible trial is how it
    ended, and ``notes`` say what else is wrong with it.
    """
    return list(listing(record).rows[:top])


def listing(record: StudyRecord) -> Listing:
    """Rank a study and lay its configurations out, by the columns and rows that `columns` and `rows` tell of."""
    entries = ranked(record)
    values = [_row(record, entry) for entry in entries]
    names = _columns(record, entries) + (["notes"] if any(row["notes"] for row in values) else [])
    rows = [{name: row[name] for name in names} for row in values]
    return Listing(record=record, entries=entries, names=names, rows=rows)


def _columns(record: StudyRecord, entries: Sequence[Ranked]) -> list[str]:
    searched = [name for name in record.searched if name != "family"]
    if any(len(entry.trials) > 1 for entry in entries):
        repeats = ["spread", "repeats"]
    else:
        repeats = []
    last = ["epoch", "parameters", "seconds", "state"]
    return ["rank", "trial", "family", *searched, record.objective, *repeats, *last]


def _row(record: StudyRecord, entry: Ranked) -> Row:
    trial = entry.trials[0]
    searched = searched_values(trial, record.searched)
    return {
        "rank": entry.rank,
        "trial": trial.number,
        **{name: plain_value(value) for name, value in searched.items()},
        "family": clean(trial.config.family),
        record.objective: plain_value(entry.value),
        "spread": plain_value(entry.spread),
        "repeats": sum(t.state == COMPLETE for t in entry.trials),
        "epoch": trial.best_epoch,
        "parameters": trial.parameters,
        "seconds": math.fsum(t.seconds for t in entry.trials),
        "state": clean(
            trial.end if trial.state == FAILED or trial.end == INFEASIBLE else trial.state
        ),
        "notes": entry_problems(record, entry),
    }


def failures(record: StudyRecord) -> list[Row]:
    """The failed trials, each with how it ended and its error on one line."""
    failed = (result for result in record.results if result.state == FAILED)
    return [
        {"trial": t.number, "end": clean(t.end), "error": clean(t.error or "", 300)} for t in failed
    ]


def study_facts(record: StudyRecord) -> Row:
    """What a study is and how far it has come."""
    return {
        "study": clean(record.name),
        "study_file": clean(record.study),
        "dataset": clean(record.dataset),
        "objective": record.objective,
        "maximize": record.maximize,
        "split": "validation",
        "trials_planned": record.trials,
        "ended": clean(ends_text(record.results)),
        "searched": list(record.searched),
        "classes": [clean(name) for name in record.classes],
        "parent_run_id": record.parent_run_id,
    }


def title_lines(record: StudyRecord, shown: int, total: int) -> tuple[str, str]:
    """Say which study this is, and where its trials went: the two lines above a table."""
    if record.study == record.name:
        source = ""
    else:
        source = f" (study file {clean(record.study, 60)})"
    parts = [ends_text(record.results)]
    if len(record.results) < record.trials:
        parts.append(f"{record.trials} planned")
    parts.append(f"{record.objective} on the validation split")
    if shown < total:
        parts.append(f"showing {shown} of {total}")
    return f"Study {clean(record.name, 60)}{source} on {clean(record.dataset, 80)}", clean(
        "; ".join(parts), 300
    )


def score_text(mean: float, spread: float | None, seeds: int) -> str:
    """A mean over seeds as text: ``0.9896 ± 0.0010 (3 seeds)``."""
    return f"{mean:.4f}{'' if spread is None else f' ± {spread:.4f}'} ({seeds} seed{'s' * (seeds != 1)})"


def difference_text(difference: float, spread: float | None) -> str:
    """Say whether a difference of two means is more than their seeds differ; ``spread`` is the larger of theirs."""
    said = "comes of one seed each: it may be noise"
    if spread is not None:
        said = f"is {'within' if difference <= spread else 'larger than'} the seeds' spread"
    return f"the difference {difference:.4f} {said}"


def lead_values(ahead: Lead) -> Row:
    """Say how far the first configuration is ahead of the second, and whether their seeds differ as much."""
    sides = {"first": ahead.first, "second": ahead.second}
    values: Row = {
        side: {
            "configuration": clean(config_text(entry.trials[0], ahead.differing)),
            "mean": entry.value,
            "spread": entry.spread,
            "seeds": len(complete_trials(entry)),
        }
        for side, entry in sides.items()
    }
    first, second = (
        f"{clean(config_text(e.trials[0], ahead.differing), 80)} "
        f"{score_text(e.value or 0.0, e.spread, len(complete_trials(e)))}"
        for e in sides.values()
    )
    text = f"{first} against {second}: {difference_text(ahead.difference, ahead.spread)}"
    return {**values, "difference": ahead.difference, "within": ahead.within, "text": text}
