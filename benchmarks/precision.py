"""Compares bf16 with float32, between which `--precision auto` chooses: accuracy and CPU seconds.

    PIPELINE_DATA_DIR=data python -m benchmarks.precision --images 12000 --epochs 2 --out out.json

For each family and seed, both train on the same images, from the same weights, in the same order,
and take turns. A line gives the mean and the standard deviation of the validation accuracy over the
seeds, the mean of the seeds' differences with its standard error, and how many times as long bf16
takes: the median of the seeds, the smallest and the largest.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.training import FAMILIES, truncated
from pipeline.data.search_data import SearchData, load_for
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import TrialConfig, configure

PRECISIONS = ("fp32", "bf16")


def accuracy_and_seconds(config: TrialConfig, data: SearchData) -> tuple[float, float]:
    """The last epoch's validation accuracy, since choosing the best would favour noise; CPU seconds."""
    prepare_process(config)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(0, config, data, Path(folder), objective="val_acc")
    if result.state != "complete":
        raise RuntimeError(result.error)
    return result.history[-1].metrics["val/acc"], time.process_time() - began


def main() -> None:
    """Print a line for each family, and write all of it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--validation", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for family in options.families:
        accuracies: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for seed in range(options.seeds):
            for precision in PRECISIONS:
                values = {
                    "dataset": options.dataset,
                    "family": family,
                    "batch_size": options.batch_size,
                    "seed": seed,
                    "epochs": options.epochs,
                    "precision": precision,
                }
                config = resolve(configure({**values, "device": "cpu"}))
                data = load_for(config, Path(os.environ.get("PIPELINE_DATA_DIR", "data")))
                part = truncated(data, options.images, options.validation)
                accuracy, used = accuracy_and_seconds(config, part)
                accuracies[precision].append(accuracy)
                seconds[precision].append(used)
        differences = [b - a for a, b in zip(*accuracies.values(), strict=True)]
        ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
        difference = statistics.mean(differences)
        error = statistics.stdev(differences) / len(differences) ** 0.5
        rows.append(
            {"family": family, **accuracies, "difference": difference, "cpu_seconds": seconds}
        )
        text = ", ".join(
            f"{precision} {statistics.mean(scores):.4f} +- {statistics.stdev(scores):.4f}"
            for precision, scores in accuracies.items()
        )
        print(
            f"{family:7} {text}, difference {difference:+.4f} +- {error:.4f}, bf16 takes "
            f"{statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
