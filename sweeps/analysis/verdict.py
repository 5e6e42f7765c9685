"""Judges the finalists of a study: the winner, its lead, and the uncertainty of the lead.

Finalists are a study's top configurations, trained again with seeds unused in the search.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeps.analysis.difference import Comparison, Difference, make_test_sample
from sweeps.analysis.front import mean_cost
from sweeps.analysis.intervals import newcombe_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.scores import Score, complete_trials, mean_test_score
from sweeps.trial import COMPLETE, TrialResult


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
class Finalist:
    """One configuration, trained again with fresh seeds."""

    place: int
    entry: Ranked
    value: Score | None  # of the objective, on the validation split; None if no seed is complete
    test: Score | None  # of the accuracy on the test split; None if no seed has been scored
    # 95 % interval of the mean test accuracy over seeds and images; None if it is not known.
    test_interval: tuple[float, float] | None
    gap: Gap | None
    # The winner against this finalist; None for the winner, and if no seed of this is complete. The
    # outcome is "behind" if this one is better, and ranked lower only because it lacks seeds.
    against: Difference | None

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
    cost: str | None = None  # the second objective of the study, if it has two

    @property
    def final(self) -> bool:
        """Whether all runs have ended."""
        return self.ended >= self.planned

    @property
    def winner(self) -> Finalist:
        """The finalist with the best mean of the objective."""
        return self.finalists[0]

    @property
    def undecided(self) -> tuple[Finalist, ...]:
        """The finalists that may be better or worse than the winner: these runs do not tell."""
        return self._with_outcome("open")

    @property
    def equal(self) -> tuple[Finalist, ...]:
        """The finalists that are equal to the winner in practice."""
        return self._with_outcome("equal")

    @property
    def behind(self) -> tuple[Finalist, ...]:
        """The finalists that beat the winner, and rank lower because they lack seeds."""
        return self._with_outcome("behind")

    @property
    def sole(self) -> bool:
        """Whether the winner is better than every other finalist beyond chance."""
        others = self.finalists[1:]
        return bool(others) and len(self._with_outcome("ahead")) == len(others)

    @property
    def cheapest(self) -> Finalist | None:
        """The cheapest of the winner and the finalists known to be no worse in practice.

        By the second objective of the study, else by operations; of equal or unknown ones, by
        parameters. None if no other finalist is known to be no worse, and if the parameters of one
        are unknown.
        """
        no_worse = [
            finalist
            for finalist in self.finalists[1:]
            if finalist.against is not None and finalist.against.second_is_no_worse
        ]
        candidates = [self.winner, *no_worse]
        if not no_worse or any(finalist.trial.parameters is None for finalist in candidates):
            return None
        return min(candidates, key=self._cost)

    def _cost(self, finalist: Finalist) -> tuple[float, int]:
        cost = mean_cost(finalist.entry, self.cost or "mflops")
        return cost or 0.0, finalist.trial.parameters or 0

    def _with_outcome(self, outcome: str) -> tuple[Finalist, ...]:
        return tuple(
            finalist
            for finalist in self.finalists[1:]
            if finalist.against is not None and finalist.against.outcome == outcome
        )


def judge_finalists(
    ranked: Sequence[Ranked],
    compare: Callable[[Ranked, Ranked], Difference | None],
    *,
    planned: int,
    ended: int,
    cost: str | None = None,
) -> Verdict | None:
    """Judge a study of finalists by the means of their objective.

    Args:
        ranked: the finalists, ranked.
        compare: compares two of them.
        planned: the number of trials planned.
        ended: the number of trials that have ended.
        cost: the second objective of the study, if it has two.

    Returns:
        The verdict so far; None if no finalist is complete.
    """
    if not ranked or ranked[0].state != COMPLETE:
        return None
    winner = ranked[0]
    complete = [complete_trials(entry) for entry in ranked]
    test_samples = [make_test_sample(trials) for trials in complete]
    known = [sample for sample in test_samples if sample is not None]
    test_comparison = Comparison(known, maximize=True)
    finalists = []
    for place, (entry, trials, test_sample) in enumerate(
        zip(ranked, complete, test_samples, strict=True), start=1
    ):
        test_interval = None
        if test_sample is not None:
            test_interval = test_comparison.mean_interval(test_sample)
        finalists.append(
            Finalist(
                place=place,
                entry=entry,
                value=Score.of(trial.value for trial in trials),
                test=mean_test_score(trials, "acc"),
                test_interval=test_interval,
                gap=_gap(trials),
                against=None if entry is winner else compare(winner, entry),
            )
        )
    return Verdict(finalists=tuple(finalists), planned=planned, ended=ended, cost=cost)


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
