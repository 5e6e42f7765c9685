"""Compares rules that decide which trials of a study go on, on recorded learning curves.

    python -m benchmarks.rules benchmarks/curves/mnist_1000.jsonl --permutations 400

Trials are drawn from a table in a random order, many times over (the permutations). A rule trains
each of them as far as it wants, one at a time, and never sees further. For each rule it prints, with
the standard error over the permutations:

- ``share``: the epochs that were trained, of those that training every trial to its end takes;
- ``best lost``: how often the best trial of the drawn was not trained to its end;
- ``top 3``: how many of the true best three are among the three that finalists would take;
- ``complete``: the number of trials that were trained to their end;
- ``test``: the test accuracy of the complete trial with the best validation accuracy.

Nothing is trained here. ``benchmarks.record_curves`` makes tables.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from sweeps.search.pruning import PROTECTED_TRIALS, should_prune

LEADERS = 3  # trials that the index rule trains to their end, whatever else it does
SHARE = 0.46  # of all epochs, the index rule's budget


@dataclass(eq=False)
class Trial:
    """A configuration of a table, and how far a rule has trained it."""

    best_so_far: Sequence[float]  # validation accuracy, by epoch
    test: float  # test accuracy of the best epoch's weights
    epochs: int = 0  # that were trained

    @property
    def value(self) -> float:
        """The best validation accuracy so far."""
        return self.best_so_far[self.epochs - 1]

    @property
    def final(self) -> float:
        """The validation accuracy of the whole training, which a rule must not read."""
        return self.best_so_far[-1]


Rule = Callable[[Sequence[Trial], int], None]


def train_all(trials: Sequence[Trial], epochs: int) -> None:
    """Train every trial to its end."""
    for trial in trials:
        trial.epochs = epochs


def stopping(pruner: str) -> Rule:
    """The pruners of studies made by version 0.1.0: a trial that is stopped never goes on."""

    def rule(trials: Sequence[Trial], epochs: int) -> None:
        earlier: list[dict[int, float]] = []
        for number, trial in enumerate(trials):
            reports: dict[int, float] = {}
            for epoch in range(1, epochs + 1):
                trial.epochs = epoch
                reports[epoch] = trial.value
                if number >= PROTECTED_TRIALS and should_prune(
                    pruner, reports, earlier, epochs=epochs, maximize=True
                ):
                    break
            earlier.append(reports)

    return rule


@dataclass
class _Rungs:
    """The trials that have reached each rung, and their places there."""

    rungs: Sequence[int]
    values: dict[int, list[float]] = field(default_factory=dict)

    def train(self, trial: Trial, until: int) -> None:
        """Train a trial until a rung, and note its value there."""
        trial.epochs = until
        self.values.setdefault(until, []).append(trial.value)

    def following(self, rung: int) -> int:
        """The rung after this one."""
        return self.rungs[self.rungs.index(rung) + 1]

    def relative_place(self, trial: Trial) -> float:
        """The trial's place among those that reached its rung, over their number: 1 is the last."""
        rivals = self.values[trial.epochs]
        place = 1 + sum(value > trial.value for value in rivals)
        return place / len(rivals)


def promotion(rungs: Sequence[int], share: float = SHARE) -> Rule:
    """The index rule: trials are paused at rungs, and go on by their place there.

    While configurations are left to draw, the best paused trial of the highest rung goes on if it is
    in the better half of its rung and the epochs so far are within their pace; otherwise the next
    configuration is drawn. When all are drawn, the trial with the best relative place goes on by one
    rung. Enough epochs are kept to finish the leaders.
    """

    def rule(trials: Sequence[Trial], epochs: int) -> None:
        state = _Rungs(rungs)
        budget = share * len(trials) * epochs
        drawn: list[Trial] = []
        while len(drawn) < len(trials):
            pace = budget * len(drawn) / len(trials)
            promoted = None
            if _trained(drawn) <= pace:
                promoted = _promotable(drawn, state)
            if promoted is None:
                drawn.append(trials[len(drawn)])
                state.train(drawn[-1], rungs[0])
            else:
                state.train(promoted, state.following(promoted.epochs))
        while paused := [trial for trial in drawn if trial.epochs < epochs]:
            promoted = min(paused, key=lambda trial: (state.relative_place(trial), -trial.epochs))
            until = state.following(promoted.epochs)
            others = [leader for leader in _leaders(drawn) if leader is not promoted]
            needed = until - promoted.epochs + sum(epochs - leader.epochs for leader in others)
            if promoted in _leaders(drawn):
                needed += epochs - until
            if _trained(drawn) + needed > budget:
                break
            state.train(promoted, until)
        for leader in _leaders(drawn):
            leader.epochs = epochs

    return rule


