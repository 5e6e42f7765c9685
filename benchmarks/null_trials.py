"""Measures the cost of a trial besides its training: asking, reporting, recording and telling.

    python -m benchmarks.null_trials --pairs 5 --out results

Each side runs 300 trials of 10 epochs with 14 metrics each, through Optuna's and MLflow's own
clients. The SQLite stores are made before the clock starts; it stops when everything is committed.
Then the contents of the stores are counted. The sides are:

- by hand (a): the fluent calls, with metrics only; and with params and a checkpoint as artifact;
- ours: a sweep's study, loop, recorder and tracker around an engine that trains nothing; with
  metrics only, and with the whole record (params, tags, input, best figures, four tables and the
  checkpoint of each trial).

Every side is a process of its own.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import common
from benchmarks.common import Figures, Results
from pipeline.checkpoints import Card, Folder, save_model
from pipeline.engines.base import Task
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.trial_runner import TrialRunner
from pipeline.stores import access, locations, locks
from pipeline.system.signals import stop_requests
from pipeline.tracking.tracker import Tracker
from pipeline.training.epochs import Hooks
from sweeps.search import loop
from sweeps.search.study import Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, Epoch, TrialConfig, TrialResult

CLASSES = tuple("0123456789")
STUDY = """
trials: {trials}
epochs: {epochs}
pruner: none
search:
  lr: {{low: 1.0e-4, high: 0.1, log: true}}
  dropout: {{low: 0.0, high: 0.5}}
  batch_size: [32, 64, 128]
"""
METRICS = 14
TARGETS = {"metrics only": 2.0, "whole": 1.5}
NAMES = {"metrics only": "ours, metrics only", "whole": "ours, the whole record"}


class Null:
    """An engine that trains nothing: epochs come at once, with a small network's checkpoint."""

    places = 1

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._begun: deque[tuple[Task, Hooks]] = deque()
        self._weights = {"weight": torch.zeros(12_500)}

    def begin(self, task: Task, hooks: Hooks) -> None:
        self._begun.append((task, hooks))

    def wait(self) -> tuple[int, TrialResult]:
        task, hooks = self._begun.popleft()
        history: list[Epoch] = []
        for number in range(1, self._epochs + 1):
            figures = dict.fromkeys(
                ("train/loss", "val/loss", "val/acc", "time/images_per_second"), number / 20
            )
            row = Epoch(
                epoch=number,
                time=int(time.time() * 1000),
                metrics=figures,
                per_class=(number / 20,) * 10,
            )
            history.append(row)
            hooks.epoch(row, number / 20)
        card = Card(
            config=task.config,
            classes=CLASSES,
            shape=(1, 8, 8),
            mean=(0.0,),
            std=(1.0,),
            epoch=self._epochs,
            metrics=figures,
            digest="null",
        )
        folder = Folder(task.folder)
        save_model(folder.best, self._weights, card)
        return task.number, TrialResult(
            number=task.number,
            config=task.config,
            state=COMPLETE,
            end=COMPLETE,
            value=self._epochs / 20,
            best_epoch=self._epochs,
            history=tuple(history),
            confusion=((1,) * 10,) * 10,
            seconds=1.0,
            checkpoint=str(folder.best),
        )

    def close(self) -> None:
        self._begun.clear()


class MetricsOnly(Tracker):
    """A sweep's tracker that records only the metrics of a trial."""

    def open_trial(
        self,
        parent: str | None,
        study: str | None,
        number: int,
        config: TrialConfig,
        *_: object,
        **__: object,
    ) -> tuple[str, str]:
        tags = {"mlflow.parentRunId": parent}
        run = self._client.create_run(
            self.experiment_id, tags=tags, run_name=f"{number:04d} {config.family} {study}"
        )
        return run.info.run_id, run.info.artifact_uri

    def finish_trial(self, run_id: str, result: TrialResult, *_: object) -> None:
        self.log_epochs(run_id, result.history)
        self._client.set_terminated(run_id)


