"""Compares whole searches, ours and those of peers, at equal epochs, on recorded tables of curves.

    python -m benchmarks.searches benchmarks/curves/{mnist,fashion_mnist,cifar10}_1000.jsonl \
        benchmarks/curves/{few_digits,cifar10_2000,tiny_imagenet_2000}.jsonl --out searches.jsonl

Every search asks the same surrogate (`benchmarks.surrogate`) how a configuration learns, so nothing is
trained. The space is the default study's, with the widths of the tables. Each search has the epochs of
24 whole trainings; asked for is what it would answer after 6, 12 and 24 of them: the test accuracy of
the complete trial with the best validation accuracy. A search of ours is told beforehand how much it
has, as `trials` that take no more than that or as `budget`, so it is made anew for each of these; the
others go on. `with portfolio` begins with the configurations that were learned from the tables of other
data sets (`benchmarks.portfolio`); `the portfolio alone` tries nothing else, and stops.

Printed are, for each table, the means over the seeds with their standard errors, and how many epochs a
search took to show what Optuna's search without a pruner ends with, less one standard error of an
accuracy on 1,000 images; then by how much ours is better than each on average over the tables, after 6
and 12 whole trainings. The same command goes on with what is in the file of results.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import optuna

from benchmarks.common import has
from benchmarks.peers import smac
from benchmarks.portfolio import learn, of_other_data_sets
from benchmarks.record_curves import WIDTHS
from benchmarks.search import Curve, error, sweep_in
from benchmarks.surrogate import Row, Surrogate, read_table
from pipeline.jobs.studies import DEFAULT_STUDY, read_shipped
from sweeps.search.decisions import HEAD_STARTS, PROMOTING
from sweeps.search.promotion import expected_epochs
from sweeps.search.sampling import suggest
from sweeps.spec.configurations import choose_values
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import Search, Start, StudySpec, parse_budget
from sweeps.trial import TrialConfig, Value

MOST = 24  # whole trainings of a search
ASKED_AFTER = (6, 12, 24)  # whole trainings
IMAGES = 1000  # that validated in the tables
UNPRUNED = "Optuna TPE, no pruner"
OURS = "ours"
BY_BUDGET = "ours, with a budget instead of trials"
WITH_PORTFOLIO = "ours, with portfolio"
PORTFOLIO_BY_BUDGET = "ours, with portfolio and a budget"
NO_HEAD_START = "the same without a head start"
PORTFOLIO_ALONE = "the portfolio alone"
SMAC_TRIALS = 3 * MOST  # about as many as it begins or goes on with in that many epochs


@dataclass(frozen=True)
class Found:
    """What a search found."""

    # Test accuracy of the complete trial with the best validation accuracy, after each of
    # `ASKED_AFTER`; None if none was complete.
    test: tuple[float | None, ...]
    # Whenever a validation accuracy was the best shown: the epochs until then, and the accuracy.
    gains: tuple[tuple[int, float], ...]


class Landscape:
    """How any configuration learns, remembered once it was asked for."""

    def __init__(self, surrogate: Surrogate) -> None:
        self.epochs = surrogate.epochs
        self._surrogate = surrogate
        self._known: dict[str, tuple[tuple[float, ...], float]] = {}

    def learns(self, values: Mapping[str, Value]) -> tuple[tuple[float, ...], float]:
        """The best validation accuracy so far by epoch, and the test accuracy."""
        key = json.dumps(values, sort_keys=True)
        if key not in self._known:
            *curve, test = self._surrogate.predict([values])[0].tolist()
            self._known[key] = tuple(curve), test
        return self._known[key]

    def get(self, config: TrialConfig) -> Curve:
        """The same of a trial of ours, without times."""
        curve, _ = self.learns(searched_values(config))
        return Curve(curve, (0.0,) * len(curve))


def searched_values(config: TrialConfig) -> dict[str, Value]:
    """The values of a trial that a table has."""
    fields = [dimension.field for dimension in space().dimensions]
    values = config.to_dict()
    return {name: values[name] for name in dict.fromkeys(fields) if values.get(name) is not None}


@cache
def space() -> StudySpec:
    """The default study with the widths of the tables, without baselines, starts and finalists."""
    _, _, spec = read_shipped(DEFAULT_STUDY)
    widths = tuple(
        Dimension(field="width", choices=choices, when={"family": (family,)})
        for family, choices in WIDTHS.items()
    )
    search = Search.model_construct(**{**dict(spec.search), "width": widths})
    bare = {"search": search, "baselines": (), "start_with": (), "finalists": None, "trials": None}
    return spec.model_copy(update=bare)


def trials_within(trainings: int, epochs: int) -> int:
    """The most trials that a study of ours expects to search within so many whole trainings."""
    trials = 1
    while expected_epochs(total=trials + 1, epochs=epochs) <= trainings * epochs:
        trials += 1
    return trials


def ours(landscape: Landscape, seed: int, starts: Sequence[Mapping[str, Value]] = ()) -> Found:
    """Search with this project's sampler and promotion, once for each number of trainings."""
    counts = [trials_within(trainings, landscape.epochs) for trainings in ASKED_AFTER]
    found = [_sweep(landscape, seed, {"trials": count}, starts) for count in counts]
    return Found(tuple(test for test, _ in found), found[-1][1])


