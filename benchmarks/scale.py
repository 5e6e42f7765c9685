"""Where a sweep on a large Ray cluster saturates: a simulation of its processes from costs that are measured.

    python -m benchmarks.scale measure costs.json
    python -m benchmarks.scale simulate costs.json
    python -m benchmarks.scale compare costs.json --measured 1=0.09 2=0.18
    python -m benchmarks.scale check

`measure` writes what each call costs (benchmarks.scale_costs), in SQLite, or where PIPELINE_STORAGE and
MLFLOW_TRACKING_URI say. `simulate` takes 10 to 10,000 workers through it: the post that holds their letters, the
thread of the command that decides, the store of studies that it waits for, the thread that keeps the record and the
tracking server that this one waits for. Both threads share one processor, as threads of Python do. `compare` sets
what it says of the trials of benchmarks.engines beside what was measured there. `check` compares it with what is known
without it: the throughput of one worker and of a saturated sweep, and the utilisation law.

A closed network: each worker trains, and waits for an answer. Services take their mean time, queues are in order.
"""

import argparse
import dataclasses
import heapq
import itertools
import json
import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

WORKERS = (10, 30, 100, 300, 1000, 3000, 10000)
EPOCH_SECONDS = (2.0, 30.0, 300.0)
STEP_EVERY, SAVE_EVERY, SOON = (
    0.5,
    2.0,
    0.5,
)  # seconds: as in pipeline.engines.worker, pipeline.training.train, pipeline.tracking.server
BUNDLES = 4  # in which the letters of an epoch's steps are simulated
COUNTED = 2000  # epochs at least that are counted, after as many that are not
FULL = 0.8  # a component that is busy for this share of the time counts as full

RECORD = ("open", "log", "finish", "curve")  # calls to the tracking server

Costs = Mapping[str, float]  # seconds, by the names that benchmarks.scale_costs gives them
Process = Iterator["float | Event"]  # yields how long something takes, or what it waits for


class Event:
    """Something that processes wait for; it happens once."""

    def __init__(self, clock: "Clock") -> None:
        self._clock, self.happened = clock, False
        self.waiting: list[Process] = []

    def happen(self) -> None:
        if not self.happened:
            self.happened = True
            for process in self.waiting:
                self._clock.start(process)

    def wait(self) -> Process:
        yield self


class Clock:
    """The time, and what is to happen next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._next: list[tuple[float, int, Process]] = []
        self._order = itertools.count()

    def start(self, process: Process, after: float = 0.0) -> None:
        heapq.heappush(self._next, (self.now + after, next(self._order), process))

    def step(self) -> None:
        """Let the next process go on to where it waits again."""
        self.now, _, process = heapq.heappop(self._next)
        pause = next(process, None)
        if isinstance(pause, Event):
            if pause.happened:
                self.start(process)
            else:
                pause.waiting.append(process)
        elif pause is not None:
            self.start(process, pause)


class Server:
    """Does so many things at a time; others wait in order."""

    def __init__(self, clock: Clock, count: int = 1) -> None:
        self._clock, self._free = clock, count
        self._queue: deque[Event] = deque()
        self.busy = 0.0

    def use(self, work: Process) -> Process:
        if self._free:
            self._free -= 1
        else:
            self._queue.append(turn := Event(self._clock))
            yield turn
        began = self._clock.now
        yield from work
        self.busy += self._clock.now - began
        if self._queue:
            self._queue.popleft().happen()
        else:
            self._free += 1


class Thread:
    """Does what is put before it, in order; each time it looks, it takes all that is there."""

    def __init__(self, clock: Clock, looking: Callable[[], Process]) -> None:
        self._clock, self._looking = clock, looking
        self._inbox: list[Process] = []
        self._arrival = Event(clock)
        self.busy = 0.0
        clock.start(self._run())

    def put(self, work: Process) -> None:
        self._inbox.append(work)
        self._arrival.happen()

    def _run(self) -> Process:
        while True:
            yield self._arrival
            self._arrival = Event(self._clock)
            batch, self._inbox = self._inbox, []
            for work in (self._looking(), *batch):
                began = self._clock.now
                yield from work
                self.busy += self._clock.now - began


def lasting(seconds: float) -> Process:
    """Something that takes so long."""
    yield seconds


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is simulated."""

    workers: int
    epoch: float  # seconds that a worker trains
    epochs: int = 10
    step: float = STEP_EVERY  # seconds between the letters of steps
    cores: int | None = (
        None  # of a machine that computes everything; None where each process has its own
    )


