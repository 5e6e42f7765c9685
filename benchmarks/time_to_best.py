"""How long until a sweep has found what an unpruned sweep by hand ends with, less one standard error.

    PIPELINE_DATA_DIR=data python -m benchmarks.time_to_best --images 1000 --epochs 6 --out results

For each seed, (a) searches the default study's space by hand: Optuna's TPE, no pruning, two threads (`--threads`),
no loader workers. Its best validation accuracy, less one standard error of an accuracy on so many images, is the
target. Then `pipeline sweep` searches the same space on the same images, and is stopped when a figure in MLflow
reaches the target. It begins with a portfolio that was learned without MNIST, and may train as many epochs as (a): once
it is told the most trials that are expected to train no more than that, once so many whole trainings as a budget.
All start with nothing, so start-up is included. (a)'s time is that of its whole sweep. Seconds of CPU are counted, too,
since other work on the machine changes them less: those of `pipeline sweep` include what it does after it was stopped.
"""

import argparse
import json
import math
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import yaml

from benchmarks import common
from benchmarks.common import Figures, Results
from benchmarks.portfolio import learn
from benchmarks.search import error
from benchmarks.searches import trials_within
from benchmarks.surrogate import read_table
from pipeline.jobs.studies import DEFAULT_STUDY, read_shipped

TARGET = 8.0
# All but MNIST.
LEARNED_FROM = (
    "fashion_mnist_1000",
    "cifar10_1000",
    "few_digits",
    "cifar10_2000",
    "tiny_imagenet_2000",
)
LOOK_EVERY = 0.2  # seconds
ROWS = 60_000  # of MNIST's official training part
BEST = "SELECT max(value) FROM metrics WHERE key = ?"


def study_file(folder: Path) -> Path:
    """Write the default study without baselines and finalists, with a portfolio that has not seen MNIST."""
    _, text, _ = read_shipped(DEFAULT_STUDY)
    study = yaml.safe_load(text)
    del study["baselines"], study["finalists"], study["trials"]
    curves = Path(__file__).with_name("curves")
    tables = {name: read_table(curves / f"{name}.jsonl") for name in LEARNED_FROM}
    study["start_with"] = [dict(values) for values in learn(tables)]
    file = folder / "time_to_best.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return file


def best(folder: Path, key: str) -> float:
    """The highest of a figure that is recorded by now."""
    file = folder / "mlflow.db"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            (value,) = database.execute(BEST, [key]).fetchone()
    except sqlite3.OperationalError:  # it is not there yet
        value = None
    return 0.0 if value is None else float(value)


def by_hand(plan: dict[str, object], seed: int, threads: int) -> tuple[common.Done, float]:
    """What a sweep by hand took, and the best accuracy that it found."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "plan.json").write_text(json.dumps({**plan, "seed": seed}), encoding="utf-8")
        arguments = ["plan.json", "--threads", threads]
        done = common.process("benchmarks.peers.by_hand", *arguments, folder=folder)
        return done, best(folder, "best_val_acc")


def ours(study: Path, file: Path, extent: Sequence[object], target: float) -> Figures:
    """Seconds until a sweep has shown the target, infinite where it never did, and its best accuracy by then.

    Args:
        study: its file.
        file: of the split.
        extent: the command's arguments that say how much is searched.
        target: validation accuracy.
    """
    arguments = ["sweep", study, "--dataset", "mnist", "--split-file", file, *extent]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        began = time.perf_counter()
        used = common.cpu_seconds()
        with common.begin("pipeline", *arguments, folder=folder) as sweep:
            while (running := sweep.poll() is None) and best(folder, "val/acc") < target:
                time.sleep(LOOK_EVERY)
            seconds = time.perf_counter() - began
            best_shown = best(folder, "val/acc")
            if running:
                sweep.send_signal(signal.SIGINT)
            _, errors = sweep.communicate()
            if not running and sweep.returncode:
                sys.exit(f"pipeline sweep failed ({sweep.returncode}):\n{errors[-4000:]}")
    return {
        "seconds": seconds if best_shown >= target else math.inf,
        "cpu_seconds": common.cpu_seconds() - used,
        "shown": best_shown,
    }


def pair(
    plan: dict[str, object],
    study: Path,
    file: Path,
    options: argparse.Namespace,
    seeds: list[int],
) -> Figures:
    """All with the next seed; the rate is how many times as long as ours, told trials, the sweep by hand takes."""
    seed = seeds.pop(0)
    done, by_hand_best = by_hand(plan, seed, options.threads)
    target = by_hand_best - error(by_hand_best, options.images)
    told = {
        "trials": ["--trials", trials_within(options.trials, options.epochs)],
        "budget": ["--budget", options.trials],
    }
    same = ["--data-dir", options.data_dir, "--epochs", options.epochs, "--seed", seed]
    found = {way: ours(study, file, [*same, *extent], target) for way, extent in told.items()}
    return {
        "rate": done.seconds / found["trials"]["seconds"],
        "seed": seed,
        "by_hand_seconds": done.seconds,
        "by_hand_cpu_seconds": done.cpu_seconds,
        "by_hand_best": by_hand_best,
        "target": target,
        **found,
    }


def report(results: Results) -> str:
    """The table."""
    rows = []
    times: dict[str, list[float]] = {"trials": [], "budget": []}
    for part in results.parts():
        for run in results.of(part):
            figures = run["figures"]["ratio"]
            by_hand_seconds = figures["by_hand_seconds"]
            row = [
                str(figures["seed"]),
                f"{by_hand_seconds:.1f}",
                f"{figures['by_hand_cpu_seconds']:.1f}",
                f"{figures['by_hand_best']:.4f}",
                f"{figures['target']:.4f}",
            ]
            for way, ratios in times.items():
                seconds, cpu_seconds = figures[way]["seconds"], figures[way]["cpu_seconds"]
                ratios.append(by_hand_seconds / seconds)
                row += [f"{seconds:.1f}", f"{cpu_seconds:.1f}", f"{ratios[-1]:.1f}"]
            rows.append(row)
    head = ["seed", "by hand, s", "CPU s", "its best", "less one s.e."]
    head += ["ours until then, told trials, s", "CPU s", "times"]
    head += ["told a budget, s", "CPU s", "times"]
    medians = [f"told {way} {statistics.median(ratios):.1f}" for way, ratios in times.items()]
    return f"{common.table(head, rows)}\n\nMedian times: {', '.join(medians)} (target {TARGET:g})."


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--images", type=int, default=1000, help="to train on; as many validate [1000]"
    )
    parser.add_argument("--epochs", type=int, default=6, help="of a trial at most [6]")
    parser.add_argument("--trials", type=int, default=24, help="of the sweep by hand [24]")
    parser.add_argument("--threads", type=int, default=2, help="of the sweep by hand [2]")
    options = common.parse(parser)
    results = Results("time_to_best", options)
    if not options.table:
        work = options.out / "work"
        work.mkdir(parents=True, exist_ok=True)
        file = work / "time_to_best.csv"
        train, val = common.split(file, options.images, options.images, ROWS)
        study = study_file(work)
        plan = {"dataset": "mnist", "data_dir": str(options.data_dir), "train": train, "val": val}
        plan |= {"epochs": options.epochs, "searched": options.trials}
        seeds = list(range(len(results.of("mnist")), options.pairs))
        results.measure("mnist", {"ratio": partial(pair, plan, study, file, options, seeds)})
    print(report(results))


if __name__ == "__main__":
    main()
