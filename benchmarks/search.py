"""How many epochs a sweep needs to find what it looks for: pruned beside unpruned, by the real loop, without MLflow.

    python -m benchmarks.search --folder /tmp/curves --dataset fashion_mnist --data-dir data --images 1000 --no-starts

For each seed a study is swept once with each rule. The same configuration always learns alike. It is trained to its
end when a sweep first asks for it, its figures by epoch are kept in the folder, and every sweep reads them: a rule is
compared on the very same trainings, and a benchmark that was cut goes on. Only the epochs that a rule asked for count.
Processes that share a folder must have different seeds (``--first-seed``).

Prints JSON: every sweep, and for each rule, against the unpruned sweep of the same seed,

- ``epochs``: the share of the epochs, mean over the seeds;
- ``loss``: by how much its best complete trial is worse, mean and standard error over the seeds;
- ``reached``: the share of the unpruned sweep's epochs, and of its seconds of CPU, after which some trial had shown the
  unpruned sweep's best accuracy less one standard error (of that many validation images): median over the seeds.
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.data.search_data import SearchData, Split, load_for
from pipeline.jobs.preflight import resolve_runtime
from pipeline.jobs.studies import read_study
from pipeline.training.epochs import Hooks
from pipeline.training.process import prepare_process
from pipeline.training.train import train
from sweeps.analysis.ranking import find_best_trial
from sweeps.search import loop
from sweeps.search.stored import Storage, open_storage
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED, Epoch, TrialConfig, TrialResult, Value

UNPRUNED = "none"


@dataclasses.dataclass(frozen=True)
class Curve:
    """How a configuration learns."""

    values: tuple[float, ...]  # validation accuracy by epoch
    seconds: tuple[float, ...]  # of CPU, by epoch
    failed: str | None = None  # how it ended after the last of them


class Learns(Protocol):
    """Tells how configurations learn."""

    def get(self, config: TrialConfig) -> Curve:
        """Return the curve of a configuration."""
        ...


class Curves:
    """The curves that are known, in a file."""

    def __init__(self, path: Path, data: SearchData) -> None:
        self._path, self._data = path, data
        self._known: dict[str, Curve] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            row = json.loads(line)
            self._known[row.pop("key")] = Curve(
                tuple(row["values"]), tuple(row["seconds"]), row["failed"]
            )

    def get(self, config: TrialConfig) -> Curve:
        """Return the curve of a configuration, which is trained if necessary."""
        # Early stopping changes where a curve ends, and nothing else.
        unstopped = dataclasses.replace(config, patience=0)
        if unstopped.signature not in self._known:
            self._train(unstopped)
        return self._known[unstopped.signature]

    def warm_up(self, config: TrialConfig) -> None:
        """Let torch load what it needs, which is no configuration's time."""
        prepare_process(config)
        with tempfile.TemporaryDirectory() as folder:
            short = dataclasses.replace(config, epochs=1)
            train(0, short, fewer(self._data, config.batch_size), Path(folder), objective="val_acc")

    def _train(self, config: TrialConfig) -> None:
        values: list[float] = []
        seconds: list[float] = []
        began = time.process_time()

        def epoch(row: Epoch, _best: float) -> bool:
            nonlocal began
            values.append(row.metrics["val/acc"])
            seconds.append(time.process_time() - began)
            began = time.process_time()
            return False

        prepare_process(config)
        with tempfile.TemporaryDirectory() as folder:
            result = train(
                0, config, self._data, Path(folder), objective="val_acc", hooks=Hooks(epoch=epoch)
            )
        failed = result.end if result.state == FAILED else None
        curve = Curve(tuple(values), tuple(seconds), failed)
        self._known[config.signature] = curve
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": config.signature, **dataclasses.asdict(curve)}) + "\n")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a sweep took and found."""

    rule: str
    seed: int
    epochs: int
    seconds: float  # of CPU in training
    best: float  # of the best complete trial
    winner: int  # its number
    configuration: Mapping[str, Value]  # the winner's
    ends: Mapping[str, int]
    gains: Sequence[
        tuple[int, float, float]
    ]  # whenever a value was the best yet: epochs and seconds until then, value

    def reached(self, target: float) -> tuple[int, float] | None:
        """Epochs and seconds until a trial had shown this value."""
        return next(
            ((epochs, seconds) for epochs, seconds, value in self.gains if value >= target), None
        )


