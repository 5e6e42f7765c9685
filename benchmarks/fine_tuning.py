"""Measures what it is worth to begin with weights that were trained on other images.

    python -m benchmarks.fine_tuning --data-dir data --out rows.jsonl
    python -m benchmarks.fine_tuning --table rows.jsonl

A ResNet is trained on classes of CIFAR-10 (``cifar10-images.tar``, a folder of JPEG files). Its
weights then begin trainings on few images of 20 classes of Tiny-ImageNet (``tiny-imagenet-20.tar``),
at 32x32 pixels, in several ways, beside trainings from random weights: as many epochs, and the same
schedule. Seed 0 chooses the learning rate of each way, of `RATES`; the other seeds are counted. The
validation accuracy is that of the last epoch, which no image has chosen. The test split is not read.
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
SEEDS = (1, 2, 3, 4)


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
    for way, lr in itertools.product(WAYS, RATES):
        _record_one(options, source, {"way": way, "lr": lr, "seed": 0})
    rates = _chosen_rates(_rows(options.out))
    for seed, way in itertools.product(options.seeds, WAYS):
        _record_one(options, source, {"way": way, "lr": rates[way], "seed": seed})


def _record_one(options: argparse.Namespace, source: Path, job: dict[str, Any]) -> None:
    """Train a way with a learning rate and a seed, unless the file has it."""
    if any(job.items() <= row.items() for row in _rows(options.out)):
        return
    values = {**NETWORK, **TARGET, "dataset": "tiny_imagenet", "lr": job["lr"], "seed": job["seed"]}
    way = WAYS[job["way"]]
    if way:
        values |= {"pretrained": str(source), **way}
    with tempfile.TemporaryDirectory() as folder:
        accuracy = _train(configure(values), options.work, Path(folder))
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**job, "val_acc": accuracy}) + "\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _chosen_rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The learning rate of each way that was the better one with seed 0."""
    chosen = {}
    for way in WAYS:
        own = [row for row in rows if row["way"] == way and row["seed"] == 0]
        chosen[way] = max(own, key=lambda row: row["val_acc"])["lr"]
    return chosen


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
    """Print the mean accuracy of each way with its standard error, and its gain."""
    rows = _rows(path)
    rates = _chosen_rates(rows)
    found = {
        way: {row["seed"]: row["val_acc"] for row in rows if row["way"] == way and row["seed"]}
        for way in WAYS
    }
    seeds = sorted(set.intersection(*(set(values) for values in found.values())))
    print(f"seeds {seeds}")
    print("| | lr | validation accuracy | gain by seed |\n|---|---|---|---|")
    random = next(iter(WAYS))
    for way, values in found.items():
        gains = [values[seed] - found[random][seed] for seed in seeds]
        gain = "" if way == random else _mean_text(gains)
        accuracy = _mean_text([values[seed] for seed in seeds])
        print(f"| {way} | {rates[way]:g} | {accuracy} | {gain} |")


def _mean_text(values: list[float]) -> str:
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.1f} % ± {100 * error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("fine_tuning"))
    parser.add_argument("--out", type=Path, default=Path("fine_tuning.jsonl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table is None:
        record(options)
    print_table(options.table or options.out)


if __name__ == "__main__":
    main()
