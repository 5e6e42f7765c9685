"""What a report says of a study's finalists: rows, and sentences for people. Knows no format and no store."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipeline.report.grid import grid, plain_value
from pipeline.report.problems import Row
from pipeline.report.published import Section
from pipeline.report.ranked import score_text
from pipeline.system.text import clean
from sweeps.analysis.naming import config_text
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials
from sweeps.analysis.verdict import Finalist, Gap, PairedDifference, Verdict

GAP_COLUMN = "val - test (95 %)"  # the name of that column
_NAME = 160  # characters of a configuration
_OUTCOMES = {
    "ahead": "the winner is ahead",
    "tie": "a tie",
    "behind": "the other did better on the seeds that both have, and is placed behind because not all of its seeds are "
    "complete",
}
_MARKS = {"ahead": "", "tie": ", a tie", "behind": ", did better"}  # behind a difference


def finalist_values(record: StudyRecord) -> Row | None:
    """The finalists of a study as values, exact; None where it has none."""
    found = _read(record)
    if found is None:
        return None
    return found.values()


def section(record: StudyRecord) -> Section | None:
    """The finalists of a study as a table with the verdict under it; None where it has none."""
    found = _read(record)
    if found is None:
        return None
    return found.section()


def verdict_lines(record: StudyRecord) -> list[str]:
    """The verdict on the finalists of a study in sentences; none where it has none."""
    found = _read(record)
    if found is None:
        return []
    return list(found.lines())


@dataclass(frozen=True)
class _Again:
    """A study, and what came of its finalists."""

    record: StudyRecord  # the study that they are the first of
    finalists: StudyRecord
    verdict: Verdict | None
    search: Sequence[Ranked]  # the study's complete configurations, by which they were chosen

    def values(self) -> Row:
        """All figures."""
        verdict = self.verdict
        refit = self.finalists.refit
        return {
            "study": clean(self.finalists.name),
            "runs_planned": self.finalists.trials,
            "final": verdict is not None and verdict.final,
            "winner": None if verdict is None else self._name(verdict.winner),
            "tied": [] if verdict is None else [self._name(one) for one in verdict.tied],
            "finalists": [self._values(one) for one in self._placed],
            "refit": None if refit is None else asdict(refit),
            "text": list(self.lines()),
        }

    def section(self) -> Section:
        """The table, and the verdict."""
        names = (
            "place",
            "finalist",
            self.record.objective,
            "test_acc",
            GAP_COLUMN,
            "difference",
            "in_search",
        )
        values = [dict(zip(names, self._cells(one), strict=True)) for one in self._placed]
        return Section(title="Finalists", laid=grid(names, values, clip=_NAME), lines=self.lines())

    def lines(self) -> tuple[str, ...]:
        """The verdict in sentences."""
        again = f"pipeline finalists {shlex.quote(clean(self.record.name))}"
        if self.verdict is None:
            return (f"No finalist is complete yet: {again}",)
        verdict = self.verdict
        winner = self.verdict.winner
        ended = f"{verdict.ended} of {verdict.planned} runs have ended"
        unscored = any(
            trial.test is None for one in verdict.finalists for trial in complete_trials(one.entry)
        )
        return (
            *([] if verdict.final else [f"Not final: {ended}; go on with: {again}"]),
            self._won(winner),
            *(self._against(one) for one in self._placed[1:]),
            *self._tie(verdict),
            *([] if winner.gap is None else [_gap(winner.gap)]),
            *([f"Not all is scored on the test split yet: {again}"] if unscored else []),
            *self._refit(),
            *self._since(),
            *_how(verdict),
        )

    @property
    def _placed(self) -> tuple[Finalist, ...]:
        if self.verdict is None:
            return ()
        return self.verdict.finalists

    def _won(self, winner: Finalist) -> str:
        test = "" if winner.test is None else f"; test accuracy {_score(winner.test)}"
        return f"Winner: {self._name(winner)}, mean {self.record.objective} {_score(winner.value)}{test}."

    def _against(self, one: Finalist) -> str:
        if one.value is None:
            return f"Place {one.place}: no seed is complete ({_ends(one.entry)})."
        if len(complete_trials(one.entry)) == len(one.entry.trials):
            failed = ""
        else:
            failed = f" ({_ends(one.entry)})"
        text = f"Against place {one.place}, {_score(one.value)}{failed}: "
        if one.against is None:
            return f"{text}no seed is complete of both."
        return text + _paired(one.against)

    def _tie(self, verdict: Verdict) -> list[str]:
        if not verdict.tied:
            return []
        text = f"These runs do not tell {len(verdict.tied)} of the finalists apart."
        cheapest = verdict.cheapest
        if cheapest is None:
            return [text]
        size = f"{cheapest.trial.parameters:,} parameters"
        size += (
            ""
            if cheapest.trial.mflops is None
            else f", {cheapest.trial.mflops:.4g} MFLOPs an image"
        )
        return [f"{text} The cheapest of them is place {cheapest.place}: {size}."]

    def _refit(self) -> list[str]:
        """What came of the winner trained once on both splits."""
        refit = self.finalists.refit
        if refit is None:
            return []
        run = clean(refit.run_id)
        test = f"test accuracy {refit.acc:.4f}"
        what = "The winner, trained once on training and validation images together"
        return [f"{what} ({refit.epochs} epochs): {test}, run {run}."]

    def _since(self) -> list[str]:
        """Say so where the study's first are no longer those that were trained again."""
        chosen = {trial.config.group for trial in self.finalists.results}
        now = {entry.trials[0].config.group for entry in self.search[: len(chosen)]}
        if now == chosen:
            return []
        return ["The study has gone on since they were chosen: others are its first now."]

    def _values(self, one: Finalist) -> Row:
        against = one.against
        gap = one.gap
        return {
            "place": one.place,
            "finalist": self._name(one),
            "configuration": {
                name: plain_value(value) for name, value in one.trial.config.to_dict().items()
            },
            "trials": sorted(trial.number for trial in one.entry.trials),
            **_scored("mean", one.value),
            **_scored("test_acc", one.test),
            "gap": gap and {**vars(gap), "by_chance": gap.by_chance},
            "winner_less_this": against and {**vars(against), "tie": against.tie},
            "parameters": one.trial.parameters,
            "mflops": plain_value(one.trial.mflops),
            "in_search": self._before(one),
        }

    def _cells(self, one: Finalist) -> tuple[object, ...]:
        before = self._before(one)
        gap = one.gap
        against = one.against
        return (
            one.place,
            self._name(one),
            _score(one.value, seeds=False),
            _score(one.test, seeds=False),
            "" if gap is None else f"{signed(gap.difference)} ({_interval(gap.low, gap.high)})",
            "" if against is None else f"{signed(against.difference)}{_MARKS[against.outcome]}",
            "" if before is None else f"{before:.4f}",
        )

    def _before(self, one: Finalist) -> float | None:
        """Its mean in the search, by which it was chosen."""
        return next(
            (e.value for e in self.search if e.trials[0].config.group == one.trial.config.group),
            None,
        )

    def _name(self, one: Finalist) -> str:
        fields = self.finalists.varied_fields or self.record.searched
        return clean(config_text(one.trial, fields), _NAME)