def sweep(spec: StudySpec, curves: Learns) -> Sweep:
    """Sweep a study, in a store that is thrown away."""
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # not in memory: a thread that writes reports would see another one
        return sweep_in(spec, curves, open_storage(f"sqlite:///{folder}/study.db", timeout=1))


@dataclasses.dataclass
class Spent:
    """What the trials of a sweep took, and what they showed."""

    epochs: int = 0
    seconds: float = 0.0  # of CPU in training
    gains: list[tuple[int, float, float]] = dataclasses.field(default_factory=list)


def run_in(
    study: Study,
    curves: Learns,
    count_parameters: Callable[[TrialConfig], int | None] = lambda _config: None,
) -> Spent:
    """Sweep a study that is open.

    Args:
        study: is asked and told.
        curves: tells how each trial learns.
        count_parameters: those of a trial's network, where the study's objectives need them.
    """
    spent = Spent()

    def trained(asked: AskedTrial) -> TrialResult:
        curve = curves.get(asked.config)
        history = [] if asked.progress is None else list(asked.progress.history)
        values = [row.metrics["val/acc"] for row in history]
        last = len(curve.values) if asked.until is None else asked.until
        state = COMPLETE if asked.until is None else PAUSED
        for epoch in range(len(history) + 1, min(last, len(curve.values)) + 1):
            value = curve.values[epoch - 1]
            spent.epochs += 1
            spent.seconds += curve.seconds[epoch - 1]
            values.append(value)
            history.append(Epoch(epoch=epoch, time=0, metrics={"val/acc": value}, per_class=()))
            if not spent.gains or value > spent.gains[-1][2]:
                spent.gains.append((spent.epochs, spent.seconds, value))
            if study.report(asked, epoch, max(values)) and epoch < asked.config.epochs:
                state = PRUNED
                break
            if 0 < asked.config.patience <= epoch - 1 - values.index(max(values)):
                state = COMPLETE
                break
        has_failed = curve.failed is not None and last > len(curve.values)
        failed = curve.failed if has_failed or (asked.until is None and curve.failed) else None
        return TrialResult(
            number=asked.number,
            config=asked.config,
            state=FAILED if failed else state,
            end=failed or state,
            value=None if failed else max(values),
            best_epoch=None if failed else values.index(max(values)) + 1,
            history=tuple(history),
            parameters=count_parameters(asked.config),
        )

    loop.run(study, loop.SequentialRunner(trained), max_failures=sys.maxsize)
    return spent


def sweep_in(
    spec: StudySpec, curves: Learns, storage: Storage, facts: Mapping[str, Any] | None = None
) -> Sweep:
    """Sweep a study in a store, with facts of a new study."""
    facts = {"runtime": resolve_runtime(spec), **(facts or {})}
    study = Study.open(storage, "search", spec, facts)
    spent = run_in(study, curves)
    results = study.results()
    winner = find_best_trial(results, study.ranking_rule)
    if winner is None or winner.value is None:
        raise SystemExit(f"seed {spec.seed}: no trial is complete")
    ends = [result.end if result.duplicate_of is None else "duplicate" for result in results]
    return Sweep(
        rule=spec.pruner,
        seed=spec.seed,
        epochs=spent.epochs,
        seconds=round(spent.seconds, 2),
        best=winner.value,
        winner=winner.number,
        configuration=winner.config.to_dict(),
        ends={end: ends.count(end) for end in sorted(set(ends))},
        gains=[(count, round(seconds, 2), value) for count, seconds, value in spent.gains],
    )


def error(accuracy: float, images: int) -> float:
    """The standard error of an accuracy on so many images.

    With two right and two wrong ones added (Agresti & Coull, The American Statistician 52, 1998): it would be 0 where
    all are right.
    """
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))


