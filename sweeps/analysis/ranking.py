"""Ranks the configurations of a study by their results.

The rules have versions, and a study keeps the version that it was made with
(`sweeps.analysis.facts.StudyFacts.selection`). Rule 1 is that of version 0.1.0 of this program. By
rule 2, a value is compared only with values that mean the same: trials that did not come to their
end rank by the epochs that they were trained, and only among those of the same number of epochs by
value; and a configuration that lacks seeds ranks after all those that have the planned number.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A configuration in a ranking: its trials (one for each seed) and their mean."""

    rank: int | None  # equal values share a rank; None without a value
    trials: tuple[TrialResult, ...]  # the best first
    # Mean of the complete trials; without any, the value of the first of the others.
    value: float | None
    spread: float | None  # standard deviation of the complete trials; None for fewer than two

    @property
    def state(self) -> str:
        """The state of the best of its trials."""
        return self.trials[0].state


# The words for trials that have not ended, in the order of sentences.
_UNFINISHED = (PAUSED, RUNNING, "interrupted")
# States of seeds that a mean would have to count: that of the others flatters their configuration.
_LACKING = (PRUNED, PAUSED, FAILED)
_ORDER = {COMPLETE: 0, PRUNED: 1, PAUSED: 1, RUNNING: 2, FAILED: 3}
# Significant digits of a mean. The same hits in another order give means that differ in the last of
# a float's 16 digits, and are equal.
_DIGITS = 12

# What decides a place, smaller ones first: the state, the group within it, the value to minimise,
# the number of the first trial. Configurations that agree in all but the last are equal.
_Group = tuple[bool, int]
_Key = tuple[int, _Group, float, int]
_WHOLE: _Group = (False, 0)


@dataclass(frozen=True, kw_only=True)
class RankingRule:
    """How the configurations of a study are ranked."""

    maximize: bool = True  # whether a higher objective is better
    selection: int = 1  # the version of the rule, as in the study's facts
    repeats: int = 1  # the planned seeds of each configuration; of no account in rule 1

    def entry(self, trials: Iterable[TrialResult]) -> Ranked:
        """Combine the trials of a configuration; without a rank yet."""
        ordered = sorted(trials, key=self.trial_key)
        values = _complete_values(ordered)
        value = ordered[0].value
        spread = None
        if values:
            value = statistics.fmean(values)
        if len(values) > 1:
            spread = statistics.stdev(values)
            if self.selection > 1:
                value = float(f"{value:.{_DIGITS}g}")
        return Ranked(rank=None, trials=tuple(ordered), value=value, spread=spread)

    def key(self, entry: Ranked) -> _Key:
        """What to sort configurations by."""
        first_number = min(trial.number for trial in entry.trials)
        return _ORDER[entry.state], self._group(entry), self._loss(entry.value), first_number

    def tie(self, one: Ranked, other: Ranked) -> bool:
        """Whether two configurations are equal in all that the ranking asks."""
        if self.selection > 1:
            return self.key(one)[:-1] == self.key(other)[:-1]
        return _ORDER[one.state] == _ORDER[other.state] and one.value == other.value

    def trial_key(self, trial: TrialResult) -> _Key:
        """What to sort the trials of a configuration by."""
        group = _WHOLE if trial.state == COMPLETE else self._rung(trial)
        return _ORDER[trial.state], group, self._loss(trial.value), trial.number

    def _group(self, entry: Ranked) -> _Group:
        """The group of a configuration among those of its state."""
        if entry.state != COMPLETE:
            return self._rung(entry.trials[0])
        if self.selection == 1:
            return any(trial.state in _LACKING for trial in entry.trials), 0
        if has_all_seeds(entry, self.repeats):
            return _WHOLE
        return True, -len(_complete_values(entry.trials))

    def _rung(self, trial: TrialResult) -> _Group:
        """The group of a trial that is not complete: the longest trained come first."""
        if self.selection == 1 or trial.state == FAILED:
            return False, 0
        return False, -trained_epochs(trial)

    def _loss(self, value: float | None) -> float:
        """Convert a value for minimisation; a missing value is the worst."""
        if value is None:
            return math.inf
        return -value if self.maximize else value


def has_all_seeds(entry: Ranked, repeats: int) -> bool:
    """Whether a configuration has as many complete seeds as planned, and none that is lacking.

    The mean of those that are left would flatter it.
    """
    if any(trial.state in _LACKING for trial in entry.trials):
        return False
    return len(_complete_values(entry.trials)) >= repeats


_RULE_OF_0_1_0 = RankingRule()


