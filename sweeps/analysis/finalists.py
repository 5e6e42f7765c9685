"""Pure: the first of a study once more, with fresh seeds: which, as what study, and what came of it. Opens no store."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweeps.analysis.comparison import Score, complete_trials, mean_test_score
from sweeps.analysis.intervals import mean_interval, newcombe_interval
from sweeps.analysis.ranking import Ranked, rank
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import TOP_LEVEL_FIELDS
from sweeps.trial import COMPLETE, RUNNING, TrialConfig, TrialResult, Value, config_fields

FINALISTS_SUFFIX = (
    ".finalists"  # of the name of a study's finalists, which are a study of their own
)
_RUNTIME = (
    "device",
    "threads",
    "gpus_per_trial",
    "eval_batch_size",
)  # settled for a study, and never searched
_ROUNDING = (
    2 / 12
) ** 0.5  # images: the deviation of the difference of two counts, each rounded to a whole one
Outcome = Literal["ahead", "tie", "behind"]
_LAST_SEED = int(config_fields()["seed"].bounds[1])


def choose_finalists(record: StudyRecord, *, top: int, seeds: int) -> dict[str, Any]:
    """Choose a study's first complete configurations, as JSON data: what `study_document` makes their study of.

    No seed of theirs is one of the study's. There are fewer than ``top`` where no more are complete.
    """
    entries = [
        entry for entry in rank(record.results, maximize=record.maximize) if entry.state == COMPLETE
    ][:top]
    trials = [entry.trials[0] for entry in entries]
    before = int(record.spec["seed"])
    used = int(record.spec["repeats"])
    behind = before + used
    return {
        "of": record.name,
        "top": top,
        "seeds": seeds,
        "seed": behind if behind + seeds - 1 <= _LAST_SEED else before - seeds,
        "objective": record.objective,
        "runtime": dict(record.facts.get("runtime", {})),
        "trials": [trial.number for trial in trials],
        "configs": [trial.config.to_dict() for trial in trials],
    }


def study_document(chosen: Mapping[str, Any], device: str | None = None) -> dict[str, Any]:
    """The study of chosen finalists, as the data of a study file: each of them once for every seed.

    Args:
        chosen: as `choose_finalists` gives it.
        device: where to train, if not where the study did.
    """
    configs = [TrialConfig.from_dict(values) for values in chosen["configs"]]
    found: dict[str, list[Value]] = {}
    for name in config_fields():
        values = dict.fromkeys(getattr(config, name) for config in configs)
        found[name] = [value for value in values if value is not None]
    top = {
        name: max(values) if name == "epochs" else values[0]
        for name, values in found.items()
        if name in TOP_LEVEL_FIELDS
    }
    own = {
        name: values
        for name, values in found.items()
        if name not in (*TOP_LEVEL_FIELDS, *_RUNTIME) or name == "epochs"
    }
    search = {name: values for name, values in own.items() if len(values) > 1}
    fixed = {
        name: values[0]
        for name, values in own.items()
        if len(values) == 1 and name not in TOP_LEVEL_FIELDS
    }
    runtime = {
        name: chosen["runtime"].get(name, found[name][0]) for name in _RUNTIME if found[name]
    }
    return {
        "description": f"The first {len(configs)} of {chosen['of']} again, with fresh seeds.",
        **top,
        "method": "random",  # nothing is left to draw: all are among the first
        "objective": chosen["objective"],
        "trials": len(configs) * chosen["seeds"],
        "repeats": chosen["seeds"],
        "pruner": "none",
        "seed": chosen["seed"],
        "fixed": fixed | runtime | ({} if device is None else {"device": device}),
        "search": search,
        "start_with": [_start(config, search) for config in configs],
    }


def _start(config: TrialConfig, search: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name, value in config.to_dict().items() if name in search}


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far the mean validation accuracy is above the mean test accuracy, with Newcombe's interval of 95 %."""

    difference: float
    low: float
    high: float
    val_images: int
    test_images: int

    @property
    def by_chance(self) -> bool:
        """Whether it may be nothing but the choice of images."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The winner against another finalist, over the seeds that both have."""

    seeds: int
    difference: float  # mean of the winner's objective less the other's
    low: float | None  # of the interval of 95 % of that mean, by Student's t; None for one seed
    high: float | None
    outcome: Outcome  # for the winner: behind, where its lead is but that not all seeds of the other are complete

    @property
    def tie(self) -> bool:
        """Whether neither can be said to be better: the interval includes 0, or there is none."""
        return self.outcome == "tie"


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One configuration with its fresh seeds."""

    place: int
    entry: Ranked
    value: Score | None  # of the objective, on the validation split; None where no seed is complete
    test: Score | None  # of the accuracy on the test split; None where none is scored
    gap: Gap | None
    against: (
        PairedDifference | None
    )  # the winner against this one; None for the winner, and where they share no seed

    @property
    def trial(self) -> TrialResult:
        """Its best seed's trial."""
        return self.entry.trials[0]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of the finalists."""

    finalists: tuple[Finalist, ...]  # the winner first
    planned: int  # runs
    ended: int

    @property
    def final(self) -> bool:
        """Whether all runs have ended."""
        return self.ended >= self.planned

    @property
    def winner(self) -> Finalist:
        """The one with the best mean of the objective."""
        return self.finalists[0]

    @property
    def tied(self) -> tuple[Finalist, ...]:
        """The winner and those that cannot be told from it; none where there are none."""
        others = [one for one in self.finalists[1:] if one.against is not None and one.against.tie]
        if others:
            return (self.winner, *others)
        return ()

    @property
    def behind(self) -> tuple[Finalist, ...]:
        """Those that did better than the winner, with the seeds that they have."""
        return tuple(
            one
            for one in self.finalists[1:]
            if one.against is not None and one.against.outcome == "behind"
        )

    @property
    def cheapest(self) -> Finalist | None:
        """Of those that are tied the one with the fewest operations or, where equal or unknown, parameters."""
        if not self.tied or any(one.trial.parameters is None for one in self.tied):
            return None
        return min(self.tied, key=lambda one: (one.trial.mflops or 0.0, one.trial.parameters or 0))


def judge_finalists(record: StudyRecord) -> Verdict | None:
    """Judge a study of finalists by the means of their objective; None where none is complete.

    A configuration of which a seed failed stands behind those of which none did.
    """
    entries = rank(record.results, maximize=record.maximize)
    if not entries or entries[0].state != COMPLETE:
        return None
    return Verdict(
        finalists=tuple(
            _finalist(i, entry, entries[0], record.maximize)
            for i, entry in enumerate(entries, start=1)
        ),
        planned=record.trials,
        ended=sum(result.state != RUNNING for result in record.results),
    )


def final_verdict(record: StudyRecord) -> Verdict | None:
    """What came of a study's finalists, once all their runs have ended and one has won."""
    verdict = None if record.finalists is None else judge_finalists(record.finalists)
    if verdict is not None and verdict.final:
        return verdict
    return None


