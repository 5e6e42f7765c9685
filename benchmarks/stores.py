"""How many trials a second a store of studies keeps up with: trials that train nothing, through the real loop.

    PIPELINE_STORAGE=postgresql+psycopg://me@host/db python -m benchmarks.stores --trials 100

Each round makes a study in a new file and one in that database, which is meant to be thrown away.
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
    """Count the statements that are sent."""
    seen: list[None] = []

    def count(*_: object) -> None:
        seen.append(None)

    event.listen(Engine, "after_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "after_cursor_execute", count)


def measure(where: locations.Stores, trials: int, method: str) -> tuple[float, float]:
    """Trials a second, and statements a trial."""
    spec = parse_study(STUDY.format(trials=trials, method=method), "null")
    access.prepare(where)
    with locks.lock(where, name := uuid.uuid4().hex) as held:
        study = Study.open(
            access.open_studies(where, held), name, spec, {"dimensions": [], "classes": ["0"] * 10}
        )

        def train(job: AskedTrial) -> TrialResult:
            for row in HISTORY:
                study.report(job, row.epoch, 0.5)
            return TrialResult(
                number=job.number,
                config=job.config,
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
    found: dict[str, list[tuple[float, float]]] = {"sqlite": [], "postgresql": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            home = Path(folder) / str(number)
            tracking = locations.sqlite_url(home / "mlflow.db")
            urls = [locations.sqlite_url(home / "optuna.db"), os.environ.get("PIPELINE_STORAGE")]
            for kind, url in zip(found, urls, strict=True):
                if url:
                    where = locations.Stores(tracking, url, home)
                    found[kind].append(measure(where, options.trials, options.method))
    for kind, rounds in found.items():
        if rounds:
            rates, statements = zip(*rounds, strict=True)
            spread = f"{min(rates):.1f} to {max(rates):.1f}"
            print(
                f"{kind:10} {statistics.median(rates):6.1f} trials/s ({spread}), {statements[0]:.0f} statements a trial"
            )


if __name__ == "__main__":
    main()
