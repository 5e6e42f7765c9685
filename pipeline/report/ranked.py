"""Builds the ranked table of a study, with a row for each configuration, and the titles above."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.front import cost_of
from pipeline.report.grid import CLIP, SHARES, Grid, Row, finite_value, make_grid
from pipeline.report.problems import INFEASIBLE, entry_problems
from pipeline.report.scores import BASELINE
from pipeline.system.text import clip
from sweeps.analysis.importance import importance
from sweeps.analysis.ranking import Ranked, ends_text, searched_values, trained_epochs
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, TrialResult


@dataclass(frozen=True, kw_only=True)
class RankedTable:
    """The configurations of a study in the order shown.

    Values are exact; None is an empty cell. Trial, epochs and parameters belong to the best repeat:
    ``epoch`` is the one of its value, ``trained`` is how many it was trained. Seconds are the sum
    over the repeats, and ``repeats`` counts the complete repeats behind the mean. The state of a
    failed or infeasible trial is its end. ``front`` marks the members of the front of two
    objectives, and its knee. ``notes`` marks baselines and names further problems.
    """

    columns: list[str]  # spread, repeats and notes only if a configuration has any
    rows: list[Row]  # of these columns

    @property
    def ties(self) -> frozenset[object]:
        """The ranks that several configurations share."""
        counts = Counter(row["rank"] for row in self.rows)
        return frozenset(
            number for number, count in counts.items() if number is not None and count > 1
        )

    def grid(
        self,
        rows: Sequence[Row],
        columns: Sequence[str] | None = None,
        *,
        thousands: bool = True,
        limit: int = CLIP,
    ) -> Grid:
        """Turn some of the rows into a table of text, in which ``1=`` is a rank that is shared.

        Args:
            rows: of this table.
            columns: the names of the columns to show, in order; None for all.
            thousands: as for `make_grid`.
            limit: as for `make_grid`.
        """
        names = self.columns if columns is None else columns
        shares = ["spread"] if any(name in SHARES for name in names) else []
        grid = make_grid(names, rows, thousands=thousands, limit=limit, shares=shares)
        place = grid.keys.index("rank")
        ties = self.ties
        marked = []
        for row, cells in zip(rows, grid.rows, strict=True):
            mark = "=" if row["rank"] in ties else ""
            marked.append((*cells[:place], cells[place] + mark, *cells[place + 1 :]))
        return dataclasses.replace(grid, rows=tuple(marked))


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


def ranked_columns(record: StudyRecord, names: Sequence[str]) -> list[str]:
    """The columns of the ranked table: the result first, then searched fields by importance."""
    estimate = importance(record)
    shares: dict[str, tuple[bool, float]] = {}  # those told from noise come first
    for share in (*estimate.shares, *estimate.conditional):
        field = share.key.partition(" [")[0]
        known = shares.get(field, (False, 0.0))
        shares[field] = max(known, (share.is_told, share.share or 0.0))
    # While nothing is known, the learning rate comes first: it nearly always matters most.
    searched = sorted(
        record.searched,
        key=lambda name: (*shares.get(name, (False, 0.0)), name == "lr"),
        reverse=True,
    )
    first = ["rank", "trial", record.objective, "state", "front", "family", *searched, "notes"]
    wanted = dict.fromkeys([*first, "spread", "repeats", *names])
    return [name for name in wanted if name in names]


def shown_entries(record: StudyRecord) -> list[Ranked]:
    """The ranked configurations of a study, with running ones at the end."""
    return sorted(record.ranked, key=lambda entry: entry.state == RUNNING)


def _columns(record: StudyRecord, entries: Sequence[Ranked]) -> list[str]:
    columns = ["rank", "trial", "family"]
    columns += [name for name in record.searched if name != "family"]
    columns.append(record.objective)
    if record.front is not None:
        columns.append("front")
    if any(len(entry.trials) > 1 for entry in entries):
        columns += ["spread", "repeats"]
    costs = ["parameters"]
    if record.cost not in (None, "parameters"):
        costs.append(str(record.cost))
    return [*columns, "epoch", "trained", *costs, "seconds", "state"]


def _row(record: StudyRecord, entry: Ranked) -> Row:
    trial = entry.trials[0]
    searched = searched_values(trial, record.searched)
    return {
        **{name: finite_value(value) for name, value in searched.items()},
        "rank": entry.rank,
        "trial": trial.number,
        "family": trial.config.family,
        record.objective: finite_value(entry.value),
        "front": "" if record.front is None else record.front.mark(entry),
        "spread": finite_value(entry.spread),
        "repeats": sum(repeat.state == COMPLETE for repeat in entry.trials),
        "epoch": trial.best_epoch,
        "trained": trained_epochs(trial) or None,
        "parameters": trial.parameters,
        "mflops": finite_value(cost_of(entry, "mflops")),
        "latency_ms": finite_value(cost_of(entry, "latency_ms")),
        "seconds": math.fsum(repeat.seconds for repeat in entry.trials),
        "state": _shown_state(trial),
        "notes": _notes(record, entry),
    }


def _notes(record: StudyRecord, entry: Ranked) -> str:
    """What else is to be said of a configuration in a few words; mostly nothing."""
    notes = [entry_problems(record, entry)]
    if record.is_baseline(entry.trials[0].config):
        notes.insert(0, BASELINE)
    return "; ".join(note for note in notes if note)


def _shown_state(trial: TrialResult) -> str:
    if trial.state == FAILED or trial.end == INFEASIBLE:
        return trial.end
    return trial.state


def ranking_notes(record: StudyRecord) -> list[str]:
    """Say by which rules, besides the value, the configurations are ranked, where these matter."""
    notes = [_epochs_note(record), _seeds_note(record)]
    return [note for note in notes if note]


def table_notes(record: StudyRecord, table: RankedTable) -> list[str]:
    """The sentences to go with a ranked table of text: `ranking_notes`, and the mark of a tie."""
    notes = ranking_notes(record)
    if table.ties:
        notes.append(
            "A rank with = is a tie: the values are equal, and the earlier trial stands first."
        )
    return notes


def _epochs_note(record: StudyRecord) -> str:
    """Say how trials that ended at different epochs are ranked; empty if none did."""
    trials = [
        entry.trials[0]
        for entry in record.ranked
        if entry.state in (PRUNED, PAUSED) and entry.value is not None
    ]
    if len(set(map(trained_epochs, trials))) < 2:
        return ""
    if record.facts.selection > 1:
        return (
            "Trials that were not trained to the end are ranked by the epochs that they were "
            "trained, and by value only among those of as many epochs."
        )
    return (
        "Trials that were not trained to the end are ranked by value, although they were trained "
        "for different numbers of epochs: so ranked version 0.1.0, by which the study was begun."
    )


def _seeds_note(record: StudyRecord) -> str:
    """Say how complete configurations that lack seeds are ranked; empty if there are none."""
    planned = record.spec.repeats
    seeds = [len(complete_trials(entry)) for entry in record.complete_configurations]
    if record.facts.selection == 1 or all(count >= planned for count in seeds):
        return ""
    if max(seeds) < planned:
        return f"No configuration has all its {planned} seeds yet: those with more come first."
    return (
        f"Configurations that lack some of their {planned} seeds are ranked after those that have "
        "all, however good their mean is."
    )


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
        "objectives": [record.objective, *([record.cost] if record.cost else [])],
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
