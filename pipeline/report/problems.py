"""Finds the problems of a study's trials, as rows for tables and as short texts."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.grid import Row
from pipeline.system.text import clean, clip
from sweeps.analysis.health import collapsed_class, dead_classes
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PRUNED, TrialResult

INFEASIBLE = "infeasible"  # the end of a trial whose network breaks a limit of the study

_NOTED_CLASSES = 5  # class names in a note
_DETAILED_CLASSES = 20  # class names in the detail of a problem
_NOTED_CLIP = 20  # characters of a class name in a list
_LISTED_TRIALS = 12  # trial numbers in a row of grouped problems


def class_name(record: StudyRecord, index: int) -> str:
    """The name of a class, cleaned; its index if there is no name."""
    name = ""
    if index < len(record.classes):
        # A name may be nothing but control characters.
        name = clean(record.classes[index])
    return name or str(index)


def entry_problems(record: StudyRecord, entry: Ranked) -> str:
    """Name the problems of a configuration in a few words; mostly there are none.

    For a configuration with several seeds, the number of affected seeds is given.
    """
    trials = [trial for trial in entry.trials if trial.has_ended]
    seeds = len(trials)
    problems = []

    tops = [top for top in map(_collapsed_class, trials) if top is not None]
    if tops:
        names = [clip(class_name(record, top), _NOTED_CLIP) for top in sorted(set(tops))]
        quoted = " or ".join(f"'{name}'" for name in names[:_NOTED_CLASSES])
        share = _seed_share(len(tops), seeds)
        problems.append(f"collapsed{share}: nearly all taken for {quoted}")

    dead = [classes for classes in map(_dead_classes, trials) if classes]
    if dead:
        names_text = _class_list(record, sorted(set().union(*dead)), _NOTED_CLASSES)
        problems.append(f"never predicts {names_text}{_seed_share(len(dead), seeds)}")

    failed = [trial for trial in trials if trial.state == FAILED]
    if failed and entry.state != FAILED:  # a failed entry's state says it already
        ends = ", ".join(sorted({clip(trial.end, 30) for trial in failed}))
        problems.append(f"failed{_seed_share(len(failed), seeds)} ({ends})")
    return "; ".join(problems)


def _seed_share(count: int, seeds: int) -> str:
    if seeds > 1:
        return f" in {count} of {seeds} seeds"
    return ""


def _class_list(record: StudyRecord, classes: Sequence[int], limit: int) -> str:
    """The names of the first classes, and how many more there are."""
    names = [clip(class_name(record, index), _NOTED_CLIP) for index in classes[:limit]]
    more = f" and {len(classes) - limit} more" if len(classes) > limit else ""
    return ", ".join(names) + more


def _collapsed_class(trial: TrialResult) -> int | None:
    if trial.state in (COMPLETE, PRUNED):
        return collapsed_class(trial)
    return None


def _dead_classes(trial: TrialResult) -> tuple[int, ...]:
    """A complete trial's dead classes; none for a collapsed trial, where they are expected."""
    if trial.state == COMPLETE and collapsed_class(trial) is None:
        return dead_classes(trial)
    return ()


def trial_problems(record: StudyRecord) -> list[Row]:
    """A row for each trial with a problem, by trial number.

    Problems are a collapse, a class without predictions, a failure, an infeasible network, and the
    reuse of another trial's result.
    """
    fields = record.varied_fields
    rows: list[Row] = []
    for trial in record.results:
        problem = _problem(record, trial)
        if problem is not None:
            what, detail = problem
            configuration = clip(config_text(trial, fields), 120)
            rows.append(
                {
                    "trial": trial.number,
                    "what": what,
                    "detail": detail,
                    "configuration": configuration,
                }
            )
    return rows


def grouped_problems(record: StudyRecord) -> list[Row]:
    """A row for each kind of problem, the most frequent first; pruned trials are included.

    ``what`` and ``detail`` are those of `trial_problems`, ``trials`` counts the trials, and
    ``numbers`` lists their numbers, as many as fit on a line.
    """
    numbers: dict[tuple[str, str], list[int]] = {}
    # Pruned trials are collected first: among equally frequent kinds, theirs come first.
    for trial in record.results:
        pruned = trial.state == PRUNED and trial.end != INFEASIBLE
        if pruned and trial.duplicate_of is None:
            detail = f"behind the others after epoch {len(trial.history)}"
            numbers.setdefault(("pruned", detail), []).append(trial.number)
    for trial in record.results:
        problem = _problem(record, trial)
        if problem is not None:
            numbers.setdefault(problem, []).append(trial.number)
    kinds = sorted(numbers.items(), key=lambda kind: -len(kind[1]))
    return [
        {"what": what, "detail": detail, "trials": len(trials), "numbers": number_list(trials)}
        for (what, detail), trials in kinds
    ]


def number_list(numbers: Sequence[int]) -> str:
    """The first numbers of trials, and how many more there are: ``#2, #5``."""
    listed = ", ".join(f"#{number}" for number in numbers[:_LISTED_TRIALS])
    if len(numbers) > _LISTED_TRIALS:
        listed += f" and {len(numbers) - _LISTED_TRIALS} more"
    return listed


def _problem(record: StudyRecord, trial: TrialResult) -> tuple[str, str] | None:
    """The kind of a trial's problem and its detail; None for a sound trial."""
    if trial.has_ended and trial.duplicate_of is not None:
        return "duplicate", f"reuses the result of trial {trial.duplicate_of}"
    if trial.state == FAILED or trial.end == INFEASIBLE:
        return clean(trial.end), clip(trial.error or "", 300)
    top = _collapsed_class(trial)
    if top is not None:
        return "collapsed", f"nearly all taken for '{clip(class_name(record, top), 60)}'"
    dead = _dead_classes(trial)
    if dead:
        return "dead classes", f"never predicts {_class_list(record, dead, _DETAILED_CLASSES)}"
    return None
