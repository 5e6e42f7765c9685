"""The main job: a study searched, tracked, resumed and reported. Joins the parts; each knows its own business."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import failpoints, plan, stores
from pipeline.checkpoints import trial_folder
from pipeline.connection import FAREWELL
from pipeline.data import SearchData, load_for
from pipeline.errors import Failure, Interrupted, NothingComplete, ServerAway, UsageFailure
from pipeline.progress import Show
from pipeline.recording import Recorder, study_errors
from pipeline.signals import StopRequest, stop_requests
from pipeline.tracking import Tracker
from pipeline.train import Hooks, train
from sweeps import study as studies
from sweeps.layout import configuration
from sweeps.ranking import StudyRecord, best
from sweeps.space import StudySpec
from sweeps.study import MAX_FAILURES, Job, Study
from sweeps.trial import RUNNING, Epoch, TrialResult


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
    max_failures: int = MAX_FAILURES  # in a row, after which it ends


@dataclass(frozen=True)
class Plan:
    """A study that can be trained: checked, nothing written yet."""

    study: str  # the file's name
    name: str  # in the stores
    text: str  # of the file
    spec: StudySpec
    data: SearchData
    stores: stores.Stores
    deviations: str  # from the study's file, where that has published figures
    ablated: dict[str, Any] | None  # what an ablation starts from


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
    deviations, ablated = plan.deviations(request.study, spec), None
    if spec.method == "ablate":  # the best of another study, as it was when this one was begun
        ablated = stores.read_fact(where, name, "ablated") or plan.ablated(stores.read_record(where, spec.of))
        spec = plan.ablate(spec, ablated)
    data = load_for(configuration(spec, {}), request.data_dir)
    plan.check_networks(spec, data.shape, len(data.classes))
    return Plan(study, name, text, spec, data, where, deviations, ablated)


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
        tracker.listen(stop.check)
        try:
            data = made.data
            facts: dict[str, Any] = {
                "study": made.study,
                "classes": data.classes,
                "shape": data.shape,
                "runtime": settled,
            }
            facts |= {"digest": data.digest, "ablated": made.ablated}
            with study_errors():
                study = Study.open(stores.open_studies(made.stores), made.name, made.spec, facts)
                _check_images(study, data)
                plan.check_device(study.facts["runtime"] | {"device": made.spec.base.get("device", "auto")})
                plan.check_space(made.spec, data, made.stores.home, study.total - study.ended())
                return _Sweep(made, request, study, tracker, stop, show(study)).run()
        except ServerAway as error:
            store = ["--storage", request.storage] if request.storage else []
            again = shlex.join(["pipeline", "sync", made.name, *store])
            raise ServerAway(f"{error}; nothing is lost: when it is back, complete the record with: {again}") from None
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
        study.remember("described", self._described())
        study.remember("deviations", made.deviations)
        study.remember("reason", None)  # why it ended: it has not
        self.recorder = Recorder(study, tracker, made.stores.home, show.say)

    def run(self) -> Outcome:
        """Train what is left, then report."""
        made, done = self.made, self.study.ended()
        self.show.say(f"study {made.name}: {done} of {self.study.total} trials ended; stores in {made.stores.home}")
        with self._ending():
            self.recorder.describe()
            self._complete()
            with self.show.live():
                reason = studies.run(
                    self.study,
                    self._train,
                    untrained=self._untrained,
                    told=self._told,
                    until=self._out_of_time,
                    max_failures=self.request.max_failures,
                )
            self.study.remember("reason", reason)
            try:
                self.recorder.settle()
            except ServerAway:
                self.recorder.write_report()  # from what Optuna has
                raise
            record, folder = self.recorder.write_report()
            found = best(record.results, maximize=record.maximize)
            code = 0 if reason != "failures" and found else NothingComplete.code
            self.recorder.finish("FINISHED" if code == 0 else "FAILED", code, folder)
        return Outcome(record, reason, folder, self.tracker.experiment_id)

    def _described(self) -> dict[str, object]:
        """What the record says of the study: kept with it, so that the record can be made again."""
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
        data = made.data
        source = {"name": data.name, "digest": data.digest, "source": str(self.request.data_dir)}
        return {"params": params, "files": {f"{made.study}.yaml": made.text}, "data": source}

    def _complete(self) -> None:
        """Complete the record of an earlier process, and say what of its trials is gone on with."""
        missing = self.recorder.complete()
        if missing:
            self.show.say(f"completing the record of {len(missing)} trial{'s' * (len(missing) > 1)} in MLflow")
        begun = [result for result in self.study.results() if result.state == RUNNING]
        if begun:
            numbers = ", ".join(f"#{result.number}" for result in begun)
            self.show.say(f"going on with {len(begun)} interrupted trial{'s' * (len(begun) > 1)}: {numbers}")

    def _train(self, job: Job) -> TrialResult:
        """Train one trial, with its record."""
        failpoints.reach("in_adoption" if job.adopted else "after_ask")
        made, tracker = self.made, self.tracker
        opened = self.recorder.open(job.number, job.config)
        self.show.trial(job.number, job.config)

        def epoch(row: Epoch, best_value: float) -> bool:
            self.show.epoch(row)
            with study_errors():  # or it would pass for a fault of the trial
                return self.study.report(job, row.epoch, best_value)

        def saved(history: tuple[Epoch, ...]) -> None:
            tracker.submit(lambda: tracker.log_epochs(opened.result()[0], history))

        hooks = Hooks(epoch=epoch, saved=saved, step=self.show.step, stop=self.stop.check)
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
                time_limit=self.request.trial_timeout,
            )
            failpoints.reach("before_tell")
            return self.recorder.placed(result, opened)
        except (Interrupted, Failure):
            with contextlib.suppress(Failure), study_errors():
                self.study.note_interrupted(job)
                tracker.submit(lambda: tracker.interrupt(opened.result()[0]))
            raise

    def _untrained(self, job: Job, result: TrialResult) -> TrialResult:
        """Give a result that was not trained a run of its own."""
        return self.recorder.placed(result, self.recorder.open(job.number, job.config))

    def _told(self, result: TrialResult) -> None:
        failpoints.reach("between_stores")
        self.recorder.told(result)
        self.show.ended(result, best(self.study.results(), maximize=self.study.spec.maximize))

    def _out_of_time(self) -> bool:
        self.stop.check()
        return self.request.timeout is not None and time.monotonic() - self.began > self.request.timeout

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Leave the parent's record true, however the sweep ends."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, Interrupted)
            status, limit = ("KILLED", FAREWELL) if stopped else ("FAILED", math.inf)
            with contextlib.suppress(Failure), study_errors():
                self.recorder.finish(status, getattr(error, "code", 1), limit=limit)
            raise


def _check_images(study: Study, data: SearchData) -> None:
    """Refuse to go on with other images than the study was begun with."""
    before, classes = study.facts.get("digest", data.digest), tuple(study.facts["classes"])
    if (before, classes) != (data.digest, data.classes):
        digests = f"digest {before}, now {data.digest}" if classes == data.classes else "their classes have other names"
        raise UsageFailure(
            f"study {study.name!r} was begun with other images of {data.name} ({digests}): "
            "put those back, or give another --name"
        )
