"""How fast trials are trained: the real `train()` beside a bare loop of forward, backward and step on one batch.

    PIPELINE_DATA_DIR=data python -m benchmarks.training --datasets mnist cifar10 --out training.json

The bare loop is the limit: the same network, precision, optimiser and threads, on one normalised batch that is already
in memory, with no order to draw, no figures to keep and nobody to tell. The two take turns; a line gives the medians
and the median ratio of the pairs. Times are of this process's CPU, so that other work on the machine counts little:
images a second of one thread that has its core to itself.
"""

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.throughput import limit
from pipeline.data.search_data import SearchData, Split, load_for
from pipeline.training.epochs import Hooks
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import TrialConfig, configure

FAMILIES = ("mlp", "cnn", "resnet")
WARM_UP = 3  # steps that are not timed: the first of a shape prepare oneDNN's kernels


def truncated(data: SearchData, images: int, validation: int = 500) -> SearchData:
    """The first training and validation images."""
    train_split, val = (
        Split(split.images[:count].contiguous(), split.labels[:count])
        for split, count in ((data.train, images), (data.val, validation))
    )
    return dataclasses.replace(data, train=train_split, val=val)


def ours(config: TrialConfig, data: SearchData) -> float:
    """Images a second of `train()`, from the end of the warm-up to the end of the epoch's last step."""
    marks: dict[int, float] = {}

    def step(done: int, steps: int, _: float) -> None:
        if done in {WARM_UP, steps}:
            marks[done] = time.process_time()

    prepare_process(config)
    with tempfile.TemporaryDirectory() as folder:
        result = train(0, config, data, Path(folder), objective="val_acc", hooks=Hooks(step=step))
    if result.state != "complete":
        raise RuntimeError(result.error)
    began, ended = marks.values()
    return (len(data.train) - WARM_UP * config.batch_size) / (ended - began)


def bare(config: TrialConfig, data: SearchData, seconds: float) -> float:
    """Images a second of nothing but forward, backward and step, for so long."""
    rate: float = limit(config, data, seconds, time.process_time)["rate"]
    return rate


def size(config: TrialConfig, data: SearchData, seconds: float) -> SearchData:
    """As many images as the bare loop trains on in that time, in whole batches."""
    batches = max(12, int(bare(config, data, seconds / 2) * seconds / config.batch_size))
    return truncated(data, min(batches, len(data.train) // config.batch_size) * config.batch_size)


def main() -> None:
    """Print a line for each combination, and write all of it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["mnist"])
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 256])
    parser.add_argument(
        "--precisions", nargs="+", default=["auto"], choices=["auto", "fp32", "bf16"]
    )
    parser.add_argument(
        "--set", nargs="*", default=[], help="more of a trial's fields, as width=64"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    fields = dict(pair.split("=", 1) for pair in options.set)
    results = []
    for dataset, family, batch_size, precision in itertools.product(
        options.datasets, options.families, options.batch_sizes, options.precisions
    ):
        combination = {
            "dataset": dataset,
            "family": family,
            "batch_size": batch_size,
            "precision": precision,
        }
        config = resolve(
            configure({"device": "cpu", "epochs": 1, "augment": "none", **combination, **fields})
        )
        all_data = load_for(config, Path(os.environ.get("PIPELINE_DATA_DIR", "data")))
        data = size(config, all_data, options.seconds)
        pairs = [
            (ours(config, data), bare(config, data, options.seconds)) for _ in range(options.pairs)
        ]
        row = {
            **combination,
            "precision": config.precision,
            "images": len(data.train),
            "images_per_second": statistics.median(a for a, _ in pairs),
            "limit": statistics.median(b for _, b in pairs),
            "of_limit": statistics.median(a / b for a, b in pairs),
            "pairs": pairs,
        }
        results.append(row)
        print(
            f"{dataset:8} {family:7} batch {batch_size:4} {config.precision}  {row['images_per_second']:8.0f} images/s,"
            f" limit {row['limit']:8.0f}, ratio {row['of_limit']:.3f}"
            f" ({min(a / b for a, b in pairs):.3f} to {max(a / b for a, b in pairs):.3f})",
            flush=True,
        )
    if options.out:
        machine = {
            "torch": torch.__version__,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": 1,
        }
        options.out.write_text(json.dumps({"machine": machine, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