def sweep(kind: type[Tracker], trials: int, epochs: int) -> dict[str, float]:
    """Sweep in the working folder.

    Returns:
        Wall and CPU seconds from the first trial until everything is durable.
    """
    stores = locations.locate()
    access.prepare(stores)
    spec = parse_study(STUDY.format(trials=trials, epochs=epochs), "null")
    facts: Mapping[str, Any] = {
        "study": "null",
        "classes": CLASSES,
        "digest": "null",
        "runtime": {},
    }
    with locks.lock(stores, "null") as study_lock, stop_requests() as stop:
        tracker = kind(stores.tracking)
        study = Study.open(access.open_studies(stores, study_lock), "null", spec, facts)
        display = ProgressDisplay.for_study(study)
        recorder = Recorder(study, tracker, stores.home, display.print_line, stores.studies_label)
        tracker.drain()

        def record_end(result: TrialResult) -> None:
            recorder.record_result(result)
            display.trial_ended(result, None)

        began, used = time.perf_counter(), time.process_time()
        with TrialRunner(study, Null(epochs), recorder, display, stop, None) as engine:
            ending = loop.run(study, engine, on_result=record_end)
        recorder.finish_trials()
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
        tracker.close()
    if ending.reason != "done":
        sys.exit(f"the sweep ended: {ending.reason}")
    return spent


def count(folder: Path, trials: int, epochs: int) -> None:
    """Check that both stores have everything.

    Raises:
        SystemExit: if something is missing.
    """
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        (complete,) = database.execute(
            "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        ).fetchone()
        (reported,) = database.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()
    metrics = (
        "SELECT count(*) AS points FROM runs JOIN metrics USING (run_uuid) "
        "WHERE status = 'FINISHED' GROUP BY run_uuid"
    )
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        (runs,) = database.execute(
            f"SELECT count(*) FROM ({metrics}) WHERE points >= {epochs * METRICS}"  # noqa: S608
        ).fetchone()
    if (complete, reported, runs) != (trials, trials * epochs, trials):
        sys.exit(
            f"{folder}: {complete} trials told, {reported} epochs reported and {runs} runs whole, not {trials}"
        )


def side(module: str, arguments: list[str], options: argparse.Namespace) -> Figures:
    """Run one side as a process in an empty folder; return its trials a second."""
    sizes = ["--trials", options.trials, "--epochs", options.epochs]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = common.process(module, *arguments, *sizes, folder=Path(folder))
        count(Path(folder), options.trials, options.epochs)
    seconds_a_trial = {
        name: value / options.trials
        for name, value in json.loads(done.printed.splitlines()[-1]).items()
    }
    return {"rate": 1 / seconds_a_trial["seconds"], **seconds_a_trial}


def report(results: Results) -> str:
    """The table."""
    rows = []
    for part in results.parts():
        for name, target in TARGETS.items():
            for peer in ("by hand, metrics only", "by hand, params and checkpoint"):
                asked = f"{target:g}" if peer == "by hand, metrics only" else ""
                cells = [results.median(part, NAMES[name]), results.median(part, peer)]
                rows.append(
                    [NAMES[name], peer, *cells, results.ratio(part, NAMES[name], peer), asked]
                )
    return common.table(["trials/s of", "against", "ours", "peer", "ratio", "target"], rows)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--side",
        choices=list(NAMES),
        help="run this side of ours in the working folder, and no other",
    )
    options = common.parse(parser)
    if options.side:
        kind = MetricsOnly if options.side == "metrics only" else Tracker
        print(json.dumps(sweep(kind, options.trials, options.epochs)))
        return
    results = Results("null_trials", options)
    if not options.table:
        by_hand = "benchmarks.peers.null_trials"
        sides = {
            "by hand, metrics only": partial(side, by_hand, [], options),
            NAMES["metrics only"]: partial(
                side, "benchmarks.null_trials", ["--side", "metrics only"], options
            ),
            NAMES["whole"]: partial(side, "benchmarks.null_trials", ["--side", "whole"], options),
            "by hand, params and checkpoint": partial(side, by_hand, ["--whole"], options),
        }
        results.measure(f"{options.trials} trials of {options.epochs} epochs", sides)
    print(report(results))


if __name__ == "__main__":
    main()