def _promotable(drawn: Sequence[Trial], state: _Rungs) -> Trial | None:
    """The best paused trial of the highest rung at which it is in the better half."""
    for rung in reversed(state.rungs[:-1]):
        paused = [trial for trial in drawn if trial.epochs == rung]
        if paused:
            best = max(paused, key=lambda trial: trial.value)
            if state.relative_place(best) <= 0.5:
                return best
    return None


def _leaders(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the best values so far."""
    return sorted(trials, key=lambda trial: -trial.value)[:LEADERS]


def _trained(trials: Sequence[Trial]) -> int:
    """The epochs that were trained."""
    return sum(trial.epochs for trial in trials)


def measure(trials: Sequence[Trial], epochs: int) -> dict[str, float]:
    """What a rule took and found, once it has trained the trials."""
    complete = [trial for trial in trials if trial.epochs == epochs]
    true_order = sorted(trials, key=lambda trial: -trial.final)
    finalists = sorted(trials, key=lambda trial: (trial.epochs < epochs, -trial.value))[:3]
    third = true_order[2].final
    return {
        "share": _trained(trials) / (len(trials) * epochs),
        "best lost": float(all(trial.final < true_order[0].final for trial in complete)),
        "top 3": sum(trial.final >= third for trial in finalists) / 3,
        "complete": len(complete),
        "test": max(complete, key=lambda trial: trial.final).test,
    }


def compare(
    rows: Sequence[dict], rules: dict[str, Rule], *, trials: int, permutations: int
) -> dict[str, dict[str, tuple[float, float]]]:
    """The mean and standard error of what each rule took and found, over random orders."""
    epochs = len(rows[0]["curve"])
    curves = [(tuple(accumulate(row["curve"], max)), row["test"]) for row in rows]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in rules}
    for permutation in range(permutations):
        order = random.Random(permutation).sample(curves, trials)  # noqa: S311 - no secret
        for name, rule in rules.items():
            drawn = [Trial(best_so_far, test) for best_so_far, test in order]
            rule(drawn, epochs)
            results[name].append(measure(drawn, epochs))
    return {name: _summary(found) for name, found in results.items()}


def _summary(results: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    columns = {key: [result[key] for result in results] for key in results[0]}
    return {
        key: (statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))
        for key, values in columns.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="recorded curves")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--permutations", type=int, default=400)
    options = parser.parse_args()
    for path in options.table:
        lines = path.read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row["end"] == "complete"]
        epochs = len(rows[0]["curve"])
        # Each rung is 1.5 times the last, rounded: 1, 2, 3, 4, 6, 9.
        spaced = [1]
        while round(max(spaced[-1] * 1.5, spaced[-1] + 1)) < epochs:
            spaced.append(round(max(spaced[-1] * 1.5, spaced[-1] + 1)))
        rules = {
            "none": train_all,
            "asha, as of 0.1.0": stopping("asha"),
            "median, as of 0.1.0": stopping("median"),
            "promotion, rungs 1.5 apart": promotion([*spaced, epochs]),
            "promotion, every epoch": promotion(range(1, epochs + 1)),
            "promotion, one rung": promotion([1, epochs]),
        }
        print(f"\n{path.name}: {len(rows)} curves of {epochs} epochs, {options.trials} trials\n")
        found = compare(rows, rules, trials=options.trials, permutations=options.permutations)
        print("| rule |", " | ".join(next(iter(found.values()))), "|")
        print("| --- |", " | ".join("---" for _ in next(iter(found.values()))), "|")
        for name, figures in found.items():
            cells = (f"{mean:.4g} ± {error:.2g}" for mean, error in figures.values())
            print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
