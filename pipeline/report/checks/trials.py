"""Health checks of a study's trials: how they ended, and how much of the search space they saw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pipeline.report.checks.base import Check, is_sampled, trained_trials, tried_trials
from sweeps.analysis.health import collapsed_class
from sweeps.analysis.naming import value_text
from sweeps.analysis.record import StudyRecord
from sweeps.search.pruning import PROTECTED_TRIALS
from sweeps.trial import FAILED, PRUNED, TrialResult

# Complete configurations for each searched field. With fewer, the effect of a field cannot be told
# from that of the others.
EACH = 5
SHARE = 0.2  # of the trials, lost to one cause: a fifth of the time
AT_LEAST = 2  # such trials: one is no pattern
TOP = 5  # complete configurations that are examined for a family
# Trials with the same value of a field. Two values drawn at random look like that in one of 128
# studies.
SAME = 8
JUDGED = 8  # trials that could have been pruned; the share of fewer says little
# Of those, pruned at the first rung. Asha prunes about three quarters there.
FIRST_RUNG = 0.85
_NAMED = 10  # trials that are listed


def few(record: StudyRecord) -> Check | None:
    """Compare the number of complete configurations with the number of searched fields."""
    count = len(record.complete_configurations)
    searched = len(record.searched)
    if not is_sampled(record) or not tried_trials(record) or not searched:
        return None
    configurations = _count(count, "complete configuration")
    finding = f"{configurations} for {_count(searched, 'searched field')}"
    per_field = f"{count / searched:.1f} each"
    if count >= EACH * searched:
        return Check(name="few", level="good", text=f"{finding}: {per_field}.")
    remedy = "let more be trained to the end"
    if record.promoted is not None:  # with more trials, hardly more are trained to the end
        remedy = "a study with --pruner none trains all to the end"
    elif count:
        total = math.ceil(EACH * searched * len(record.results) / count)
        remedy = f"--trials {total} would give about {EACH} each"
    text = (
        f"{finding}, {per_field}: what a single one does cannot be told; {remedy}, or search fewer."
    )
    return Check(name="few", level="note", text=text)


def families(record: StudyRecord) -> Check | None:
    """Check how many searched families are among the complete, and the best, configurations."""
    searched = {
        choice
        for dimension in record.dimensions
        if dimension.field == "family"
        for choice in dimension.choices
    }
    complete = record.complete_configurations
    if len(searched) < 2 or len(complete) < AT_LEAST:
        return None
    ranked = [entry.trials[0].config.family for entry in complete]
    first = ranked[0]
    if set(ranked) == {first}:
        tried = Counter(trial.config.family for trial in tried_trials(record))
        missing = sorted(searched - {first}, key=str)
        counts = ", ".join(f"{family} ({tried[str(family)]} tried)" for family in missing)
        finding = f"All {len(ranked)} complete configurations are {first}; none is {counts}"
        if record.promoted is not None:
            text = (
                f"{finding}: those were behind when they were paused; what they can do in the end "
                "is not known; search them alone with --families."
            )
            return Check(name="families", level="note", text=text)
        text = (
            f"{finding}: what those can do is not known; "
            "begin with one of each (start_with), which is never pruned."
        )
        return Check(name="families", level="warning", text=text)
    top = ranked[:TOP]
    if len(top) == TOP and set(top) == {first}:
        index = next(i for i, family in enumerate(ranked) if family != first)
        best_other = complete[index]
        text = (
            f"The {TOP} best are all {first}; the best other, {ranked[index]}, is "
            f"trial {best_other.trials[0].number} in place {index + 1} ({best_other.value:.4f}): "
            f"a next study could keep to --families {first}."
        )
        return Check(name="families", level="note", text=text)
    counts = ", ".join(f"{family} {count}" for family, count in Counter(ranked).most_common())
    text = f"Complete configurations by family: {counts}."
    return Check(name="families", level="good", text=text)


def constant(record: StudyRecord) -> Check | None:
    """Check for searched fields with the same value in all trials."""
    if not is_sampled(record):
        return None
    findings = []
    judged = False
    for name in record.searched:
        if _has_one_choice(record, name):
            continue
        values = [getattr(trial.config, name) for trial in tried_trials(record)]
        values = [value for value in values if value is not None]
        if len(values) < SAME:
            continue
        judged = True
        if len(set(values)) == 1:
            value = value_text(values[0])
            findings.append(f"{name} was {value} in all {len(values)} trials that have it")
    if findings:
        text = f"{'; '.join(findings)}: other values were not tried, so nothing is known of them."
        return Check(name="constant", level="note", text=text[0].upper() + text[1:])
    if judged:
        text = "Every searched field was tried with several values."
        return Check(name="constant", level="good", text=text)
    return None


def _has_one_choice(record: StudyRecord, name: str) -> bool:
    dimensions = [dimension for dimension in record.dimensions if dimension.field == name]
    return all(len(dimension.choices) == 1 for dimension in dimensions)


def unstable(record: StudyRecord) -> Check | None:
    """Check how many trials diverged or collapsed, and whether learning rates explain it."""
    trained = [trial for trial in tried_trials(record) if trial.end != "infeasible"]
    lost = [t for t in trained if t.end == "diverged" or collapsed_class(t) is not None]
    if not trained:
        return None
    if not _is_pattern(lost, trained):
        total = _count(len(trained), "trial")
        text = f"{len(lost)} of {total} diverged or collapsed to one class{_listed(lost)}."
        return Check(name="unstable", level="good", text=text)
    remedy = "a lower lr or grad_clip may hold them"
    lost_numbers = {trial.number for trial in lost}
    lowest_rate = min(trial.config.lr for trial in lost)
    sound_rates = sorted(t.config.lr for t in trained if t.number not in lost_numbers)
    if "lr" in record.searched and sound_rates:
        median_rate = sound_rates[len(sound_rates) // 2]
        if lowest_rate > median_rate:
            remedy = (
                f"all of them have lr {value_text(lowest_rate)} or more, most others less: "
                "search lr below that"
            )
    text = (
        f"{len(lost)} of {len(trained)} trials diverged or collapsed to one class{_listed(lost)}: "
        f"{remedy}."
    )
    return Check(name="unstable", level="warning", text=text)


def failed(record: StudyRecord) -> Check | None:
    """Check how many trials failed for other reasons than divergence."""
    tried = tried_trials(record)
    lost = [trial for trial in tried if trial.state == FAILED and trial.end != "diverged"]
    if not _is_pattern(lost, tried):
        return None
    counts = Counter(trial.end for trial in lost).most_common()
    ends = ", ".join(f"{count} {end}" for end, count in counts)
    text = (
        f"{len(lost)} of {len(tried)} trials failed ({ends}){_listed(lost)}: "
        "the best may be among them."
    )
    return Check(name="failed", level="warning", text=text)


def first_rung(record: StudyRecord) -> Check | None:
    """Check how many trials were pruned at the first opportunity.

    Paused trials can go on: that says nothing then.
    """
    if record.promoted is not None:
        return None
    prunable = [trial for trial in trained_trials(record) if trial.number >= PROTECTED_TRIALS]
    lengths = [len(t.history) for t in prunable if t.state == PRUNED and t.history]
    if len(prunable) < JUDGED or not lengths:
        return None
    first = min(lengths)
    count = lengths.count(first)
    finding = (
        f"{count} of the {len(prunable)} trials after the first {PROTECTED_TRIALS} "
        f"were pruned after epoch {first}"
    )
    if count < FIRST_RUNG * len(prunable):
        return Check(name="first_rung", level="good", text=f"{finding}.")
    remedy = (
        "that favours quick starters; --pruner median or none would let more show what they can do"
    )
    return Check(name="first_rung", level="note", text=f"{finding}: {remedy}.")


def duplicates(record: StudyRecord) -> Check | None:
    """Check how many trials only repeated an earlier configuration."""
    ended = [result for result in record.results if result.has_ended]
    repeats = [result for result in ended if result.duplicate_of is not None]
    if not _is_pattern(repeats, ended):
        return None
    text = (
        f"{len(repeats)} of {len(ended)} trials repeated an earlier configuration: "
        "little new is left to try; search wider ranges, or fewer trials."
    )
    return Check(name="duplicates", level="note", text=text)


def _is_pattern(affected: Sequence[TrialResult], trials: Sequence[TrialResult]) -> bool:
    """Whether enough of the trials are affected for a warning."""
    return len(affected) >= AT_LEAST and len(affected) >= SHARE * len(trials)


def _listed(trials: Sequence[TrialResult]) -> str:
    if not trials:
        return ""
    numbers = [f"#{trial.number}" for trial in trials[:_NAMED]]
    if len(trials) > _NAMED:
        numbers.append("...")
    return f" ({', '.join(numbers)})"


def _count(count: int, noun: str) -> str:
    plural = "" if count == 1 else "s"
    return f"{count} {noun}{plural}"