def rank(results: Iterable[TrialResult], rule: RankingRule = _RULE_OF_0_1_0) -> list[Ranked]:
    """Rank configurations: complete ones first, then pruned and paused ones, running, failed.

    Trials whose configurations differ only in the seed make up one entry, ranked by their mean. A
    trial that reused another trial's result is left out. Among equals, the earlier trial comes
    first.

    By rule 1, complete configurations with a pruned, paused or failed seed come after those without
    one, and trials that are not complete rank by value alone.

    By rule 2, complete configurations with fewer complete seeds than planned come after those with
    as many, more seeds before fewer. Trials that are not complete rank by the epochs that they were
    trained, more before fewer, and by value only among those of the same number of epochs.

    Args:
        results: of the trials, in any order.
        rule: how to rank.
    """
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.duplicate_of is None:
            groups.setdefault(result.config.group, []).append(result)
    entries = [rule.entry(group) for group in groups.values()]
    entries.sort(key=rule.key)
    ranked: list[Ranked] = []
    for place, entry in enumerate(entries, start=1):
        number: int | None = place
        if entry.value is None:
            number = None
        elif ranked and rule.tie(ranked[-1], entry):
            number = ranked[-1].rank
        ranked.append(replace(entry, rank=number))
    return ranked


def find_best_trial(
    results: Iterable[TrialResult], rule: RankingRule = _RULE_OF_0_1_0
) -> TrialResult | None:
    """Return the best seed of the first-ranked configuration; None if no trial is complete."""
    ranked = rank(results, rule)
    return _best_of(ranked[0]) if ranked else None


class BestSoFar:
    """The best trial of a growing set of results.

    Gives the same trial as `find_best_trial` without ranking all results after each.
    """

    def __init__(self, rule: RankingRule = _RULE_OF_0_1_0) -> None:
        self._rule = rule
        self._entries: dict[str, Ranked] = {}  # by group
        self._first: Ranked | None = None

    def add(self, result: TrialResult) -> TrialResult | None:
        """Add the result of a trial that has ended, and return the best trial so far, if any."""
        if result.duplicate_of is None:
            self._add(result)
        return self.best

    def _add(self, result: TrialResult) -> None:
        group = result.config.group
        previous = self._entries.get(group)
        earlier_trials = () if previous is None else previous.trials
        entry = self._rule.entry([*earlier_trials, result])
        self._entries[group] = entry
        if previous is not None and previous is self._first:
            # The further seed may have lowered the mean: another configuration may be first now.
            self._first = min(self._entries.values(), key=self._rule.key)
        elif self._first is None or self._rule.key(entry) < self._rule.key(self._first):
            self._first = entry

    @property
    def best(self) -> TrialResult | None:
        """The best trial; None if no trial is complete."""
        return None if self._first is None else _best_of(self._first)


def _best_of(first: Ranked) -> TrialResult | None:
    """The best seed of the first-ranked configuration; None unless it is complete with a value."""
    if first.state != COMPLETE or first.value is None:
        return None
    return first.trials[0]


def ends_text(results: Sequence[TrialResult]) -> str:
    """Count how the trials ended: ``12 ended: 5 complete, 7 pruned; 5 paused; 1 running``."""
    counts = Counter(map(end_of, results))
    unfinished = {end: counts.pop(end) for end in _UNFINISHED if end in counts}
    parts = [
        f"{counts.pop(end)} {end}" for end in (COMPLETE, PRUNED, "infeasible") if end in counts
    ]
    duplicates = counts.pop("duplicate", 0)
    parts += [f"{count} failed ({end})" for end, count in sorted(counts.items())]
    if duplicates:
        plural = "s" if duplicates > 1 else ""
        parts.append(f"{duplicates} duplicate{plural}")
    text = f"{len(results) - sum(unfinished.values())} ended"
    if parts:
        text += ": " + ", ".join(parts)
    return text + "".join(f"; {count} {end}" for end, count in unfinished.items())


def end_of(result: TrialResult) -> str:
    """Say in a word how a trial ended.

    The word is ``duplicate`` for a trial with another trial's result, and ``paused``, ``running``
    or ``interrupted`` before the end.
    """
    if result.has_ended and result.duplicate_of is not None:
        return "duplicate"
    return result.end


def searched_values(result: TrialResult, searched: Sequence[str]) -> dict[str, Value | None]:
    """Return a trial's values of the searched fields; None for fields that do not apply."""
    return {name: result.config.value(name) for name in searched}


def trained_epochs(trial: TrialResult) -> int:
    """Return the epochs that a trial was trained so far."""
    return trial.history[-1].epoch if trial.history else 0


def _complete_values(trials: Iterable[TrialResult]) -> list[float]:
    """The values of the complete trials that have one."""
    values = [trial.value for trial in trials if trial.state == COMPLETE]
    return [value for value in values if value is not None]
