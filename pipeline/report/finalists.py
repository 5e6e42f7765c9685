"""Reports the finalists of a study: rows of values, a table, and their verdict in sentences.

Finalists are the top configurations of a study, trained again with fresh seeds.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.report.grid import Row, Section, finite_value, make_grid
from pipeline.report.scores import (
    BASELINE,
    PERCENT,
    Unit,
    difference_text,
    difference_values,
    score_values,
    test_text,
    unit_of,
)
from pipeline.system.text import clip
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials
from sweeps.analysis.verdict import Finalist, Gap, Verdict

GAP_COLUMN = "val - test (95 %)"
_NAME_CLIP = 160  # characters of a configuration
# After a difference in the table.
_OUTCOME_MARKS = {
    "ahead": "",
    "behind": ", did better",
    "equal": ", equal in practice",
    "open": ", not told apart",
}


# As values


def finalist_values(record: StudyRecord) -> Row | None:
    """The finalists of a study as exact values; None if there are none."""
    finalists = record.finalists
    if finalists is None:
        return None
    verdict = finalists.judged_as_finalists
    winner = None
    undecided = []
    equal = []
    if verdict is not None:
        winner = _name(record, verdict.winner)
        undecided = [_name(record, finalist) for finalist in verdict.undecided]
        equal = [_name(record, finalist) for finalist in verdict.equal]
    return {
        "study": finalists.name,
        "runs_planned": finalists.trials,
        "final": verdict is not None and verdict.final,
        "winner": winner,
        "not_told_apart": undecided,
        "equal_in_practice": equal,
        "finalists": finalist_rows(record),
        "refit": finalists.refit and asdict(finalists.refit),
        "text": verdict_lines(record),
    }


def finalist_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The finalists in order, each as exact values; none as long as no run is complete."""
    return [_values(record, finalist) for finalist in _placed(record)]


def _values(record: StudyRecord, finalist: Finalist) -> dict[str, Any]:
    trial = finalist.trial
    gap = finalist.gap
    against = finalist.against
    return {
        "place": finalist.place,
        "finalist": _name(record, finalist),
        "configuration": {
            name: finite_value(value) for name, value in trial.config.to_dict().items()
        },
        "trials": sorted(repeat.number for repeat in finalist.entry.trials),
        **score_values("mean", finalist.value),
        **score_values("test_acc", finalist.test),
        "test_acc_interval": finalist.test_interval and list(finalist.test_interval),
        "gap": gap and {**vars(gap), "by_chance": gap.by_chance},
        "winner_less_this": difference_values(against),
        "parameters": trial.parameters,
        "mflops": finite_value(trial.mflops),
        "in_search": _value_in_search(record, finalist),
    }


def _placed(record: StudyRecord) -> tuple[Finalist, ...]:
    """The finalists in order; none as long as no run is complete."""
    if record.finalists is None or record.finalists.judged_as_finalists is None:
        return ()
    return record.finalists.judged_as_finalists.finalists


def _name(record: StudyRecord, finalist: Finalist) -> str:
    """A finalist's configuration, by the fields with several values among the finalists."""
    fields = record.finalists.varied_fields if record.finalists is not None else ()
    name = clip(config_text(finalist.trial, fields or record.searched), _NAME_CLIP)
    return f"{name} ({BASELINE})" if record.is_baseline(finalist.trial.config) else name


def _value_in_search(record: StudyRecord, finalist: Finalist) -> float | None:
    """The mean of the configuration in the search, the reason for its choice."""
    group = finalist.trial.config.group
    for entry in record.complete_configurations:
        if entry.trials[0].config.group == group:
            return entry.value
    return None


# As text


def section(record: StudyRecord) -> Section | None:
    """The finalists of a study as a table above their verdict; None if there are none."""
    if record.finalists is None:
        return None
    columns = [
        "place",
        "finalist",
        record.objective,
        "test_acc",
        GAP_COLUMN,
        "difference",
        "in_search",
    ]
    rows = [_row(record, finalist) for finalist in _placed(record)]
    return Section(
        title="Finalists",
        grid=make_grid(columns, rows, limit=_NAME_CLIP),
        lines=tuple(verdict_lines(record)),
    )


