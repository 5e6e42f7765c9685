"""What a study has found, in sentences: what won, by how much, how sure that is, how to go on. Knows no format."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.finalists import signed
from pipeline.report.problems import INFEASIBLE
from pipeline.report.ranked import score_text
from pipeline.system.text import clean
from sweeps.analysis.lead import Lead
from sweeps.analysis.naming import config_text, differing_fields
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials, mean_test_score
from sweeps.analysis.verdict import Verdict, doubts
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, TrialResult

OBJECTIVES = {
    "val_acc": "validation accuracy",
    "val_loss": "validation loss",
    "balanced_acc": "balanced validation accuracy",
    "macro_f1": "macro F1 on the validation split",
}
_MEANINGS = {
    COMPLETE: "trained to its end: all its epochs, or until it stopped getting better",
    PRUNED: "stopped early, being behind the others; ranked by the best it had reached, after all complete ones",
    INFEASIBLE: "not trained: its network breaks a limit of the study",
    "duplicate": "the same configuration and seed as an earlier trial, whose result it takes",
    FAILED: "came to no result; why is told under what went wrong",
    RUNNING: "begun and not ended",
    "interrupted": "begun and stopped half-way; it goes on from the last epoch that was kept",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command that goes on from here, and what for."""

    why: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a study has found."""

    standing: str  # how far it has come
    won: str  # or why nothing has
    sure: tuple[str, ...]  # by how much, and how sure that is
    test: str  # what is known on the test split; nothing where nothing has won
    figures: tuple[tuple[str, str], ...]  # the few that matter, under their names
    meanings: tuple[tuple[str, str], ...]  # of the words that say where the trials went
    steps: tuple[Step, ...]


def answer(record: StudyRecord, entries: Sequence[Ranked]) -> Answer:
    """Say what a study has found.

    Args:
        record: the study.
        entries: its configurations, ranked.
    """
    first = entries[0] if entries and entries[0].state == COMPLETE else None
    ahead = record.lead
    again = record.final_verdict
    won = _won(record, first, ahead)
    sure = _sure(record, first, ahead)
    test = None if first is None else mean_test_score(complete_trials(first), "acc")
    by = _ahead(ahead)
    if again is not None:
        won, sure = (
            _won_again(record, again),
            (_sure_again(again), " ".join(["In the search:", won, *sure])),
        )
        test = again.winner.test
        by = _ahead_again(again)
        first = again.winner.entry
    return Answer(
        standing=standing(record),
        won=won,
        sure=sure,
        test="" if first is None else _test(test),
        figures=tuple(_figures(record, first, by, test)),
        meanings=_meanings(record),
        steps=tuple(_steps(record, first, again, test)),
    )


def standing(record: StudyRecord) -> str:
    """How far a study has come, and why not further."""
    planned = f"{record.trials} planned trial{'s' * (record.trials != 1)}"
    running = [trial for trial in record.results if trial.state == RUNNING]
    over = len(record.results) - len(running)
    last = max((trial.number for trial in record.results), default=0)
    again = f"before the end of its {planned}: the command that began it goes on."
    stopped = all(trial.end == "interrupted" for trial in running)  # nobody runs them now
    texts = {
        f"Nothing yet: none of its {planned} was begun.": not record.results,
        f"A snapshot as of trial {last}, with {len(running)} of {planned} running.": not stopped,
        f"Given up after too many failures in a row, of {planned}.": record.reason == "failures",
        f"Finished: {over} of {planned}.": over >= record.trials,
        f"Stopped by --timeout {again}": record.reason == "until",
        f"Interrupted {again}": record.reason in (None, "done"),
    }
    rule = f"Stopped by a rule of the study, {clean(record.reason, 80)}, before the end of its {planned}."
    return next((text for text, holds in texts.items() if holds), rule)


def _won(record: StudyRecord, first: Ranked | None, ahead: Lead | None) -> str:
    if first is None:
        return "Nothing has won: no trial is complete."
    trial = first.trials[0]
    objective = OBJECTIVES[record.objective]
    where = f"epoch {trial.best_epoch} of {len(trial.history)}"
    if first.spread is None:
        verb = "stands first" if ahead and not ahead.difference else "won"
        name = f"Trial {trial.number} ({clean(trial.config.family, 60)})"
        return f"{name} {verb}: {objective} {trial.value:.4f} at {where}."
    name = clean(config_text(trial, record.searched), 160)
    mean = score_text(first.value or 0.0, first.spread, len(complete_trials(first)))
    best = f"the best of its seeds is trial {trial.number} with {trial.value:.4f}"
    return f"The best configuration is {name}: mean {objective} {mean}; {best}."


def _sure(record: StudyRecord, first: Ranked | None, ahead: Lead | None) -> tuple[str, ...]:
    if first is None:
        return ()
    if ahead is None:
        return ("No other configuration is complete: there is nothing to compare it with.",)
    second = ahead.second.trials[0]
    what = f"trial {second.number}, {clean(config_text(second, ahead.differing), 120)}"
    by = f"It is {ahead.difference:.4f} ahead of the second ({what}){_in_images(record, first, ahead)}."
    if ahead.difference == 0:
        by = f"It is no better than the second ({what}): a tie, in which the earlier trial stands first."
    if ahead.spread is None:
        noise = "Each was trained with one seed: it may be noise."
    elif ahead.within:
        noise = f"That is within the spread of their seeds ({ahead.spread:.4f}): it may be noise."
    else:
        noise = f"That is more than the spread of their seeds ({ahead.spread:.4f})."
    return (by, noise)


def _in_images(record: StudyRecord, first: Ranked, ahead: Lead) -> str:
    """How many images a difference in accuracy is, where that is known."""
    images = sum(map(sum, first.trials[0].confusion or ()))
    if not images or record.objective != "val_acc":
        return ""
    count = round(ahead.difference * images)
    if count:
        return f": {count:,} of the {images:,} validation images"
    return ": less than one validation image"


def _named(record: StudyRecord, found: Verdict) -> str:
    fields = (
        differing_fields(record.searched, [one.trial for one in found.finalists]) or record.searched
    )
    return clean(config_text(found.winner.trial, fields), 160)


def _won_again(record: StudyRecord, found: Verdict) -> str:
    """What won when the first were trained again."""
    score = found.winner.value
    if score is None:
        mean = ""
    else:
        mean = f" {score_text(score.mean, score.spread, score.seeds)}"
    if found.tied:
        which = "First by its mean, in a tie, is"
    elif found.behind:
        which = "Placed first is"
    else:
        which = "The winner is"
    return f"{which} {_named(record, found)}: {OBJECTIVES[record.objective]}{mean}, trained again with fresh seeds."


def _sure_again(found: Verdict) -> str:
    if said := doubts(found):
        return " ".join(said)
    others = len(found.finalists) - 1
    if not others:
        return "It was the only finalist."
    return f"It is ahead of the other {others} finalist{'s' * (others > 1)} by more than chance (95 %)."


def _test(test: Score | None) -> str:
    if test is None:
        return "It was chosen on the validation split alone; the sweep has not read the test split."
    return (
        f"Test accuracy, scored after the choice: {score_text(test.mean, test.spread, test.seeds)}."
    )


def _ahead(ahead: Lead | None) -> str:
    if ahead is None:
        return "no second"
    if ahead.difference:
        return f"{ahead.difference:.4f}"
    return "a tie"


def _ahead_again(found: Verdict) -> str:
    if len(found.finalists) < 2:
        return "no second"
    against = found.finalists[1].against
    if against is None:
        return "not known"
    by = signed(abs(against.difference)).removeprefix("+")
    return {"ahead": by, "tie": "a tie", "behind": f"behind by {by}"}[against.outcome]


def _figures(
    record: StudyRecord, first: Ranked | None, by: str, test: Score | None
) -> list[tuple[str, str]]:
    """The few figures that matter, of the ranking that decides."""
    over = sum(trial.state != RUNNING for trial in record.results)
    found = [("trials ended", f"{over} of {max(record.trials, over)}")]
    if first is None:
        return found
    spread = "" if first.spread is None else f" ± {first.spread:.4f}"
    return [
        (f"best {OBJECTIVES[record.objective]}", f"{first.value:.4f}{spread}"),
        ("ahead of the second by", by),
        ("test accuracy", "not scored yet" if test is None else f"{test.mean:.4f}"),
        *found,
    ]


def _word(trial: TrialResult) -> str:
    """How a trial ended, in a word that has a meaning."""
    if trial.duplicate_of is not None:
        return "duplicate"
    if trial.end in _MEANINGS:
        return trial.end
    return trial.state


def _meanings(record: StudyRecord) -> tuple[tuple[str, str], ...]:
    ends = {_word(trial) for trial in record.results}
    return tuple((word, meaning) for word, meaning in _MEANINGS.items() if word in ends)


def _steps(
    record: StudyRecord, first: Ranked | None, again: Verdict | None, test: Score | None
) -> list[Step]:
    name = shlex.quote(clean(record.name))
    report = Step(why="Write this report anew", command=f"pipeline report {name}")
    compare = Step(why="Compare the trials in MLflow", command=f"pipeline ui --name {name}")
    left = sum(t.state != RUNNING for t in record.results) < record.trials
    if left and record.command:
        go_on = [Step(why="Go on to the planned trials", command=clean(record.command))]
    else:
        go_on = []
    if first is None:
        return [*go_on, report, compare]
    trial = first.trials[0]
    steps = go_on
    run = f"--run {name}#{trial.number}"
    if again is not None and record.finalists is not None:
        run = f"--run {shlex.quote(clean(record.finalists.name))}#{trial.number}"
    else:
        why = "Train the best again with fresh seeds: is the lead real?"
        steps.append(Step(why=why, command=f"pipeline finalists {name}"))
    if test is None:
        steps.append(
            Step(
                why="Score the winner on the test split",
                command=f"pipeline evaluate {run} --split test",
            )
        )
    steps.append(
        Step(why="Ask the winner about images of your own", command=f"pipeline predict IMAGE {run}")
    )
    if trial.run_id is not None:
        repeat = f"pipeline train --from-run {shlex.quote(clean(trial.run_id))}"
        steps.append(Step(why="Repeat the winner to the same number", command=repeat))
    return [*steps, compare, report]
