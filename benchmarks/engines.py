"""Measures the trials a second of each engine, by the number of trials at a time.

    python -m benchmarks.engines --engines local ray --places 1 2 4 8 16

A trial waits instead of computing: ten epochs of a second each. An engine without costs would
finish one trial in ten seconds at each place. The rest is choosing, messages, both stores and
checkpoints; the output says how much of that the command itself computes. Counting begins with the
first trial that ends after all places were in use at once. Studies are in SQLite or in
PIPELINE_STORAGE, a database that is meant to be thrown away.
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
    """Enough trials have been counted."""


class Clock(ProgressDisplay):
    """Counts ended trials and this process's CPU time, once all places have been in use at once."""

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
    """Write the study into the working folder; return its file."""
    Path("null.yaml").write_text(STUDY, encoding="utf-8")
    return "null.yaml"


def prepare(request: sweep.Request) -> sweep.Plan:
    """Plan a sweep of the study on few images."""
    plan = sweep.make_plan(request)
    cut_data = dataclasses.replace(
        plan.data, train=first(plan.data.train), val=first(plan.data.val)
    )
    return dataclasses.replace(plan, data=cut_data)


def measure(engine: str, places: int, rounds: int, address: str | None) -> tuple[float, float]:
    """Return trials a second, and this process's CPU seconds a trial, with all places in use."""
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
    """Start a Ray cluster on this machine that claims a CPU for each place; yield its address."""
    from ray.cluster_utils import Cluster

    ray_cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": places, "include_dashboard": False}
    )
    try:
        yield ray_cluster.address
    finally:
        ray_cluster.shutdown()


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
        cost = f"{rate:6.3f} trials/s of {places / (EPOCHS * PACE):g}, {1000 * seconds:5.1f} ms of the command's own"
        print(f"{engine:5} {places:2} at a time: {cost}", flush=True)

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
