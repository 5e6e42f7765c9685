"""Sums up a study in sentences: the winner, its lead, the certainty, and how to go on."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from pipeline.report.finalists import doubts
from pipeline.report.front import front_sentence
from pipeline.report.problems import INFEASIBLE
from pipeline.report.scores import (
    PERCENT,
    Unit,
    difference_text,
    entry_score_text,
    interval_text,
    outcome_text,
    plural,
    test_text,
    unit_of,
)
from pipeline.system.text import clip
from sweeps.analysis.difference import Difference
from sweeps.analysis.naming import config_text, differing_fields
from sweeps.analysis.optimism import epoch_optimism, trial_optimism
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import Lead, StudyRecord
from sweeps.analysis.scores import Score, complete_trials, mean_test_score
from sweeps.analysis.verdict import Finalist, Verdict
from sweeps.spec.study_spec import parse_budget
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, TrialResult

OBJECTIVES = {
    "val_acc": "validation accuracy",
    "val_loss": "validation loss",
    "balanced_acc": "balanced validation accuracy",
    "macro_f1": "macro F1 on the validation split",
}
# How a trial can end, in the order of the report, and the meaning of each word.
_MEANINGS = {
    COMPLETE: "trained to its end: all its epochs, or until it stopped getting better",
    PRUNED: "stopped early, being behind the others",
    PAUSED: "trained for some epochs; it goes on if its place among the others allows",
    INFEASIBLE: "not trained: its network breaks a limit of the study",
    "duplicate": "the same configuration and seed as an earlier trial, whose result it takes",
    FAILED: "came to no result; why is told under what went wrong",
    RUNNING: "begun and not ended",
    "interrupted": "begun and stopped half-way; it goes on from the last epoch that was kept",
}
# Where pausing has replaced stopping.
_PAUSED_TO_THE_END = "paused, being behind the others, until nothing was left to train"
# How those are ranked.
_RANKED_BY_EPOCHS = "ranked after all complete ones, the longest trained first"
_RANKED_BY_VALUE = "ranked by the best it had reached, after all complete ones"  # by 0.1.0
_SETTINGS_CLIP = 600  # characters of the winner's settings
_SECOND_CLIP = 120  # characters of the second's
_OPTIMISM = 0.0005  # less would be 0.000 with three digits


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command to go on with, and its purpose."""

    why: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A study in sentences, for the top of a report."""

    progress: str  # how far the study has come
    cost: str  # the epochs that promotion cost and spared; empty for a study without it
    winner: str  # the winner, or why there is none
    certainty: tuple[str, ...]  # by how much it won, and how certain that is
    test: str  # the winner on the test split; empty without a winner
    figures: tuple[tuple[str, str], ...]  # the most important figures, by name
    meanings: tuple[tuple[str, str], ...]  # how the trials ended, and what the words mean
    steps: tuple[Step, ...]


def answer(record: StudyRecord) -> Answer:
    """Sum up a study.

    The winner is the first of the ranking, or the winner of the finalists once these are decided.
    """
    configuration = _first_complete(record)
    winner = _winner_sentence(record, configuration)
    certainty = _certainty_sentences(record, configuration)
    baseline = _baseline_sentence(record, configuration)
    test = mean_test_score(complete_trials(configuration), "acc")
    test_interval = None
    lead = _lead_text(record)
    gain = _baseline_lead(record, configuration)
    on_front = front_sentence(record)
    if on_front:
        certainty = (*certainty, on_front)

    verdict = record.final_verdict
    if verdict is not None:
        in_search = " ".join(["In the search:", winner, *certainty])
        configuration = verdict.winner.entry
        winner = _finalist_sentence(record, verdict)
        certainty = (_finalist_certainty(verdict), in_search)
        baseline = _finalist_baseline_sentence(record, verdict)
        test = verdict.winner.test
        test_interval = verdict.winner.test_interval
        lead = _finalist_lead_text(record, verdict)
        gain = _finalist_baseline_lead(record, verdict)
    return Answer(
        progress=progress_sentence(record),
        cost=cost_sentence(record),
        winner=winner,
        certainty=(baseline, *certainty) if baseline else certainty,
        test="" if configuration is None else _test_sentence(test, test_interval),
        figures=tuple(_figures(record, configuration, lead, gain, test)),
        meanings=_meanings(record),
        steps=tuple(_steps(record, configuration, test)),
    )


def _first_complete(record: StudyRecord) -> Ranked | None:
    if record.complete_configurations:
        return record.complete_configurations[0]
    return None


# How far the study has come


def progress_sentence(record: StudyRecord) -> str:
    """Say how far a study has come, and why not further."""
    planned = plural(record.trials, "planned trial")
    of_planned = f" of {planned}"
    if record.has_only_budget:
        planned = f"budget of {_budget_text(record)}"
        of_planned = ""
    if not record.results:
        none = "no trial" if record.has_only_budget else f"none of its {planned}"
        return f"Nothing yet: {none} was begun."
    running = [trial for trial in record.results if trial.state == RUNNING]
    paused = f" and {len(record.paused)} paused" if record.paused else ""
    # Nobody trains an interrupted trial now.
    if any(trial.end != "interrupted" for trial in running):
        last = max(trial.number for trial in record.results)
        return f"A snapshot as of trial {last}, with {len(running)}{of_planned} running{paused}."
    if record.reason == "failures":
        return f"Given up after too many failures in a row{of_planned and ','}{of_planned}."
    if record.is_finished:
        ended = f"{record.ended} of {planned}"
        if record.has_only_budget:
            ended = f"{plural(record.ended, 'trial')} within its {planned}"
        elif record.ended < record.trials:
            ended += f", within its budget of {_budget_text(record)}"
        return f"Finished: {ended}."
    return _stop_sentence(record, planned)


def _budget_text(record: StudyRecord) -> str:
    """A budget with its unit."""
    budget = record.budget or ""
    if budget.endswith("h"):
        hours = budget.removesuffix("h")
        return "1 hour" if hours == "1" else f"{hours} hours"
    return parse_budget(budget).text


def _stop_sentence(record: StudyRecord, planned: str) -> str:
    """Say why a study stopped before all its planned trials."""
    if record.reason == "until":
        stop = "Stopped by --timeout"
    elif record.reason in (None, "done"):
        stop = "Interrupted"
    else:
        rule = clip(record.reason, 80)
        return f"Stopped by a rule of the study, {rule}, before the end of its {planned}."
    goes_on = "the command that began it goes on"
    if record.paused:
        goes_on += f", with {plural(len(record.paused), 'paused trial')}"
    return f"{stop} before the end of its {planned}: {goes_on}."


def cost_sentence(record: StudyRecord) -> str:
    """Say what promotion cost and spared; empty for a study without promotion."""
    promoted = record.promoted
    whole = record.whole_epochs
    if promoted is None or not whole:
        return ""
    trained = record.epochs_trained
    tried = [one for one in record.results if one.duplicate_of is None]
    complete = sum(one.state == COMPLETE for one in tried)
    so_far = "" if all(one.has_ended for one in tried) else " so far"
    share = f"{trained:,} of {plural(whole, 'epoch')} ({100 * trained / whole:.0f} %){so_far}"
    end = "its end" if complete == 1 else "their end"
    return (
        f"{record.spec.pruner or 'asha'} trained {share}: "
        f"{complete:,} of {plural(len(tried), 'trial')} to {end}, "
        f"{plural(promoted.pauses, 'pause')}, {plural(promoted.promotions, 'promotion')}."
    )


# The winner of the search


def _winner_sentence(record: StudyRecord, configuration: Ranked | None) -> str:
    if configuration is None:
        return "Nothing has won: no trial is complete."
    trial = configuration.trials[0]
    objective = OBJECTIVES[record.objective]
    settings = settings_text(record, trial)
    unit = unit_of(record.objective)
    value = unit.value(trial.value or 0.0)
    if configuration.spread is None:
        tied = record.lead is not None and not record.lead.difference.difference
        verb = "stands first" if tied else "won"
        return (
            f"Trial {trial.number} {verb}, with {settings}: {objective} {value} "
            f"at epoch {trial.best_epoch} of {len(trial.history)}."
        )
    mean = entry_score_text(configuration, unit)
    return (
        f"The best configuration is {settings}: mean {objective} {mean}; "
        f"the best of its seeds is trial {trial.number} with {value}."
    )


def settings_text(record: StudyRecord, trial: TrialResult) -> str:
    """A trial's family, optimizer and all searched values."""
    fields = dict.fromkeys(("family", "optimizer", *record.searched))
    return clip(config_text(trial, list(fields)), _SETTINGS_CLIP)


