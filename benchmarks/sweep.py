"""A whole tracked sweep of 12 listed configurations: trials an hour of ours and of the peers, start-up included.

    PIPELINE_DATA_DIR=data python -m benchmarks.sweep --pairs 5 --out results
    PIPELINE_DATA_DIR=data python -m benchmarks.sweep --dataset cifar10 --pairs 5 --out results-cifar10

Every side is a process in an empty folder: it makes both SQLite stores, trains 4 MLPs, 4 CNNs and 4 ResNets on the same
images of MNIST or CIFAR-10, scores the same validation images after every epoch, and leaves params, the metrics of
every epoch and the best checkpoint in MLflow, and the study in Optuna. What it left is counted afterwards.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import yaml

from benchmarks import common
from benchmarks.common import Done, Figures, Results

FIELDS = ("family", "width", "depth", "lr", "dropout", "batch_size")
TRIALS = [
    dict(zip(FIELDS, values, strict=True))
    for values in (
        ("mlp", 256, 2, 1e-3, 0.2, 64),
        ("mlp", 512, 2, 5e-4, 0.3, 64),
        ("mlp", 128, 3, 2e-3, 0.1, 128),
        ("mlp", 256, 1, 1e-3, 0.0, 32),
        ("cnn", 32, 2, 1e-3, 0.1, 64),
        ("cnn", 16, 2, 3e-3, 0.0, 128),
        ("cnn", 32, 2, 2e-3, 0.2, 256),
        ("cnn", 16, 3, 1e-3, 0.1, 64),
        ("resnet", 16, 3, 1e-3, 0.0, 64),
        ("resnet", 8, 3, 3e-3, 0.1, 128),
        ("resnet", 16, 2, 2e-3, 0.0, 256),
        ("resnet", 16, 3, 5e-3, 0.0, 128),
    )
]
# Each peer's module, its package where that is not the project's own, and the settings of which the best counts.
PEERS: dict[str, tuple[str, str | None, dict[str, list[str]]]] = {
    "by hand": (
        "by_hand",
        None,
        {
            "no loader workers": ["--loader-workers", "0"],
            "2 loader workers": ["--loader-workers", "2"],
        },
    ),
    "in memory": (
        "in_memory",
        None,
        {"2 threads": ["--threads", "2"], "1 thread": ["--threads", "1"]},
    ),
    "Ray Tune": (
        "ray_tune",
        "ray",
        {"2 at a time": ["--threads", "1"], "1 of 2 threads": ["--threads", "2"]},
    ),
    "Lightning": (
        "lightning_optuna",
        "lightning",
        {
            "no loader workers": ["--loader-workers", "0"],
            "2 loader workers": ["--loader-workers", "2"],
        },
    ),
}
TARGETS = {"by hand": 4.0, "in memory": 3.0, "Ray Tune": 4.0, "Lightning": 4.0}
STUDY = "sweep"


def study_file(dataset: str, epochs: int) -> str:
    """The configurations as a study of ours: the first values of every field, then the second, ..."""
    search = {name: [trial[name] for trial in TRIALS] for name in FIELDS}
    content = {
        "dataset": dataset,
        "method": "zip",
        "epochs": epochs,
        "pruner": "none",
        "search": search,
    }
    return yaml.safe_dump(content, sort_keys=False)


def left(folder: Path, epochs: int) -> Figures:
    """What a sweep left in both stores; fails where that is not a whole record of all trials.

    Raises:
        SystemExit: where something is missing.
    """
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        trials = (
            "SELECT count(*), avg(value), max(value) FROM trials JOIN trial_values USING (trial_id)"
        )
        complete, mean, best = database.execute(f"{trials} WHERE state = 'COMPLETE'").fetchone()
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        runs = database.execute(
            "SELECT run_uuid, artifact_uri FROM runs WHERE status = 'FINISHED'"
        ).fetchall()
        steps = dict(
            database.execute(
                "SELECT run_uuid, count(DISTINCT step) FROM metrics WHERE key LIKE '%val%acc' GROUP BY run_uuid"
            )
        )
        params = {
            run
            for (run,) in database.execute("SELECT DISTINCT run_uuid FROM params WHERE key = 'lr'")
        }
    complete_runs = [
        run
        for run, place in runs
        if steps.get(run, 0) >= epochs
        and run in params
        and any(Path(place.removeprefix("file://")).rglob("*"))
    ]
    if (complete, len(complete_runs)) != (len(TRIALS), len(TRIALS)):
        sys.exit(
            f"{folder}: {complete} trials complete and {len(complete_runs)} runs whole, not {len(TRIALS)}"
        )
    return {"mean_val_acc": round(mean, 4), "best_val_acc": round(best, 4)}


def timed(run: Callable[[Path], Done], epochs: int) -> Figures:
    """Run a sweep in an empty folder: trials an hour, seconds, and the accuracies that it found."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = run(Path(folder))
        accuracies = left(Path(folder), epochs)
    rate = len(TRIALS) / done.seconds * 3600
    return {"rate": rate, "seconds": done.seconds, "cpu_seconds": done.cpu_seconds, **accuracies}


