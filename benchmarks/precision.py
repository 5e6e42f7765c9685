"""Compares the accuracy in the precision that `--precision auto` chooses with float32.

    PIPELINE_DATA_DIR=data python -m benchmarks.precision --images 12000 --epochs 2 --out out.json

For each family and seed, both train on the same images, from the same weights, in the same order.
A line gives the mean and the standard deviation of the validation accuracy over the seeds, and the
mean of the seeds' differences with its standard error.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.training import FAMILIES, truncated
from pipeline.data.search_data import SearchData, load_for
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import TrialConfig, configure


def accuracy(config: TrialConfig, data: SearchData) -> float:
    """The last epoch's validation accuracy; choosing the best epoch would favour noise."""
    prepare_process(config)
    with tempfile.TemporaryDirectory() as folder:
        result = train(0, config, data, Path(folder), objective="val_acc")
    if result.state != "complete":
        raise RuntimeError(result.error)
    return result.history[-1].metrics["val/acc"]


def main() -> None:
    """Print a line for each family, and write all of it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--validation", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for family in options.families:
        accuracies: dict[str, list[float]] = {"fp32": [], "auto": []}
        for seed in range(options.seeds):
            for precision, scores in accuracies.items():
                values = {
                    "dataset": options.dataset,
                    "family": family,
                    "seed": seed,
                    "epochs": options.epochs,
                }
                config = resolve(configure({**values, "device": "cpu", "precision": precision}))
                data = load_for(config, Path(os.environ.get("PIPELINE_DATA_DIR", "data")))
                scores.append(accuracy(config, truncated(data, options.images, options.validation)))
        differences = [chosen - full for full, chosen in zip(*accuracies.values(), strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        rows.append(
            {
                "family": family,
                "chosen": config.precision,
                **accuracies,
                "difference": statistics.mean(differences),
            }
        )
        text = ", ".join(
            f"{name} {statistics.mean(scores):.4f} +- {statistics.stdev(scores):.4f}"
            for name, scores in accuracies.items()
        )
        print(
            f"{family:7} {text} ({config.precision}), difference {statistics.mean(differences):+.4f} +- {error:.4f}",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
