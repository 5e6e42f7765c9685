"""Health checks of a study's trials: how they ended, and how much of the search space they saw."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from pipeline.report.checks.base import Check, Level, is_sampled, tried_trials
from pipeline.report.scores import probability_text, unit_of
from sweeps.analysis.health import collapsed_class
from sweeps.analysis.naming import value_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.trend import MIN_CONFIGURATIONS, least_visible_share, rank_correlation
from sweeps.spec.dimension import round_significant
from sweeps.trial import FAILED, PAUSED, PRUNED, TrialResult

# Complete configurations for each searched field. With fewer, the effect of a field cannot be told
# from that of the others.
EACH = 5
SHARE = 0.2  # of the trials, lost to one cause: a fifth of the time
AT_LEAST = 2  # such trials: one is no pattern
# Trials with the same value of a field. Of two values drawn at random, eight trials have one alone
# in one of 128 studies.
SAME = 8
CHANCE = 0.05  # a finding that is less probable by chance is taken for one
# How often the best trial is among the stopped, by pruner: the range over the four tables of
# docs/performance.md, "Rules on recorded curves", with the rules of 0.1.0.
LOST = {"asha": ".32 to .55", "median": ".02 to .31"}
INFEASIBLE = "infeasible"  # the end of a trial whose network breaks a limit of the study
_NAMED = 10  # trials that are listed


def few(record: StudyRecord) -> Check | None:
    """Say how much a field must explain to be seen among the complete configurations.

    The rule of thumb is `EACH` configurations for each searched field.
    """
    count = len(record.complete_configurations)
    searched = len(record.searched)
    if not is_sampled(record) or not tried_trials(record) or not searched:
        return None
    configurations = _count(count, "complete configuration")
    finding = (
        f"{configurations} for {_count(searched, 'searched field')}, {count / searched:.1f} each"
    )
    share = least_visible_share(count)
    if share is None:
        finding += ": too few to see among them what a single field does"
    else:
        finding += (
            f": a field must explain {share:.2f} of the differences among them to be seen four "
            "times in five (rank correlation, 95 %)"
        )
    if count >= EACH * searched:
        return Check(name="few", level="good", text=f"{finding}.")
    return Check(name="few", level="note", text=f"{finding}; {_more(record)}.")


def _more(record: StudyRecord) -> str:
    """Say how to get more complete configurations for each field."""
    ended = [result for result in record.results if result.has_ended]
    count = len(record.complete_configurations)
    # Only without pruning does the number of complete trials grow with that of all.
    if record.spec.pruner == "none" and record.budget is None and count:
        total = math.ceil(EACH * len(record.searched) * len(ended) / count)
        return f"--trials {total} gives about {EACH} each if as many are complete; or search fewer"
    if record.spec.pruner == "none":
        return "let more be trained to the end, or search fewer"
    if not any(result.state in (PRUNED, PAUSED) for result in record.results):
        return "let there be more trials, or search fewer"
    return "a study with --pruner none trains all to the end, or search fewer"


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
        return _only_family(record, first, sorted(map(str, searched - {first})))
    counts = Counter(ranked)
    listed = ", ".join(f"{family} {count}" for family, count in counts.most_common())
    finding = f"Complete configurations by family: {listed}"
    if len(complete) < MIN_CONFIGURATIONS:
        text = f"{finding}: too few to compare families ({MIN_CONFIGURATIONS} are needed)."
        return Check(name="families", level="good", text=text)
    chance = min(1.0, _chance_of_better(complete, first) * len(searched))
    if chance > CHANCE:
        text = f"{finding}; that {first} is the best one's may be chance (rank sum)."
        return Check(name="families", level="good", text=text)
    index = next(i for i, family in enumerate(ranked) if family != first)
    best_other = complete[index]
    value = unit_of(record.objective).value(best_other.value or 0.0)
    text = (
        f"{finding}. {first} does better than the others (rank sum, p {probability_text(chance)} "
        f"after correction for {len(searched)} families); the best other, {ranked[index]}, is "
        f"trial {best_other.trials[0].number} in place {index + 1} ({value}): a next study could "
        f"keep to --families {first}."
    )
    return Check(name="families", level="note", text=text)


def _chance_of_better(complete: Sequence[Ranked], family: str) -> float:
    """Return how probable it is that a family does so well by chance, by the rank-sum test."""
    _, chance = rank_correlation(
        [float(entry.trials[0].config.family == family) for entry in complete],
        [-float(entry.rank or 0) for entry in complete],
    )
    return chance


def _only_family(record: StudyRecord, only: str, missing: Sequence[str]) -> Check:
    """Tell that one family alone has complete configurations, and what became of the others."""
    ends = []
    for family in missing:
        tried = [trial for trial in tried_trials(record) if trial.config.family == family]
        counts = Counter(trial.end for trial in tried).most_common()
        how = ", ".join(f"{count} {end}" for end, count in counts)
        ends.append(f"{family} ({how or 'none tried'})")
    count = len(record.complete_configurations)
    text = (
        f"All {count} complete configurations are {only}; none is {', '.join(ends)}: "
        "what these can do in the end is not known; search them alone with "
        f"--families {','.join(missing)}."
    )
    level: Level = "warning"
    if record.promoted is not None:  # those that lead are trained to the end: mostly of a family
        level = "note"
    return Check(name="families", level=level, text=text)


def constant(record: StudyRecord) -> Check | None:
    """Check for searched fields with the same value in all trials."""
    if not is_sampled(record):
        return None
    findings = []
    varied = []
    for name in record.searched:
        if _has_one_choice(record, name):
            continue
        tried = [trial.config.value(name) for trial in tried_trials(record)]
        values = [value for value in tried if value is not None]
        if len(set(values)) > 1:
            varied.append(name)
        elif len(values) >= SAME:
            value = value_text(values[0])
            findings.append(f"{name} was {value} in all {len(values)} trials that have it")
    if findings:
        text = f"{'; '.join(findings)}: other values were not tried, so nothing is known of them."
        return Check(name="constant", level="note", text=text[0].upper() + text[1:])
    if varied:
        text = f"Tried with several values: {', '.join(varied)}."
        return Check(name="constant", level="good", text=text)
    return None


def _has_one_choice(record: StudyRecord, name: str) -> bool:
    dimensions = [dimension for dimension in record.dimensions if dimension.field == name]
    return all(len(dimension.choices) == 1 for dimension in dimensions)


def unstable(record: StudyRecord) -> Check | None:
    """Check how many trials diverged or collapsed, and whether learning rates explain it."""
    trained = [trial for trial in tried_trials(record) if trial.end != INFEASIBLE]
    lost = [t for t in trained if t.end == "diverged" or collapsed_class(t) is not None]
    if not trained:
        return None
    if not _is_pattern(lost, trained):
        total = _count(len(trained), "trial")
        text = f"{len(lost)} of {total} diverged or collapsed to one class{_listed(lost)}."
        return Check(name="unstable", level="good", text=text)
    lost_numbers = {trial.number for trial in lost}
    sound = [trial for trial in trained if trial.number not in lost_numbers]
    remedy = "a lower lr or grad_clip may hold them"
    if "lr" in record.searched:
        remedy = _rates(lost, sound) or remedy
    text = (
        f"{len(lost)} of {len(trained)} trials diverged or collapsed to one class{_listed(lost)}: "
        f"{remedy}."
    )
    return Check(name="unstable", level="warning", text=text)


def _rates(lost: Sequence[TrialResult], sound: Sequence[TrialResult]) -> str | None:
    """Say that lost trials have higher learning rates than sound ones, if chance does not.

    Returns:
        The words; None if it may be chance by the rank-sum test, or there are too few trials.
    """
    together = [*lost, *sound]
    if len(together) < MIN_CONFIGURATIONS:
        return None
    _, chance = rank_correlation(
        [float(place < len(lost)) for place in range(len(together))],
        [trial.config.lr for trial in together],
    )
    if chance > CHANCE:
        return None
    lost_median = value_text(round_significant(statistics.median(t.config.lr for t in lost)))
    sound_median = value_text(round_significant(statistics.median(t.config.lr for t in sound)))
    return (
        f"their lr are higher than those of the other {len(sound)} (medians {lost_median} and "
        f"{sound_median}; rank sum, p {probability_text(chance)}): search lower ones"
    )


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


def stopped(record: StudyRecord) -> Check | None:
    """Tell of trials that were stopped for good, and how often the best is among them.

    Trials that were paused could have gone on: of these nothing is said.
    """
    pruned = [
        trial
        for trial in tried_trials(record)
        if trial.state == PRUNED and trial.end != INFEASIBLE and trial.history
    ]
    if record.promoted is not None or not pruned:
        return None
    lengths = [len(trial.history) for trial in pruned]
    tried = _count(len(tried_trials(record)), "trial")
    text = (
        f"{len(pruned)} of {tried} were stopped for good, after epoch {min(lengths)} at the "
        "earliest; the best may be among them"
    )
    lost = LOST.get(record.spec.pruner or "")
    if lost is not None:
        text += (
            f", as in {lost} of studies of 24 trials that this rule was tried on "
            "(recorded learning curves, 400 orders each)"
        )
    remedy = (
        "in a new study, --pruner asha pauses such trials and takes the promising ones up again"
    )
    return Check(name="stopped", level="note", text=f"{text}; {remedy}.")


def duplicates(record: StudyRecord) -> Check | None:
    """Check how many trials only repeated an earlier configuration."""
    ended = [result for result in record.results if result.has_ended]
    repeats = [result for result in ended if result.duplicate_of is not None]
    if not _is_pattern(repeats, ended):
        return None
    text = (
        f"{len(repeats)} of {len(ended)} trials repeated an earlier configuration: "
        "there are few others, or the sampler prefers these; search wider ranges, or fewer trials."
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
