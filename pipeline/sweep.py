"""The main job: a study searched, tracked, resumed and reported. Joins the parts; each knows its own business."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import plan, report, stores, view
from pipeline.checkpoints import Folder, trial_folder
from pipeline.data import SearchData, load_for
from pipeline.errors import Failure, Interrupted, NothingComplete, StorageFailure, TimedOut, UsageFailure
from pipeline.progress import Show
from pipeline.signals import StopRequest, stop_requests
from pipeline.tracking import Tracker
from pipeline.train import Hooks, train
from sweeps import study as studies
from sweeps.layout import configuration
from sweeps.ranking import StudyRecord, best, ended, rank
from sweeps.space import StudySpec
from sweeps.study import STORE_ERRORS, Job, Study, StudyChangedError
from sweeps.trial import COMPLETE, RUNNING, Epoch, TrialResult


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    study: str = "default"  # a shipped study's name, or a file's path
    name: str | None = None  # in the stores
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path = Path("data")
    storage: str | None = None
    experiment: str | None = None
    timeout: float | None = None  # seconds after which no trial is begun
    trial_timeout: float | None = None  # seconds that a trial may take


@dataclass(frozen=True)
class Plan:
    """A study that can be trained: checked, nothing written yet."""

    study: str  # the file's name
    name: str  # in the stores
    text: str  # of the file
    spec: StudySpec
    data: SearchData
    stores: stores.Stores


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    record: StudyRecord
    reason: str  # as `sweeps.study.run` says it
    report: Path  # the folder
    experiment_id: str


def make_plan(request: Request) -> Plan:
    """Read the study and the data, and check that they fit.

    Raises:
        Failure: in one line, before anything is written.
    """
    study, text, spec = plan.read_study(request.study, request.overrides)
    name = stores.check_name(request.name or plan.study_name(study, spec.dataset))
    where = stores.locate(request.storage)
    if spec.method == "ablate":
        spec = plan.ablate(spec, stores.read_record(where, spec.of))
    data = load_for(configuration(spec, {}), request.data_dir)
    plan.check_networks(spec, data.shape, len(data.classes))
    return Plan(study, name, text, spec, data, where)


def sweep(made: Plan, request: Request, show: Callable[[Study], Show]) -> Outcome:
    """Search the study to its total, going on from whatever an earlier command left.

    Raises:
        Interrupted: asked to stop by a signal; the same command goes on.
        Failure: in one line, with its exit code.
    """
    settled = plan.runtime(made.spec)
    stores.prepare(made.stores)
    with stores.lock(made.stores, made.name), stop_requests() as stop:
        tracker = Tracker(made.stores.tracking, experiment=request.experiment, server_default=made.name)
        try:
            data = made.data
            facts = {"study": made.study, "classes": data.classes, "shape": data.shape, "runtime": settled}
            facts["digest"] = data.digest
            with _study_errors():
                study = Study.open(stores.open_studies(made.stores), made.name, made.spec, facts)
                _check_images(study, data)
                plan.check_device(study.facts["runtime"] | {"device": made.spec.base.get("device", "auto")})
                return _Sweep(made, request, study, tracker, stop, show(study)).run()
        finally:
            tracker.close()


class _Sweep:
    """One sweep under way."""

    def __init__(
        self, made: Plan, request: Request, study: Study, tracker: Tracker, stop: StopRequest, show: Show
    ) -> None:
        self.made, self.request, self.study, self.tracker = made, request, study, tracker
        self.stop, self.show = stop, show
        self.began = time.monotonic()
        known = study.recall("parent_run_id")
        self.parent = tracker.call(tracker.open_parent, made.name, known, _parent_tags(study))
        study.remember("parent_run_id", self.parent)

    def run(self) -> Outcome:
        """Train what is left, then report."""
        made, done = self.made, self.study.ended()
        self.show.say(f"study {made.name}: {done} of {self.study.total} trials ended; stores in {made.stores.home}")
        with self._ending():
            self._describe()
            self._complete_records()
            with self.show.live():
                reason = studies.run(
                    self.study, self._train, untrained=self._untrained, told=self._told, until=self._out_of_time
                )
            self._drop_checkpoints()
            self.tracker.drain()
            record, folder = self.study.record(), made.stores.reports(made.name)
            try:
                report.write(record, folder)
            except OSError as error:
                raise StorageFailure(f"cannot write the report in {folder}: {error}") from error
        code = 0 if reason != "failures" and best(record.results, maximize=record.maximize) else NothingComplete.code
        self._finish(record, "FINISHED" if code == 0 else "FAILED", code, folder)
        return Outcome(record, reason, folder, self.tracker.experiment_id)

    def _describe(self) -> None:
        spec, made = self.study.spec, self.made
        params: dict[str, object] = {
            f"plan.{key}": value for key, value in spec.identity().items() if key not in ("search", "fixed")
        }
        params |= {"plan.trials": self.study.total, "plan.study": made.study}
        params |= {f"plan.fixed.{key}": value for key, value in self.study.facts["runtime"].items()}
        params |= {f"plan.fixed.{key}": value for key, value in spec.fixed.model_dump(exclude_none=True).items()}
        for dimension in spec.dimensions:  # MLflow's keys have no brackets: conditions go into the value
            key, condition = f"plan.search.{dimension.field}", dimension.key.removeprefix(dimension.field)
            params[key] = "; ".join(filter(None, (str(params.get(key, "")), f"{dimension}{condition}")))
        self.tracker.submit(self.tracker.describe_parent, self.parent, params, {f"{made.study}.yaml": made.text})
        self.tracker.submit(self.tracker.set_view, view.key(made.name), view.view(self.study.record()))

    def _complete_records(self) -> None:
        """Complete the runs of trials whose end is kept, but whose process died before their record was whole."""
        results = {result.number: result for result in self.study.results()}
        unfinished = self.tracker.call(self.tracker.unfinished, self.parent)
        for number, run_id in unfinished.items():
            result = results.get(number)
            if result is not None and result.state != RUNNING:
                self._record(dataclasses.replace(result, run_id=run_id))
        begun = [result for result in results.values() if result.state == RUNNING]
        if begun:
            numbers = ", ".join(f"#{result.number}" for result in begun)
            self.show.say(f"going on with {len(begun)} interrupted trial{'s' * (len(begun) > 1)}: {numbers}")

    def _train(self, job: Job) -> TrialResult:
        """Train one trial, with its record."""
        made, tracker, began = self.made, self.tracker, time.monotonic()
        opened = self._open(job)
        self.show.trial(job.number, job.config)

        def epoch(row: Epoch, best_value: float) -> bool:
            self.show.epoch(row)
            with _study_errors():  # or it would pass for a fault of the trial
                return self.study.report(job, row.epoch, best_value)

        def saved(history: tuple[Epoch, ...]) -> None:
            tracker.submit(lambda: tracker.log_epochs(opened.result()[0], history))

        def stop() -> None:
            self.stop.check()
            limit = self.request.trial_timeout
            if limit is not None and time.monotonic() - began > limit:
                raise TimedOut(f"it took longer than {limit:g} s")

        hooks = Hooks(epoch=epoch, saved=saved, step=self.show.step, stop=stop)
        folder = trial_folder(made.stores.home, made.name, job.number)
        spec = self.study.spec
        limits, every_epoch = spec.constraints.limits, spec.keep_checkpoints == "all"
        try:
            result = train(
                job.number,
                job.config,
                made.data,
                folder,
                objective=spec.objective,
                hooks=hooks,
                limits=limits,
                every_epoch=every_epoch,
            )
        except (Interrupted, Failure):
            with contextlib.suppress(Failure), _study_errors():
                self.study.note_interrupted(job)
                tracker.submit(lambda: tracker.interrupt(opened.result()[0]))
            raise
        run_id, artifacts = tracker.result(opened)
        kept = f"{artifacts}/checkpoint" if result.checkpoint else None
        return dataclasses.replace(result, run_id=run_id, checkpoint=kept)

    def _untrained(self, job: Job, result: TrialResult) -> TrialResult:
        """Give a result that was not trained a run of its own."""
        return dataclasses.replace(result, run_id=self.tracker.result(self._open(job))[0])

    def _drop_checkpoints(self) -> None:
        """Remove the weights of all trials but the best, where the study says so."""
        policy, _, most = self.study.spec.keep_checkpoints.partition(":")
        if policy not in ("best", "top"):
            return
        results = self.study.results()
        ranked = rank(results, maximize=self.study.spec.maximize)
        kept = {trial.checkpoint for entry in ranked[: int(most or 1)] for trial in entry.trials}
        for result in results:
            if result.checkpoint is not None and result.checkpoint not in kept and result.duplicate_of is None:
                self.tracker.submit(self.tracker.drop_checkpoint, str(result.run_id))

    def _open(self, job: Job) -> Future[tuple[str, str]]:
        """Have the trial's run opened: its id and the place of its artifacts come in time."""
        data = self.made.data
        source = {"name": data.name, "digest": data.digest, "source": str(self.request.data_dir)}
        open_trial = self.tracker.open_trial
        return self.tracker.submit(open_trial, self.parent, self.made.name, job.number, job.config, source)

    def _told(self, result: TrialResult) -> None:
        results = self.study.results()
        winner = best(results, maximize=self.study.spec.maximize)
        self._record(result)
        if winner is not None and winner.value is not None:
            key = f"sweep/best_{self.study.spec.objective}"
            self.tracker.submit(self.tracker.log_progress, self.parent, key, winner.value, self.study.ended())
        self.show.ended(result, winner)

    def _record(self, result: TrialResult) -> None:
        """Complete a trial's run; its weights are an artifact then, and the local copy goes."""
        folder = Folder(trial_folder(self.made.stores.home, self.made.name, result.number))

        def record() -> None:
            self.tracker.finish_trial(str(result.run_id), result, self.made.data.classes, list(folder.kept()))
            folder.clear()

        self.tracker.submit(record)

    def _out_of_time(self) -> bool:
        self.stop.check()
        return self.request.timeout is not None and time.monotonic() - self.began > self.request.timeout

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Leave the parent's record true, however the sweep ends."""
        try:
            yield
        except BaseException as error:
            status = "KILLED" if isinstance(error, Interrupted) else "FAILED"
            with contextlib.suppress(Failure), _study_errors():
                self._finish(self.study.record(), status, getattr(error, "code", 1), None)
            raise

    def _finish(self, record: StudyRecord, status: str, code: int, folder: Path | None) -> None:
        winner = best(record.results, maximize=record.maximize)
        tags: dict[str, object] = {
            "sweep.exit_code": code,
            "sweep.trials": record.trials,
            "sweep.trials_complete": sum(result.state == COMPLETE for result in record.results),
            "mlflow.note.content": _note(record, winner),
        }
        configuration: dict[str, object] = {}
        metrics: dict[str, float] = {}
        if winner is not None and winner.best is not None and code == 0:
            tags["sweep.winner"] = winner.number
            configuration = {"trial": winner.number, **winner.config.to_dict()}
            figures = {k.replace("/", "_"): v for k, v in winner.best.metrics.items() if k.startswith("val/")}
            metrics = {f"sweep/winner_{key}": value for key, value in figures.items()}
            metrics["sweep/winner_epoch"] = winner.best.epoch
        finish = self.tracker.finish_parent
        self.tracker.submit(
            lambda: finish(self.parent, status=status, tags=tags, winner=configuration, metrics=metrics, folder=folder)
        )
        self.tracker.drain()


