"""What each call of a sweep on a Ray cluster costs the process that makes it, for the simulation of large ones.

Trials of ten epochs that train nothing go through the study, loop, recorder and tracker of a sweep, one at a time, and
nothing else is under way meanwhile: a call's cost is the processor time of its thread, the mean of all; what it
waits for its store beside is the median, for other programs make it wait, too. Letters go through a real post.
"""

import datetime as dt
import importlib.metadata
import io
import os
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import psutil
import ray
from rich.console import Console

from benchmarks import engines
from pipeline.checkpoints import Folder
from pipeline.engines.base import POLL_INTERVAL, Task
from pipeline.engines.local import LocalFactory
from pipeline.engines.on_ray.cluster import RayFactory
from pipeline.engines.on_ray.mailbox import open_mailbox
from pipeline.jobs import preflight, sweep
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.trial_runner import TrialRunner
from pipeline.stores import access, locations, locks
from pipeline.system.signals import stop_requests
from pipeline.tracking.tracker import Tracker
from pipeline.training.epochs import Hooks
from sweeps.analysis.ranking import find_best_trial
from sweeps.search import loop
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.configurations import configuration
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, Epoch, TrialConfig, TrialResult

TRIALS, EPOCHS = 20, 10
LETTERS = 400
STUDY = """
trials: {trials}
epochs: 10
search: {{lr: {{low: 1.0e-4, high: 0.1, log: true}}, dropout: {{low: 0.0, high: 0.5}}, batch_size: [32, 64, 128]}}
"""
RECORDED = {
    "open": "open_trial",
    "log": "log_epochs",
    "finish": "finish_trial",
    "curve": "log_curve",
}
CLASSES = tuple("0123456789")
FILE = bytes(100_000)  # a checkpoint of a small network
NAMES = ("time/images_per_second", *(f"metric/{number}" for number in range(13)))
LETTER = (
    "epoch",
    Epoch(epoch=1, time=1, metrics=dict.fromkeys(NAMES, 0.5), per_class=(0.5,) * 10),
    0.5,
)