def _row(record: StudyRecord, finalist: Finalist) -> Row:
    unit = unit_of(record.objective)
    gap = finalist.gap
    against = finalist.against
    in_search = _value_in_search(record, finalist)
    gap_text = ""
    if gap is not None:
        difference = PERCENT.difference(gap.difference, sign=True)
        gap_text = f"{difference} ({PERCENT.signed_interval(gap.low, gap.high)})"
        gap_text = gap_text.replace(" points", "")
    difference = ""
    if against is not None:
        difference = unit.difference(against.difference, sign=True)
        difference += _OUTCOME_MARKS[against.outcome]
    return {
        "place": finalist.place,
        "finalist": _name(record, finalist),
        record.objective: _mean_text(finalist.value, unit),
        "test_acc": _mean_text(finalist.test, PERCENT),
        GAP_COLUMN: gap_text,
        "difference": difference,
        "in_search": "" if in_search is None else unit.value(in_search),
    }


def verdict_lines(record: StudyRecord) -> list[str]:
    """The verdict on the finalists of a study in sentences; empty if there are none."""
    if record.finalists is None:
        return []
    verdict = record.finalists.judged_as_finalists
    resume = f"pipeline finalists {shlex.quote(record.name)}"
    if verdict is None:
        return [f"No finalist is complete yet: {resume}"]
    lines = []
    if not verdict.final:
        ended = f"{verdict.ended} of {verdict.planned} runs have ended"
        lines.append(f"Not final: {ended}; go on with: {resume}")
    lines.append(_winner_line(record, verdict.winner))
    unit = unit_of(record.objective)
    lines += [_against_line(finalist, unit) for finalist in verdict.finalists[1:]]
    lines += doubts(verdict)
    lines += _cheapest_lines(verdict, unit)
    if verdict.winner.gap is not None:
        lines.append(_gap_line(verdict.winner.gap))
    if _any_unscored(verdict):
        lines.append(f"Not all is scored on the test split yet: {resume}")
    lines += _refit_lines(record.finalists)
    if _has_other_firsts(record):
        lines.append("The study has gone on since they were chosen: others are its first now.")
    return [*lines, *_reading_lines(verdict, unit, maximize=record.maximize)]


def _winner_line(record: StudyRecord, winner: Finalist) -> str:
    test = ""
    if winner.test is not None:
        test = f"; test accuracy {test_text(winner.test, winner.test_interval)}"
    mean = "" if winner.value is None else unit_of(record.objective).mean(winner.value)
    return f"Winner: {_name(record, winner)}, mean {record.objective} {mean}{test}."


def _against_line(finalist: Finalist, unit: Unit) -> str:
    """The winner against another finalist."""
    entry = finalist.entry
    if finalist.value is None:
        return f"Place {finalist.place}: no seed is complete ({_ends_text(entry)})."
    ends = ""
    if len(complete_trials(entry)) < len(entry.trials):
        ends = f" ({_ends_text(entry)})"
    text = f"Against place {finalist.place}, {unit.mean(finalist.value)}{ends}: "
    if finalist.against is None:
        return f"{text}not compared."
    return f"{text}{difference_text(finalist.against, unit)}."


def doubts(verdict: Verdict) -> list[str]:
    """Say in sentences why the winner may not be the best; empty if it beats every finalist."""
    sentences = []
    if verdict.undecided:
        sentences.append(
            f"{_places(verdict.undecided)} not told apart from the winner by these runs."
        )
    if verdict.equal:
        sentences.append(f"{_places(verdict.equal)} equal to the winner in practice.")
    for finalist in verdict.finalists[1:]:
        if finalist.against is None:
            sentences.append(
                f"Place {finalist.place} cannot be compared with the winner: "
                "no seed of it is complete."
            )
        elif finalist.against.outcome == "behind":
            sentences.append(
                f"Place {finalist.place} did better than the winner, and is placed behind because "
                "not all of its seeds are complete."
            )
    return sentences


def _places(finalists: Sequence[Finalist]) -> str:
    """Finalists by place, and the verb: ``Place 2 is``, ``Places 2 and 3 are``."""
    *places, last = (str(finalist.place) for finalist in finalists)
    if not places:
        return f"Place {last} is"
    return f"Places {', '.join(places)} and {last} are"


