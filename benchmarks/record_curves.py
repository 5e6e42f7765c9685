"""Records learning curves of random configurations, on which rules of promotion are compared.

    python -m benchmarks.record_curves --dataset mnist --draws mnist --out benchmarks/curves/mnist_1000.jsonl
    python -m benchmarks.record_curves --dataset few_digits --epochs 24 --val-images 1150 --out ...

Each configuration is drawn from the default study's search space (without its starts, and with the
smaller widths, so that a table takes minutes) and trained on the first training images. A row holds
its values, its metrics after every epoch, and the test accuracy of the best epoch's weights on the
first 3,000 test images (of image files, which come class by class: of a fixed random order). Tables
of the same draws have the same configurations. The same command continues a table that is not
finished.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.search import first_images
from pipeline.checkpoints import load_model
from pipeline.data.datasets import get_source
from pipeline.data.search_data import SearchData, Split, load_for
from pipeline.data.sources import Files
from pipeline.data.test_split import load_test_for
from pipeline.jobs.preflight import resolve_runtime
from pipeline.jobs.studies import read_study
from pipeline.training.metrics import score
from pipeline.training.prepare import Prepare
from pipeline.training.process import prepare_process
from pipeline.training.train import train
from sweeps.spec.configurations import choose_values, configuration
from sweeps.spec.dimension import Dimension, round_significant
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import TrialConfig, Value

TEST_IMAGES = 3000
WIDTHS = {"mlp": (128, 256), "cnn": (16, 32), "resnet": (8,)}


def draw_values(spec: StudySpec, rng: random.Random) -> dict[str, Value]:
    """Draw a configuration at random, again and again until its width is a small one."""

    def choose(dimension: Dimension) -> Value:
        if dimension.choices:
            return rng.choice(dimension.choices)
        low = float(dimension.low or 0)
        high = float(dimension.high or 0)
        if dimension.integer:
            return rng.randint(int(low), int(high))
        if dimension.log:
            return round_significant(math.exp(rng.uniform(math.log(low), math.log(high))))
        return round_significant(rng.uniform(low, high))

    while True:
        values = choose_values(spec, choose)
        if values.get("width") in WIDTHS[str(values["family"])]:
            return values


def shuffled(split: Split) -> Split:
    """The same images in a random order, always the same: those of a folder come class by class."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return Split(split.images[order], split.labels[order])


def record(number: int, config: TrialConfig, data: SearchData, test: Split) -> dict[str, Any]:
    """Train a configuration to its end; its metrics by epoch, and its test accuracy."""
    prepare_process(config)
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        wall = time.perf_counter()
        result = train(number, config, data, Path(folder), objective="val_acc")
        cpu = time.process_time() - cpu
        wall = time.perf_counter() - wall
        test_accuracy = None
        if result.value is not None:
            network, card = load_model(Path(folder))
            prepare = Prepare(card.mean, card.std, torch.device("cpu"), config.precision)
            scores = score(network, test, len(data.classes), batch_size=500, prepare=prepare)
            test_accuracy = scores.accuracy

    def by_epoch(metric: str) -> list[float]:
        return [float(f"{row.metrics[metric]:.4g}") for row in result.history]

    return {
        "seed": config.seed,
        "precision": config.precision,
        "end": result.end,
        "curve": by_epoch("val/acc"),
        "vloss": by_epoch("val/loss"),
        "tloss": by_epoch("train/loss"),
        "tacc": by_epoch("train/acc"),
        "best": None if result.value is None else round(result.value, 4),
        "best_epoch": result.best_epoch,
        "test": None if test_accuracy is None else round(test_accuracy, 4),
        "cpu": round(cpu, 2),
        "wall": round(wall, 2),
        "params": result.parameters,
    }


def load_table_data(options: argparse.Namespace, base: TrialConfig) -> tuple[SearchData, Split]:
    """Read the images that a table is recorded on: the search's splits, and test images."""
    data = load_for(base, options.data_dir)
    test = load_test_for(base, options.data_dir)
    if isinstance(get_source(options.dataset), Files):
        data = replace(data, train=shuffled(data.train), val=shuffled(data.val))
        test = shuffled(test)
    data = replace(
        data,
        train=first_images(data.train, options.images),
        val=first_images(data.val, options.val_images),
    )
    return data, first_images(test, TEST_IMAGES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--image-size", type=int, help="of image files")
    parser.add_argument("--images", type=int, default=1000, help="to train on")
    parser.add_argument("--val-images", type=int, default=1000, help="to validate on, at most")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--count", type=int, default=180)
    parser.add_argument(
        "--draws", default="", help="seeds the configurations: other words, other ones"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    fixed = {} if options.image_size is None else {"image_size": str(options.image_size)}
    overrides = {"dataset": options.dataset, "epochs": options.epochs, "set": fixed}
    spec = read_study("default", overrides)[2]
    data, test = load_table_data(options, configuration(spec, {}))
    resolved = resolve_runtime(spec)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    recorded = len(options.out.read_text("utf-8").splitlines()) if options.out.exists() else 0
    for number in range(recorded, options.count):
        rng = random.Random(f"{options.draws}:{number}")  # noqa: S311 - no secret is drawn
        values = draw_values(spec, rng)
        row = record(number, configuration(spec, {**resolved, **values}), data, test)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"tag": "random", "values": values, **row}) + "\n")


if __name__ == "__main__":
    main()