def compare(sweeps: Sequence[Sweep], images: int) -> dict[str, Any]:
    """What each rule spares and loses, against the unpruned sweep of the same seed."""
    unpruned = {sweep.seed: sweep for sweep in sweeps if sweep.rule == UNPRUNED}
    return {
        rule: _compare(
            [(unpruned[sweep.seed], sweep) for sweep in sweeps if sweep.rule == rule], images
        )
        for rule in dict.fromkeys(sweep.rule for sweep in sweeps)
    }


def _compare(pairs: Sequence[tuple[Sweep, Sweep]], images: int) -> dict[str, Any]:
    losses = [full.best - pruned.best for full, pruned in pairs]
    reached = [
        (full, pruned.reached(full.best - error(full.best, images))) for full, pruned in pairs
    ]
    epochs = [spent[0] / full.epochs if spent else math.inf for full, spent in reached]
    seconds = [spent[1] / full.seconds if spent else math.inf for full, spent in reached]
    return {
        "seeds": len(pairs),
        "epochs": round(statistics.fmean(pruned.epochs / full.epochs for full, pruned in pairs), 4),
        "seconds": round(
            statistics.fmean(pruned.seconds / full.seconds for full, pruned in pairs), 4
        ),
        "best": round(statistics.fmean(pruned.best for _, pruned in pairs), 5),
        "loss": round(statistics.fmean(losses), 5),
        "loss_error": round(statistics.stdev(losses) / math.sqrt(len(losses)), 5)
        if len(losses) > 1
        else None,
        "images_error": round(statistics.fmean(error(full.best, images) for full, _ in pairs), 5),
        "reached_epochs": round(statistics.median(epochs), 4),
        "reached_seconds": round(statistics.median(seconds), 4),
        "not_reached": sum(map(math.isinf, epochs)),
    }


def fewer(data: SearchData, images: int | None) -> SearchData:
    """So many training images, the first ones, and at most as many validation images."""
    train, val = (first_images(split, images) for split in (data.train, data.val))
    return dataclasses.replace(data, train=train, val=val)


def first_images(split: Split, images: int | None) -> Split:
    """The first images of a split; all of them for None."""
    return Split(split.images[:images], split.labels[:images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where curves are kept")
    parser.add_argument("--study", default="default")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--families", help="to search, by commas; the study's own, if not given")
    parser.add_argument("--images", type=int, help="training images, and validation images at most")
    parser.add_argument("--method", choices=["tpe", "random"], default="tpe")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument(
        "--patience", type=int, default=0, help="of early stopping, in the sweeps with a rule"
    )
    parser.add_argument("--no-starts", action="store_true", help="leave out start_with")
    parser.add_argument("--rules", default="asha,median", help="beside none, by commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    sweeps, images = [], 0
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for rule in (UNPRUNED, *options.rules.split(",")):
            patience = options.patience if rule != UNPRUNED else 0
            overrides = {
                "dataset": options.dataset,
                "method": options.method,
                "trials": options.trials,
            }
            overrides |= {"families": options.families and options.families.split(",")}
            overrides |= {
                "pruner": rule,
                "seed": seed,
                "set": {"patience": str(patience)} if patience else {},
            }
            spec = read_study(options.study, overrides)[2]
            if options.no_starts:
                spec = spec.model_copy(update={"start_with": ()})
            data = fewer(load_for(configuration(spec, {}), options.data_dir), options.images)
            path = (
                options.folder / f"{options.study}-{options.dataset}-{len(data.train)}-{seed}.jsonl"
            )
            curves = Curves(path, data)
            curves.warm_up(configuration(spec, resolve_runtime(spec)))
            sweeps.append(sweep(spec, curves))
            images = len(data.val)
            print(json.dumps(dataclasses.asdict(sweeps[-1])), file=sys.stderr)
    print(
        json.dumps(
            {"rules": compare(sweeps, images), "sweeps": list(map(dataclasses.asdict, sweeps))},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
