"""Ranks the configurations of a study by their results."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, RUNNING, TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A configuration in a ranking: its trials (one for each seed) and their mean."""

    rank: int | None  # equal values share a rank; None without a value
    trials: tuple[TrialResult, ...]  # the best first
    value: float | None  # mean of the complete trials; without any, the best of the others
    spread: float | None  # standard deviation of the complete trials; None for fewer than two

    @property
    def state(self) -> str:
        """The state of the best of its trials."""
        return self.trials[0].state


# The words for trials that have not ended, in the order of sentences.
_UNFINISHED = (PAUSED, RUNNING, "interrupted")
_LACKING = (PRUNED, PAUSED, FAILED)  # states of seeds that a mean would have to count
_ORDER = {COMPLETE: 0, PRUNED: 1, PAUSED: 1, RUNNING: 2, FAILED: 3}


def rank(results: Iterable[TrialResult], *, maximize: bool = True) -> list[Ranked]:
    """Rank configurations: complete ones by value, then pruned and paused ones, running, failed.

    Trials whose configurations differ only in the seed make up one entry, ranked by their mean.
    Complete configurations with a pruned, paused or failed seed come after those without one. A
    trial that reused another trial's result is left out. Among equals, the earlier trial comes
    first.
    """
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.duplicate_of is None:
            groups.setdefault(result.config.group, []).append(result)
    entries = [_entry(group, maximize) for group in groups.values()]
    entries.sort(key=partial(_sort_key, maximize=maximize))
    ranked: list[Ranked] = []
    for place, entry in enumerate(entries, start=1):
        number: int | None = place
        if entry.value is None:
            number = None
        elif ranked and _tie(ranked[-1], entry):
            number = ranked[-1].rank
        ranked.append(replace(entry, rank=number))
    return ranked


def find_best_trial(results: Iterable[TrialResult], *, maximize: bool = True) -> TrialResult | None:
    """Return the best seed of the first-ranked configuration; None if no trial is complete."""
    ranked = rank(results, maximize=maximize)
    if not ranked or ranked[0].state != COMPLETE:
        return None
    return ranked[0].trials[0]


class BestSoFar:
    """The best trial of a growing set of results.

    Gives the same trial as `find_best_trial` without ranking all results after each.
    """

    def __init__(self, *, maximize: bool = True) -> None:
        self._maximize = maximize
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
        entry = _entry([*earlier_trials, result], self._maximize)
        self._entries[group] = entry
        sort_key = partial(_sort_key, maximize=self._maximize)
        if previous is not None and previous is self._first:
            # The further seed may have lowered the mean: another configuration may be first now.
            self._first = min(self._entries.values(), key=sort_key)
        elif self._first is None or sort_key(entry) < sort_key(self._first):
            self._first = entry

    @property
    def best(self) -> TrialResult | None:
        """The best trial; None if no trial is complete."""
        if self._first is None or self._first.state != COMPLETE:
            return None
        return self._first.trials[0]


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
    return {name: getattr(result.config, name) for name in searched}


def _entry(trials: list[TrialResult], maximize: bool) -> Ranked:
    """Combine the trials of a configuration; without a rank yet."""
    trials = sorted(trials, key=lambda t: (_ORDER[t.state], _loss(t.value, maximize), t.number))
    values = [t.value for t in trials if t.state == COMPLETE and t.value is not None]
    value = statistics.fmean(values) if values else trials[0].value
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Ranked(rank=None, trials=tuple(trials), value=value, spread=spread)


def _tie(previous: Ranked, entry: Ranked) -> bool:
    return _ORDER[previous.state] == _ORDER[entry.state] and previous.value == entry.value


def _sort_key(entry: Ranked, maximize: bool) -> tuple[int, bool, float, int]:
    first_number = min(trial.number for trial in entry.trials)
    return _ORDER[entry.state], _lacks_seeds(entry), _loss(entry.value, maximize), first_number


def _lacks_seeds(entry: Ranked) -> bool:
    """Whether some seeds of a complete configuration were pruned, are paused, or failed.

    The mean of the other seeds flatters such a configuration.
    """
    return entry.state == COMPLETE and any(t.state in _LACKING for t in entry.trials)


def _loss(value: float | None, maximize: bool) -> float:
    """Convert a value for minimisation; a missing value is the worst."""
    if value is None:
        return float("inf")
    return -value if maximize else value
