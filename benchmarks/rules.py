"""Compares rules that decide which trials of a study go on, on recorded learning curves.

    python -m benchmarks.rules benchmarks/curves/mnist_1000.jsonl --permutations 400
    python -m benchmarks.rules benchmarks/curves/mnist_1000.jsonl --budgets 6 12 24

Trials are drawn from a table in a random order, many times over (the permutations). A rule trains
each of them as far as it wants, one at a time, and never sees further. The rules of promotion are
those of `sweeps.search.promotion`, one decision at a time. Nothing is trained here;
``benchmarks.record_curves`` makes tables.

The first table is of studies of a given number of trials. For each rule it prints, with the standard
error over the permutations:

- ``share``: the epochs that were trained, of those that training every trial to its end takes;
- ``best lost``: how often the best trial of the drawn was not trained to its end;
- ``top 3``: how many of the true best three are among the three that finalists would take;
- ``complete``: the number of trials that were trained to their end;
- ``pauses``: how often a trial went on after another had trained;
- ``test``: the test accuracy of the complete trial with the best validation accuracy.

The second is of studies of a given number of epochs (the budgets, in full trainings) that draw as
many trials as they like. It prints the regret: the best test accuracy in the table, minus that of
the complete trial with the best validation accuracy. Optuna's own pruners are asked, too.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from pathlib import Path

import optuna

from sweeps.search.promotion import (
    Contender,
    Decision,
    Draw,
    Promote,
    decide_within_budget,
    decide_within_total,
)
from sweeps.search.pruning import PROTECTED_TRIALS, should_prune


@dataclass(eq=False)
class Trial:
    """A configuration of a table, and how far a rule has trained it."""

    best_so_far: Sequence[float]  # validation accuracy, by epoch
    test: float  # test accuracy of the best epoch's weights
    epochs: int = 0  # that were trained
    pauses: int = 0  # how often it went on after another had trained

    @property
    def value(self) -> float:
        """The best validation accuracy so far."""
        return self.best_so_far[self.epochs - 1]

    @property
    def final(self) -> float:
        """The validation accuracy of the whole training, which a rule must not read."""
        return self.best_so_far[-1]

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to its end."""
        return self.epochs == len(self.best_so_far)


Rule = Callable[[Sequence[Trial], int], None]  # trains the trials of a study
BudgetRule = Callable[[Iterable[Trial], int], Sequence[Trial]]  # within a budget: the drawn trials


def train_all(trials: Sequence[Trial], epochs: int) -> None:
    """Train every trial to its end."""
    for trial in trials:
        trial.epochs = epochs


def train_first(trials: Sequence[Trial], epochs: int) -> None:
    """Train as many trials to their end as the epochs of a promotion allow, and draw no others."""
    copies = [Trial(trial.best_so_far, trial.test) for trial in trials]
    promote(copies, epochs)
    for trial in trials[: round(_trained(copies) / epochs)]:
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


def promote(trials: Sequence[Trial], epochs: int) -> None:
    """The promotion of a study that has a number of trials."""

    def decide(contenders: Sequence[Contender]) -> Decision:
        return decide_within_total(contenders, total=len(trials), epochs=epochs)

    _follow(decide, iter(trials), epochs)


def promoting(epochs: int) -> BudgetRule:
    """The promotion of a study that has a budget alone, of trials of so many epochs."""

    def rule(trials: Iterable[Trial], budget: int) -> Sequence[Trial]:
        def decide(contenders: Sequence[Contender]) -> Decision:
            return decide_within_budget(contenders, budget=budget, epochs=epochs)

        return _follow(decide, iter(trials), epochs)

    return rule


def _follow(
    decide: Callable[[Sequence[Contender]], Decision], trials: Iterator[Trial], epochs: int
) -> Sequence[Trial]:
    """Train as is decided, one decision at a time, and return the drawn trials."""
    contenders: list[Contender] = []
    drawn: list[Trial] = []
    last = -1
    while isinstance(decision := decide(contenders), Draw | Promote):
        if isinstance(decision, Draw):
            number = len(drawn)
            drawn.append(next(trials))
            contenders.append(Contender(number=number, epochs=epochs, until=0, values=()))
        else:
            number = decision.number
            drawn[number].pauses += number != last
        last = number
        drawn[number].epochs = decision.until
        contenders[number] = Contender(
            number=number,
            epochs=epochs,
            until=decision.until,
            values=drawn[number].best_so_far[: decision.until],
            ended=drawn[number].is_complete,
        )
    return drawn


def train_each(trials: Iterable[Trial], budget: int) -> Sequence[Trial]:
    """Train trials to their end until the budget is used."""
    drawn = []
    left = budget
    for trial in trials:
        trial.epochs = min(len(trial.best_so_far), left)
        left -= trial.epochs
        drawn.append(trial)
        if left == 0:
            break
    return drawn


def asking_optuna(make_pruner: Callable[[], optuna.pruners.BasePruner]) -> BudgetRule:
    """A pruner of Optuna, with its own defaults."""

    def rule(trials: Iterable[Trial], budget: int) -> Sequence[Trial]:
        study = optuna.create_study(
            study_name="rules", direction="maximize", pruner=make_pruner()
        )  # Hyperband chooses brackets by the name
        drawn: list[Trial] = []
        left = budget
        for trial in trials:
            asked = study.ask()
            drawn.append(trial)
            state = optuna.trial.TrialState.COMPLETE
            while not trial.is_complete:
                if left == 0:
                    return drawn
                left -= 1
                trial.epochs += 1
                asked.report(trial.value, trial.epochs)
                if not trial.is_complete and asked.should_prune():
                    state = optuna.trial.TrialState.PRUNED
                    break
            study.tell(asked, trial.value if trial.is_complete else None, state=state)
        return drawn

    return rule


