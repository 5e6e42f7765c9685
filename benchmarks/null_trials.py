"""Trials that train nothing: what a trial costs to be asked for, reported, recorded and told, durable in both stores.

    python -m benchmarks.null_trials --pairs 5 --out results

300 trials of 10 epochs, each of 14 metrics, in SQLite stores that are made before the clock runs, through Optuna's and
MLflow's own clients; the clock ends when all of it is committed, and then it is counted:

- by hand (a): the fluent calls, metrics only; and with params and a checkpoint as artifact;
- ours: the study, loop, recorder and tracker of a sweep around an engine that trains nothing, metrics only; and as it
  is, with each trial's params, tags, input, best figures, four tables and checkpoint.

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
    """An engine that trains nothing: a trial's epochs come at once, and its checkpoint is a small network's."""

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
    """The tracker of a sweep, of which a trial's run gets nothing but its metrics."""

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
        found = self._client.create_run(
            self.experiment_id, tags=tags, run_name=f"{number:04d} {config.family} {study}"
        )
        return found.info.run_id, found.info.artifact_uri

    def finish_trial(self, run_id: str, result: TrialResult, *_: object) -> None:
        self.log_epochs(run_id, result.history)
        self._client.set_terminated(run_id)


def sweep(kind: type[Tracker], trials: int, epochs: int) -> dict[str, float]:
    """Sweep in the working folder; the seconds, also of CPU, from the first trial until all is durable."""
    where = locations.locate()
    access.prepare(where)
    spec = parse_study(STUDY.format(trials=trials, epochs=epochs), "null")
    facts: Mapping[str, Any] = {
        "study": "null",
        "classes": CLASSES,
        "digest": "null",
        "runtime": {},
    }
    with locks.lock(where, "null") as held, stop_requests() as stop:
        tracker = kind(where.tracking)
        study = Study.open(access.open_studies(where, held), "null", spec, facts)
        show = ProgressDisplay.for_study(study)
        recorder = Recorder(study, tracker, where.home, show.print_line)
        tracker.drain()

        def told(result: TrialResult) -> None:
            recorder.record_result(result)
            show.trial_ended(result, None)

        began, used = time.perf_counter(), time.process_time()
        with TrialRunner(study, Null(epochs), recorder, show, stop, None) as engine:
            ending = loop.run(study, engine, on_result=told)
        recorder.finish_trials()
        taken = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
        tracker.close()
    if ending.reason != "done":
        sys.exit(f"the sweep ended: {ending.reason}")
    return taken


def count(folder: Path, trials: int, epochs: int) -> None:
    """See that both stores have everything.

    Raises:
        SystemExit: where something is missing.
    """
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        (told,) = database.execute(
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
    if (told, reported, runs) != (trials, trials * epochs, trials):
        sys.exit(
            f"{folder}: {told} trials told, {reported} epochs reported and {runs} runs whole, not {trials}"
        )


def side(module: str, arguments: list[str], options: argparse.Namespace) -> Figures:
    """Run one side as a process in an empty folder: trials a second."""
    sizes = ["--trials", options.trials, "--epochs", options.epochs]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = common.process(module, *arguments, *sizes, folder=Path(folder))
        count(Path(folder), options.trials, options.epochs)
    found = {
        name: value / options.trials
        for name, value in json.loads(done.printed.splitlines()[-1]).items()
    }
    return {"rate": 1 / found["seconds"], **found}


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
