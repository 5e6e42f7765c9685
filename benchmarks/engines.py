"""How many trials a second each engine gets done, by how many it has at a time: trials that wait instead of computing.

    python -m benchmarks.engines --engines local ray --places 1 2 4 8 16

A trial is ten epochs that wait a second each, so an engine that costs nothing would do one in ten seconds at each
place. The rest is choosing, messages, both stores and checkpoints; how much of that the command itself computes is
said. It is counted from the first end of a trial after all places were in use at once. Studies are in SQLite, or where
PIPELINE_STORAGE says: a database that is meant to be thrown away.
"""

import argparse
import dataclasses
import io
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from pipeline.data.search_data import Split
from pipeline.jobs import sweep
from pipeline.jobs.progress import ProgressDisplay
from pipeline.system import garbage
from pipeline.system.signals import SignalStopRequest
from sweeps.trial import Epoch, TrialResult

EPOCHS, PACE = 10, 1.0  # seconds of an epoch
MANY = 100_000  # trials: more than are counted
IMAGES = 64
STUDY = f"""
dataset: digits
method: random
pruner: none
epochs: {EPOCHS}
search: {{lr: {{low: 1.0e-4, high: 0.1, log: true}}}}
fixed: {{family: "benchmarks.engines:Idle", batch_size: {IMAGES}}}
"""


class Idle(nn.Module):
    """A network whose one step of training in an epoch waits."""

    def __init__(self, shape: tuple[int, int, int], classes: int, **_: object) -> None:
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            time.sleep(PACE)
        return self.layer(images.flatten(1))


class EnoughError(Exception):
    """All that is to be counted has ended."""


class Clock(ProgressDisplay):
    """Counts trials that end, from when all places have one in training, and what this process computes meanwhile."""

    def __init__(self, places: int, wanted: int) -> None:
        super().__init__(Console(file=io.StringIO()), "val_acc", (), wanted, 0)
        self._places, self._wanted = places, wanted
        self._training: set[int] = set()
        self._warm = False  # whether all places have been in use at once
        self.times: list[tuple[float, float]] = []

    def epoch_ended(self, epoch: Epoch, number: int = 0) -> None:
        super().epoch_ended(epoch, number)
        self._training.add(number)
        self._warm = self._warm or len(self._training) == self._places

    def trial_ended(self, result: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(result, best)
        self._training.discard(result.number)
        if self._warm:
            self.times.append((time.monotonic(), time.process_time()))
        if len(self.times) > self._wanted:
            raise EnoughError


def first(split: Split) -> Split:
    """The first images of a split."""
    return Split(split.images[:IMAGES], split.labels[:IMAGES])


def write() -> str:
    """Write the study into the working folder; its file."""
    Path("null.yaml").write_text(STUDY, encoding="utf-8")
    return "null.yaml"


def prepare(request: sweep.Request) -> sweep.Plan:
    """A sweep of it, on few images."""
    made = sweep.make_plan(request)
    few = dataclasses.replace(made.data, train=first(made.data.train), val=first(made.data.val))
    return dataclasses.replace(made, data=few)


def measure(engine: str, places: int, rounds: int, address: str | None) -> tuple[float, float]:
    """Trials a second, and seconds of this process's processor time a trial, once all places are in use."""
    clock = Clock(places, places * rounds)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        request = sweep.Request(
            study=write(),
            overrides={"trials": MANY},
            name=uuid.uuid4().hex,
            workers=places,
            deterministic=False,
            engine=engine,
            address=address,
        )
        with suppress(EnoughError):
            sweep.sweep(
                prepare(request),
                request,
                lambda _: clock,
                stop=SignalStopRequest(),
                loading=garbage.freeze_loaded,
            )
    (began, before), (ended, after) = clock.times[0], clock.times[-1]
    count = len(clock.times) - 1
    return count / (ended - began), (after - before) / count


@contextmanager
def cluster(places: int) -> Iterator[str]:
    """A Ray cluster of this machine that claims as many CPUs as there are to be trials at a time."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": places, "include_dashboard": False}
    )
    try:
        yield made.address
    finally:
        made.shutdown()


def main() -> None:
    """Print a line for each engine and number of places."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--places", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument(
        "--rounds", type=int, default=2, help="trials that are counted, of each place"
    )
    options = parser.parse_args()

    def line(engine: str, places: int, address: str | None) -> None:
        rate, seconds = measure(engine, places, options.rounds, address)
        found = f"{rate:6.3f} trials/s of {places / (EPOCHS * PACE):g}, {1000 * seconds:5.1f} ms of the command's own"
        print(f"{engine:5} {places:2} at a time: {found}", flush=True)

    for engine in options.engines:
        if engine == "ray":
            with cluster(max(options.places)) as address:
                for places in options.places:
                    line(engine, places, address)
        else:
            for places in options.places:
                line(engine, places, None)


if __name__ == "__main__":
    main()
