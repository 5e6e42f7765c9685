"""Measures how many trials a second a store of studies can keep up with.

    PIPELINE_STORAGE=postgresql+psycopg://me@host/db python -m benchmarks.stores --trials 100

Trials train nothing and run through the real loop. Each round makes a study in a new SQLite file,
and one in the database of PIPELINE_STORAGE, which is meant to be thrown away.
"""

import argparse
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, event

from pipeline.stores import access, locations, locks
from sweeps.search import loop
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, Epoch, TrialResult

STUDY = "trials: {trials}\npruner: none\nmethod: {method}\nsearch: {{lr: {{low: 1.0e-4, high: 0.1, log: true}}}}\n"
EPOCHS = 10
METRICS = {f"metric/{n}": n / 7 for n in range(14)}
HISTORY = tuple(
    Epoch(epoch=n, time=n, metrics=METRICS, per_class=(0.5,) * 10) for n in range(1, EPOCHS + 1)
)


@contextmanager
def counted() -> Iterator[list[None]]:
    """Collect an entry for each SQL statement that is sent."""
    seen: list[None] = []

    def count(*_: object) -> None:
        seen.append(None)

    event.listen(Engine, "after_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "after_cursor_execute", count)


def measure(stores: locations.Stores, trials: int, method: str) -> tuple[float, float]:
    """Return trials a second, and SQL statements a trial."""
    spec = parse_study(STUDY.format(trials=trials, method=method), "null")
    access.prepare(stores)
    with locks.lock(stores, name := uuid.uuid4().hex) as study_lock:
        study = Study.open(
            access.open_studies(stores, study_lock),
            name,
            spec,
            {"dimensions": [], "classes": ["0"] * 10},
        )

        def train(asked: AskedTrial) -> TrialResult:
            for row in HISTORY:
                study.report(asked, row.epoch, 0.5)
            return TrialResult(
                number=asked.number,
                config=asked.config,
                state=COMPLETE,
                end="complete",
                value=0.5,
                best_epoch=EPOCHS,
                history=HISTORY,
            )

        began = time.perf_counter()
        with counted() as statements:
            loop.run(study, loop.SequentialRunner(train))
        return trials / (time.perf_counter() - began), len(statements) / trials


def main() -> None:
    """Print a line for each store: the median of the rounds, which take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=["tpe", "random"], default="random")
    options = parser.parse_args()
    figures: dict[str, list[tuple[float, float]]] = {"sqlite": [], "postgresql": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            home = Path(folder) / str(number)
            tracking = locations.sqlite_url(home / "mlflow.db")
            urls = [locations.sqlite_url(home / "optuna.db"), os.environ.get("PIPELINE_STORAGE")]
            for kind, url in zip(figures, urls, strict=True):
                if url:
                    stores = locations.Stores(tracking, url, home)
                    figures[kind].append(measure(stores, options.trials, options.method))
    for kind, rounds in figures.items():
        if rounds:
            rates, statements = zip(*rounds, strict=True)
            spread = f"{min(rates):.1f} to {max(rates):.1f}"
            print(
                f"{kind:10} {statistics.median(rates):6.1f} trials/s ({spread}), {statements[0]:.0f} statements a trial"
            )


if __name__ == "__main__":
    main()
