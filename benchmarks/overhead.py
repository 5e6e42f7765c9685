"""What a trial costs beside its training: reports, metrics, checkpoints, progress, and the memory of its process.

    PIPELINE_DATA_DIR=data python -m benchmarks.overhead --dataset mnist --out overhead.json

Three sweeps, each whole and with fresh stores in SQLite, by the code that `pipeline sweep` runs:

- real trials in this process: for how long the training loop waits, after each epoch, for each thing that is no
  training, and the share of the trial that is no training;
- the same in worker processes: their memory, what is shared with others apart from their own;
- null trials, which train nothing: wall time and CPU time of a trial, and of each operation. Those on the writer's
  thread take place beside the next trial.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from pipeline.data.search_data import SearchData, Split
from pipeline.engines import local
from pipeline.engines.base import Task
from pipeline.engines.local import WorkerEngine
from pipeline.jobs import sweep
from pipeline.jobs.progress import ProgressDisplay
from pipeline.system import garbage
from pipeline.system.signals import SignalStopRequest
from pipeline.tracking.tracker import Tracker
from pipeline.training import train
from pipeline.training.epochs import Hooks
from pipeline.training.state import CheckpointWriter
from sweeps.search.study import Study
from sweeps.trial import COMPLETE, Epoch, TrialResult

SPACE = """
epochs: {epochs}
trials: {trials}
method: {method}
pruner: none
search:
  lr: {{low: 1.0e-4, high: 1.0e-2, log: true}}
  dropout: {{low: 0.0, high: 0.5}}