def _certainty_sentences(record: StudyRecord, configuration: Ranked | None) -> tuple[str, ...]:
    """By how much a configuration is ahead of the second, and whether this may be noise."""
    if configuration is None:
        return ()
    lead = record.lead
    if lead is None:
        return ("No other configuration is complete: there is nothing to compare it with.",)
    unit = unit_of(record.objective)
    second = lead.second.trials[0]
    name = clip(config_text(second, lead.differing), _SECOND_CLIP)
    second_text = f"trial {second.number}, {name}"
    difference = lead.difference
    if difference.difference == 0:
        by = (
            f"It is no better than the second ({second_text}): "
            "a tie, in which the earlier trial stands first."
        )
    else:
        images = _image_count_text(record, configuration, lead)
        ahead = unit.difference(difference.difference)
        by = f"It is {ahead} ahead of the second ({second_text}){images}."
    sentences = [by, _noise_sentence(difference, unit)]
    optimism = _optimism_sentence(record)
    if optimism is not None:
        sentences.append(optimism)
    return tuple(sentences)


def _optimism_sentence(record: StudyRecord) -> str | None:
    """By how much the winner's value flatters itself; None if that is not known, or hardly any."""
    unit = unit_of(record.objective)
    found = []
    of_trials = trial_optimism(record)
    if of_trials is not None and of_trials.value >= _OPTIMISM:
        by = unit.difference(of_trials.value)
        found.append(f"{by} as the best of {of_trials.configurations} configurations")
    of_epochs = epoch_optimism(record.results)
    if of_epochs is not None and of_epochs.mean >= _OPTIMISM:
        found.append(f"{unit.difference(of_epochs.mean)} as the best of its epochs")
    if not found:
        return None
    notes = ["estimated"]
    if of_epochs is not None and of_epochs.mean >= _OPTIMISM and of_epochs.trials > 1:
        notes.append(f"of the epochs as the mean of {of_epochs.trials} complete trials")
    if len(found) > 1:
        notes.append("together less than the sum")
    return (
        f"Chosen by the images that score it, its value is too high by about {' and '.join(found)} "
        f"({'; '.join(notes)})."
    )


