"""What went wrong in a study's trials, as values and in a few words. Knows no format and no store."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.system.text import clean
from sweeps.analysis.health import collapsed_class, dead_classes
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, TrialResult

Row = dict[str, object]

_NAMES = 5  # classes named in a note
INFEASIBLE = "infeasible"  # how a trial ended whose network the study's constraints forbid


def class_name(record: StudyRecord, index: int) -> str:
    """The true name of a class, cleaned; its index where there is none."""
    # A name may be nothing but control characters.
    if index < len(record.classes):
        return clean(record.classes[index]) or str(index)
    return str(index)


def entry_problems(record: StudyRecord, entry: Ranked) -> str:
    """What is wrong with a configuration, in a few words; of repeats, with how many of them. Mostly nothing."""
    trials = [trial for trial in entry.trials if trial.state != RUNNING]
    fallen = [top for trial in trials if (top := _collapsed(trial)) is not None]
    dead = [classes for trial in trials if (classes := _dead(trial))]
    found = []
    if fallen:
        names = " or ".join(
            f"'{clean(class_name(record, index), 20)}'" for index in sorted(set(fallen))[:_NAMES]
        )
        found.append(f"collapsed{_share(len(fallen), trials)}: nearly all taken for {names}")
    if dead:
        union = sorted({index for classes in dead for index in classes})
        found.append(f"never predicts {_listed(record, union)}{_share(len(dead), trials)}")
    failed = [trial for trial in trials if trial.state == FAILED]
    if failed and entry.state != FAILED:  # else the state says it
        ends = ", ".join(sorted({clean(trial.end, 30) for trial in failed}))
        found.append(f"failed{_share(len(failed), trials)} ({ends})")
    return "; ".join(found)


def _share(count: int, trials: Sequence[TrialResult]) -> str:
    if len(trials) > 1:
        return f" in {count} of {len(trials)} seeds"
    return ""


def _listed(record: StudyRecord, classes: Sequence[int], most: int = _NAMES) -> str:
    more = f" and {len(classes) - most} more" if len(classes) > most else ""
    return ", ".join(clean(class_name(record, index), 20) for index in classes[:most]) + more


def _collapsed(trial: TrialResult) -> int | None:
    if trial.state in (COMPLETE, PRUNED):
        return collapsed_class(trial)
    return None


def _dead(trial: TrialResult) -> tuple[int, ...]:
    """A complete trial's dead classes; that a collapsed one has them goes without saying."""
    if trial.state == COMPLETE and collapsed_class(trial) is None:
        return dead_classes(trial)
    return ()


def trial_problems(record: StudyRecord) -> list[Row]:
    """Each trial that collapsed, never predicts a class, failed, was infeasible or reused another's result."""
    fields = record.varied_fields
    return [
        {
            "trial": t.number,
            "what": what,
            "detail": detail,
            "configuration": clean(config_text(t, fields), 120),
        }
        for t in record.results
        for what, detail in _of(record, t)
    ]


def grouped_problems(record: StudyRecord) -> list[Row]:
    """What went wrong, and what was stopped early, equal things once: each with its trials, the most frequent first.

    ``what`` and ``detail`` are those of `trial_problems`; ``numbers`` are the trials', at most so many as a line holds.
    """
    pruned = [
        t
        for t in record.results
        if t.state == PRUNED and t.end != INFEASIBLE and t.duplicate_of is None
    ]
    found = [
        (t.number, "pruned", f"behind the others after epoch {len(t.history)}") for t in pruned
    ]
    found += [(t.number, what, detail) for t in record.results for what, detail in _of(record, t)]
    groups: dict[tuple[str, str], list[int]] = {}
    for number, what, detail in found:
        groups.setdefault((what, detail), []).append(number)
    return [
        {"what": what, "detail": detail, "trials": len(numbers), "numbers": _numbers(numbers)}
        for (what, detail), numbers in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def _numbers(numbers: Sequence[int], most: int = 12) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(f"#{number}" for number in numbers[:most]) + more


def _of(record: StudyRecord, trial: TrialResult) -> list[tuple[str, str]]:
    if trial.duplicate_of is not None:
        return [("duplicate", f"reuses the result of trial {trial.duplicate_of}")]
    if trial.state == FAILED or trial.end == INFEASIBLE:
        return [(clean(trial.end), clean(trial.error or "", 300))]
    top = _collapsed(trial)
    dead = _dead(trial)
    if top is not None:
        return [("collapsed", f"nearly all taken for '{clean(class_name(record, top), 60)}'")]
    if dead:
        return [("dead classes", f"never predicts {_listed(record, dead, 20)}")]
    return []