def _read(record: StudyRecord) -> _Again | None:
    if record.finalists is None:
        return None
    search = record.complete_configurations
    return _Again(record, record.finalists, record.finalists.judged_as_finalists, search)


def _scored(key: str, score: Score | None) -> Row:
    return {
        key: score and score.mean,
        f"{key}_spread": score and score.spread,
        f"{key}_seeds": score and score.seeds,
    }


def _score(score: Score | None, *, seeds: bool = True) -> str:
    if score is None:
        return ""
    text = score_text(score.mean, score.spread, score.seeds)
    if seeds:
        return text
    return text.partition(" (")[0]


def signed(value: float) -> str:
    """A difference with its sign, in 4 decimals or as many as show that it is not 0; the noise of adding up is 0."""
    digits = next((digits for digits in range(4, 10) if round(value, digits)), 4)
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # and never -0.0000


def _interval(low: float, high: float) -> str:
    return f"{signed(low)} to {signed(high)}"


def _paired(against: PairedDifference) -> str:
    text = f"difference {signed(against.difference)}"
    if against.low is None or against.high is None:
        return f"{text} of one seed each: a tie."
    return f"{text}, 95 % interval {_interval(against.low, against.high)}: {_OUTCOMES[against.outcome]}."


def _gap(gap: Gap) -> str:
    if gap.by_chance:
        verdict = "no more than the choice of images may do"
    else:
        verdict = "more than the choice of images would do"
    interval = f"95 % interval {_interval(gap.low, gap.high)}"
    return (
        f"Winner's validation less test accuracy {signed(gap.difference)}, {interval}: {verdict}."
    )


def _ends(entry: Ranked) -> str:
    """How its seeds ended: ``2 complete, 1 diverged``."""
    ends = Counter(clean(trial.end, 30) for trial in entry.trials)
    return ", ".join(f"{count} {end}" for end, count in ends.items())


def _how(verdict: Verdict) -> Sequence[str]:
    """How the figures are to be read."""
    pairs = {
        one.against.seeds
        for one in verdict.finalists
        if one.against is not None and one.against.low is not None
    }
    lines = [
        "Mean ± sample standard deviation over fresh seeds, which the search had not used; in_search is its mean."
    ]
    if pairs:
        count = " or ".join(map(str, sorted(pairs)))
        lines.append(
            "Difference: the winner's objective less the other's; 95 % interval of the mean paired difference, "
            f"{count} seeds, Student's t, each comparison by itself."
        )
    if verdict.winner.gap is not None:
        images = f"{verdict.winner.gap.val_images:,} validation and {verdict.winner.gap.test_images:,} test images"
        lines.append(
            f"Validation less test: 95 % interval by Newcombe's method (of both Wilson intervals), {images}."
        )
    return lines