def _noise_sentence(difference: Difference, unit: Unit) -> str:
    """Whether a lead may be noise."""
    if max(difference.seeds) == 1:
        return "Each was trained with one seed: which of them is better is not known."
    if difference.half_width is None:
        return f"It is a difference {difference.why_unknown}: which is better is not known."
    text = outcome_text(difference, unit)
    return f"{text[0].upper()}{text[1:]} ({interval_text(difference, unit)})."


def _image_count_text(record: StudyRecord, configuration: Ranked, lead: Lead) -> str:
    """A lead in accuracy as a number of images; empty if the images were not counted."""
    images = sum(sum(row) for row in configuration.trials[0].confusion or ())
    if not images or record.objective != "val_acc":
        return ""
    count = round(lead.difference.difference * images)
    if not count:
        return ": less than one validation image"
    return f": {count:,} of the {images:,} validation images"


def _lead_text(record: StudyRecord) -> str:
    if record.lead is None:
        return "no second"
    return _lead_figure(record.lead.difference, unit_of(record.objective))


def _lead_figure(difference: Difference, unit: Unit) -> str:
    """A lead as a figure, which says where it may be noise."""
    if not difference.difference:
        return "a tie"
    figure = unit.difference(difference.difference)
    if difference.outcome == "ahead":
        return figure
    if difference.outcome == "behind":
        return f"behind by {figure.removeprefix('-')}"
    if difference.outcome == "equal":
        return f"{figure}, equal in practice"
    return f"{figure}, not told apart"


