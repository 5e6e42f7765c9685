"""Counts the time that places stand empty in a sweep, in simulated time, on recorded curves.

    python -m benchmarks.places benchmarks/curves/mnist_1000.jsonl benchmarks/curves/few_digits.jsonl

The real loop sweeps a study with promotion in memory. Its trials are recorded ones, in random
orders: an epoch takes its part of the recorded seconds of CPU, and nothing is trained. Everything
else takes no time. Finalists are not trained, nor are trials finished for their choice.

For each table and number of places it compares deterministic decisions with those that know all
results that there are, without and with the use of places that would stand empty. One row is of
what the product does not do: a place that waits for a deterministic decision trains ahead, see
`Ahead`. It prints, with the standard error over the orders:

- ``idle``: the share of the places' time in which they were empty, until the last trial has ended;
- ``waits``: the part of that before the last trial began: a place had to wait for a result;
- ``seconds``: from the first trial's beginning to the last one's end;
- ``share``: the epochs that were trained, of those that training every trial to its end takes;
- ``in vain``: the epochs that were trained ahead and not asked for, of the same;
- ``best lost``: how often the best trial was not trained to its end.

With ``--lists`` each trial is trained to its end, as of a list that is known beforehand: in the
list's order, the longest first as a study expects it, and the longest first by the recorded times,
as finalists have it. ``seconds`` are beside those of places that would never be empty.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks.fronts import IMAGES
from pipeline.data.search_data import SearchData, Split
from pipeline.jobs.estimate import expected_time
from sweeps.search import loop
from sweeps.search.promotion import LEADERS, Contender, by_rank
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, PAUSED, Epoch, TrialConfig, TrialResult, configure

STUDY = """
trials: {trials}
epochs: {epochs}
method: random
pruner: asha
search: {{lr: {{low: 1.0e-4, high: 1.0e-1, log: true}}}}
"""
# The rate tells the place in the list.
LIST = """
epochs: {epochs}
method: grid
pruner: none
search: {{lr: [{rates}]}}
"""
IN_ORDER = "as listed"
EXPECTED = "longest first, as expected"
MEASURED = "longest first, as measured"
DETERMINISTIC = "deterministic"
TRAINED_AHEAD = "deterministic, trained ahead"
AS_THEY_END = "as they end"
FILLED = "as they end, places filled"
FIGURES = ("idle", "waits", "seconds", "share", "in vain", "best lost")
RANKS_OF_AN_EPOCH = 2  # an epoch ahead counts as so many ranks, when the next to train is chosen
LIST_FIGURES = ("idle", "seconds", "seconds of full places")
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

    @property
    def in_vain(self) -> int:
        """The epochs that were trained and not asked for."""
        return 0

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


class Ahead(Simulated):
    """Places in which paused trials are trained ahead while a decision waits.

    No decision knows of these epochs before it would have let their trial go on. Then they are
    there at once, so that the record is the same. The paused trial of the lowest rank by all
    results that there are is trained next, an epoch at a time. A trial that is to begin takes the
    place once that epoch has ended.
    """

    def __init__(self, study: Study, rows: Sequence[Row], places: int) -> None:
        super().__init__(study, rows, places)
        self._ahead: Counter[int] = Counter()  # epochs that were not asked for yet, by trial
        self._ends: dict[int, float] = {}  # when the epochs in training ahead end, by trial
        self._all_ahead = 0
        self._asked = 0
        self._contenders: dict[int, Contender] = {}  # by trial, with all results that there are

    @property
    def in_vain(self) -> int:
        """The epochs that were trained and not asked for."""
        return self._all_ahead - self._asked

    def begin(self, trial: AskedTrial) -> None:
        """Begin a trial, or take what was trained ahead of it."""
        row = self._rows[trial.number]
        known = 0 if trial.progress is None else len(trial.progress.history)
        epochs = (trial.until or len(row["curve"])) - known
        self.epochs += epochs
        self._note(trial, known)
        free = self.now
        if trial.number in self._ends:  # it trains the next epoch already
            free = self._end_epoch(trial.number)
        taken = min(epochs, self._ahead[trial.number])
        self._ahead[trial.number] -= taken
        self._asked += taken
        left = epochs - taken
        if left and len(self._training) + len(self._ends) >= self.places:
            free = self._end_epoch(min(self._ends, key=self._ends.__getitem__))
        end = free + left * epoch_seconds(row)
        heapq.heappush(self._training, (end, trial.number, trial))
        self.spans.append((free, end))

    def _end_epoch(self, number: int) -> float:
        """Count an epoch in training ahead as trained; when it ends."""
        end = self._ends.pop(number)
        self.spans.append((end - epoch_seconds(self._rows[number]), end))
        self._ahead[number] += 1
        self._all_ahead += 1
        return end

    def wait(self) -> tuple[AskedTrial, TrialResult]:
        """End the trial that ends first; until then, empty places train ahead."""
        while True:
            free = self.places - len(self._training) - len(self._ends)
            if self._study.is_waiting:
                for number in self._paused()[: max(0, free)]:
                    self._ends[number] = self.now + epoch_seconds(self._rows[number])
            first = min(self._ends, key=self._ends.__getitem__, default=None)
            if first is None or self._ends[first] >= self._training[0][0]:
                trial, result = super().wait()
                self._note(trial, len(result.history))
                return trial, result
            self.now = self._end_epoch(first)

    def _note(self, trial: AskedTrial, known: int) -> None:
        """Note how far a trial has come, and until where it trains."""
        curve = self._rows[trial.number]["curve"]
        self._contenders[trial.number] = Contender(
            number=trial.number,
            epochs=len(curve),
            until=trial.until or len(curve),
            values=list(accumulate(curve[:known], max)),
        )

    def _paused(self) -> list[int]:
        """The paused trials with an epoch left, the one to train next first."""
        contenders = [self._contenders[number] for number in sorted(self._contenders)]
        epochs = len(self._rows[0]["curve"])
        rated = []
        for rank, one in enumerate(by_rank(contenders, epochs=epochs, leaders=LEADERS)):
            left = one.epochs - one.until - self._ahead[one.number]
            if one.number not in self._ends and left > 0:
                rated.append((rank + RANKS_OF_AN_EPOCH * self._ahead[one.number], one.number))
        return [number for _, number in sorted(rated)]


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
        "deterministic": mode in (DETERMINISTIC, TRAINED_AHEAD),
    }
    study = Study.open(optuna.storages.InMemoryStorage(), "places", spec, facts)
    kind = Ahead if mode == TRAINED_AHEAD else Simulated
    simulated = kind(study, rows, places)
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
        "share": (simulated.epochs + simulated.in_vain) / (len(rows) * epochs),
        "in vain": simulated.in_vain / (len(rows) * epochs),
        "best lost": float(best not in complete),
    }


def train_list(rows: Sequence[Row], places: int, times: Sequence[float] | None) -> dict[str, float]:
    """Train a list of recorded trials to their ends, and count.

    Args:
        rows: the trials.
        places: how many are trained at a time.
        times: by which the longest is the first; None to train them as they are listed.
    """
    rates = [(place + 1) / 10000 for place in range(len(rows))]
    text = LIST.format(epochs=len(rows[0]["curve"]), rates=", ".join(map(str, rates)))
    facts = {"runtime": {"threads": 1, "precision": "fp32"}, "workers": places}
    study = Study.open(
        optuna.storages.InMemoryStorage(), "list", parse_study(text, "places"), facts
    )
    if times is not None:
        of_rate = dict(zip(rates, times, strict=True))
        study.expected_time = lambda config: of_rate[config.lr]
    simulated = Simulated(study, rows, places)
    loop.run(study, simulated)
    seconds = [row["cpu"] for row in rows]
    return {
        "idle": simulated.empty(simulated.now) / (places * simulated.now),
        "seconds": simulated.now,
        "seconds of full places": max(sum(seconds) / places, *seconds),
    }


def expected_times(table: str, rows: Sequence[Row]) -> list[float]:
    """How long a study expects recorded trials to train, only to compare them.

    Args:
        table: its name, which begins with that of the data set.
        rows: of the table.
    """
    shape, classes = next(of for name, of in IMAGES.items() if table.startswith(name))
    image = Split(torch.zeros((1, *shape), dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
    time = expected_time(
        SearchData(
            name=table,
            classes=tuple(map(str, range(classes))),
            train=image,
            val=image,
            mean=(0.5,) * shape[0],
            std=(0.5,) * shape[0],
            digest="",
        )
    )
    return [time(_config(row)) for row in rows]


def _config(row: Row) -> TrialConfig:
    return configure({**row["values"], "epochs": len(row["curve"])})


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+", help="files of benchmarks.record_curves")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--places", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--lists", action="store_true", help="train each trial to its end")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    figures = LIST_FIGURES if options.lists else FIGURES
    print(f"| table | places | order | {' | '.join(figures)} |")
    print(f"|{' --- |' * (3 + len(figures))}")
    for path in options.tables:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [row for row in rows if row["end"] == "complete"]
        draws = [
            random.Random(order).sample(rows, options.trials)  # noqa: S311
            for order in range(options.orders)
        ]
        for places in options.places:
            if options.lists:
                _print_lists(path.stem, draws, places)
                continue
            for mode in (DETERMINISTIC, TRAINED_AHEAD, AS_THEY_END, FILLED):
                _print_row(path.stem, places, mode, [sweep(drawn, places, mode) for drawn in draws])


def _print_lists(table: str, draws: Sequence[Sequence[Row]], places: int) -> None:
    """Print a row for each order of lists."""
    expected = [expected_times(table, rows) for rows in draws]
    measured = [[float(row["cpu"]) for row in rows] for rows in draws]
    orders: dict[str, Sequence[Sequence[float] | None]] = {
        IN_ORDER: [None] * len(draws),
        EXPECTED: expected,
        MEASURED: measured,
    }
    for name, times in orders.items():
        found = [train_list(rows, places, of) for rows, of in zip(draws, times, strict=True)]
        _print_row(table, places, name, found)


def _print_row(table: str, places: int, mode: str, found: Sequence[Mapping[str, float]]) -> None:
    """Print the mean of each figure, and its standard error."""
    cells = []
    for key in found[0]:
        values = [one[key] for one in found]
        error = statistics.stdev(values) / math.sqrt(len(values))
        cells.append(f"{statistics.fmean(values):.3f} ± {error:.3f}")
    print(f"| {table} | {places} | {mode} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