class Meter:
    """What calls took: their thread's processor time, and what they waited beside."""

    def __init__(self) -> None:
        self._calls: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._last = (0.0, 0.0)

    def mark(self, name: str | None = None) -> None:
        """Count what this thread did since the last mark."""
        computed, now = time.thread_time(), time.perf_counter()
        if name is not None:
            self._add(name, computed - self._last[0], now - self._last[1])
        self._last = (time.thread_time(), time.perf_counter())

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, counted."""

        def made(*args: Any, **named: Any) -> Any:
            computed, began = time.thread_time(), time.perf_counter()
            try:
                return call(*args, **named)
            finally:
                self._add(name, time.thread_time() - computed, time.perf_counter() - began)

        return made

    def _add(self, name: str, computed: float, passed: float) -> None:
        self._calls[name].append((computed, max(0.0, passed - computed)))

    def seconds(self) -> dict[str, float]:
        costs = {}
        for name, calls in self._calls.items():
            costs[name] = statistics.mean(computed for computed, _ in calls)
            costs[f"{name}_waits"] = statistics.median(waiting for _, waiting in calls)
        return costs


def null(number: int, config: TrialConfig) -> TrialResult:
    """The result of a trial that trained nothing."""
    value = (number * 37 % 100) / 100
    history = tuple(
        Epoch(
            epoch=n,
            time=int(time.time() * 1000),
            metrics=LETTER[1].metrics,
            per_class=(value,) * 10,
        )
        for n in range(1, EPOCHS + 1)
    )
    return TrialResult(
        number=number,
        config=config,
        state=COMPLETE,
        end=COMPLETE,
        value=value,
        best_epoch=EPOCHS,
        history=history,
        confusion=((1,) * 10,) * 10,
        seconds=1.0,
    )


class Null:
    """An engine that trains nothing, with what the command does for a trial marked off; its record is waited for."""

    places = 1

    def __init__(self, meter: Meter, tracker: Tracker) -> None:
        self._meter, self._tracker = meter, tracker
        self._begun: list[tuple[Task, Hooks]] = []

    def begin(self, task: Task, hooks: Hooks) -> None:
        self._meter.mark("ask")
        self._begun.append((task, hooks))

    def wait(self) -> tuple[int, TrialResult]:
        task, hooks = self._begun.pop()
        self._tracker.drain()
        result = null(task.number, task.config)
        for row in result.history:
            self._meter.mark()
            hooks.epoch(row, result.value)
            self._meter.mark("report")
            hooks.saved(result.history[: row.epoch])
            self._tracker.drain()
        Folder(task.folder).put({"best.safetensors": FILE})
        self._meter.mark()
        return task.number, result

    def close(self) -> None:
        self._begun.clear()


def of_command(earlier_trials: int, servers: Mapping[str, int]) -> dict[str, float]:
    """What asking, reports, ends and the record cost, in a study that holds so many trials; and the servers' own."""
    meter, name = Meter(), uuid.uuid4().hex
    facts: Mapping[str, Any] = {
        "study": "null",
        "classes": CLASSES,
        "digest": "null",
        "deterministic": False,
    }
    stores = locations.locate()
    access.prepare(stores)
    with locks.lock(stores, name) as study_lock, stop_requests() as stop:
        storage = access.open_studies(stores, study_lock)
        if earlier_trials:
            study = Study.open(
                storage,
                name,
                parse_study(STUDY.format(trials=earlier_trials), "null"),
                facts | {"runtime": {}},
            )
            loop.run(study, loop.SequentialRunner(lambda asked: reported(study, asked)))
        spec = parse_study(STUDY.format(trials=earlier_trials + TRIALS), "null")
        study = Study.open(storage, name, spec, facts | {"runtime": {}})
        tracker = Tracker(stores.tracking, server_default=name)
        with closing(tracker):
            recorder = Recorder(
                study, tracker, stores.home, lambda _text: None, stores.studies_label
            )
            for call, method in RECORDED.items():
                setattr(tracker, method, meter.timed(call, getattr(tracker, method)))
            tell, display = (
                study.tell,
                ProgressDisplay(Console(file=io.StringIO()), "val_acc", (), TRIALS, 0),
            )

            def tell_marked(asked: AskedTrial, result: TrialResult) -> TrialResult:
                result = tell(asked, result)
                meter.mark("tell")
                return result

            def record_end(result: TrialResult) -> None:
                recorder.record_result(result)
                display.trial_ended(result, find_best_trial(study.results(), study.ranking_rule))
                meter.mark("told")

            study.tell = tell_marked  # type: ignore[method-assign]
            before = {server: _seconds(pid) for server, pid in servers.items()}
            meter.mark()
            with TrialRunner(study, Null(meter, tracker), recorder, display, stop, None) as trials:
                loop.run(study, trials, on_result=record_end)
            tracker.drain()
            of_servers = {
                f"server {n}, a trial": (_seconds(pid) - before[n]) / TRIALS
                for n, pid in servers.items()
            }
    return meter.seconds() | of_servers


def reported(study: Study, asked: AskedTrial) -> TrialResult:
    """Report and end a trial."""
    result = null(asked.number, asked.config)
    for epoch in range(1, EPOCHS + 1):
        study.report(asked, epoch, result.value or 0.0)
    return result


def _seconds(pid: int) -> float:
    """The processor time of a process and of those that it has started, which do not end meanwhile."""
    process = psutil.Process(pid)
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return sum(member.user + member.system for member in times)


# -- letters ----------------------------------------------------------------------------------------------------------


