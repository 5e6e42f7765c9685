"""Health checks of a study's winner: its lead and its test score."""

from __future__ import annotations

import math

from pipeline.report.checks.base import (
    Check,
    Level,
    is_sampled,
    mistakes_too_few_to_rank,
    trained_trials,
    validation_images,
)
from pipeline.report.finalists import doubts
from pipeline.report.scores import PERCENT, interval_text, outcome_text, unit_of
from sweeps.analysis.intervals import newcombe_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.verdict import Verdict
from sweeps.spec.study_spec import CENTRED_METHODS

ENOUGH = 5  # configurations with a value; with fewer, a lead over the first says little of a search


# The lead


def gain(record: StudyRecord) -> Check | None:
    """Compare the winner with the baseline: the study's first configuration, or its centre."""
    entries = record.complete_configurations
    baseline = _baseline(record)
    configurations = {trial.config.group for trial in trained_trials(record)}
    saturation = mistakes_too_few_to_rank(record)
    # Then nothing could be seen to be better, as the check `saturated` says.
    is_saturated = saturation is not None and baseline in saturation.configurations
    enough = len(entries) >= 2 and len(configurations) >= ENOUGH
    if baseline is None or is_saturated or not enough:
        return None
    check = _gain_of_finalists(record, baseline)
    if check is not None:
        return check
    number = _first_number(baseline)
    if record.method in CENTRED_METHODS:
        name = f"the centre, trial {number}"
    else:
        name = f"the first configuration, trial {number}"
    return _gain_over(record, baseline, name)


def _gain_over(record: StudyRecord, baseline: Ranked, name: str) -> Check | None:
    """Compare the winner of the search with the baseline, which has a name."""
    unit = unit_of(record.objective)
    entries = record.complete_configurations
    winner = entries[0]
    if winner is baseline:
        count = len(entries) - 1
        text = (
            f"None of the {count} other complete configurations has a better value than {name} "
            f"({unit.value(_mean(baseline))}): keep it, or search other ranges or train longer."
        )
        return Check(name="gain", level="note", text=text)
    difference = record.difference(winner, baseline)
    if difference is None:
        return None
    by = unit.difference(difference.difference)
    finding = (
        f"{_label(winner)} ({unit.value(_mean(winner))}) is {by} better than "
        f"{name} ({unit.value(_mean(baseline))})"
    )
    if difference.outcome == "ahead":
        text = f"{finding}, beyond chance ({interval_text(difference, unit)})."
        return Check(name="gain", level="good", text=text)
    if difference.half_width is None:
        text = f"{finding}, {difference.why_unknown}: whether the search has gained is not known."
        return Check(name="gain", level="note", text=text)
    text = f"{finding}, {outcome_text(difference, unit)} ({interval_text(difference, unit)})."
    return Check(name="gain", level="note", text=text)


def _gain_of_finalists(record: StudyRecord, baseline: Ranked) -> Check | None:
    """Judge the gain by the finalists, if the baseline is among them and told apart."""
    verdict = record.final_verdict
    if verdict is None:
        return None
    group = baseline.trials[0].config.group
    finalist = next((f for f in verdict.finalists if f.trial.config.group == group), None)
    if finalist is None or finalist.against is None:
        return None
    difference = finalist.against
    unit = unit_of(record.objective)
    by = f"{unit.difference(abs(difference.difference))} better than"
    if difference.outcome == "behind":
        text = (
            f"The first configuration is {by} the best finalist, beyond chance, "
            "but not with all of its seeds."
        )
        return Check(name="gain", level="warning", text=text)
    if difference.outcome == "ahead":
        text = (
            f"The best finalist is {by} the first configuration, beyond chance "
            f"({interval_text(difference, unit)})."
        )
        return Check(name="gain", level="good", text=text)
    return None  # the check of ties tells of it