@dataclasses.dataclass(frozen=True)
class Found:
    """What came of it."""

    rate: float  # trials a second
    busy: dict[str, float]  # the share of the time in which each component was
    training: float  # the share of their time that workers trained

    def demand(self, component: str) -> float:
        """Seconds that a trial takes of a component."""
        return self.busy[component] / self.rate


class Sweep:
    """One sweep under way."""

    def __init__(self, setting: Setting, costs: Costs) -> None:
        self.setting, self.costs, self.clock = setting, costs, Clock()
        self._cores = Server(self.clock, setting.cores) if setting.cores else None
        self._processor = Server(self.clock)
        look = costs["take"] + costs["place"] * setting.workers
        self._waits = {name: Server(self.clock) for name in ("post", "store", "tracking")}
        self._threads = {
            "coordinator": Thread(self.clock, lambda: self._command(look)),
            "record": Thread(self.clock, lambda: lasting(0.0)),
        }
        self._draw = random.Random(0)  # noqa: S311 - not for secrets
        self.epochs, self.trained = 0, 0.0
        for _ in range(setting.workers):
            self.clock.start(self._worker())

    def _compute(self, seconds: float) -> Process:
        return self._cores.use(lasting(seconds)) if self._cores else lasting(seconds)

    def _command(self, seconds: float) -> Process:
        return self._processor.use(self._compute(seconds))

    def _post(self, seconds: float) -> Process:
        return self._waits["post"].use(self._compute(seconds))

    def _worker(self) -> Process:
        """Train one trial after the other; the first is somewhere in its midst."""
        setting, costs = self.setting, self.costs
        put, opened = self._threads["coordinator"].put, Event(self.clock)
        opened.happen()
        done = self._draw.randrange(setting.epochs)
        yield self._draw.random() * setting.epoch
        saved = self._draw.random() * SAVE_EVERY
        while True:
            for _ in range(done, setting.epochs):
                letters = setting.epoch / max(setting.step, STEP_EVERY)
                bundles = min(BUNDLES, max(1, int(letters)))
                for _ in range(bundles):
                    yield setting.epoch / bundles
                    yield from self._post(costs["post_tell"] * letters / bundles)
                    put(self._command(costs["letter"] * letters / bundles))
                yield from self._compute(costs["worker_epoch"])
                yield from self._post(costs["post_ask"])
                answered = Event(self.clock)
                put(self._reported(answered))
                yield answered
                self.epochs, self.trained = self.epochs + 1, self.trained + setting.epoch
                saved += setting.epoch
                if saved >= SAVE_EVERY:
                    saved = 0.0
                    yield from self._post(costs["post_tell"])
                    put(self._saved())
            yield from self._post(costs["post_tell"])
            begun = Event(self.clock)
            put(self._ended(opened, following := Event(self.clock), begun))
            yield begun
            done, opened = 0, following

    def _reported(self, answered: Event) -> Process:
        costs = self.costs
        yield from self._command(costs["letter"] + costs["report"] + costs["answer"])
        yield from self._waits["store"].use(lasting(costs["report_waits"]))
        self.clock.start(self._answer(answered))

    def _answer(self, answered: Event) -> Process:
        yield from self._post(self.costs["post_answer"])
        answered.happen()

    def _saved(self) -> Process:
        yield from self._command(self.costs["letter"] + self.costs["file"])
        self._threads["record"].put(self._recorded("log"))

    def _ended(self, opened: Event, following: Event, begun: Event) -> Process:
        """Keep how a trial ended, have it recorded, choose the next and begin it."""
        costs = self.costs
        self.clock.start(self._soon(opened), SOON)
        yield opened  # its run's name is kept with its end
        computes = ("letter", "file", "tell", "told", "ask", "task")
        yield from self._command(sum(costs[name] for name in computes))
        waits = ("tell_waits", "told_waits", "ask_waits")
        yield from self._waits["store"].use(lasting(sum(costs[name] for name in waits)))
        for call in ("finish", "curve"):
            self._threads["record"].put(self._recorded(call))
        self._threads["record"].put(self._recorded("open", following))
        begun.happen()

    @staticmethod
    def _soon(opened: Event) -> Process:
        opened.happen()
        yield 0.0

    def _recorded(self, call: str, done: Event | None = None) -> Process:
        yield from self._command(self.costs[call])
        yield from self._waits["tracking"].use(lasting(self.costs[f"{call}_waits"]))
        if done is not None:
            done.happen()

    def run(self) -> Found:
        """Let it come to rest, and count for as long again."""
        wanted = max(COUNTED, 2 * self.setting.workers)
        self._until(wanted)
        began, trained = self.clock.now, self.trained
        before = {name: part.busy for name, part in self._parts().items()}
        self._until(2 * wanted)
        seconds = self.clock.now - began
        return Found(
            wanted / self.setting.epochs / seconds,
            {name: (part.busy - before[name]) / seconds for name, part in self._parts().items()},
            (self.trained - trained) / seconds / self.setting.workers,
        )

    def _until(self, epochs: int) -> None:
        while self.epochs < epochs:
            self.clock.step()

    def _parts(self) -> dict[str, Server | Thread]:
        return {**self._threads, "processor": self._processor, **self._waits}


