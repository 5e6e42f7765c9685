"""Learns which configurations to try first on data that nobody has seen, from tables of curves.

    python -m benchmarks.portfolio benchmarks/curves/{mnist,fashion_mnist,cifar10}_1000.jsonl

prints the portfolio as `start_with` of a study file, and how good a portfolio is on a data set that
it was learned without. `sweeps/studies/networks.yaml` has what this prints for these tables.

The candidates are all recorded configurations. How good one is on a data set where it was not trained
is known from the table's surrogate, and only so far: the surrogate's uncertainty is kept by drawing
many worlds from it. The regret of a configuration in a world is by how much it is worse than the
world's best candidate, in units of what the median candidate lacks. Chosen next, one at a time, is
the candidate that lowers the regret of the best chosen one most, on average over the worlds of all
data sets (Feurer et al. 2022, JMLR 23; Salinas & Erickson 2024). So a candidate that is good where
those before it are bad comes before one that is good in the same places.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.surrogate import Row, Surrogate, read_table
from pipeline.jobs.studies import read_shipped
from sweeps.spec.configurations import start_values
from sweeps.trial import Value

SIZE = 8  # configurations of a portfolio
WORLDS = 64  # drawn from each table's surrogate
_RANDOM_SETS = 500  # of as many configurations as a portfolio has, to compare it with
Configurations = Sequence[Mapping[str, Value]]
Floats = NDArray[np.float64]


def pool(tables: Mapping[str, Sequence[Row]]) -> Configurations:
    """All recorded configurations, without duplicates."""
    found = {json.dumps(row.values): row.values for rows in tables.values() for row in rows}
    return list(found.values())


def regrets(surrogate: Surrogate, candidates: Configurations) -> Floats:
    """The regret of each candidate in each world of a data set: (worlds, candidates), 0 to 1."""
    values = surrogate.sample_last(candidates, count=WORLDS, seed=0)
    best = values.max(axis=1, keepdims=True)
    median = np.median(values, axis=1, keepdims=True)
    return np.clip((best - values) / (best - median), 0.0, 1.0)


def choose(worlds: Sequence[Floats], size: int = SIZE) -> list[int]:
    """Choose candidates that complement each other.

    Args:
        worlds: of each data set, what `regrets` returns of the same candidates.
        size: how many to choose.

    Returns:
        The numbers of the candidates, in the order of choice.
    """
    all_worlds = np.concatenate(worlds)
    chosen: list[int] = []
    so_far = np.ones((len(all_worlds), 1))
    for _ in range(size):
        with_each = np.minimum(all_worlds, so_far).mean(axis=0)
        with_each[chosen] = np.inf
        chosen.append(int(with_each.argmin()))
        so_far = np.minimum(so_far, all_worlds[:, chosen[-1:]])
    return chosen


def of_other_data_sets(tables: Mapping[str, Sequence[Row]], name: str) -> dict[str, Sequence[Row]]:
    """The tables that are not of the named table's data set.

    Args:
        tables: by their names, each a data set's with or without the number of its images, such as
            ``cifar10_2000``.
        name: of one of them.
    """

    def data_set(table: str) -> str:
        return re.sub(r"(_\d+)+$", "", table)

    return {other: rows for other, rows in tables.items() if data_set(other) != data_set(name)}


def learn(tables: Mapping[str, Sequence[Row]]) -> Configurations:
    """Learn a portfolio from tables."""
    candidates = pool(tables)
    worlds = [regrets(Surrogate(rows), candidates) for rows in tables.values()]
    return [candidates[number] for number in choose(worlds)]


def as_starts(portfolio: Configurations) -> str:
    """Write a portfolio as `start_with` of a study file."""
    lines = [f"  - {{{_yaml_values(values)}}}" for values in portfolio]
    return "\n".join(["start_with:", *lines])


def _yaml_values(values: Mapping[str, Value]) -> str:
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
    return ", ".join(f"{name}: {text}" for name, text in texts.items())


def picked_by_hand() -> Configurations:
    """The starts of the study `default`, picked by hand on digits, MNIST and Fashion-MNIST."""
    _, _, spec = read_shipped("default")
    return [start_values(spec, start) for start in spec.starts]


def judge(rows: Sequence[Row], portfolio: Configurations) -> dict[str, tuple[float, float]]:
    """Say how good a portfolio is on a data set, beside other ways to begin.

    Returns:
        For each way, the mean over the worlds of the data set: the regret of its best
        configuration, and that of its first.
    """
    surrogate = Surrogate(rows)
    recorded = [row.values for row in rows]
    entries = [*recorded, *portfolio, *picked_by_hand()]
    of_world = regrets(surrogate, entries)
    ours = of_world[:, len(recorded) : len(recorded) + len(portfolio)]
    by_hand = of_world[:, len(recorded) + len(portfolio) :]
    generator = np.random.default_rng(0)
    at_random = []
    for _ in range(_RANDOM_SETS):
        drawn = generator.choice(len(recorded), size=len(portfolio), replace=False)
        at_random.append(of_world[:, drawn].min(axis=1).mean())
    return {
        "portfolio": (float(ours.min(axis=1).mean()), float(ours[:, 0].mean())),
        "first 3 of it": (float(ours[:, :3].min(axis=1).mean()), float(ours[:, 0].mean())),
        "3 picked by hand": (float(by_hand.min(axis=1).mean()), float(by_hand[:, 0].mean())),
        "as many at random": (
            float(np.mean(at_random)),
            float(of_world[:, : len(recorded)].mean()),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="+", help="to learn from")
    parser.add_argument(
        "--judge", type=Path, nargs="*", default=[], help="more tables, only to judge it on"
    )
    options = parser.parse_args()
    tables = {path.stem: read_table(path) for path in options.table}
    portfolio = learn(tables)
    print(as_starts(portfolio))
    print("\n| learned without, judged on | begun with | regret of its best | of its first |")
    print("| --- | --- | --- | --- |")
    judged = {
        name: (rows, learn(of_other_data_sets(tables, name))) for name, rows in tables.items()
    }
    for path in options.judge:
        judged[path.stem] = read_table(path), portfolio
    for name, (rows, learned) in judged.items():
        for way, (best, first) in judge(rows, learned).items():
            print(f"| {name} | {way} | {best:.3f} | {first:.3f} |", flush=True)


if __name__ == "__main__":
    main()