def _baseline_sentence(record: StudyRecord, configuration: Ranked | None) -> str:
    """The winner beside the best baseline; empty if there is none."""
    baseline = record.best_baseline
    if baseline is None or configuration is None:
        return ""
    trial = baseline.trials[0]
    name = clip(config_text(trial, record.searched), _SECOND_CLIP)
    beside = f"The best baseline (trial {trial.number}, {name})"
    if baseline is configuration:
        return f"{beside} is the winner: the search has found nothing better."
    unit = unit_of(record.objective)
    text = f"{beside} has {entry_score_text(baseline, unit)}"
    difference = record.difference(configuration, baseline)
    if difference is None:
        return f"{text}."
    return f"{text}, {unit.difference(difference.difference)} behind."


def _baseline_lead(record: StudyRecord, configuration: Ranked | None) -> str:
    """By how much the winner is ahead of the best baseline; empty if there is none."""
    baseline = record.best_baseline
    if baseline is None or configuration is None:
        return ""
    difference = record.difference(configuration, baseline)
    if baseline is configuration or difference is None:
        return "nothing"
    return _lead_figure(difference, unit_of(record.objective))


# The winner of the finalists


def _finalist_sentence(record: StudyRecord, verdict: Verdict) -> str:
    settings = settings_text(record, verdict.winner.trial)
    if verdict.undecided or verdict.equal:
        subject = "First by its mean is"
    elif verdict.behind:
        subject = "Placed first is"
    else:
        subject = "The winner is"
    score = verdict.winner.value
    mean = "" if score is None else f" {unit_of(record.objective).mean(score)}"
    objective = OBJECTIVES[record.objective]
    return f"{subject} {settings}: {objective}{mean}, trained again with fresh seeds."


def _baseline_among(record: StudyRecord, verdict: Verdict) -> Finalist | None:
    """The best baseline among the finalists; None if there is none."""
    for finalist in verdict.finalists:
        if record.is_baseline(finalist.trial.config):
            return finalist
    return None


def _finalist_baseline_sentence(record: StudyRecord, verdict: Verdict) -> str:
    """The winner of the finalists beside the baseline among them; empty if there is none."""
    baseline = _baseline_among(record, verdict)
    if baseline is None:
        return ""
    if baseline is verdict.winner:
        return "The winner is a baseline: the search has found nothing better."
    if baseline.value is None or baseline.against is None:
        return ""
    trials = [one.trial for one in verdict.finalists]
    fields = differing_fields(record.searched, trials) or record.searched
    name = clip(config_text(baseline.trial, fields), _SECOND_CLIP)
    unit = unit_of(record.objective)
    sentence = (
        f"Against the best baseline, {name}, {unit.mean(baseline.value)}: "
        f"{difference_text(baseline.against, unit)}"
    )
    if baseline.test is None or verdict.winner.test is None:
        return f"{sentence}."
    by = verdict.winner.test.mean - baseline.test.mean
    return (
        f"{sentence}. On the test images the baseline has {PERCENT.value(baseline.test.mean)}, the "
        f"winner {PERCENT.value(verdict.winner.test.mean)} ({PERCENT.difference(by, sign=True)})."
    )


def _finalist_baseline_lead(record: StudyRecord, verdict: Verdict) -> str:
    """By how much the winner is ahead of the best baseline; empty if none is a finalist."""
    baseline = _baseline_among(record, verdict)
    if baseline is None:
        return ""
    if baseline.against is None:
        return "nothing" if baseline is verdict.winner else "not known"
    return _lead_figure(baseline.against, unit_of(record.objective))


def _finalist_certainty(verdict: Verdict) -> str:
    sentences = doubts(verdict)
    if sentences:
        return " ".join(sentences)
    others = len(verdict.finalists) - 1
    if not others:
        return "It was the only finalist."
    noun = f"{others} finalists" if others > 1 else "finalist"
    return (
        f"It is ahead of the other {noun} by more than chance: the 95 % intervals of all pairs "
        "together leave out 0."
    )


