"""Measures what it costs to pause a trial and to go on with it, beside a training in one go.

    PIPELINE_DATA_DIR=data python -m benchmarks.pausing --pairs 5 --out pausing.json

The same trials are trained twice by the code that `pipeline sweep` runs: to their end in one go, and
paused after every epoch. The two take turns. What a sweep takes beside its epochs is its wall time
at all places, less the seconds of all epochs; CPU time is that of this process alone.
The parts are the seconds of each operation in this process; those of the tracker take place on a
thread beside the training.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.overhead import some, timed
from pipeline.jobs import sweep
from pipeline.jobs.progress import ProgressDisplay
from pipeline.system import garbage
from pipeline.system.signals import SignalStopRequest
from pipeline.tracking.tracker import Tracker
from pipeline.training import epochs as training
from pipeline.training.epochs import Training
from pipeline.training.state import CheckpointWriter
from sweeps.search.study import Study
from sweeps.trial import TrialResult

SIDES = ("paused", "in one go")
SPACE = """
epochs: {epochs}
trials: {trials}
budget: {budget}
method: random
pruner: {pruner}
search:
  lr: {{low: 1.0e-4, high: 1.0e-3, log: true}}
fixed: {{family: cnn, optimizer: adam}}
"""
PARTS = {
    "state: copy": (CheckpointWriter, "capture"),
    "state: write": (CheckpointWriter, "_write"),
    "best weights": (Training, "save_best"),
    "set up": (Training, "_set_up"),
    "restore": (training, "restore"),
    "store: pause": (Study, "pause"),
    "store: begin or go on": (Study, "_take"),
    "store: end": (Study, "tell"),
    "tracker: pause": (Tracker, "pause"),
    "tracker: go on": (Tracker, "go_on"),
    "tracker: end": (Tracker, "finish_trial"),
}


class EndedError(Exception):
    """All trials are trained and recorded; a report would follow."""


def measure(side: str, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Search the trials once."""
    pruner = "asha" if side == "paused" else "none"
    trials = options.trials * workers
    text = SPACE.format(
        epochs=options.epochs, trials=trials, pruner=pruner, budget=10 * trials + 30
    )
    spent: dict[str, list[float]] = defaultdict(list)
    began: list[float] = []
    results: list[TrialResult] = []
    studies: list[Study] = []

    def show(study: Study) -> ProgressDisplay:
        studies.append(study)
        began.extend((time.perf_counter(), time.process_time()))
        return ProgressDisplay.for_study(study, Console(quiet=True))

    def then(_: object) -> None:
        results.extend(studies[0].results())
        began.extend((time.perf_counter(), time.process_time()))
        raise EndedError

    previous_folder = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            stack.enter_context(timed(spent, name, owner, attribute))
        os.chdir(folder)
        try:
            Path("pausing.yaml").write_text(text, encoding="utf-8")
            request = sweep.Request(
                study="pausing.yaml",
                overrides={"dataset": options.dataset},
                data_dir=options.data_dir.absolute(),
                workers=workers,
                deterministic=workers == 1,
            )
            plan = sweep.make_plan(request)
            plan = dataclasses.replace(plan, data=some(plan.data, options.images))
            sweep.sweep(
                plan, request, show, then, stop=SignalStopRequest(), loading=garbage.freeze_loaded
            )
        except EndedError:
            pass
        finally:
            os.chdir(previous_folder)
    wall = workers * (began[2] - began[0])
    rows = [row for result in results for row in result.history]
    seconds = [row.metrics["time/epoch_seconds"] for row in rows]
    return {
        "values": [result.value for result in results],
        "epochs": len(rows),
        "pauses": len(spent.get("store: pause", ())),
        "epoch_seconds": statistics.median(seconds),
        "wall": wall,
        "cpu": began[3] - began[1],
        "beside": wall - sum(seconds),
        "parts_ms": {
            name: {"calls": len(calls), "median": 1000 * statistics.median(calls)}
            for name, calls in spent.items()
        },
    }


def compare(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the two sides by the medians of their runs."""

    def median(side: str, key: str) -> float:
        return statistics.median(run[side][key] for run in runs)

    paused, whole = SIDES
    pauses = median(paused, "pauses")
    beside = median(paused, "beside") - median(whole, "beside")
    return {
        "pairs": len(runs),
        "pauses": pauses,
        "epoch_seconds": median(whole, "epoch_seconds"),
        "ms_beside_epochs_a_pause": 1000 * beside / pauses,
        "share_beside_epochs": beside / (median(whole, "wall") - median(whole, "beside")),
        "ms_of_cpu_a_pause": 1000 * (median(paused, "cpu") - median(whole, "cpu")) / pauses,
        "share_of_wall": statistics.median(run[paused]["wall"] / run[whole]["wall"] for run in runs)
        - 1,
        "parts_ms": {name: part["median"] for name, part in runs[0][paused]["parts_ms"].items()},
    }


def main() -> None:
    """Print the comparison, and write all runs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument(
        "--data-dir", type=Path, default=Path(os.environ.get("PIPELINE_DATA_DIR", "data"))
    )
    parser.add_argument("--images", type=int, default=2500, help="to train on in an epoch")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=3, help="of each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    short = argparse.Namespace(**{**vars(options), "epochs": 2, "trials": 1})
    for side in SIDES:
        measure(side, 1, short)  # the first in a process imports modules
    figures = {}
    for workers in options.workers:
        runs = []
        for pair in range(options.pairs):
            sides = SIDES if pair % 2 else SIDES[::-1]
            run = {side: measure(side, workers, options) for side in sides}
            if run[SIDES[0]]["values"] != run[SIDES[1]]["values"] and workers == 1:
                raise AssertionError("pausing changes what a trial comes to")
            runs.append(run)
            print(json.dumps(compare(runs), indent=2), flush=True)
        figures[f"{workers} workers"] = {"runs": runs, "compared": compare(runs)}
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
