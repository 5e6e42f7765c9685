"""Seconds until 99.0 % of MNIST's test images are classified rightly: ours against PyTorch's own MNIST example.

    PIPELINE_DATA_DIR=data python -m benchmarks.time_to_accuracy --config family=cnn,epochs=2,lr=5e-3 --out results

Ours is `pipeline train` with one given configuration, start-up, stores and record included; the test split is scored
afterwards by `pipeline evaluate`, once. The peer (a) is the network, optimiser and schedule of PyTorch's MNIST example
with MLflow's fluent calls, on all 60,000 training images, which scores the test split after every epoch and stops
at the first that reaches it. Ours trains on 50,000, for 10,000 validate. Each pair has another seed.
"""

import argparse
import json
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import common
from benchmarks.common import Figures, Results

# What `pipeline sweep mnist_fast` starts with, and finds.
CONFIG = (
    "family=cnn,width=16,depth=3,layer_order=conv-pool-norm-act-drop,activation=gelu,dropout=0,batch_size=64,"
    "optimizer=adam,lr=0.01,schedule=onecycle,epochs=2,augment=none"
)
TRAIN = 50_000  # images of MNIST that train, by default
PART, TARGET = "mnist", 5.0
LOADERS = {"no loader workers": 0, "2 loader workers": 2}


def ours(options: argparse.Namespace, seeds: list[int]) -> Figures:
    """Train one configuration with the next seed, then score it on the test split."""
    values = dict(pair.split("=", 1) for pair in options.config.split(","))
    flags = [
        text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", value)
    ]
    data = ["--data-dir", options.data_dir]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        train = ["train", "--dataset", "mnist", "--seed", seeds.pop(0), *flags, *data]
        done = common.process("pipeline", *train, folder=folder)
        run = re.search(r"\b[0-9a-f]{32}\b", done.printed)
        if run is None:
            sys.exit(f"pipeline train named no run:\n{done.printed}")
        score = ["evaluate", "--run", run.group(), "--split", "test", "--format", "json", *data]
        accuracy = json.loads(common.process("pipeline", *score, folder=folder).printed)["acc"]
    epochs = int(values.get("epochs", 10))
    figures = {
        "seconds": done.seconds,
        "epochs": epochs,
        "images": epochs * TRAIN,
        "accuracy": accuracy,
    }
    return {"rate": 3600 / done.seconds if accuracy >= options.target else 0.0, **figures}


def stock(loader_workers: int, options: argparse.Namespace, seeds: list[int]) -> Figures:
    """Train the example's network with the next seed until it is there."""
    common_options = [
        "--data-dir",
        options.data_dir,
        "--target",
        options.target,
        "--seed",
        seeds.pop(0),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [*common_options, "--loader-workers", loader_workers]
        done = common.process("benchmarks.peers.stock_cnn", *command, folder=Path(folder))
    figures = json.loads(done.printed.splitlines()[-1])
    accuracy = figures.pop("accuracies")[-1]
    reached = accuracy >= options.target
    return {
        "rate": 3600 / done.seconds if reached else 0.0,
        "seconds": done.seconds,
        **figures,
        "accuracy": accuracy,
    }


def report(results: Results) -> str:
    """The table."""
    rows = []
    for side in ("ours", "by hand"):
        runs = [
            max(
                (v for name, v in run["figures"].items() if name.split("/")[0] == side),
                key=lambda v: v["rate"],
            )
            for run in results.of(PART)
        ]
        cells = [
            ", ".join(f"{run[key]:{form}}" for run in runs)
            for key, form in (
                ("seconds", ".1f"),
                ("epochs", "d"),
                ("images", ",d"),
                ("accuracy", ".4f"),
            )
        ]
        rows.append([side, *cells])
    ratio = results.ratio(PART, "ours", "by hand")
    head = common.table(["side", "seconds", "epochs", "images", "test accuracy"], rows)
    return f"{head}\n\nTimes as fast as by hand: {ratio} (target {TARGET:g}). Ours: `{results.settings['config']}`."


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--config", default=CONFIG, help="fields of the configuration [what mnist_fast finds]"
    )
    parser.add_argument("--target", type=float, default=0.99, help="test accuracy [0.99]")
    options = common.parse(parser)
    results = Results("time_to_accuracy", options)
    if not options.table:
        first = len(results.of(PART))
        sides = {"ours": partial(ours, options, list(range(first, options.pairs)))}
        for variant, workers in LOADERS.items():
            sides[f"by hand/{variant}"] = partial(
                stock, workers, options, list(range(first, options.pairs))
            )
        results.measure(PART, sides)
    print(report(results))


if __name__ == "__main__":
    main()