def _finalist_lead_text(record: StudyRecord, verdict: Verdict) -> str:
    if len(verdict.finalists) < 2:
        return "no second"
    against = verdict.finalists[1].against
    if against is None:
        return "not known"
    return _lead_figure(against, unit_of(record.objective))


# Figures, words and commands


def _test_sentence(test: Score | None, interval: tuple[float, float] | None) -> str:
    if test is None:
        return "It was chosen on the validation split alone; the sweep has not read the test split."
    return f"Test accuracy, scored after the choice: {test_text(test, interval)}."


def _figures(
    record: StudyRecord, configuration: Ranked | None, lead: str, gain: str, test: Score | None
) -> list[tuple[str, str]]:
    """The most important figures, of the search or of the finalists."""
    ended = f"{record.ended} of {max(record.trials, record.ended)}"
    if record.has_only_budget:
        ended = str(record.ended)
    figures = [("trials ended", ended)]
    if configuration is None:
        return figures
    mean = entry_score_text(configuration, unit_of(record.objective))
    value = mean.partition(" (")[0]
    return [
        (f"best {OBJECTIVES[record.objective]}", value),
        ("ahead of the second by", lead),
        *([("ahead of the best baseline by", gain)] if gain else []),
        ("test accuracy", "not scored yet" if test is None else PERCENT.value(test.mean)),
        *figures,
    ]


def _meanings(record: StudyRecord) -> tuple[tuple[str, str], ...]:
    words = {_end_word(trial) for trial in record.results}
    meanings = dict(_MEANINGS)
    if record.promoted is not None:
        meanings[PRUNED] = _PAUSED_TO_THE_END
    ranked = _RANKED_BY_EPOCHS if record.facts.selection > 1 else _RANKED_BY_VALUE
    meanings[PRUNED] += f"; {ranked}"
    return tuple((word, meaning) for word, meaning in meanings.items() if word in words)


def _end_word(trial: TrialResult) -> str:
    """How a trial ended, as a word with a meaning."""
    if trial.has_ended and trial.duplicate_of is not None:
        return "duplicate"
    if trial.end in _MEANINGS:
        return trial.end
    return trial.state


def _steps(record: StudyRecord, configuration: Ranked | None, test: Score | None) -> list[Step]:
    """Commands to go on with, the most useful first."""
    name = shlex.quote(record.name)
    report = Step(why="Write this report anew", command=f"pipeline report {name}")
    compare = Step(why="Compare the trials in MLflow", command=f"pipeline ui --name {name}")
    steps = []
    if not record.is_finished and record.command:
        steps.append(Step(why="Go on to the planned trials", command=record.command))
    if configuration is None:
        return [*steps, report, compare]
    trial = configuration.trials[0]
    finalists = record.decided_finalists
    if finalists is None:
        run = f"--run {name}#{trial.number}"
        why = "Train the best again with fresh seeds: is the lead real?"
        steps.append(Step(why=why, command=f"pipeline finalists {name}"))
    else:
        run = f"--run {shlex.quote(finalists.name)}#{trial.number}"
    if test is None:
        command = f"pipeline evaluate {run} --split test"
        steps.append(Step(why="Score the winner on the test split", command=command))
    model = shlex.quote(model_name(record))
    for why, command in (
        ("Ask the winner about images of your own", f"pipeline predict IMAGE {run}"),
        ("Register it as a model of MLflow, to serve it", f"pipeline register {run} --as {model}"),
        ("Export it for programs without this one", f"pipeline export {run} --out {model}.pt2"),
    ):
        steps.append(Step(why=why, command=command))
    if trial.run_id is not None:
        command = f"pipeline train --from-run {shlex.quote(trial.run_id)}"
        steps.append(Step(why="Repeat the winner to the same number", command=command))
    return [*steps, compare, report]


def model_name(record: StudyRecord) -> str:
    """A name for the winner as a model and as a file: the study's, in plain characters."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", record.name).strip("-")
    return plain or "winner"
