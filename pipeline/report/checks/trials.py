"""Pure: health checks of a study's trials as a whole: how they ended, and how much of what was searched they saw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pipeline.report.checks.base import Check, Seen
from sweeps.analysis.health import collapsed_class
from sweeps.analysis.naming import value_text
from sweeps.search.pruning import PROTECTED_TRIALS
from sweeps.trial import FAILED, PRUNED, RUNNING, TrialResult

EACH = 5  # complete configurations per searched field: with fewer, its effect cannot be told from the others'
SHARE = 0.2  # of the trials, lost to one cause: a fifth of the time
AT_LEAST = 2  # such trials: one is no pattern
TOP = 5  # complete configurations that are looked at for a family
SAME = 8  # trials with one and the same value of a field: of two values drawn alike, once in 128 studies
JUDGED = 8  # trials that could have been pruned: of fewer, a share says little
FIRST_RUNG = 0.85  # of them, pruned as soon as could be: asha prunes about three quarters then
_NAMED = 10  # trials that are listed


def few(seen: Seen) -> Check | None:
    """Whether there are enough complete configurations for what is searched."""
    count = len(seen.complete)
    searched = len(seen.record.searched)
    if not seen.sampled or not seen.tried or not searched:
        return None
    said = f"{_count(count, 'complete configuration')} for {_count(searched, 'searched field')}"
    if count >= EACH * searched:
        return Check(name="few", level="good", text=f"{said}: {count / searched:.1f} each.")
    total = math.ceil(EACH * searched * len(seen.record.results) / max(1, count))
    if count:
        remedy = f"--trials {total} would give about {EACH} each"
    else:
        remedy = "let more be trained to the end"
    text = f"{said}, {count / searched:.1f} each: what a single one does cannot be told; {remedy}, or search fewer."
    return Check(name="few", level="note", text=text)


def families(seen: Seen) -> Check | None:
    """Whether several families are searched and only one is among the complete, or among the best."""
    searched = {
        choice for d in seen.record.dimensions if d.field == "family" for choice in d.choices
    }
    if len(searched) < 2 or len(seen.complete) < AT_LEAST:
        return None
    ranked = [entry.trials[0].config.family for entry in seen.complete]
    tried = Counter(trial.config.family for trial in seen.tried)
    first = ranked[0]
    others = sorted(searched - {ranked[0]}, key=str)
    if set(ranked) == {first}:
        went = ", ".join(f"{family} ({tried[str(family)]} tried)" for family in others)
        text = (
            f"All {len(ranked)} complete configurations are {first}; none is {went}: what those can do is not known; "
            "begin with one of each (start_with), which is never pruned."
        )
        return Check(name="families", level="warning", text=text)
    top = ranked[:TOP]
    if len(top) == TOP and set(top) == {first}:
        place = next(i for i, family in enumerate(ranked) if family != first)
        best = seen.complete[place]
        text = (
            f"The {TOP} best are all {first}; the best other, {ranked[place]}, is trial {best.trials[0].number} in "
            f"place {place + 1} ({best.value:.4f}): a next study could keep to --families {first}."
        )
        return Check(name="families", level="note", text=text)
    text = f"Complete configurations by family: {', '.join(f'{k} {v}' for k, v in Counter(ranked).most_common())}."
    return Check(name="families", level="good", text=text)


def constant(seen: Seen) -> Check | None:
    """Whether a searched field had one value in all trials that have it."""
    if not seen.sampled:
        return None
    same = []
    looked = False
    for name in seen.record.searched:
        values = [
            value for trial in seen.tried if (value := getattr(trial.config, name)) is not None
        ]
        single = all(len(d.choices) == 1 for d in seen.record.dimensions if d.field == name)
        if single or len(values) < SAME:
            continue
        looked = True
        if len(set(values)) == 1:
            same.append(
                f"{name} was {value_text(values[0])} in all {len(values)} trials that have it"
            )
    if same:
        text = f"{'; '.join(same)}: other values were not tried, so nothing is known of them."
        return Check(name="constant", level="note", text=text[0].upper() + text[1:])
    if looked:
        return Check(
            name="constant",
            level="good",
            text="Every searched field was tried with several values.",
        )
    return None


def unstable(seen: Seen) -> Check | None:
    """Whether many trials diverged or collapsed, and whether the learning rate tells them from the others."""
    begun = [trial for trial in seen.tried if trial.end != "infeasible"]
    lost = [
        trial for trial in begun if trial.end == "diverged" or collapsed_class(trial) is not None
    ]
    if not begun:
        return None
    if len(lost) < AT_LEAST or len(lost) < SHARE * len(begun):
        text = f"{len(lost)} of {_count(len(begun), 'trial')} diverged or collapsed to one class{_listed(lost)}."
        return Check(name="unstable", level="good", text=text)
    rates = sorted(trial.config.lr for trial in lost)
    numbers = {trial.number for trial in lost}
    sound = sorted(trial.config.lr for trial in begun if trial.number not in numbers)
    remedy = "a lower lr or grad_clip may hold them"
    if "lr" in seen.record.searched and sound and rates[0] > sound[len(sound) // 2]:
        remedy = f"all of them have lr {value_text(rates[0])} or more, most others less: search lr below that"
    text = f"{len(lost)} of {len(begun)} trials diverged or collapsed to one class{_listed(lost)}: {remedy}."
    return Check(name="unstable", level="warning", text=text)


def failed(seen: Seen) -> Check | None:
    """Whether many trials failed of something else."""
    lost = [trial for trial in seen.tried if trial.state == FAILED and trial.end != "diverged"]
    if len(lost) < AT_LEAST or len(lost) < SHARE * len(seen.tried):
        return None
    ends = ", ".join(
        f"{count} {end}" for end, count in Counter(trial.end for trial in lost).most_common()
    )
    text = f"{len(lost)} of {len(seen.tried)} trials failed ({ends}){_listed(lost)}: the best may be among them."
    return Check(name="failed", level="warning", text=text)


def first_rung(seen: Seen) -> Check | None:
    """Whether most trials were pruned as soon as they could be."""
    could = [trial for trial in seen.trained if trial.number >= PROTECTED_TRIALS]
    ends = [len(trial.history) for trial in could if trial.state == PRUNED and trial.history]
    if len(could) < JUDGED or not ends:
        return None
    first = min(ends)
    count = ends.count(first)
    said = f"{count} of the {len(could)} trials after the first {PROTECTED_TRIALS} were pruned after epoch {first}"
    if count < FIRST_RUNG * len(could):
        return Check(name="first_rung", level="good", text=f"{said}.")
    remedy = (
        "that favours quick starters; --pruner median or none would let more show what they can do"
    )
    text = f"{said}: {remedy}."
    return Check(name="first_rung", level="note", text=text)


def duplicates(seen: Seen) -> Check | None:
    """Whether many trials only repeated an earlier configuration."""
    ended = [result for result in seen.record.results if result.state != RUNNING]
    again = [result for result in ended if result.duplicate_of is not None]
    if len(again) < AT_LEAST or len(again) < SHARE * len(ended):
        return None
    text = (
        f"{len(again)} of {len(ended)} trials repeated an earlier configuration: little new is left to try; "
        "search wider ranges, or fewer trials."
    )
    return Check(name="duplicates", level="note", text=text)


def _listed(trials: Sequence[TrialResult]) -> str:
    numbers = [f"#{trial.number}" for trial in trials[:_NAMED]] + ["..."] * (len(trials) > _NAMED)
    if numbers:
        return f" ({', '.join(numbers)})"
    return ""


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
