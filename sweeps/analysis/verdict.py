"""Judges the finalists of a study: the winner, its lead, and the uncertainty of the lead.

Finalists are a study's top configurations, trained again with seeds unused in the search.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.analysis.intervals import mean_interval, newcombe_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.scores import Score, complete_trials, mean_test_score
from sweeps.trial import COMPLETE, TrialResult

Outcome = Literal["ahead", "tie", "behind"]
# Standard deviation, in images, of the difference of two counts, each rounded to an integer.
_ROUNDING = (2 / 12) ** 0.5


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Mean validation accuracy minus mean test accuracy, with Newcombe's 95 % interval."""

    difference: float
    low: float
    high: float
    val_images: int
    test_images: int

    @property
    def by_chance(self) -> bool:
        """Whether the choice of images alone may explain the gap: the interval includes 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The winner minus another finalist, over the seeds that are complete of both."""

    seeds: int
    difference: float  # mean of the winner's objective minus the other finalist's
    low: float | None  # 95 % interval of the mean, by Student's t; None for one seed
    high: float | None
    # The winner's outcome. It is "behind" if the other finalist has the better mean on the shared
    # seeds, and is ranked lower only because not all of its seeds are complete.
    outcome: Outcome

    @property
    def tie(self) -> bool:
        """Whether neither is known to be better: the interval includes 0, or there is none."""
        return self.outcome == "tie"


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One configuration, trained again with fresh seeds."""

    place: int
    entry: Ranked
    value: Score | None  # of the objective, on the validation split; None if no seed is complete
    test: Score | None  # of the accuracy on the test split; None if no seed has been scored
    gap: Gap | None
    # The winner against this finalist; None for the winner, and if they share no complete seed.
    against: PairedDifference | None

    @property
    def trial(self) -> TrialResult:
        """The trial of its best seed."""
        return self.entry.trials[0]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The finalists in order, and how far their training has come."""

    finalists: tuple[Finalist, ...]  # the winner first
    planned: int  # runs
    ended: int  # runs

    @property
    def final(self) -> bool:
        """Whether all runs have ended."""
        return self.ended >= self.planned

    @property
    def winner(self) -> Finalist:
        """The finalist with the best mean of the objective."""
        return self.finalists[0]

    @property
    def tied(self) -> tuple[Finalist, ...]:
        """The winner and the finalists tied with the winner; empty without a tie."""
        ties = [f for f in self.finalists[1:] if f.against is not None and f.against.tie]
        return (self.winner, *ties) if ties else ()

    @property
    def behind(self) -> tuple[Finalist, ...]:
        """The finalists that beat the winner on the seeds that are complete of both."""
        return tuple(
            finalist
            for finalist in self.finalists[1:]
            if finalist.against is not None and finalist.against.outcome == "behind"
        )

    @property
    def cheapest(self) -> Finalist | None:
        """The tied finalist with the fewest operations; of equal or unknown ones, parameters.

        None without a tie, and if the parameters of a tied finalist are unknown.
        """
        if not self.tied or any(finalist.trial.parameters is None for finalist in self.tied):
            return None
        return min(self.tied, key=_cost)


def judge_finalists(
    ranked: Sequence[Ranked], results: Sequence[TrialResult], *, planned: int, maximize: bool
) -> Verdict | None:
    """Judge a study of finalists by the means of their objective.

    A configuration with a failed seed is ranked below all configurations without one.

    Args:
        ranked: the finalists, ranked.
        results: the results of all their trials.
        planned: the number of trials planned.
        maximize: whether a higher objective is better.

    Returns:
        The verdict so far; None if no finalist is complete.
    """
    if not ranked or ranked[0].state != COMPLETE:
        return None
    winner = ranked[0]
    return Verdict(
        finalists=tuple(
            _finalist(place, entry, winner, maximize) for place, entry in enumerate(ranked, start=1)
        ),
        planned=planned,
        ended=sum(result.has_ended for result in results),
    )


def doubts(verdict: Verdict) -> tuple[str, ...]:
    """Say in sentences why the winner may not be the best; empty if it beats every finalist."""
    sentences = []
    if verdict.tied:
        *places, last = (str(finalist.place) for finalist in verdict.tied)
        pairs = [finalist.against for finalist in verdict.tied if finalist.against is not None]
        seeds = sorted({pair.seeds for pair in pairs})
        plural = "" if seeds == [1] else "s"
        count = f"{' or '.join(map(str, seeds))} seed{plural}"
        sentences.append(f"Places {', '.join(places)} and {last} cannot be told apart ({count}).")
    for finalist in verdict.finalists[1:]:
        pair = finalist.against
        if pair is None:
            sentences.append(
                f"Place {finalist.place} cannot be compared with the winner: "
                "no seed is complete of both."
            )
        elif pair.outcome == "behind":
            sentences.append(
                f"Place {finalist.place} did better than the winner on the {pair.seeds} seeds "
                "that both have, and is placed behind because not all of its seeds are complete."
            )
    return tuple(sentences)


def _cost(finalist: Finalist) -> tuple[float, int]:
    return finalist.trial.mflops or 0.0, finalist.trial.parameters or 0


def _finalist(place: int, entry: Ranked, winner: Ranked, maximize: bool) -> Finalist:
    trials = complete_trials(entry)
    against = None
    if entry is not winner:
        against = _paired_difference(complete_trials(winner), trials, maximize)
    return Finalist(
        place=place,
        entry=entry,
        value=Score.of(trial.value for trial in trials),
        test=mean_test_score(trials, "acc"),
        gap=_gap(trials),
        against=against,
    )


def _gap(trials: Sequence[TrialResult]) -> Gap | None:
    """Compare the mean accuracies as if of one network: all seeds share the images, counted once.

    None if no trial has both scores.
    """
    pairs = [
        (trial.best, trial.test)
        for trial in trials
        if trial.best and trial.best.predicted and trial.test and trial.test.get("images")
    ]
    if not pairs:
        return None
    val_accuracy = statistics.fmean(best.metrics["val/acc"] for best, _ in pairs)
    test_accuracy = statistics.fmean(test["acc"] for _, test in pairs)
    best, test = pairs[0]
    val_images = sum(best.predicted)
    test_images = int(test["images"])
    low, high = newcombe_interval(val_accuracy, val_images, test_accuracy, test_images)
    return Gap(
        difference=val_accuracy - test_accuracy,
        low=low,
        high=high,
        val_images=val_images,
        test_images=test_images,
    )


def _paired_difference(
    winner: Sequence[TrialResult], other: Sequence[TrialResult], maximize: bool
) -> PairedDifference | None:
    """Compare two finalists by their complete trials, seed by seed; None if they share no seed."""
    winner_values = _values_by_seed(winner)
    other_values = _values_by_seed(other)
    differences = [
        value - other_values[seed] for seed, value in winner_values.items() if seed in other_values
    ]
    if not differences:
        return None
    least_deviation = 0.0
    if maximize and winner[0].best:
        images = sum(winner[0].best.predicted)
        if images:
            least_deviation = _ROUNDING / images
    low, high = mean_interval(differences, least_deviation)
    outcome: Outcome = "tie"
    if low is not None and high is not None and not low <= 0 <= high:
        winner_is_better = (low > 0) == maximize
        outcome = "ahead" if winner_is_better else "behind"
    return PairedDifference(
        seeds=len(differences),
        difference=statistics.fmean(differences),
        low=low,
        high=high,
        outcome=outcome,
    )


def _values_by_seed(trials: Sequence[TrialResult]) -> dict[int, float]:
    return {trial.config.seed: trial.value for trial in trials if trial.value is not None}
