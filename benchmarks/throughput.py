"""Training throughput of a sweep's trials: images a second of ours against a training loop written by hand.

    PIPELINE_DATA_DIR=data python -m benchmarks.throughput --pairs 5 --out results

For each family, batch and data set the same network is trained on the same images of MNIST and CIFAR-10, with the same
validation after every epoch, by three sides that take turns:

- ours with one worker, and with two (which train a trial each: their rates are added), through the engines of a sweep;
  and with one worker of two threads, which has as much of the machine as the sweep by hand;
- by hand (a): torchvision's transforms, a DataLoader with 0 or 2 workers (the faster), two threads of torch;
- the limit (e): forward, backward and step on one batch in memory, with the arithmetic of ours and one thread.

Counted are training images, over the time of the epochs after the first, with validation; nobody keeps a record here.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import models
from benchmarks import common
from benchmarks.common import Figures, Results
from benchmarks.peers import bare, setting
from pipeline.data.search_data import SearchData, load_for
from pipeline.engines import local
from pipeline.engines.base import Task
from pipeline.training.epochs import Hooks
from pipeline.training.optimizer import make_optimizer
from pipeline.training.prepare import Prepare, image_memory_format
from pipeline.training.resolve import resolve
from sweeps.trial import COMPLETE, TrialConfig, configure

# Of each family: its usual size, and so many images that an epoch by hand takes about two seconds.
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"width": 256, "depth": 2, "dropout": 0.2, "images": 8000},
    "cnn": {"width": 32, "depth": 2, "dropout": 0.1, "images": 2500},
    "resnet": {"width": 16, "depth": 3, "dropout": 0.0, "images": 1000},
}
BATCHES = (64, 256)
SECONDS = 2.0  # of the limit
TARGETS = {"mlp": 3.7, "cnn": 2.2, "resnet": 2.2}  # one worker at batch 64
TWO = 2.6  # two workers


def rate(marks: list[float], images: int) -> Figures:
    """Images a second from the end of the first epoch to the end of the last; the marks are in seconds."""
    return {"rate": images * (len(marks) - 1) / (marks[-1] - marks[0])}


def ours(config: TrialConfig, data: SearchData, places: int) -> Figures:
    """A trial in each place, through the engine that a sweep would have."""
    with tempfile.TemporaryDirectory() as folder:
        engine = local.make_engine(data, places)
        try:
            for number in range(places):
                seeded = dataclasses.replace(config, seed=number)
                task = Task(
                    number=number,
                    config=seeded,
                    folder=Path(folder) / str(number),
                    objective="val_acc",
                )
                engine.begin(task, Hooks())
            results = [engine.wait()[1] for _ in range(places)]
        finally:
            engine.close()
    rates = []
    for result in results:
        if result is None or result.state != COMPLETE:
            sys.exit(f"a trial failed: {result and result.error}")
        rates.append(rate([row.time / 1000 for row in result.history], len(data.train))["rate"])
    return {"rate": sum(rates)}


def by_hand(
    values: dict[str, Any], plan: setting.Plan, dataset: torch.utils.data.Dataset, workers: int
) -> Figures:
    torch.set_num_threads(2)
    train, val = setting.loaders(dataset, plan, values["batch_size"], workers)
    epochs = setting.fit(setting.build(values, plan), 1e-3, plan.epochs, train, val)
    return rate([time.perf_counter() for _ in epochs], len(plan.train))


def limit(
    config: TrialConfig,
    data: SearchData,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Figures:
    torch.set_num_threads(config.cpu_threads)
    network = models.build(config.family, data.shape, len(data.classes), config.options)
    memory_format = image_memory_format(network, config.family, data.shape)
    network = network.to(memory_format=memory_format)
    prepare = Prepare(data.mean, data.std, torch.device("cpu"), config.precision, memory_format)
    images, labels = (
        prepare(data.train.images[: config.batch_size]),
        data.train.labels[: config.batch_size],
    )
    optimizer = make_optimizer(network, config, len(data.classes))
    return {
        "rate": bare.images_per_second(
            network, optimizer, images, labels, prepare.autocast, seconds, clock
        )
    }


def cell(
    results: Results,
    options: argparse.Namespace,
    dataset: str,
    images: common.Images,
    family: str,
) -> None:
    """Measure one family on one data set, with every batch."""
    options_of_family = {**FAMILIES[family], "family": family}
    count = max(int(options_of_family.pop("images") * options.scale), 2 * max(BATCHES))
    file = options.out / "work" / f"{count}.csv"
    train, val = common.split(file, count, count // 5, images.rows)
    plan = setting.Plan(images.folder, str(options.data_dir), train, val, options.epochs, [])
    fixed = {
        "dataset": images.name,
        "split_file": str(file),
        "epochs": options.epochs,
        "device": "cpu",
    }
    dataset_by_hand = None
    for batch in BATCHES:
        part = f"{dataset} {family} {batch}"
        if len(results.of(part)) >= results.pairs:
            continue
        values = {**options_of_family, "batch_size": batch}
        config = resolve(configure({**fixed, **values}))
        data = load_for(config, options.data_dir)
        dataset_by_hand = dataset_by_hand or setting.dataset(plan)
        sides = {
            "ours, 1 worker": partial(ours, config, data, 1),
            "by hand/no loader workers": partial(by_hand, values, plan, dataset_by_hand, 0),
            "by hand/2 loader workers": partial(by_hand, values, plan, dataset_by_hand, 2),
            "ours, 2 workers": partial(ours, config, data, 2),
            "ours, 2 threads": partial(ours, dataclasses.replace(config, threads=2), data, 1),
            "limit": partial(limit, config, data),
        }
        results.measure(part, sides)


def report(results: Results) -> str:
    """The table."""
    one_worker, two_workers, two_threads, rows = (
        "ours, 1 worker",
        "ours, 2 workers",
        "ours, 2 threads",
        [],
    )
    for part in results.parts():
        _, family, batch = part.split()
        targets = f"{TARGETS[family]:g}, {TWO:g}" if batch == "64" else ""
        rates = [
            results.median(part, side)
            for side in ("by hand", one_worker, two_threads, two_workers, "limit")
        ]
        ratios = [
            results.ratio(part, side, "by hand") for side in (one_worker, two_threads, two_workers)
        ]
        rows.append([part, *rates, *ratios, targets, results.ratio(part, one_worker, "limit")])
    head = [
        "images/s of",
        "by hand",
        one_worker,
        f"{one_worker}, 2 threads",
        two_workers,
        "limit, 1 thread",
    ]
    head += [
        "1 worker / by hand",
        "2 threads / by hand",
        "2 workers / by hand",
        "targets",
        "1 worker / limit",
    ]
    return common.table(head, rows)


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--datasets", nargs="*", default=["mnist", "cifar10"], choices=["mnist", "cifar10"]
    )
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument(
        "--epochs", type=int, default=3, help="of which the first is not counted [3]"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of the numbers of images [1]"
    )
    options = common.parse(parser)
    results = Results("throughput", options)
    if not options.table:
        (options.out / "work").mkdir(parents=True, exist_ok=True)
        for dataset in options.datasets:
            images = common.find_images(dataset, options.data_dir, options.out / "work")
            if images is None:
                print(
                    f"cifar10 is left out: neither cifar10/ nor cifar10-images.tar is in {options.data_dir}"
                )
                continue
            for family in options.families:
                cell(results, options, dataset, images, family)
    print(report(results))


if __name__ == "__main__":
    main()