def ours_by_budget(
    landscape: Landscape,
    seed: int,
    starts: Sequence[Mapping[str, Value]] = (),
    scheduler: int = HEAD_STARTS,
) -> Found:
    """The same, told how many epochs it has instead of how many trials.

    Args:
        landscape: is searched.
        seed: of the study.
        starts: configurations to begin with.
        scheduler: the version of the rule; before `HEAD_STARTS`, starts had no head start.
    """
    budgets = [parse_budget(trainings) for trainings in ASKED_AFTER]
    facts = {"scheduler": scheduler}
    found = [_sweep(landscape, seed, {"budget": budget}, starts, facts) for budget in budgets]
    return Found(tuple(test for test, _ in found), found[-1][1])


def portfolio_alone(
    landscape: Landscape, seed: int, starts: Sequence[Mapping[str, Value]]
) -> Found:
    """Try the starts and nothing else, and promote the best of them."""
    test, gains = _sweep(landscape, seed, {"trials": len(starts)}, starts)
    return Found((test,) * len(ASKED_AFTER), gains)


def _sweep(
    landscape: Landscape,
    seed: int,
    extent: Mapping[str, Any],
    starts: Sequence[Mapping[str, Value]] = (),
    facts: Mapping[str, Any] | None = None,
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Sweep a study of ours; the test accuracy of its winner, and `Found.gains`."""
    update = {
        **extent,
        "epochs": landscape.epochs,
        "seed": seed,
        "start_with": tuple(Start.model_validate(start) for start in starts),
    }
    spec = space().model_copy(update=update)
    swept = sweep_in(spec, landscape, optuna.storages.InMemoryStorage(), facts)
    winner = TrialConfig.from_dict(swept.configuration)
    gains = tuple((epochs, value) for epochs, _, value in swept.gains)
    return landscape.learns(searched_values(winner))[1], gains


class Tally:
    """Counts the epochs of a peer's search, and remembers what it would answer."""

    def __init__(self, epochs: int) -> None:
        self._asked_after = [trainings * epochs for trainings in ASKED_AFTER]
        self._most = MOST * epochs
        self.used = 0
        self._best = (-1.0, 0.0)  # validation and test accuracy of the best complete trial
        self._test: list[float | None] = []
        self._gains: list[tuple[int, float]] = []

    @property
    def is_used_up(self) -> bool:
        """Whether no epoch is left."""
        return self.used >= self._most

    def epoch(self, value: float) -> None:
        """Count an epoch, after which a trial has shown a validation accuracy."""
        self._answer_until(self.used)
        self.used += 1
        if not self._gains or value > self._gains[-1][1]:
            self._gains.append((self.used, value))

    def complete(self, value: float, test: float) -> None:
        """Remember a trial that was trained to its end."""
        self._best = max(self._best, (value, test))

    def _answer_until(self, epochs: float) -> None:
        while len(self._test) < len(self._asked_after):
            if epochs < self._asked_after[len(self._test)]:
                return
            self._test.append(self._best[1] if self._best[0] >= 0 else None)

    def found(self) -> Found:
        """What the search has found in the end."""
        self._answer_until(math.inf)
        return Found(tuple(self._test), tuple(self._gains))


def by_optuna(
    landscape: Landscape, seed: int, make_pruner: Callable[[], optuna.pruners.BasePruner]
) -> Found:
    """Search with Optuna's TPE and one of its pruners, both with their defaults."""
    study = optuna.create_study(
        study_name=f"seed {seed}",  # Hyperband chooses brackets by the name
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=make_pruner(),
    )
    tally = Tally(landscape.epochs)
    while not tally.is_used_up:
        trial = study.ask()
        curve, test = landscape.learns(choose_values(space(), partial(suggest, trial)))
        for epoch, value in enumerate(curve, start=1):
            if tally.is_used_up:
                return tally.found()
            tally.epoch(value)
            trial.report(value, epoch)
            if epoch < len(curve) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            tally.complete(curve[-1], test)
            study.tell(trial, curve[-1])
    return tally.found()


@dataclass(frozen=True)
class RayTrial:
    """What Ray's scheduler reads of a trial."""

    trial_id: str


def by_ray(landscape: Landscape, seed: int) -> Found:
    """Search with Ray Tune's ASHA and OptunaSearch with their defaults, one trial at a time.

    Both are asked directly, without Ray's processes.
    """
    from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    drawn: dict[str, Mapping[str, Value]] = {}

    def draw(trial: optuna.Trial) -> dict[str, Any]:
        values = choose_values(space(), partial(suggest, trial))
        drawn["last"] = values
        return {}

    sampler = optuna.samplers.TPESampler(seed=seed)
    search = OptunaSearch(space=draw, metric="acc", mode="max", sampler=sampler)
    scheduler = AsyncHyperBandScheduler(metric="acc", mode="max", max_t=landscape.epochs)
    tally = Tally(landscape.epochs)
    number = 0
    while not tally.is_used_up:
        name = str(number)
        number += 1
        search.suggest(name)
        trial = cast("Any", RayTrial(name))
        controller = cast("Any", None)  # it is not asked
        scheduler.on_trial_add(controller, trial)
        curve, test = landscape.learns(drawn["last"])
        result: dict[str, Any] = {}
        for epoch, value in enumerate(curve, start=1):
            if tally.is_used_up:
                return tally.found()
            tally.epoch(value)
            result = {"acc": value, "training_iteration": epoch}
            search.on_trial_result(name, result)
            decision = scheduler.on_trial_result(controller, trial, result)
            if epoch < len(curve) and decision == TrialScheduler.STOP:
                break
        else:
            tally.complete(curve[-1], test)
        scheduler.on_trial_complete(controller, trial, result)
        search.on_trial_complete(name, result)
    return tally.found()


def by_smac(landscape: Landscape, seed: int) -> Found:
    """Search with SMAC3's multi-fidelity facade with its defaults, one trial at a time.

    A trial that it trains again with more epochs goes on from where it stopped.
    """
    tally = Tally(landscape.epochs)

    def learns(values: Mapping[str, Value], epochs: int) -> float:
        return landscape.learns(values)[0][epochs - 1]

    asked = smac.search(
        space(), epochs=landscape.epochs, trials=SMAC_TRIALS, seed=seed, learns=learns
    )
    for values, before, until in asked:
        curve, test = landscape.learns(values)
        for value in curve[before:until]:
            if tally.is_used_up:
                return tally.found()
            tally.epoch(value)
        if until == landscape.epochs:
            tally.complete(curve[-1], test)
        if tally.is_used_up:
            break
    return tally.found()


def searches(
    tables: Mapping[str, Sequence[Row]], name: str
) -> dict[str, Callable[[Landscape, int], Found]]:
    """All searches that are compared on a table, by what they are called."""
    found: dict[str, Callable[[Landscape, int], Found]] = {
        UNPRUNED: partial(by_optuna, make_pruner=optuna.pruners.NopPruner),
        "Optuna TPE, MedianPruner": partial(by_optuna, make_pruner=optuna.pruners.MedianPruner),
        "Optuna TPE, HyperbandPruner": partial(
            by_optuna, make_pruner=optuna.pruners.HyperbandPruner
        ),
        "Ray Tune, ASHA, OptunaSearch": by_ray,
    }
    if has("smac"):
        found["SMAC3, MultiFidelityFacade"] = by_smac
    found[BY_BUDGET] = ours_by_budget
    found[OURS] = ours
    others = of_other_data_sets(tables, name)
    if others:
        portfolio = learn(others)
        found[WITH_PORTFOLIO] = partial(ours, starts=portfolio)
        found[PORTFOLIO_BY_BUDGET] = partial(ours_by_budget, starts=portfolio)
        found[NO_HEAD_START] = partial(ours_by_budget, starts=portfolio, scheduler=PROMOTING)
        found[PORTFOLIO_ALONE] = partial(portfolio_alone, starts=portfolio)
    return found


def report(name: str, found: Mapping[str, Sequence[Found]], epochs: int) -> str:
    """The table of a data set."""
    head = [f"after {trainings}" for trainings in ASKED_AFTER]
    lines = [f"| {name} | {' | '.join(head)} | ours better after 6, 12, 24 | reached | missed |"]
    lines.append("| --- " * (len(ASKED_AFTER) + 4) + "|")
    for label, of_seeds in found.items():
        cells = [_mean([one.test[at] for one in of_seeds]) for at in range(len(ASKED_AFTER))]
        better = [
            _mean(
                [
                    _less(mine.test[at], other.test[at])
                    for mine, other in zip(found[OURS], of_seeds, strict=False)
                ]
            )
            for at in range(len(ASKED_AFTER))
        ]
        shares = [
            _reached(one, unpruned, epochs)
            for one, unpruned in zip(of_seeds, found[UNPRUNED], strict=False)
        ]
        missed = sum(map(math.isinf, shares)) / len(shares)
        cells += ["" if label == OURS else ", ".join(better)]
        cells += [f"{statistics.median(shares):.3f}", f"{missed:.2f}"]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def averages(found: Mapping[str, Mapping[str, Sequence[Found]]]) -> str:
    """By how much ours is better on average over the tables, after the first two of `ASKED_AFTER`.

    Args:
        found: by table and search, what was found with each seed.

    Returns:
        A table of means of paired differences, each with its standard error over the seeds. Searches
        that were not made on every table, or had no complete trial, are left out.
    """
    ways = (OURS, WITH_PORTFOLIO, BY_BUDGET, PORTFOLIO_BY_BUDGET)
    lines = [f"| than | {' | '.join(ways)} |", "| --- " * (len(ways) + 1) + "|"]
    for other in dict.fromkeys(label for of_table in found.values() for label in of_table):
        cells = [_better_by(found, way, other) for way in ways]
        if any(cells):
            lines.append(f"| {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _better_by(found: Mapping[str, Mapping[str, Sequence[Found]]], way: str, other: str) -> str:
    """A cell of `averages`; empty where there is nothing to compare."""
    means = []
    variances = []
    for of_table in found.values():
        differences = [
            _less(mine.test[at], theirs.test[at])
            for mine, theirs in zip(of_table.get(way, ()), of_table.get(other, ()), strict=False)
            for at in range(2)
        ]
        known = [value for value in differences if value is not None]
        if way == other or len(known) != len(differences) or len(known) < 4:
            return ""
        of_seeds = [statistics.fmean(pair) for pair in zip(known[::2], known[1::2], strict=True)]
        means.append(statistics.fmean(of_seeds))
        variances.append(statistics.variance(of_seeds) / len(of_seeds))
    return f"{statistics.fmean(means):+.4f} ± {math.sqrt(sum(variances)) / len(means):.4f}"


def _less(mine: float | None, other: float | None) -> float | None:
    return None if mine is None or other is None else mine - other


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "none complete"
    return f"{statistics.fmean(known):.4f} ± {statistics.stdev(known) / math.sqrt(len(known)):.4f}"


def _reached(found: Found, unpruned: Found, epochs: int) -> float:
    """After which share of the unpruned search's epochs its best was shown, less a standard error."""
    best = unpruned.gains[-1][1]
    target = best - error(best, IMAGES)
    for used, value in found.gains:
        if value >= target:
            return used / (MOST * epochs)
    return math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="recorded curves")
    parser.add_argument("--only", nargs="*", help="names of the tables to search; all by default")
    parser.add_argument(
        "--leave-out", nargs="*", default=[], help="searches that are not compared, by their names"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray").setLevel(logging.ERROR)
    tables = {path.stem: read_table(path) for path in options.table}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    known = _read(options.out)
    all_found = {}
    for name in options.only or tables:
        landscape = Landscape(Surrogate(tables[name]))
        compared = {
            label: search
            for label, search in searches(tables, name).items()
            if label not in options.leave_out
        }
        for seed in range(options.seeds):
            for label, search in compared.items():
                key = (name, label, seed)
                if key in known:
                    continue
                known[key] = search(landscape, seed)
                line = {"table": name, "search": label, "seed": seed, **asdict(known[key])}
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        found = {
            label: [known[name, label, seed] for seed in range(options.seeds)] for label in compared
        }
        print(report(name, found, landscape.epochs), end="\n\n", flush=True)
        all_found[name] = found
    print(averages(all_found))


def _read(path: Path) -> dict[tuple[str, str, int], Found]:
    """The results of earlier commands, by table, search and seed."""
    known = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        gains = tuple((epochs, value) for epochs, value in row["gains"])
        key = (row["table"], row["search"], row["seed"])
        known[key] = Found(tuple(row["test"]), gains)
    return known


if __name__ == "__main__":
    main()