def simulate(costs: Costs, workers: int, epoch: float, step: float = STEP_EVERY) -> Found:
    """A sweep of trials of ten epochs, each process on a core of its own."""
    return Sweep(Setting(workers, epoch, step=step), costs).run()


def table(costs: Costs, step: float) -> None:
    """Print what comes of each number of workers and length of epochs, and where each component is full."""
    print(
        "| epoch | workers | trials/s | of ideal | coordinator | post | processor | store | record | tracking |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    components = ("coordinator", "post", "processor", "store", "record", "tracking")
    smallest = {}
    for epoch in EPOCH_SECONDS:
        for workers in WORKERS:
            outcome = simulate(costs, workers, epoch, step)
            smallest.setdefault(epoch, outcome)
            cells_busy = " | ".join(f"{outcome.busy[name]:.0%}" for name in components)
            print(
                f"| {epoch:g} s | {workers:,} | {outcome.rate:.3g} | {outcome.training:.0%} | {cells_busy} |",
                flush=True,
            )
    print(
        f"\nworkers with which each is busy for {FULL:.0%} of the time, if nothing else were in the way:\n"
    )
    print("| epoch | " + " | ".join(components) + " |\n" + "|---" * (1 + len(components)) + "|")
    for epoch, outcome in smallest.items():
        cells = [f"{full(costs, epoch, step):,}"]
        cycle = WORKERS[0] / outcome.rate  # seconds from a worker's trial to its next
        cells += [
            f"{FULL * cycle / outcome.demand(name):,.0f}" if outcome.busy[name] else "-"
            for name in components[1:]
        ]
        print(f"| {epoch:g} s | " + " | ".join(cells) + " |")


def full(costs: Costs, epoch: float, step: float) -> int:
    """The least number of workers, within a tenth, that fills the coordinator, if nothing else were in the way.

    Not as for the others: the more letters there are each time it looks, the less each of them costs.
    """
    free = (
        "post_tell",
        "post_ask",
        "post_answer",
        *(f"{call}{of}" for call in RECORD for of in ("", "_waits")),
    )
    costs = {**costs, **dict.fromkeys(free, 0.0)}
    low, high = 1, 1
    while simulate(costs, high, epoch, step).busy["coordinator"] < FULL:
        low, high = high, 2 * high
    while high > 1.1 * low and high - low > 1:
        middle = round((low * high) ** 0.5)
        filled = simulate(costs, middle, epoch, step).busy["coordinator"] >= FULL
        low, high = (low, middle) if filled else (middle, high)
    return high


def compare(costs: Costs, measured: Mapping[int, float]) -> None:
    """Print what is simulated of the trials of benchmarks.engines beside what was measured, on this machine's cores."""
    from benchmarks.engines import EPOCHS, PACE

    print(
        "| workers | measured trials/s | simulated | error | with unlimited cores |\n|---|---|---|---|---|"
    )
    for workers, rate in measured.items():
        setting = Setting(workers, PACE, EPOCHS, step=PACE, cores=os.cpu_count())
        simulated = Sweep(setting, costs).run().rate
        unlimited = Sweep(dataclasses.replace(setting, cores=None), costs).run().rate
        print(
            f"| {workers} | {rate:.3f} | {simulated:.3f} | {simulated / rate - 1:+.1%} | {unlimited:.3f} |"
        )


def check() -> None:
    """Compare with what is known in closed form.

    Raises:
        SystemExit: where it is not so.
    """
    names = "letter file answer take place post_tell post_ask post_answer worker_epoch task report report_waits"
    calls = [
        f"{call}{kind}" for call in ("ask", "tell", "told", *RECORD) for kind in ("", "_waits")
    ]
    costs = {name: 0.001 * (1 + index % 4) for index, name in enumerate([*names.split(), *calls])}
    costs |= {"take": 0.0, "place": 0.0}

    def waits(*calls: str) -> float:
        return sum(costs[f"{call}_waits"] for call in calls)

    ended = sum(costs[name] for name in ("letter", "file", "tell", "told", "ask", "task"))
    ended += waits("ask", "tell", "told")
    reported = sum(costs[name] for name in ("letter", "report", "answer", "report_waits"))
    steps = costs["letter"]  # epochs are as long as steps
    demand = 10 * (reported + steps) + 2.5 * (costs["letter"] + costs["file"]) + ended

    # One worker waits for all but what others do meanwhile: the record, and letters that are not answered.
    epoch, alone = (
        STEP_EVERY,
        {**costs, **dict.fromkeys((*RECORD, "letter", "file"), 0.0)},
    )
    cycle = 10 * (
        epoch
        + alone["worker_epoch"]
        + sum(alone[f"post_{kind}"] for kind in ("ask", "answer", "tell"))
    )
    cycle += (
        10 * (reported - costs["letter"])
        + ended
        - costs["letter"]
        - costs["file"]
        + 3.5 * alone["post_tell"]
    )
    one_worker = Sweep(Setting(1, epoch), alone).run()
    saturated = Sweep(Setting(100, epoch), {**costs, **dict.fromkeys(RECORD, 0.0)}).run()
    ten_workers = Sweep(Setting(10, 2.0), costs).run()
    checks = {
        "one worker: trials a second": (one_worker.rate, 1 / cycle),
        "saturated: the coordinator is busy": (saturated.busy["coordinator"], 1.0),
        "saturated: trials a second": (saturated.rate, 1 / demand),
        "any: seconds of the store": (
            ten_workers.demand("store"),
            waits("ask", "tell", "told") + 10 * costs["report_waits"],
        ),
        "any: seconds of the tracking server": (
            ten_workers.demand("tracking"),
            waits("open", "finish", "curve")
            + 10 * costs["log_waits"],  # for each epoch is as long as it takes to save
        ),
        "any: seconds of the post": (
            ten_workers.demand("post"),
            10 * (costs["post_ask"] + costs["post_answer"])
            + (10 * 4 + 10 + 1) * costs["post_tell"],
        ),
    }
    for name, (simulated, expected) in checks.items():
        print(f"{name}: {simulated:.4f}, known {expected:.4f}")
        if abs(simulated / expected - 1) > 0.01:
            raise SystemExit(f"{name}: not within 1 %")


def main() -> None:
    """Measure, simulate, compare or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["measure", "simulate", "compare", "check"])
    parser.add_argument(
        "file", nargs="?", type=Path, default=Path("costs.json"), help="of the costs"
    )
    parser.add_argument(
        "--kept",
        type=int,
        default=100,
        help="trials that the study holds already when it is measured",
    )
    parser.add_argument(
        "--servers",
        nargs="*",
        default=[],
        metavar="NAME=PID",
        help="whose computing is measured, too",
    )
    parser.add_argument("--measured", nargs="+", default=[], metavar="WORKERS=TRIALS_A_SECOND")
    parser.add_argument(
        "--step", type=float, default=STEP_EVERY, help="seconds between the letters of steps [0.5]"
    )
    options = parser.parse_args()
    if options.what == "check":
        check()
        return
    if options.what == "measure":
        from benchmarks import scale_costs

        servers = {
            name: int(pid) for name, pid in (server.split("=") for server in options.servers)
        }
        found = scale_costs.measure(options.kept, servers)
        options.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(options.file.read_text(encoding="utf-8"), end="")
        return
    costs = json.loads(options.file.read_text(encoding="utf-8"))["seconds"]
    if options.what == "simulate":
        table(costs, options.step)
    else:
        compare(
            costs,
            {
                int(workers): float(rate)
                for workers, rate in (pair.split("=") for pair in options.measured)
            },
        )


if __name__ == "__main__":
    main()