def _trained(trials: Iterable[Trial]) -> int:
    """The epochs that were trained."""
    return sum(trial.epochs for trial in trials)


def _winner(trials: Sequence[Trial]) -> Trial:
    """The complete trial with the best value, or the best so far if none is complete."""
    return max(trials, key=lambda trial: (trial.is_complete, trial.value))


def measure(trials: Sequence[Trial], epochs: int) -> dict[str, float]:
    """What a rule took and found, once it has trained the trials."""
    complete = [trial for trial in trials if trial.is_complete]
    trained = [trial for trial in trials if trial.epochs]
    true_order = sorted(trials, key=lambda trial: -trial.final)
    finalists = sorted(trained, key=lambda trial: (not trial.is_complete, -trial.value))[:3]
    third = true_order[min(3, len(trials)) - 1].final
    return {
        "share": _trained(trials) / (len(trials) * epochs),
        "best lost": float(all(trial.final < true_order[0].final for trial in complete)),
        "top 3": sum(trial.final >= third for trial in finalists) / 3,
        "complete": len(complete),
        "pauses": sum(trial.pauses for trial in trials),
        "test": _winner(trained).test,
    }


Curves = Sequence[tuple[Sequence[float], float]]  # best so far by epoch, and test accuracy
Figures = dict[str, tuple[float, float]]  # the mean and its standard error, by column


def _shuffled(curves: Curves, permutation: int, count: int) -> Curves:
    return random.Random(permutation).sample(curves, count)  # noqa: S311 - no secret


def compare(
    curves: Curves, rules: dict[str, Rule], *, trials: int, permutations: Sequence[int]
) -> dict[str, Figures]:
    """What each rule took and found in studies of so many trials, over random orders."""
    epochs = len(curves[0][0])
    results: dict[str, list[dict[str, float]]] = {name: [] for name in rules}
    for permutation in permutations:
        order = _shuffled(curves, permutation, trials)
        for name, rule in rules.items():
            drawn = [Trial(best_so_far, test) for best_so_far, test in order]
            rule(drawn, epochs)
            results[name].append(measure(drawn, epochs))
    return {name: _summary(found) for name, found in results.items()}


def compare_budgets(
    curves: Curves,
    rules: dict[str, BudgetRule],
    *,
    budgets: Sequence[int],
    permutations: Sequence[int],
) -> dict[str, Figures]:
    """The regret of each rule in studies of so many full trainings, over random orders.

    A rule that has drawn the whole table draws it again.
    """
    epochs = len(curves[0][0])
    best = max(test for _, test in curves)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in rules}
    for permutation in permutations:
        order = _shuffled(curves, permutation, len(curves))
        for name, rule in rules.items():
            regrets = {}
            for budget in budgets:
                trials = (Trial(best_so_far, test) for best_so_far, test in cycle(order))
                drawn = rule(trials, budget * epochs)
                if _trained(drawn) > budget * epochs:
                    raise ValueError(f"{name} took more than {budget} full trainings")
                regrets[str(budget)] = best - _winner(drawn).test
            results[name].append({**regrets, "mean": statistics.fmean(regrets.values())})
    return {name: _summary(found) for name, found in results.items()}


def _summary(results: Sequence[dict[str, float]]) -> Figures:
    columns = {key: [result[key] for result in results] for key in results[0]}
    return {
        key: (statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))
        for key, values in columns.items()
    }


def _print(found: dict[str, Figures]) -> None:
    columns = next(iter(found.values()))
    print("| rule |", " | ".join(columns), "|")
    print("| --- |", " | ".join("---" for _ in columns), "|")
    for name, figures in found.items():
        cells = (f"{mean:.4g} ± {error:.2g}" for mean, error in figures.values())
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="recorded curves")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument(
        "--budgets", type=int, nargs="+", help="in full trainings; prints the second table instead"
    )
    parser.add_argument("--permutations", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first permutation")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    permutations = range(options.first, options.first + options.permutations)
    for path in options.table:
        lines = path.read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row["end"] == "complete"]
        curves = [(tuple(accumulate(row["curve"], max)), row["test"]) for row in rows]
        print(f"\n{path.name}: {len(rows)} curves of {len(curves[0][0])} epochs", end=", ")
        if options.budgets:
            print(f"regret at budgets of so many full trainings, {len(permutations)} orders\n")
            budget_rules: dict[str, BudgetRule] = {
                "none": train_each,
                "Optuna's SuccessiveHalvingPruner": asking_optuna(
                    optuna.pruners.SuccessiveHalvingPruner
                ),
                "Optuna's MedianPruner": asking_optuna(optuna.pruners.MedianPruner),
                "Optuna's HyperbandPruner": asking_optuna(optuna.pruners.HyperbandPruner),
                "promotion": promoting(len(curves[0][0])),
            }
            _print(
                compare_budgets(
                    curves, budget_rules, budgets=options.budgets, permutations=permutations
                )
            )
        else:
            print(f"{options.trials} trials, {len(permutations)} orders\n")
            rules: dict[str, Rule] = {
                "none": train_all,
                "none, of fewer trials": train_first,
                "asha of 0.1.0": stopping("asha"),
                "median of 0.1.0": stopping("median"),
                "promotion": promote,
            }
            _print(compare(curves, rules, trials=options.trials, permutations=permutations))


if __name__ == "__main__":
    main()
