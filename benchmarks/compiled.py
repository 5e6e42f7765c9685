"""Measures whether `compile: true` pays: plain and compiled trainings, in interleaved pairs.

    PIPELINE_DATA_DIR=data python -m benchmarks.compiled --images 6000 --pairs 2

Times are CPU seconds of this process and of the compilers that it starts, with one thread: on a
machine with other work they say more than a clock does. The first epoch has the compilation.
"""

import argparse
import itertools
import os
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks.training import FAMILIES
from pipeline.data.search_data import load_for
from pipeline.training.epochs import Hooks
from pipeline.training.process import prepare_process
from pipeline.training.resolve import resolve
from pipeline.training.train import train
from sweeps.trial import Epoch, TrialConfig, configure


def cpu_seconds() -> float:
    """The CPU time of this process and of its children so far."""
    return sum(os.times()[:4])


def epochs(config: TrialConfig) -> list[float]:
    """The CPU seconds of each epoch of a training."""
    prepare_process(config)
    data = load_for(config, Path(os.environ.get("PIPELINE_DATA_DIR", "data")))
    marks = [cpu_seconds()]

    def mark(_row: Epoch, _best: float) -> bool:
        marks.append(cpu_seconds())
        return False

    with tempfile.TemporaryDirectory() as folder:
        result = train(0, config, data, Path(folder), objective="val_acc", hooks=Hooks(epoch=mark))
    if result.state != "complete":
        raise RuntimeError(result.error)
    return [after - before for before, after in itertools.pairwise(marks)]


def main() -> None:
    """Print a line for each pair and family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # as in a trial's first compilation
    for pair in range(options.pairs):
        for family in options.families:
            seconds = {}
            for is_compiled in (False, True):
                torch.compiler.reset()
                values = {
                    "dataset": options.dataset,
                    "family": family,
                    "train_images": options.images,
                    "epochs": options.epochs,
                    "compile": is_compiled,
                }
                seconds[is_compiled] = epochs(resolve(configure(values)))
            plain = statistics.fmean(seconds[False][1:])
            compiled = statistics.fmean(seconds[True][1:])
            wait = seconds[True][0] - compiled
            print(
                f"{pair} {family}: an epoch {plain:.2f} s, compiled {compiled:.2f} s, "
                f"{plain / compiled:.2f} times as fast; compilation {wait:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