def _check_images(study: Study, data: SearchData) -> None:
    """Refuse to go on with other images than the study was begun with."""
    before = study.facts.get("digest", data.digest)
    if before != data.digest:
        raise UsageFailure(
            f"study {study.name!r} was begun with other images of {data.name} (digest {before}, now {data.digest}): "
            "put those back, or give another --name"
        )


@contextmanager
def _study_errors() -> Iterator[None]:
    """Turn what the store of studies raises into one line."""
    try:
        yield
    except StudyChangedError as error:
        raise UsageFailure(f"{error}: go back to those values, or give another --name") from None
    except STORE_ERRORS as error:
        cause = " ".join(str(error.__cause__ or error).split())[:300]  # Optuna's own text blames a value's length
        raise StorageFailure(f"cannot use the store of studies: {cause}") from error


def _parent_tags(study: Study) -> dict[str, str]:
    return {"sweep.trials": str(study.total), "sweep.dataset": study.spec.dataset}


def _note(record: StudyRecord, winner: TrialResult | None) -> str:
    """The parent run's description: what it is, how it ended, how to go on, and which class each index is."""
    lines = [f"**Study `{record.name}`** on {record.dataset}: {ended(record.results)} of {record.trials}.", ""]
    if winner is not None and winner.value is not None:
        lines += [f"Best {record.objective} {winner.value:.4f}: trial {winner.number}, epoch {winner.best_epoch}.", ""]
    lines += [
        "Accuracies are of the validation split; the sweep did not read the test split.",
        "",
        f"- go on: `pipeline sweep --name {record.name}` with the study it was begun with, and `--trials` for more",
        f"- report: `pipeline report {record.name} --best`",
        "- compare: `pipeline ui`",
        "",
        "| `val_class/` | class |",
        "| --- | --- |",
        *(f"| {index:02d} | {report.markdown(name)} |" for index, name in enumerate(record.classes[:20])),
    ]
    return "\n".join(lines)