def ours(workers: int, dataset: str, file: Path, options: argparse.Namespace, folder: Path) -> Done:
    study = study_file(dataset, options.epochs)
    (folder / "sweep.yaml").write_text(study, encoding="utf-8")
    command = ["sweep", "sweep.yaml", "--name", STUDY, "--workers", workers, "--split-file", file]
    return common.process("pipeline", *command, "--data-dir", options.data_dir, folder=folder)


def peer(module: str, arguments: list[str], plan: Path, folder: Path) -> Done:
    return common.process(f"benchmarks.peers.{module}", plan, *arguments, folder=folder)


def report(results: Results) -> str:
    """The table."""
    rows = []
    for part in results.parts():
        for name, target in TARGETS.items():
            if results.rates(part, name):
                cells = [
                    results.median(part, "ours, 1 worker"),
                    results.median(part, "ours, 2 workers"),
                ]
                peers = [results.median(part, name), results.variants(part, name)]
                ratios = [
                    results.ratio(part, f"ours, {workers}", name)
                    for workers in ("1 worker", "2 workers")
                ]
                rows.append([f"{part}: {name}", *peers, *cells, *ratios, f"{target:g}"])
    head = ["against", "peer", "its best setting", "ours, 1 worker", "ours, 2 workers"]
    return common.table([*head, "ratio, 1 worker", "ratio, 2 workers", "target"], rows)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--dataset", default="mnist", choices=["mnist", "cifar10"], help="what is learned [mnist]"
    )
    parser.add_argument(
        "--images", type=int, default=5000, help="to train on; a fifth as many validate [5000]"
    )
    parser.add_argument("--epochs", type=int, default=2, help="of each trial [2]")
    parser.add_argument(
        "--peers", nargs="*", default=list(PEERS), choices=list(PEERS), help="against whom"
    )
    options = common.parse(parser)
    results = Results("sweep", options)
    if not options.table:
        work = options.out / "work"
        work.mkdir(parents=True, exist_ok=True)
        file, plan = work / "sweep.csv", work / "sweep.json"
        images = common.find_images(options.dataset, options.data_dir, work)
        if images is None:
            sys.exit(f"neither cifar10/ nor cifar10-images.tar is in {options.data_dir}")
        train, val = common.split(file, options.images, options.images // 5, images.rows)
        content = {
            "dataset": images.folder,
            "data_dir": str(options.data_dir),
            "train": train,
            "val": val,
        }
        plan.write_text(
            json.dumps({**content, "epochs": options.epochs, "trials": TRIALS}), encoding="utf-8"
        )
        sides = {
            f"ours, {name}": partial(
                timed, partial(ours, workers, images.name, file, options), options.epochs
            )
            for workers, name in ((1, "1 worker"), (2, "2 workers"))
        }
        for name in options.peers:
            module, package, variants = PEERS[name]
            if package and not common.has(package):
                print(
                    f"{name} is left out: {package} is not installed (benchmarks/peers/requirements.txt)"
                )
                continue
            for variant, arguments in variants.items():
                run = partial(peer, module, arguments, plan)
                sides[f"{name}/{variant}"] = partial(timed, run, options.epochs)
        part = f"{options.dataset}, {options.images:,} images, {options.epochs} epochs"
        results.measure(part, sides)
    print(report(results))


if __name__ == "__main__":
    main()
