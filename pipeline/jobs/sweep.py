"""The main job: a study searched, tracked, resumed and reported. Joins the parts; each knows its own business."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.data.search_data import SearchData, load_for
from pipeline.engines.base import EngineFactory
from pipeline.engines.registry import open_factory
from pipeline.jobs import preflight, studies
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.trial_runner import TrialRunner
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.system import failpoints, garbage
from pipeline.system.errors import Failure, Interrupted, NothingComplete, ServerAway, UsageFailure
from pipeline.system.signals import StopRequest, stop_requests
from pipeline.tracking.server import STOP_TIMEOUT
from pipeline.tracking.tracker import Tracker
from pipeline.training.mistakes import encode_thumbnails
from sweeps.analysis.facts import AblationStart, ChosenFinalists
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.ranking import BestSoFar
from sweeps.analysis.record import StudyRecord
from sweeps.search import loop
from sweeps.search.loop import MAX_FAILURES
from sweeps.search.stored import StoredStudy
from sweeps.search.study import AskedTrial, Study
from sweeps.spec.configurations import configuration
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import RUNNING, TrialResult


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
    workers: int | None = (
        None  # trials at a time; else as when the study was made, or as the engine has room for
    )
    deterministic: bool | None = (
        None  # whether the list of trials is the same each time; else the same
    )
    engine: str = "local"  # where they are trained: a key of `pipeline.engines.registry.ENGINES`
    address: str | None = None  # of a cluster
    command: str = ""  # all of it, as typed


@dataclass(frozen=True)
class Plan:
    """A study that can be trained: checked, nothing written yet."""

    study: str  # the file's name
    name: str  # in the stores
    text: str  # of the file
    spec: StudySpec
    data: SearchData
    stores: locations.Stores
    deviations: str  # from the study's file, where that has published figures
    ablated: AblationStart | None = None  # only of an ablation
    finalists: ChosenFinalists | None = None  # of another study, which this one trains again


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    record: StudyRecord
    reason: str  # as `sweeps.search.loop.run` says it
    report: Path  # the folder
    experiment_id: str


def make_plan(request: Request) -> Plan:
    """Read the study and the data, and check that they fit.

    Raises:
        Failure: in one line, before anything is written.
    """
    study, text, spec = studies.read_study(request.study, request.overrides)
    name = locations.check_name(request.name or studies.study_name(study, spec.dataset))
    if name.endswith(FINALISTS_SUFFIX):
        raise UsageFailure(
            f"a name that ends with {FINALISTS_SUFFIX} is of what `pipeline finalists` trains: got {name!r}"
        )
    where = locations.locate(request.storage)
    deviations = studies.deviations(request.study, spec)
    ablated = None
    if spec.method == "ablate":  # the best of another study, as it was when this one was begun
        facts = access.read_facts(where, name)
        ablated = None if facts is None else facts.ablated
        if ablated is None:
            ablated = studies.ablation_start(access.read_record(where, spec.of))
        spec = studies.ablate_study(spec, ablated)
    data = load_for(configuration(spec, {}), request.data_dir)
    preflight.check_networks(spec, data.shape, len(data.classes))
    return Plan(study, name, text, spec, data, where, deviations, ablated)


def sweep(
    made: Plan,
    request: Request,
    show: Callable[[Study], ProgressDisplay],
    then: Callable[[StopRequest], None] = lambda _: None,
) -> Outcome:
    """Search the study to its total, going on from whatever an earlier command left.

    Args:
        made: the study.
        request: what was asked for.
        show: makes what shows it.
        then: called once nothing is left to train, before the report is written.

    Raises:
        Interrupted: asked to stop by a signal; the same command goes on.
        Failure: in one line, with its exit code.
    """
    with closing(open_factory(request.engine, request.address)) as site:
        return _sweep_on(site, made, request, show, then)


def _sweep_on(
    site: EngineFactory,
    made: Plan,
    request: Request,
    show: Callable[[Study], ProgressDisplay],
    then: Callable[[StopRequest], None],
) -> Outcome:
    settled = preflight.resolve_runtime(made.spec, site.resolve)
    usual = preflight.default_workers(made.spec, len(made.data.train), settled)
    workers = request.workers or site.places(usual, configuration(made.spec, settled))
    site.warm_up(workers * int(settled.get("gpus_per_trial", 1)))
    access.prepare(made.stores)
    with locks.lock(made.stores, made.name) as held, stop_requests() as stop:
        experiment = made.finalists.of if made.finalists else made.name
        with garbage.freeze_loaded():
            tracker = Tracker(
                made.stores.tracking, experiment=request.experiment, server_default=experiment
            )
        tracker.listen(stop.check)
        try:
            data = made.data
            facts: dict[str, Any] = {
                "study": made.study,
                "classes": data.classes,
                "shape": data.shape,
                "runtime": settled,
            }
            facts |= {
                "digest": data.digest,
                "ablated": None if made.ablated is None else dataclasses.asdict(made.ablated),
                "finalists": None if made.finalists is None else dataclasses.asdict(made.finalists),
            }
            facts |= {
                "images": {"train": len(data.train), "val": len(data.val)},
                "description": made.spec.description,
            }
            facts |= {"versions": preflight.library_versions()}
            if request.deterministic is None:
                deterministic = site.deterministic
            else:
                deterministic = request.deterministic
            facts |= {"workers": workers, "deterministic": deterministic}
            with study_errors():
                with garbage.freeze_loaded():
                    study = Study.open(
                        access.open_studies(made.stores, held), made.name, made.spec, facts
                    )
                check_images(study, data)
                asked = {"device": made.spec.base.get("device", "auto")}
                preflight.check_device({**study.facts.runtime, **asked}, site.resolve)
                preflight.check_space(
                    made.spec, data, made.stores.home, study.total - study.count_ended()
                )
                return _Sweep(made, request, site, study, tracker, stop, show(study)).run(then)
        except ServerAway as error:
            store = ["--storage", request.storage] if request.storage else []
            again = shlex.join(["pipeline", "sync", made.name, *store])
            raise ServerAway(
                f"{error}; nothing is lost: when it is back, complete the record with: {again}"
            ) from None
        finally:
            tracker.close()


class _Sweep:
    """One sweep under way."""

    def __init__(
        self,
        made: Plan,
        request: Request,
        site: EngineFactory,
        study: Study,
        tracker: Tracker,
        stop: StopRequest,
        show: ProgressDisplay,
    ) -> None:
        self.made = made
        self.request = request
        self.site = site
        self.study = study
        self.tracker = tracker
        self.stop = stop
        self.show = show
        self.began = time.monotonic()
        study.remember("described", self._described())
        study.remember("deviations", made.deviations)
        study.remember("command", request.command)
        study.remember("reason", None)  # why it ended: it has not
        if request.deterministic is not None:
            study.deterministic = request.deterministic
        elif not site.deterministic:
            study.deterministic = False
        asked = request.workers or site.places(
            study.workers, configuration(study.spec, study.resolved_values())
        )
        self.places = min(asked, study.workers) if study.waits_for_earlier else asked
        self.leader = BestSoFar(maximize=made.spec.maximize)
        self.recorder = Recorder(study, tracker, made.stores.home, show.say)

    def run(self, then: Callable[[StopRequest], None]) -> Outcome:
        """Train what is left, then report."""
        made = self.made
        done = self.study.count_ended()
        self.show.say(
            f"study {made.name}: {done} of {self.study.total} trials ended; stores in {made.stores.home}"
        )
        self._say_how()
        with self._ending():
            with garbage.freeze_loaded():
                self.recorder.describe()
            self._complete()
            reason = self._search()
            self.study.remember("reason", reason)
            try:
                self.recorder.settle()
                if reason == "done":
                    then(self.stop)
            except ServerAway:
                self.recorder.write_report()  # from what Optuna has
                raise
            record, folder = self.recorder.write_report()
            found = record.best_trial
            code = 0 if reason != "failures" and found else NothingComplete.code
            self.recorder.finish("FINISHED" if code == 0 else "FAILED", code, folder)
        return Outcome(record, reason, folder, self.tracker.experiment_id)

    def _say_how(self) -> None:
        """Say how many trials are trained at a time, and whether the list of trials is the same each time."""
        made_for = self.study.workers
        asked = self.request.workers
        at_a_time = f"{self.places} at a time{self.site.where}"
        if self.study.predetermined:
            if self.places > 1 or self.site.where:
                self.show.say(f"{at_a_time}; the list of trials is known beforehand")
        elif not self.study.deterministic:
            self.show.say(f"{at_a_time}, as they end: the list of trials may be another each time")
        elif asked is not None and asked > made_for:
            more = f"made for {made_for} at a time, which decides its list of trials: so many are trained"
            self.show.say(
                f"{more}; with --no-deterministic {asked}, and the list may be another each time"
            )
        elif made_for > 1 or self.site.where:
            self.show.say(f"{at_a_time}; the list of trials is the same each time, for {made_for}")

    def _search(self) -> str:
        """Train what is left; why that came to an end."""
        processes = int(self.study.facts.runtime.get("gpus_per_trial", 1))
        engine = self.site.make(self.made.data, self.places, processes)
        request = self.request
        trials = TrialRunner(
            self.study, engine, self.recorder, self.show, self.stop, request.trial_timeout
        )
        with self.show.live(), trials:
            ending = loop.run(
                self.study,
                trials,
                complete_untrained=self._untrained,
                on_result=self._told,
                should_stop=self._out_of_time,
                max_failures=request.max_failures,
            )
        if engine.places > 1 and self.study.waits_for_earlier:
            self.recorder.idle(ending.idle / engine.places)
            why = "for earlier trials to end, so that the list of trials is the same each time"
            self.show.say(
                f"each of {engine.places} workers waited {ending.idle / engine.places:.1f} s {why}"
            )
        return ending.reason

    def _described(self) -> dict[str, object]:
        """What the record says of the study: kept with it, so that the record can be made again."""
        spec = self.study.spec
        made = self.made
        params: dict[str, object] = {
            f"plan.{key}": value
            for key, value in spec.identity().items()
            if key not in ("search", "fixed")
        }
        params |= {
            "plan.trials": self.study.total,
            "plan.study": made.study,
            "plan.workers": self.study.workers,
        }
        params |= {f"plan.fixed.{key}": value for key, value in self.study.facts.runtime.items()}
        params |= {
            f"plan.fixed.{key}": value
            for key, value in spec.fixed.model_dump(exclude_none=True).items()
        }
        for (
            dimension
        ) in spec.dimensions:  # MLflow's keys have no brackets: conditions go into the value
            key = f"plan.search.{dimension.field}"
            condition = dimension.key.removeprefix(dimension.field)
            params[key] = "; ".join(
                filter(None, (str(params.get(key, "")), f"{dimension}{condition}"))
            )
        data = made.data
        source = {"name": data.name, "digest": data.digest, "source": str(self.request.data_dir)}
        return {"params": params, "files": {f"{made.study}.yaml": made.text}, "data": source}

    def _complete(self) -> None:
        """Complete the record of an earlier process, and say what of its trials is gone on with."""
        missing = self.recorder.complete()
        if missing:
            self.show.say(
                f"completing the record of {len(missing)} trial{'s' * (len(missing) > 1)} in MLflow"
            )
        begun = []
        for result in self.study.results():
            if result.state == RUNNING:
                begun.append(result)
            else:
                self.leader.add(result)
        if begun:
            numbers = ", ".join(f"#{result.number}" for result in begun)
            self.show.say(
                f"going on with {len(begun)} interrupted trial{'s' * (len(begun) > 1)}: {numbers}"
            )
        self._pictured()

    def _untrained(self, job: AskedTrial, result: TrialResult) -> TrialResult:
        """Give a result that was not trained a run of its own."""
        return self.recorder.placed(result, self.recorder.open(job.number, job.config))

    def _told(self, result: TrialResult) -> None:
        failpoints.reach("between_stores")
        self.recorder.told(result)
        before = self.leader.best
        if self.leader.add(result) is not before:
            self._pictured()
        self.show.ended(result, self.leader.best)

    def _pictured(self) -> None:
        """Keep the mistakes of the best trial so far as pictures: those who read the study have no images."""
        found = self.leader.best
        if found is not None and found.number != self.study.thumbnails_trial:
            self.study.keep_thumbnails(
                found.number, encode_thumbnails(found.mistakes, self.made.data.val.images)
            )

    def _out_of_time(self) -> bool:
        self.stop.check()
        return (
            self.request.timeout is not None
            and time.monotonic() - self.began > self.request.timeout
        )

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Leave the parent's record true, however the sweep ends."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, Interrupted)
            status, limit = ("KILLED", STOP_TIMEOUT) if stopped else ("FAILED", math.inf)
            with contextlib.suppress(Failure), study_errors():
                self.recorder.finish(status, getattr(error, "code", 1), limit=limit)
            raise


def check_images(study: StoredStudy, data: SearchData) -> None:
    """Refuse to go on with other images than the study was begun with."""
    before = data.digest if study.facts.digest is None else study.facts.digest
    classes = study.facts.classes
    if (before, classes) != (data.digest, data.classes):
        if classes == data.classes:
            digests = f"digest {before}, now {data.digest}"
        else:
            digests = "their classes have other names"
        raise UsageFailure(
            f"study {study.name!r} was begun with other images of {data.name} ({digests}): "
            "put those back, or give another --name"
        )
