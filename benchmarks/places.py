"""Counts the time that places stand empty in a sweep, in simulated time, on recorded curves.

    python -m benchmarks.places benchmarks/curves/mnist_1000.jsonl benchmarks/curves/few_digits.jsonl

The real loop sweeps a study with promotion in memory. Its trials are recorded ones, in random
orders: an epoch takes its part of the recorded seconds of CPU, and nothing is trained. Everything
else takes no time. Finalists are not trained, nor are trials finished for their choice.

For each table and number of places it compares deterministic decisions with those that know all
results that there are, without and with the use of places that would stand empty. It prints, with
the standard error over the orders:

- ``idle``: the share of the places' time in which they were empty, until the last trial has ended;
- ``waits``: the part of that before the last trial began: a place had to wait for a result;
- ``seconds``: from the first trial's beginning to the last one's end;
- ``share``: the epochs that were trained, of those that training every trial to its end takes;
- ``best lost``: how often the best trial was not trained to its end.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from sweeps.search import loop
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, PAUSED, Epoch, TrialResult

STUDY = """
trials: {trials}
epochs: {epochs}
method: random
pruner: asha
search: {{lr: {{low: 1.0e-4, high: 1.0e-1, log: true}}}}
"""
DETERMINISTIC = "deterministic"
AS_THEY_END = "as they end"
FILLED = "as they end, places filled"
Row = Mapping[str, Any]  # of a table of `benchmarks.record_curves`


class Simulated:
    """Places in which recorded trials are trained, in simulated time."""

    def __init__(self, study: Study, rows: Sequence[Row], places: int) -> None:
        self.places = places
        self.now = 0.0
        self.spans: list[tuple[float, float]] = []  # the begin and end of each part of a training
        self.epochs = 0
        self._study = study
        self._rows = rows  # by trial
        self._training: list[tuple[float, int, AskedTrial]] = []

    def begin(self, trial: AskedTrial) -> None:
        """Begin a trial."""
        row = self._rows[trial.number]
        known = 0 if trial.progress is None else len(trial.progress.history)
        epochs = (trial.until or len(row["curve"])) - known
        end = self.now + epochs * epoch_seconds(row)
        heapq.heappush(self._training, (end, trial.number, trial))
        self.spans.append((self.now, end))
        self.epochs += epochs

    def wait(self) -> tuple[AskedTrial, TrialResult]:
        """End the trial that ends first."""
        self.now, _, trial = heapq.heappop(self._training)
        row = self._rows[trial.number]
        curve = row["curve"][: trial.until]
        known = 0 if trial.progress is None else len(trial.progress.history)
        for epoch in range(known + 1, len(curve) + 1):
            self._study.report(trial, epoch, max(curve[:epoch]))
        history = [
            Epoch(epoch=epoch, time=0, metrics={"val/acc": value}, per_class=())
            for epoch, value in enumerate(curve, start=1)
        ]
        state = COMPLETE if trial.until is None else PAUSED
        result = TrialResult(
            number=trial.number,
            config=trial.config,
            state=state,
            end=state,
            value=max(curve),
            best_epoch=curve.index(max(curve)) + 1,
            history=tuple(history),
            seconds=len(curve) * epoch_seconds(row),
        )
        return trial, result

    def empty(self, until: float) -> float:
        """The seconds in which places were empty until a time."""
        busy = sum(min(end, until) - begin for begin, end in self.spans)
        return self.places * until - busy


def epoch_seconds(row: Row) -> float:
    """The CPU seconds of an epoch of a recorded trial."""
    return float(row["cpu"] / len(row["curve"]))


def sweep(rows: Sequence[Row], places: int, mode: str) -> dict[str, float]:
    """Sweep recorded trials, and count."""
    epochs = len(rows[0]["curve"])
    spec = parse_study(STUDY.format(trials=len(rows), epochs=epochs), "places")
    facts = {
        "runtime": {"threads": 1, "precision": "fp32"},
        "workers": places,
        "deterministic": mode == DETERMINISTIC,
    }
    study = Study.open(optuna.storages.InMemoryStorage(), "places", spec, facts)
    simulated = Simulated(study, rows, places)
    study.fills_places = mode == FILLED
    study.clock = lambda: simulated.now
    loop.run(study, simulated)
    best = max(max(row["curve"]) for row in rows)
    complete = [result.value for result in study.results() if result.state == COMPLETE]
    last_begin = max(begin for begin, _ in simulated.spans)
    all_time = places * simulated.now
    return {
        "idle": simulated.empty(simulated.now) / all_time,
        "waits": simulated.empty(last_begin) / all_time,
        "seconds": simulated.now,
        "share": simulated.epochs / (len(rows) * epochs),
        "best lost": float(best not in complete),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+", help="files of benchmarks.record_curves")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--places", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| table | places | decisions | idle | waits | seconds | share | best lost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in options.tables:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [row for row in rows if row["end"] == "complete"]
        for places in options.places:
            for mode in (DETERMINISTIC, AS_THEY_END, FILLED):
                found = []
                for order in range(options.orders):
                    drawn = random.Random(order).sample(rows, options.trials)  # noqa: S311
                    found.append(sweep(drawn, places, mode))
                cells = []
                for key in found[0]:
                    values = [one[key] for one in found]
                    error = statistics.stdev(values) / math.sqrt(len(values))
                    cells.append(f"{statistics.fmean(values):.3f} ± {error:.3f}")
                print(f"| {path.stem} | {places} | {mode} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