def decided(record: StudyRecord) -> StudyRecord | None:
    """The study's finalists, once they have said which is the winner."""
    if final_verdict(record) is not None:
        return record.finalists
    return None


def doubts(verdict: Verdict) -> tuple[str, ...]:
    """Why the winner is not known to be the best, in sentences; none where it is ahead of every other."""
    others = verdict.finalists[1:]
    found = []
    if verdict.tied:
        *places, last = (str(one.place) for one in verdict.tied)
        seeds = sorted({one.against.seeds for one in verdict.tied if one.against is not None})
        count = f"{' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"
        found.append(f"Places {', '.join(places)} and {last} cannot be told apart ({count}).")
    for one in others:
        if one.against is None:
            found.append(
                f"Place {one.place} cannot be compared with the winner: no seed is complete of both."
            )
        elif one.against.outcome == "behind":
            found.append(
                f"Place {one.place} did better than the winner on the {one.against.seeds} seeds that both have, "
                "and is placed behind because not all of its seeds are complete."
            )
    return tuple(found)


def _finalist(place: int, entry: Ranked, winner: Ranked, maximize: bool) -> Finalist:
    trials = complete_trials(entry)
    return Finalist(
        place=place,
        entry=entry,
        value=Score.of(trial.value for trial in trials),
        test=mean_test_score(trials, "acc"),
        gap=_gap(trials),
        against=None if entry is winner else _paired(complete_trials(winner), trials, maximize),
    )


def _gap(trials: Sequence[TrialResult]) -> Gap | None:
    """The gap of the mean accuracies, as of one network: the seeds share the images, which count once."""
    scored = [
        (t.best, t.test)
        for t in trials
        if t.best and t.best.predicted and t.test and t.test.get("images")
    ]
    if not scored:
        return None
    val = statistics.fmean(best.metrics["val/acc"] for best, _ in scored)
    test = statistics.fmean(scores["acc"] for _, scores in scored)
    best, scores = scored[0]
    val_images = sum(best.predicted)
    test_images = int(scores["images"])
    low, high = newcombe_interval(val, val_images, test, test_images)
    return Gap(
        difference=val - test, low=low, high=high, val_images=val_images, test_images=test_images
    )


def _paired(
    winner: Sequence[TrialResult], other: Sequence[TrialResult], maximize: bool
) -> PairedDifference | None:
    ours, theirs = (
        {t.config.seed: t.value for t in trials if t.value is not None}
        for trials in (winner, other)
    )
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return None
    images = sum(winner[0].best.predicted) if maximize and winner[0].best else 0
    low, high = mean_interval(differences, _ROUNDING / images if images else 0.0)
    outcome: Outcome = "tie"
    if low is not None and high is not None and not low <= 0 <= high:
        outcome = "ahead" if (low > 0) == maximize else "behind"
    mean = statistics.fmean(differences)
    return PairedDifference(
        seeds=len(differences), difference=mean, low=low, high=high, outcome=outcome
    )