def tie(record: StudyRecord) -> Check | None:
    """Say whether the winner is known to be better than the next configurations.

    Once finalists have been trained, their fresh seeds are judged instead.
    """
    verdict = record.final_verdict
    if verdict is not None and len(verdict.finalists) > 1:
        return _tie_of_finalists(verdict)
    lead = record.lead
    if lead is None:
        return None
    unit = unit_of(record.objective)
    difference = lead.difference
    second = lead.second.trials[0].number
    if difference.difference:
        relation = f"leads the next, trial {second}, by {unit.difference(difference.difference)}"
    else:
        relation = f"is level with trial {second} ({unit.value(_mean(lead.second))})"
    finding = f"{_label(lead.first)} {relation}"
    if difference.outcome == "ahead":
        text = f"{finding}, beyond chance ({interval_text(difference, unit)})."
        return Check(name="tie", level="good", text=text)
    remedy = f"`pipeline finalists {record.name}` trains the best again with fresh seeds"
    if difference.half_width is None:
        text = f"{finding}, {difference.why_unknown}: which is the best is not known; {remedy}."
        return Check(name="tie", level="note", text=text)
    others = record.complete_configurations[1:]
    near = sum(_may_be_as_good(record, lead.first, entry) for entry in others)
    text = (
        f"{finding}, {outcome_text(difference, unit)} ({interval_text(difference, unit)}); {near} "
        f"of the {len(others)} others may be as good: {remedy}."
    )
    level: Level = "note" if difference.outcome == "equal" else "warning"
    return Check(name="tie", level=level, text=text)


def _may_be_as_good(record: StudyRecord, first: Ranked, entry: Ranked) -> bool:
    difference = record.difference(first, entry)
    return difference is None or difference.outcome != "ahead"


def _tie_of_finalists(verdict: Verdict) -> Check:
    sentences = list(doubts(verdict))
    if not sentences:
        count = len(verdict.finalists)
        rule = "the 95 % intervals of all pairs together leave out 0"
        text = f"The best of {count} finalists is ahead of each of the others: {rule}."
        return Check(name="tie", level="good", text=text)
    level: Level = "note"
    if verdict.undecided:
        level = "warning"
    if verdict.behind:
        level = "warning"
        sentences.append("See why a seed of it failed before you take the winner.")
    return Check(name="tie", level=level, text=f"Finalists: {' '.join(sentences)}")


# The test score


def test_gap(record: StudyRecord) -> Check | None:
    """Compare the gap between the winner's validation and test accuracy with chance."""
    verdict = record.final_verdict
    trial = record.best_trial
    images = validation_images(trial)
    if verdict is not None and verdict.winner.gap is not None:
        gap = verdict.winner.gap
        above = _above(gap.difference)
        finding = f"The best finalist's validation accuracy is {above} its test accuracy"
        low = gap.low
        high = gap.high
    elif trial is not None and trial.best and images and trial.test and "acc" in trial.test:
        val = trial.best.metrics["val/acc"]
        test = trial.test["acc"]
        # Older studies did not count the test images. Test splits are at least as large.
        test_images = int(trial.test.get("images", images))
        low, high = newcombe_interval(val, images, test, test_images)
        finding = (
            f"Trial {trial.number}'s validation accuracy {PERCENT.value(val)} is "
            f"{_above(val - test)} its test accuracy {PERCENT.value(test)}"
        )
    else:
        return None
    finding += f" (95 % interval {PERCENT.signed_interval(low, high)})"
    if low > 0:
        remedy = (
            "report the test score; fewer trials or a larger validation split would flatter less"
        )
        return Check(name="test_gap", level="warning", text=f"{finding}, beyond chance: {remedy}.")
    if high < 0:
        remedy = "the test images are easier; compare scores of the same split only"
        return Check(name="test_gap", level="note", text=f"{finding}, beyond chance: {remedy}.")
    return Check(name="test_gap", level="good", text=f"{finding}, within chance.")


def _above(difference: float) -> str:
    direction = "above" if difference >= 0 else "below"
    return f"{PERCENT.difference(abs(difference))} {direction}"


# Configurations


def _baseline(record: StudyRecord) -> Ranked | None:
    """Return the configuration for the others to beat; None if it is not complete."""
    for entry in record.complete_configurations:
        if record.method in CENTRED_METHODS:
            is_baseline = record.at_centre(entry.trials[0].config)
        else:
            is_baseline = is_sampled(record) and _first_number(entry) == 0
        if is_baseline:
            return entry
    return None


def _first_number(entry: Ranked) -> int:
    return min(trial.number for trial in entry.trials)


def _label(entry: Ranked) -> str:
    return f"Trial {entry.trials[0].number}"


def _mean(entry: Ranked) -> float:
    return math.nan if entry.value is None else entry.value
