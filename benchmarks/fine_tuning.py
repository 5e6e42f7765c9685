"""Measures what it is worth to begin with weights that were trained on other images.

    python -m benchmarks.fine_tuning --data-dir data --out rows.jsonl
    python -m benchmarks.fine_tuning --table rows.jsonl

A ResNet is trained on classes of CIFAR-10 (``cifar10-images.tar``, a folder of JPEG files). Its
weights then begin trainings on few images of 20 classes of Tiny-ImageNet (``tiny-imagenet-20.tar``),
at 32x32 pixels, in several ways, beside trainings from random weights: as many epochs, the same
schedule, and two learning rates each. The validation accuracy is that of the last epoch, which no
image has chosen. The test split is not read.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from pipeline.data.search_data import load_for
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import DATA_VERSION, TrialConfig, configure

NETWORK = {
    "family": "resnet",
    "width": 16,
    "depth": 4,
    "augment": "crop-flip",
    "schedule": "cosine",
}
SOURCE = {"epochs": 6, "lr": 3e-3, "batch_size": 64}
SOURCE_IMAGES = 1500  # of each class
TARGET = {"epochs": 8, "batch_size": 32, "image_size": 32, "train_images": 400}
WAYS: dict[str, dict[str, Any]] = {
    "from random weights": {},
    "all trained": {"freeze": "none"},
    "all trained, backbone_lr 0.1": {"freeze": "none", "backbone_lr": 0.1},
    "freeze 2": {"freeze": 2},
    "freeze backbone": {"freeze": "backbone"},
}
RATES = (1e-3, 5e-3)
SEEDS = 5


def record(options: argparse.Namespace) -> None:
    """Train what is not in the file yet."""
    options.work.mkdir(parents=True, exist_ok=True)
    source = options.work / "source"
    _unpack(options.data_dir / "cifar10-images.tar", options.work, SOURCE_IMAGES)
    _unpack(options.data_dir / "tiny-imagenet-20.tar", options.work)
    if not (source / "best.safetensors").exists():
        images = f"folder:{options.work / 'cifar10'}"
        config = configure({**NETWORK, **SOURCE, "dataset": images, "data_version": DATA_VERSION})
        print(f"the source: {_train(config, options.work, source):.4f} on CIFAR-10", flush=True)
    done = options.out.read_text("utf-8").splitlines() if options.out.exists() else []
    jobs = list(itertools.product(range(SEEDS), WAYS, RATES))
    for seed, way, lr in jobs[len(done) :]:
        values = {**NETWORK, **TARGET, "dataset": "tiny_imagenet", "lr": lr, "seed": seed}
        if WAYS[way]:
            values |= {"pretrained": str(source), **WAYS[way]}
        with tempfile.TemporaryDirectory() as folder:
            accuracy = _train(configure(values), options.work, Path(folder))
        with options.out.open("a", encoding="utf-8") as file:
            row = {"way": way, "lr": lr, "seed": seed, "val_acc": accuracy}
            file.write(json.dumps(row) + "\n")


def _unpack(archive: Path, folder: Path, images: int | None = None) -> None:
    """Unpack an archive, of CIFAR-10 the first training images of each class."""
    mark = folder / f"{archive.name}.unpacked"
    if mark.exists():
        return
    counts: dict[str, int] = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            parent = str(Path(member.name).parent)
            counts[parent] = counts.get(parent, 0) + 1
            is_wanted = images is None or ("/train/" in member.name and counts[parent] <= images)
            if is_wanted:
                opened.extract(member, folder, filter="data")
    mark.touch()


def _train(config: TrialConfig, data_dir: Path, folder: Path) -> float:
    """Train a configuration, and return the validation accuracy of its last epoch."""
    config = resolve(config)
    prepare_process(config)
    data = load_for(config, data_dir)
    result = train(0, config, data, folder, objective="val_acc")
    if result.state != "complete":
        raise RuntimeError(f"{result.end}: {result.error}")
    return result.history[-1].metrics["val/acc"]


def print_table(path: Path) -> None:
    """Print the mean accuracy of each way and learning rate, with its standard error."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    print("| | " + " | ".join(f"lr {lr:g}" for lr in RATES) + " | n |")
    print("|---|" + "---|" * (len(RATES) + 1))
    for way in WAYS:
        cells = []
        for lr in RATES:
            found = [row["val_acc"] for row in rows if (row["way"], row["lr"]) == (way, lr)]
            error = statistics.stdev(found) / math.sqrt(len(found))
            cells.append(f"{100 * statistics.fmean(found):.1f} % ± {100 * error:.1f}")
        print(f"| {way} | {' | '.join(cells)} | {len(found)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("fine_tuning"))
    parser.add_argument("--out", type=Path, default=Path("fine_tuning.jsonl"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table is None:
        record(options)
    print_table(options.table or options.out)


if __name__ == "__main__":
    main()