def _cheapest_lines(verdict: Verdict, unit: Unit) -> list[str]:
    """The cheapest of those known to be no worse in practice than the winner, if there are any."""
    cheapest = verdict.cheapest
    if cheapest is None:
        return []
    size = f"{cheapest.trial.parameters:,} parameters"
    if cheapest.trial.mflops is not None:
        size += f", {cheapest.trial.mflops:.4g} MFLOPs an image"
    if cheapest is verdict.winner:
        return [f"The winner is the cheapest of those that are no worse in practice: {size}."]
    rope = cheapest.against.rope if cheapest.against is not None else None
    text = f"Place {cheapest.place} is the cheapest of those known to be less than"
    return [f"{text} {unit.margin(rope)} worse than the winner: {size}."]


def _gap_line(gap: Gap) -> str:
    if gap.by_chance:
        comment = "no more than the choice of images may do"
    else:
        comment = "more than the choice of images would do"
    difference = PERCENT.difference(gap.difference, sign=True)
    interval = PERCENT.signed_interval(gap.low, gap.high)
    return (
        f"Winner's validation less test accuracy {difference}, 95 % interval {interval}: {comment}."
    )


def _any_unscored(verdict: Verdict) -> bool:
    return any(
        trial.test is None
        for finalist in verdict.finalists
        for trial in complete_trials(finalist.entry)
    )


def _refit_lines(finalists: StudyRecord) -> list[str]:
    """The result of the winner trained once on training and validation images together."""
    refit = finalists.refit
    if refit is None:
        return []
    winner = "The winner, trained once on training and validation images together"
    test = f"test accuracy {PERCENT.value(refit.acc)}, run {refit.run_id}"
    taken = "--best of evaluate, predict, export and register takes this network"
    return [f"{winner} ({refit.epochs} epochs): {test}; {taken}."]


def _has_other_firsts(record: StudyRecord) -> bool:
    """Whether the study's first configurations have changed since the finalists were chosen."""
    if record.finalists is None:
        return False
    configs = [trial.config for trial in record.finalists.results]
    chosen = {config.group for config in configs}
    # A baseline may have been chosen for another reason than its place.
    ranked = {config.group for config in configs if not record.is_baseline(config)}
    firsts = record.complete_configurations[: len(ranked)]
    return not chosen.issuperset(entry.trials[0].config.group for entry in firsts)


def _reading_lines(verdict: Verdict, unit: Unit, *, maximize: bool) -> list[str]:
    """How the figures are to be read."""
    spread = "Mean ± sample standard deviation over fresh seeds, which the search had not used"
    lines = [f"{spread}; in_search is its mean."]
    known = [
        finalist.against
        for finalist in verdict.finalists
        if finalist.against is not None and finalist.against.half_width is not None
    ]
    if known:
        over = "seeds and images"
        images = "The validation images are those of the search, which chose the finalists by them"
        if known[0].redraws:
            over = "draws of train and validation"
            images = "The images are those of the search, which chose the finalists by some of them"
        # Positive where the winner is better.
        difference = "the winner's objective less the other's"
        if not maximize:
            difference = "the other's objective less the winner's"
        lines.append(
            f"Difference: {difference}; 95 % interval over {over}, "
            f"of all pairs of the {known[0].configurations} finalists together."
        )
        lines.append(f"{images}: other images may rank them otherwise.")
        rope = known[0].rope
        if rope is not None:
            lines.append(
                f"Equal in practice: the whole interval is within {unit.margin(rope)} of 0."
            )
    gap = verdict.winner.gap
    if gap is not None:
        images = f"{gap.val_images:,} validation and {gap.test_images:,} test images"
        lines.append(
            "Validation less test: 95 % interval by Newcombe's method (of both Wilson intervals), "
            f"{images}."
        )
    return lines


def _mean_text(score: Score | None, unit: Unit) -> str:
    """A score without its number of seeds; empty if unknown."""
    return "" if score is None else unit.score(score)


def _ends_text(entry: Ranked) -> str:
    """How the seeds of a configuration ended: ``2 complete, 1 diverged``."""
    ends = Counter(clip(trial.end, 30) for trial in entry.trials)
    return ", ".join(f"{count} {end}" for end, count in ends.items())