fixed: {{family: cnn, optimizer: adam}}
"""
METRICS = {f"metric/{n}": n / 7 for n in range(13)} | {"time/images_per_second": 1.0}
OPERATIONS = {
    "ask": (Study, "_draw"),
    "report": (Study, "report"),
    "tell": (Study, "tell"),
    "writer: open": (Tracker, "open_trial"),
    "writer: epochs": (Tracker, "log_epochs"),
    "writer: end": (Tracker, "finish_trial"),
    "writer: curve": (Tracker, "log_curve"),
}


class Ended(Exception):  # noqa: N818
    """The trials are told, and all of their record is written; a report would follow."""


class Null:
    """An engine that trains nothing: ten epochs of fourteen metrics in no time."""

    places = 1

    def __init__(self) -> None:
        self._begun: deque[tuple[Task, Hooks]] = deque()

    def begin(self, task: Task, hooks: Hooks) -> None:
        """Keep the trial until it is waited for."""
        self._begun.append((task, hooks))

    def wait(self) -> tuple[int, TrialResult]:
        """Report the epochs, as a trial whose checkpoint was written once."""
        task, hooks = self._begun.popleft()
        value, at = (task.number * 37 % 1009) / 1009, int(time.time() * 1000)
        rows = tuple(
            Epoch(epoch=n, time=at + n, metrics={**METRICS, "val/acc": value}, per_class=())
            for n in range(1, task.config.epochs + 1)
        )
        for row in rows:
            hooks.epoch(row, value)
        hooks.saved(rows)
        ended: dict[str, Any] = {
            "state": COMPLETE,
            "end": COMPLETE,
            "value": value,
            "best_epoch": len(rows),
        }
        return task.number, TrialResult(
            number=task.number, config=task.config, history=rows, seconds=1.0, **ended
        )

    def close(self) -> None:
        """Nothing is left to end."""


@contextmanager
def timed(spent: dict[str, list[float]], name: str, owner: Any, attribute: str) -> Iterator[None]:
    """Keep the seconds that each call of a function takes."""
    with patch.object(owner, attribute, _clocked(spent, name, getattr(owner, attribute))):
        yield


def _clocked(
    spent: dict[str, list[float]], name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent[name].append(time.perf_counter() - began)

    return call


def search(
    home: Path, request: sweep.Request, engine: Callable[..., Any], images: int = 0
) -> tuple[float, float]:
    """Run a sweep in a folder up to its report; seconds of wall and CPU time from its first look at the study."""
    began: list[float] = []

    def show(study: Study) -> ProgressDisplay:
        began.extend((time.perf_counter(), time.process_time()))
        return ProgressDisplay.for_study(study, Console(quiet=True))

    def then(_: object) -> None:
        raise Ended

    previous_folder = Path.cwd()
    os.chdir(home)
    try:
        plan = sweep.make_plan(request)
        plan = dataclasses.replace(plan, data=some(plan.data, images)) if images else plan
        with patch.object(local, "make_engine", engine):
            sweep.sweep(
                plan,
                request,
                show,
                then,
                stop=SignalStopRequest(),
                loading=garbage.freeze_loaded,
            )
    except Ended:
        return time.perf_counter() - began[0], time.process_time() - began[1]
    finally:
        os.chdir(previous_folder)
    raise AssertionError("the sweep ended otherwise")


def some(data: SearchData, images: int) -> SearchData:
    """The first images: so many to train on, a fifth of that to validate."""
    train, val = data.train, data.val
    train_cut = Split(train.images[:images].clone(), train.labels[:images].clone())
    return dataclasses.replace(
        data, train=train_cut, val=Split(val.images[: images // 5], val.labels[: images // 5])
    )


def null_sweep(home: Path, count: int, method: str) -> tuple[float, float]:
    """Search so many null trials."""
    (home / "null.yaml").write_text(SPACE.format(epochs=10, trials=count, method=method))
    return search(home, sweep.Request(study="null.yaml", workers=1), lambda *_: Null())


def null_trials(count: int, method: str) -> dict[str, Any]:
    """Milliseconds of a null trial, and of each operation."""
    spent: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, (owner, attribute) in OPERATIONS.items():
            stack.enter_context(timed(spent, name, owner, attribute))
        wall, cpu = null_sweep(Path(folder), count, method)
    figures = {
        "trials": count,
        "method": method,
        "wall_ms": 1000 * wall / count,
        "cpu_ms": 1000 * cpu / count,
    }
    return {
        **figures,
        "operations_ms": {name: 1000 * sum(calls) / count for name, calls in spent.items()},
    }


def waits(options: argparse.Namespace) -> dict[str, Any]:
    """What the training loop waits for after its epochs, in this process."""
    spent: dict[str, list[float]] = defaultdict(list)
    walls: list[float] = []
    results: list[TrialResult] = []

    class Timed(local.InlineEngine):
        def begin(self, task: Task, hooks: Hooks) -> None:
            names = ("epoch", "saved", "step", "stop")
            super().begin(
                task, Hooks(**{name: _clocked(spent, name, getattr(hooks, name)) for name in names})
            )

        def wait(self) -> tuple[int, TrialResult]:
            began = time.perf_counter()
            number, result = super().wait()
            walls.append(time.perf_counter() - began)
            results.append(result)
            return number, result

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(
            timed(spent, "checkpoint", CheckpointWriter, "capture")
        )  # files are written beside the loop
        stack.enter_context(timed(spent, "checkpoint", CheckpointWriter, "start_writing"))
        stack.enter_context(timed(spent, "best weights", train, "save_model"))
        real_sweep(Path(folder), options, lambda data, *_: Timed(data), 1)
    epochs = [row.metrics["time/epoch_seconds"] for result in results for row in result.history]
    inside = sum(spent["step"]) + sum(spent["stop"])  # of what an epoch's seconds hold
    loop = {name: 1000 * sum(spent[name]) / len(epochs) for name in spent}
    return {
        "epochs": len(epochs),
        "epoch_seconds": statistics.median(epochs),
        "share_not_training": 1 - (sum(epochs) - inside) / sum(walls),
        "waits_ms_an_epoch": loop,
        "waits_ms_an_epoch_in_all": sum(loop.values()),
    }


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """The most memory of worker processes, in MB: all, their own, and what each shares with others."""
    seen: dict[int, dict[str, float]] = {}

    class Weighed(WorkerEngine):
        def wait(self) -> tuple[int, TrialResult | None]:
            ended = super().wait()
            for worker in self._busy + self._free:
                pid = worker._process.pid  # noqa: SLF001 - nobody else needs it
                seen[pid or 0] = _memory(pid)
            return ended

    with tempfile.TemporaryDirectory() as folder:
        real_sweep(Path(folder), options, lambda data, places, *_: Weighed(data, places), 2)
    return {"workers": list(seen.values()), "this_process": _memory(os.getpid())}


def _memory(pid: int | None) -> dict[str, float]:
    rollup, status = (
        Path(f"/proc/{pid}/{name}").read_text() for name in ("smaps_rollup", "status")
    )
    sizes: dict[str, float] = defaultdict(float)
    for line in [*rollup.splitlines(), *status.splitlines()]:
        name, _, value = line.partition(":")
        kind = {
            "VmHWM": "peak",
            "Private_Clean": "own",
            "Private_Dirty": "own",
            "Pss": "its_part",
        }.get(name)
        kind = "shared" if name in ("Shared_Clean", "Shared_Dirty") else kind
        if kind:
            sizes[kind] += int(value.split()[0]) / 1024
    return {f"{kind}_mb": round(size, 1) for kind, size in sorted(sizes.items())}


def real_sweep(
    home: Path, options: argparse.Namespace, engine: Callable[..., Any], workers: int
) -> None:
    """Search the trials that are trained."""
    (home / "real.yaml").write_text(
        SPACE.format(epochs=options.epochs, trials=2 * workers, method="random")
    )
    request_values: dict[str, Any] = {
        "overrides": {"dataset": options.dataset},
        "data_dir": options.data_dir.absolute(),
    }
    search(
        home,
        sweep.Request(study="real.yaml", workers=workers, **request_values),
        engine,
        options.images,
    )


def main() -> None:
    """Print all, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument(
        "--data-dir", type=Path, default=Path(os.environ.get("PIPELINE_DATA_DIR", "data"))
    )
    parser.add_argument(
        "--images",
        type=int,
        default=2500,
        help="to train on: so many that an epoch takes two seconds",
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=300, help="null trials")
    parser.add_argument("--method", choices=["tpe", "random"], default="tpe")
    parser.add_argument("--parts", default="waits,memory,null")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "waits": lambda: waits(options),
        "memory": lambda: memory(options),
        "null": lambda: null_trials(options.trials, options.method),
    }
    text = json.dumps({name: parts[name]() for name in options.parts.split(",")}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