class Letters:
    """What letters through a post cost the command and the post, in seconds of their processes."""

    def __init__(self) -> None:
        def sending(
            post: Any, name: str, count: int, files: dict[str, bytes], letter: Any, *, asks: bool
        ) -> None:
            for _ in range(
                count
            ):  # as in the engine; pickled by value, for nodes do not know this module
                ray.get((post.ask if asks else post.tell).remote(name, files, letter))

        self.post, self._sending = open_mailbox(1000), ray.remote(num_cpus=1)(sending)

    def send(
        self, count: int, files: dict[str, bytes] | None = None, *, asks: bool = False, **room: Any
    ) -> Any:
        """Have letters sent by one task."""
        return self._sending.options(**room).remote(
            self.post, "sender", count, files or {}, LETTER, asks=asks
        )

    def times(self) -> tuple[float, float]:
        """What this process has computed, and what the post has."""
        mailbox_seconds: float = ray.get(
            self.post.__ray_call__.remote(lambda _post: time.process_time())
        )
        return time.process_time(), mailbox_seconds

    def batch(self, files: dict[str, bytes]) -> tuple[float, float]:
        """Letters that lie there all at once: what one costs here, its file written, and there."""
        _, before = self.times()
        ray.get(self.send(LETTERS, files))
        here, after = self.times()
        letters = ray.get(self.post.take.remote())
        with tempfile.TemporaryDirectory() as folder:
            for _name, sent, _message in letters if files else ():
                Folder(Path(folder) / "one").put(sent)
        return (time.process_time() - here) / LETTERS, (after - before) / LETTERS

    def answers(self) -> tuple[float, float]:
        """Sending an answer."""
        own_before, mailbox_before = self.times()
        for _ in range(LETTERS):
            self.post.answer.remote("nobody", True)
        after = self.times()
        return (after[0] - own_before) / LETTERS, (after[1] - mailbox_before) / LETTERS

    def one_by_one(self) -> tuple[float, float]:
        """A letter that is looked for, taken and answered before the next is sent."""
        own_before, mailbox_before = self.times()
        task, incoming, unanswered = self.send(LETTERS, asks=True), self.post.take.remote(), LETTERS
        while unanswered:
            ready, _ = ray.wait([incoming, task], timeout=POLL_INTERVAL)
            if incoming in ready:
                for name, *_ in ray.get(incoming):
                    self.post.answer.remote(name, True)
                    unanswered -= 1
                incoming = self.post.take.remote()
        after = self.times()
        return (after[0] - own_before) / LETTERS, (after[1] - mailbox_before) / LETTERS

    def task(self, count: int = 20) -> float:
        """Beginning a task and seeing its end."""
        before = time.process_time()
        for _ in range(count):
            ray.wait([done := self.send(0, num_cpus=1, num_gpus=0, name="trial")])
            ray.get(done)
        return (time.process_time() - before) / count

    def place(self, tasks: int = 1000, looks: int = 20) -> float:
        """What each task under way makes a look dearer."""
        never = [self.send(0, resources={"none": 1}) for _ in range(tasks)]
        before = time.process_time()
        for _ in range(looks):
            ray.wait(never, timeout=0)
        return (time.process_time() - before) / looks / tasks


def of_letters() -> dict[str, float]:
    """What letters through a post cost the command, and the post."""
    with closing(RayFactory(None)):
        letters = Letters()
        ray.get(letters.send(0))  # its process is there
        letter, post_tell = letters.batch({})
        with_file, _ = letters.batch({"state.safetensors": FILE})
        answer, post_answer = letters.answers()
        look, asked = letters.one_by_one()
        return {
            "letter": letter,
            "file": with_file - letter,
            "answer": answer,
            "take": look - letter - answer,
            "post_tell": post_tell,
            "post_ask": asked - post_answer,
            "post_answer": post_answer,
            "task": letters.task(),
            "place": letters.place(),
        }


# -- the rest ---------------------------------------------------------------------------------------------------------


def of_worker() -> dict[str, float]:
    """What a trial of benchmarks.engines computes where it is trained, as of each of its epochs."""
    pace, engines.PACE = engines.PACE, 0.0
    try:
        plan = engines.prepare(sweep.Request(study=engines.write()))
        config = configuration(
            plan.spec, preflight.resolve_runtime(plan.spec, LocalFactory().resolve)
        )
        hooks, computed = Hooks(epoch=lambda _row, _best: False), []
        for number in range(6):
            began = time.process_time()
            folder = Path("trials") / str(number)
            Task(number=number, config=config, folder=folder, objective="val_acc").train(
                plan.data, hooks
            )
            computed.append((time.process_time() - began) / config.epochs)
    finally:
        engines.PACE = pace
    return {"worker_epoch": statistics.median(computed)}


def measure(kept: int, servers: Mapping[str, int]) -> dict[str, Any]:
    """All costs, and where and when they were measured.

    Args:
        kept: trials that the study holds by then.
        servers: process ids of the stores' servers, by name: what they compute for a trial is measured, too.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        seconds = of_command(kept, servers) | of_letters() | of_worker()
        where = locations.locate()
    kinds = {
        "studies": where.studies.partition(":")[0],
        "tracking": where.tracking.partition(":")[0],
    }
    versions = {
        name: importlib.metadata.version(name) for name in ("ray", "optuna", "mlflow", "torch")
    }
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "versions": versions,
        "kept": kept,
        **kinds,
        "seconds": {name: float(f"{value:.4g}") for name, value in seconds.items()},
    }
