"""Pure: results in, ranked results out. Knows nothing of stores, terminals or plots."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One configuration's place: its trials (repeats over seeds, the best first) and their mean."""

    rank: int | None  # equal values share a rank; None for what has no value
    trials: tuple[TrialResult, ...]
    value: float | None  # mean over the complete repeats; a pruned one's own best
    spread: float | None  # standard deviation over the complete repeats, if two or more

    @property
    def state(self) -> str:
        """The state of the best of its trials."""
        return self.trials[0].state


_ORDER = {COMPLETE: 0, PRUNED: 1, RUNNING: 2, FAILED: 3}


def rank(results: Iterable[TrialResult], *, maximize: bool = True) -> list[Ranked]:
    """Rank configurations: complete ones by value, then pruned ones, running ones, failed ones.

    The repeats of a configuration (equal but for the seed) are one entry, ranked by their mean, behind those of which
    no repeat was pruned or failed; a trial that reused another's result is left out. A pruned trial never outranks a
    complete one; among equals the earlier trial stands first.
    """
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.duplicate_of is not None:
            continue
        groups.setdefault(result.config.group, []).append(result)
    entries = [_entry(group, maximize) for group in groups.values()]
    entries.sort(key=partial(_place, maximize=maximize))
    ranked: list[Ranked] = []
    for place, entry in enumerate(entries, start=1):
        previous = ranked[-1] if ranked else None
        tie = (
            previous is not None and previous.state == entry.state and previous.value == entry.value
        )
        if entry.value is None:
            number = None
        elif previous is not None and tie:
            number = previous.rank
        else:
            number = place
        ranked.append(
            Ranked(rank=number, trials=entry.trials, value=entry.value, spread=entry.spread)
        )
    return ranked


def find_best_trial(results: Iterable[TrialResult], *, maximize: bool = True) -> TrialResult | None:
    """The best complete trial: of the first-ranked configuration, its best repeat. None if none is complete."""
    ranked = rank(results, maximize=maximize)
    if ranked and ranked[0].state == COMPLETE:
        return ranked[0].trials[0]
    return None


class BestSoFar:
    """The best of results that are added one by one, without ranking all of them each time.

    It finds the same trial as `find_best_trial`.
    """

    def __init__(self, *, maximize: bool = True) -> None:
        self._maximize = maximize
        self._entries: dict[str, Ranked] = {}  # by group
        self._first: Ranked | None = None

    def add(self, result: TrialResult) -> TrialResult | None:
        """Add a result of a trial that has ended; the best now, if one is complete."""
        if result.duplicate_of is None:
            group = result.config.group
            place = partial(_place, maximize=self._maximize)
            before = self._entries.get(group)
            entry = self._entries[group] = _entry(
                [*(before.trials if before else ()), result], self._maximize
            )
            if (
                before is not None and before is self._first
            ):  # a further repeat may have made it worse
                self._first = min(self._entries.values(), key=place)
            elif self._first is None or place(entry) < place(self._first):
                self._first = entry
        return self.best

    @property
    def best(self) -> TrialResult | None:
        """The best trial, if one is complete."""
        if self._first is not None and self._first.state == COMPLETE:
            return self._first.trials[0]
        return None


def ends_text(results: Sequence[TrialResult]) -> str:
    """Say where the trials went: ``24 ended: 5 complete, 18 pruned, 1 duplicate``."""
    ends = Counter(map(end_of, results))
    begun = {end: ends.pop(end) for end in (RUNNING, "interrupted") if end in ends}
    counts = [f"{ends.pop(end)} {end}" for end in (COMPLETE, PRUNED, "infeasible") if end in ends]
    duplicates = ends.pop("duplicate", 0)
    counts += [f"{count} failed ({end})" for end, count in sorted(ends.items())]
    counts += [f"{duplicates} duplicate{'s' * (duplicates > 1)}"] if duplicates else []
    text = f"{len(results) - sum(begun.values())} ended" + (
        ": " + ", ".join(counts) if counts else ""
    )
    return text + "".join(f"; {count} {end}" for end, count in begun.items())


def end_of(result: TrialResult) -> str:
    """How a trial ended, in a word: ``duplicate`` where it has another's result; or that it has not ended."""
    if result.duplicate_of is not None:
        return "duplicate"
    return result.end


def searched_values(result: TrialResult, searched: Sequence[str]) -> dict[str, Value | None]:
    """A trial's values of the searched fields; None where one does not apply."""
    return {name: getattr(result.config, name) for name in searched}


def _entry(trials: list[TrialResult], maximize: bool) -> Ranked:
    trials = sorted(trials, key=lambda t: (_ORDER[t.state], _loss(t.value, maximize), t.number))
    values = [t.value for t in trials if t.state == COMPLETE and t.value is not None]
    value = statistics.fmean(values) if values else trials[0].value
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Ranked(rank=None, trials=tuple(trials), value=value, spread=spread)


def _place(entry: Ranked, maximize: bool) -> tuple[int, bool, float, int]:
    """What entries are ordered by."""
    first = min(trial.number for trial in entry.trials)
    return _ORDER[entry.state], _broken(entry), _loss(entry.value, maximize), first


def _broken(entry: Ranked) -> bool:
    """Whether some repeats of a complete configuration are not: the mean of the others flatters it."""
    return entry.state == COMPLETE and any(
        trial.state in (PRUNED, FAILED) for trial in entry.trials
    )


def _loss(value: float | None, maximize: bool) -> float:
    if value is None:
        return float("inf")
    if maximize:
        return -value
    return value
