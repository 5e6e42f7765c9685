"""Searches a study, and records, resumes and reports it: the job behind `pipeline sweep`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import own
from models.suggestions import did_you_mean
from pipeline.checkpoints import Folder, check_links, trial_folder
from pipeline.data.datasets import is_own, is_present
from pipeline.data.search_data import SearchData, check_redraw, load_for, trial_splits
from pipeline.engines.base import EngineFactory
from pipeline.engines.registry import ENGINES, open_factory
from pipeline.jobs import own_data, preflight, pretrained, sources, studies
from pipeline.jobs.estimate import expected_time, left_over_text, only_baselines_text
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.trial_runner import TrialRunner
from pipeline.report.provenance import warm_start_text
from pipeline.stores import access, locations, locks
from pipeline.stores.access import study_errors
from pipeline.stores.similar_names import check_looks
from pipeline.system import failpoints, forkserver
from pipeline.system.errors import (
    Failure,
    Interrupted,
    NothingComplete,
    ServerAway,
    StudyTaken,
    UsageFailure,
)
from pipeline.system.garbage import LoadingContext
from pipeline.system.limits import check_count
from pipeline.system.signals import StopRequest
from pipeline.tracking import comparison_view
from pipeline.tracking.server import STOP_TIMEOUT
from pipeline.tracking.tracker import Tracker
from pipeline.training.best import save_best_of_paused
from pipeline.training.mistakes import encode_thumbnails
from sweeps.analysis.facts import AblationStart, ChosenFinalists, WarmStart
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.ranking import BestSoFar, ends_text
from sweeps.analysis.record import StudyRecord
from sweeps.search import loop
from sweeps.search.checked import PLACE, SOURCES
from sweeps.search.loop import MAX_FAILURES
from sweeps.search.stored import StoredStudy, study_names
from sweeps.search.study import AskedTrial, Pause, Study
from sweeps.spec.configurations import baseline_values, configuration
from sweeps.spec.durations import check_seconds
from sweeps.spec.study_spec import Finalists, StudySpec
from sweeps.trial import PAUSED, RUNNING, Redraw, TrialConfig, TrialResult, processes_of

_NUMBERS_SHOWN = 10  # numbers of trials in one line


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of a command that trains trials."""

    # None for the shipped study that the named one was made from, or the default.
    study: studies.StudySource | None = None
    name: str | None = None  # the study's name in the stores
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path = Path("data")
    storage: str | None = None
    experiment: str | None = None
    timeout: float | None = None  # seconds after which no further trial begins
    trial_timeout: float | None = None  # seconds that each trial may take
    # Whether finalists are trained after the search; None for what the study file says.
    finalists: bool | None = None
    max_failures: int = MAX_FAILURES  # the number of failures in a row that ends the sweep
    # Trials at a time; None for the number of an earlier command, or the capacity of the engine.
    workers: int | None = None
    # Whether the list of trials is the same each time; None for the choice of an earlier command.
    deterministic: bool | None = None
    engine: str = "local"  # a key of `pipeline.engines.registry.ENGINES`
    address: str | None = None  # the address of a cluster
    command: str = ""  # the whole command line, as typed
    given_by: str = "command line"  # where `overrides` come from, for messages

    def __post_init__(self) -> None:
        """Check the values that a program may give without the checks of the command line.

        Raises:
            UsageFailure: naming the value.
        """
        if self.engine not in ENGINES:
            hint = did_you_mean(str(self.engine), list(ENGINES))
            raise UsageFailure(f"engine is unknown: {self.engine!r}; {hint}")
        rules: dict[str, Callable[[Any], object]] = {
            "timeout": check_seconds,
            "trial_timeout": check_seconds,
            "workers": check_count,
            "max_failures": check_count,
        }
        for name, check in rules.items():
            value = getattr(self, name)
            if value is None:
                continue
            try:
                check(value)
            except ValueError as error:
                raise UsageFailure(f"{name} must be {error}") from None


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A study as it is asked for, before its images are read."""

    study: str  # the name of the study file
    name: str  # the study's name in the stores
    text: str  # the content of the study file
    spec: StudySpec
    stores: locations.Stores
    deviations: str  # the differences from the study file, if the file has published figures
    ablated: AblationStart | None = None  # if the study is an ablation
    warm_start: WarmStart | None = None  # if the study begins from earlier ones


@dataclass(frozen=True, kw_only=True)
class Plan(Draft):
    """A study that has been checked and can be trained. Nothing is written yet."""

    data: SearchData
    finalists: ChosenFinalists | None = None  # if the study retrains the finalists of another
    # The measured seconds of an epoch of each finalist, by `TrialConfig.group`.
    epoch_seconds: Mapping[str, float] = field(default_factory=dict)
    # For how many finalists the promising trials of an ended search are finished; None to search.
    finishes_for: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    record: StudyRecord
    reason: str  # as `sweeps.search.loop.run` returns it
    report: Path  # the folder of the report
    experiment_id: str


def make_draft(request: Request) -> Draft:
    """Read the study, but not its images.

    Raises:
        Failure: with a message of one line.
    """
    stores = locations.locate(request.storage)
    wanted = _wanted_study(request, stores)
    own.forget()  # what an earlier command of this process has loaded may have changed
    study, text, spec = studies.read_study(wanted, request.overrides, request.given_by)
    if request.finalists is False:
        spec = spec.model_copy(update={"finalists": None})
    elif request.finalists and spec.finalists is None:
        spec = spec.model_copy(update={"finalists": Finalists()})
    name = studies.study_name(study, spec.dataset) if request.name is None else request.name
    locations.check_name(name)
    if name.endswith(FINALISTS_SUFFIX):
        raise UsageFailure(
            f"a name that ends with {FINALISTS_SUFFIX} is of what `pipeline finalists` trains: "
            f"got {name!r}"
        )
    deviations = studies.deviations(wanted, spec)
    if name in spec.warm_start:
        raise UsageFailure(f"warm_start names the study itself: leave out {name!r}")
    # What is taken from other studies stays as it was when this study began.
    facts = access.read_facts(stores, name) if spec.of or spec.warm_start else None
    ablated = None
    if spec.method == "ablate":
        ablated = None if facts is None else facts.ablated
        if ablated is None:
            ablated = studies.ablation_start(access.read_record(stores, spec.of))
        spec = studies.ablate_study(spec, ablated)
    if is_own(spec.dataset):
        identity = access.read_identity(stores, name)
        spec = own_data.with_data_version(spec, identity)
        spec = pretrained.with_image_size(spec, identity, request.data_dir)
    taken = None if facts is None else facts.warm_start
    if spec.warm_start and facts is None:
        records = [access.read_record(stores, source) for source in spec.warm_start]
        taken = studies.take_warm_start(spec, records)
    return Draft(
        study=study,
        name=name,
        text=text,
        spec=spec,
        stores=stores,
        deviations=deviations,
        ablated=ablated,
        warm_start=taken,
    )


def make_plan(request: Request, *, download: bool = True) -> Plan:
    """Read the study and the data, and check that they fit.

    Args:
        request: of the command.
        download: whether published weights may be downloaded.

    Raises:
        Failure: with a message of one line, before anything is written.
    """
    draft = make_draft(request)
    spec = draft.spec
    data = load_for(configuration(spec, {}), request.data_dir)
    if is_own(spec.dataset):
        spec = own_data.keep_name(spec, data, draft.stores, draft.name)
    if spec.finalists is not None and spec.finalists.folds is not None:
        check_redraw(data, Redraw(1, spec.finalists.folds))
    elif spec.finalists is not None and spec.finalists.split_seeds is not None:
        check_redraw(data, Redraw(0))
    preflight.check_parts(spec, data)
    pretrained.fetch(preflight.example_configs(spec), download=download)
    preflight.check_networks(spec, data.shape, len(data.classes))
    preflight.check_augmentation(spec, data)
    sources.remember_named(spec)
    return Plan(**{**vars(draft), "spec": spec}, data=data)


def preview(request: Request) -> tuple[Draft, SearchData | None]:
    """Read the study, and its images if they are on this machine: nothing is downloaded.

    Returns:
        The study, and its images; None for images that would be downloaded.

    Raises:
        Failure: with a message of one line.
    """
    draft = make_draft(request)
    if not is_present(draft.spec.dataset, request.data_dir):
        return draft, None
    plan = make_plan(request, download=False)
    return plan, plan.data


def _wanted_study(request: Request, stores: locations.Stores) -> studies.StudySource:
    """Return what the study of a request is read from."""
    if request.study is not None:
        return request.study
    if request.name is not None:
        facts = access.read_facts(stores, locations.check_name(request.name))
        if facts is not None and facts.study in studies.shipped_studies():
            return facts.study
    return studies.DEFAULT_STUDY


def sweep(
    plan: Plan,
    request: Request,
    make_display: Callable[[Study], ProgressDisplay],
    then: Callable[[StopRequest], None] = lambda _: None,
    *,
    stop: StopRequest | None = None,
    loading: LoadingContext = nullcontext,
) -> Outcome:
    """Train the trials of a study up to its total, resuming from an earlier command.

    Args:
        plan: the study.
        request: the request of the command.
        make_display: makes the display of the progress, for the opened study.
        then: called when all trials are trained, before the report is written.
        stop: a request to stop between two steps; without one, the sweep runs to its end.
        loading: a context for the parts that load modules and the study.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    with closing(open_factory(request.engine, request.address)) as factory:
        return _sweep_on(factory, plan, request, make_display, then, stop or StopRequest(), loading)


def _sweep_on(
    factory: EngineFactory,
    plan: Plan,
    request: Request,
    make_display: Callable[[Study], ProgressDisplay],
    then: Callable[[StopRequest], None],
    stop: StopRequest,
    loading: LoadingContext,
) -> Outcome:
    settled = preflight.settle(plan.spec, plan.data, factory, request.workers)
    deterministic = request.deterministic
    if deterministic is None:
        deterministic = factory.deterministic
    facts = _study_facts(plan, settled, deterministic=deterministic)
    factory.warm_up(settled.workers * processes_of(settled.runtime.get("gpus_per_trial")))
    access.prepare(plan.stores)
    with locks.lock(plan.stores, plan.name) as held, stop.listening():
        # On a tracking server, finalists go into the experiment of their study.
        experiment = plan.finalists.of if plan.finalists else plan.name
        with loading():
            tracker = Tracker(
                plan.stores.tracking,
                experiment=request.experiment,
                server_default=experiment,
                takes_given_run=plan.finishes_for is None,
            )
        tracker.listen(stop.check)
        try:
            with study_errors():
                with loading():
                    storage = access.open_studies(plan.stores, held)
                    check_looks(plan.name, study_names(storage))
                    study = Study.open(storage, plan.name, plan.spec, facts)
                    study.record()  # with its finalists: damage is told before a run begins
                _check_resumable(study, plan, factory)
                display = make_display(study)
                running = _Sweep(plan, request, factory, study, tracker, stop, display, loading)
                return running.run(then)
        except ServerAway as error:
            storage_option = ["--storage", request.storage] if request.storage else []
            command = shlex.join(["pipeline", "sync", plan.name, *storage_option])
            raise ServerAway(
                f"{error}; nothing is lost: when it is back, complete the record with: {command}"
            ) from None
        finally:
            tracker.close()


def _study_facts(plan: Plan, settled: preflight.Settled, *, deterministic: bool) -> dict[str, Any]:
    """Return the facts that a new study keeps from its first command."""
    # Of which a trial may train on a part.
    whole = dataclasses.replace(configuration(plan.spec, {}), train_images=None)
    train, val = trial_splits(plan.data, whole)
    return {
        "study": plan.study,
        "classes": plan.data.classes,
        "shape": plan.data.shape,
        "runtime": settled.runtime,
        "digest": plan.data.digest,
        "copies": None if plan.data.copies is None else dataclasses.asdict(plan.data.copies),
        "ablated": None if plan.ablated is None else dataclasses.asdict(plan.ablated),
        "warm_start": None if plan.warm_start is None else dataclasses.asdict(plan.warm_start),
        "finalists": None if plan.finalists is None else dataclasses.asdict(plan.finalists),
        "images": {"train": len(train), "val": len(val)},
        "description": plan.spec.description,
        "versions": preflight.library_versions(),
        "workers": settled.workers,
        "deterministic": deterministic,
    }


def _check_resumable(study: Study, plan: Plan, factory: EngineFactory) -> None:
    """Check that the images, the device and the disk allow the study to go on."""
    check_images(study, plan.data)
    check_links(plan.stores.home, plan.name)
    requested = {"device": plan.spec.base.get("device", "auto")}
    preflight.check_device({**study.facts.runtime, **requested}, factory.resolve)
    begun = study.count_ended() + len(study.paused_trials())
    preflight.check_space(plan.spec, plan.data, plan.stores.home, begun, pauses=study.promotes)


def _expected_time(plan: Plan) -> Callable[[TrialConfig], float]:
    """Return a function that tells how long a configuration trains beside others of a study."""
    if plan.epoch_seconds:
        return lambda config: config.epochs * plan.epoch_seconds.get(config.group, 0.0)
    return expected_time(plan.data)


class _Sweep:
    """A running sweep."""

    def __init__(
        self,
        plan: Plan,
        request: Request,
        factory: EngineFactory,
        study: Study,
        tracker: Tracker,
        stop: StopRequest,
        display: ProgressDisplay,
        loading: LoadingContext,
    ) -> None:
        self._plan = plan
        self._request = request
        self._factory = factory
        self._study = study
        self._tracker = tracker
        self._stop = stop
        self._display = display
        self._loading = loading
        self._has_printed_links = False
        self._is_under_way = False  # whether trials train
        self._began = time.monotonic()
        if plan.finishes_for is None:
            study.remember("described", self._describe())
            study.remember("deviations", plan.deviations)
            study.remember("command", request.command)
            wants_finalists = plan.spec.finalists is not None
            if wants_finalists != bool(study.recall("finalists wanted")):
                study.remember("finalists wanted", wants_finalists)
            is_elsewhere = plan.data.name != plan.spec.dataset
            study.remember(PLACE, plan.data.name if is_elsewhere else None)
            study.remember("reason", None)  # the reason for the end, which is still to come
        if request.deterministic is not None:
            study.deterministic = request.deterministic
        elif not factory.deterministic:
            study.deterministic = False
        study.fills_places = not factory.where  # the places of a cluster may have other work
        if request.timeout is None:  # else what fits into the time is trained as it is listed
            study.expected_time = _expected_time(plan)
        self._places = request.workers or factory.places(
            study.workers, configuration(study.spec, study.resolved_values())
        )
        if study.waits_for_earlier:
            self._places = min(self._places, study.workers)
        self._best_so_far = BestSoFar(study.ranking_rule)
        self._recorder = Recorder(
            study,
            tracker,
            plan.stores.home,
            display.print_line,
            plan.stores.studies_label,
            beside=loading,
        )

    def run(self, then: Callable[[StopRequest], None]) -> Outcome:
        """Train the remaining trials, then write the report."""
        self._display.print_line(
            f"study {self._plan.name}: {self._describe_state()}; stores in {self._plan.stores.home}"
        )
        self._print_sources()
        if self._study.facts.warm_start is not None:
            self._display.print_line(warm_start_text(self._study.facts.warm_start))
        self._print_foreign()
        self._print_left_over()
        self._print_concurrency()
        with self._recorded_ending():
            if self._recorder.parent_is_open:
                self._print_links()
            with self._loading():
                self._recorder.describe()
            self._complete_record()
            reason = self._search()
            if self._plan.finishes_for is None:
                self._study.remember("reason", reason)
            try:
                self._recorder.finish_trials()
                if reason == "done":
                    then(self._stop)
            except ServerAway:
                self._recorder.write_report()  # from the store of studies
                raise
            written: Path | None = None
            if self._finalists_follow(reason):  # the one report is written when they have ended
                record = self._study.record()
            else:
                record, written = self._recorder.write_report(is_last=reason != "failures")
            if reason != "failures" and record.best_trial:
                self._recorder.finish("FINISHED", 0, written)
            else:
                self._recorder.finish("FAILED", NothingComplete.code, written)
        folder = self._plan.stores.reports(self._plan.name)
        return Outcome(record, reason, folder, self._tracker.experiment_id)

    def _finalists_follow(self, reason: str) -> bool:
        """Whether the command goes on with finalists, after a search that ended for this reason."""
        is_wanted = self._plan.spec.finalists is not None or self._plan.finishes_for is not None
        return is_wanted and search_has_ended(reason) and self._best_so_far.best is not None

    def _describe_state(self) -> str:
        """Count the ended and the paused trials, and say what their budget is."""
        study = self._study
        of_all = "" if study.spec.has_only_budget else f" of {study.total}"
        text = f"{study.count_ended()}{of_all} trials ended"
        paused = len(study.paused_trials())
        if paused:
            text += f", {paused} paused"
        if study.spec.budget is not None:
            text += f", a budget of {study.spec.budget.text}"
        return text

    def _print_links(self) -> None:
        """Print once where the sweep can be looked at from now on, in short lines."""
        if self._has_printed_links:
            return
        self._has_printed_links = True
        parent = self._recorder.parent  # from now on stored with the study
        plan = self._plan
        if plan.finalists is not None or plan.finishes_for is not None:
            return
        tracker = self._tracker
        link = comparison_view.short_run_link(tracker.experiment_id, parent)
        opened = comparison_view.how_to_open(plan.stores.tracking, link, plan.name)
        command, _, address = opened.rpartition(" ")
        self._display.print_line(f"in MLflow: {command}".rstrip())
        self._display.print_line(address)

    def _print_sources(self) -> None:
        """Print which files the user's own networks are, and whether these or weights changed."""
        trained = {result.number: result.config for result in self._study.results()}
        found = sources.own_sources(self._plan.spec.families)
        for line in sources.describe_sources(found):
            self._display.print_line(line)
        for line in (
            *sources.describe_changes(found, trained),
            *pretrained.describe_changes(self._plan.spec, trained),
        ):
            self._display.print_line(line)

    def _print_foreign(self) -> None:
        """Print which trials another program has made in the study, if any, and what they count."""
        numbers = self._study.foreign_trials()
        if not numbers:
            return
        shown = ", ".join(f"#{number}" for number in numbers[:_NUMBERS_SHOWN])
        if len(numbers) > _NUMBERS_SHOWN:
            shown += f" and {len(numbers) - _NUMBERS_SHOWN} more"
        if self._study.promotes:
            effect = "they do not count"
        else:
            effect = "each takes a place in the total"
        self._display.print_line(
            f"another program has made {len(numbers)} of the study's trials ({shown}): "
            f"they have no rank, and {effect}"
        )

    def _print_left_over(self) -> None:
        """Print if nothing is searched, and which trials leave a configuration without a seed."""
        spec = self._study.spec
        if self._plan.finalists is None:
            total = None if spec.has_only_budget else self._study.total
            text = only_baselines_text(len(baseline_values(spec)), total, spec.budget)
            if text:
                self._display.print_line(text)
        if not spec.has_only_budget:
            text = left_over_text(self._study.total, spec.repeats, self._study.listed_first)
            if text:
                self._display.print_line(text)

    def _print_concurrency(self) -> None:
        """Print how many trials run at a time, and whether the list of trials is reproducible."""
        study = self._study
        threads = int(study.facts.runtime.get("threads", 1))
        if threads > 1:
            self._display.print_line(f"each trial computes with {threads} CPU threads")
        made_for = study.workers
        requested = self._request.workers
        where = self._factory.where
        at_a_time = f"{self._places} at a time{where}"
        if study.predetermined:
            if self._places > 1 or where:
                order = ", the longest first" if study.begins_longest_first(self._places) else ""
                self._display.print_line(
                    f"{at_a_time}; the list of trials is known beforehand{order}"
                )
        elif not study.deterministic:
            self._display.print_line(
                f"{at_a_time}, as they end: the list of trials may be another each time"
            )
        elif requested is not None and requested > made_for:
            self._display.print_line(
                f"made for {made_for} at a time, which decides its list of trials: "
                f"so many are trained; with --no-deterministic {requested}, "
                "and the list may be another each time"
            )
        elif made_for > 1 or where:
            self._display.print_line(
                f"{at_a_time}; the list of trials is the same each time, for {made_for}"
            )

    def _search(self) -> str:
        """Train the remaining trials, and return why the search ended."""
        processes = processes_of(self._study.facts.runtime.get("gpus_per_trial"))
        engine = self._factory.make(self._plan.data, self._places, processes)
        runner = TrialRunner(
            self._study,
            engine,
            self._recorder,
            self._display,
            self._look_around,
            self._request.trial_timeout,
        )

        def record_result(result: TrialResult) -> None:
            runner.forget_pause(result.number)  # or it would be recorded after the end
            self._record_result(result)

        def record_pause(pause: Pause) -> None:
            self._print_links()
            runner.record_pause(pause)

        with self._display.live(), runner:
            ending = loop.run(
                self._study,
                runner,
                complete_untrained=self._complete_untrained,
                on_result=record_result,
                on_pause=record_pause,
                should_stop=self._is_out_of_time,
                max_failures=self._request.max_failures,
                finalists=self._finalists_to_choose(),
                searches=self._plan.finishes_for is None,
            )
        if engine.places > 1 and self._study.waits_for_earlier:
            idle = ending.idle / engine.places
            self._recorder.log_idle_time(idle)
            self._display.print_line(
                f"each of {engine.places} workers waited {idle:.1f} s for earlier trials to end, "
                "so that the list of trials is the same each time"
            )
        return ending.reason

    def _finalists_to_choose(self) -> int | None:
        """How many finalists are chosen after the search; None if none are, or they were before."""
        if self._plan.finishes_for is not None:
            return self._plan.finishes_for
        if self._plan.spec.finalists is None:
            return None
        facts = access.read_facts(self._plan.stores, f"{self._plan.name}{FINALISTS_SUFFIX}")
        if facts is not None and facts.finalists is not None:
            return None
        return self._plan.spec.finalists.top

    def _describe(self) -> dict[str, object]:
        """Describe the study for MLflow.

        The description is stored with the study, so that the MLflow record can be made again.
        """
        spec = self._study.spec
        plan = self._plan
        params: dict[str, object] = {}
        for key, value in spec.identity().items():
            if key not in ("search", "fixed"):
                params[f"plan.{key}"] = value
        if not spec.has_only_budget:
            params["plan.trials"] = self._study.total
        if spec.budget is not None:
            params["plan.budget"] = str(spec.budget)
        params["plan.study"] = plan.study
        params["plan.workers"] = self._study.workers
        for key, value in self._study.facts.runtime.items():
            params[f"plan.fixed.{key}"] = value
        for key, value in spec.fixed.model_dump(exclude_none=True).items():
            params[f"plan.fixed.{key}"] = value
        for dimension in spec.dimensions:
            # MLflow allows no brackets in keys, so the condition of a dimension goes into its
            # value.
            condition = dimension.key.removeprefix(dimension.field)
            value = f"{dimension}{condition}"
            key = f"plan.search.{dimension.field}"
            params[key] = f"{params[key]}; {value}" if key in params else value
        return {
            "params": params,
            "files": {
                **self._earlier_sources(),
                **sources.source_files(sources.own_sources(spec.families)),
                **sources.code_files(),
                f"{plan.study}.yaml": plan.text,
            },
            "data": {
                "name": plan.data.name,
                "digest": plan.data.digest,
                "source": str(self._request.data_dir),
            },
        }

    def _earlier_sources(self) -> dict[str, str]:
        """Return the files of own networks of earlier commands, which may have changed since."""
        described = self._study.recall("described") or {}
        files: dict[str, str] = described.get("files", {})
        return {name: text for name, text in files.items() if name.startswith(SOURCES)}

    def _complete_record(self) -> None:
        """Complete the MLflow record of an earlier command, and print which trials are resumed."""
        incomplete = self._recorder.complete_missing()
        if incomplete:
            plural = "s" if len(incomplete) > 1 else ""
            self._display.print_line(
                f"completing the record of {len(incomplete)} trial{plural} in MLflow"
            )
        interrupted = []
        for result in self._study.results():
            if result.state == RUNNING:
                interrupted.append(result)
            elif result.state != PAUSED:
                self._best_so_far.add(result)
        if interrupted:
            plural = "s" if len(interrupted) > 1 else ""
            numbers = ", ".join(f"#{result.number}" for result in interrupted)
            self._display.print_line(
                f"going on with {len(interrupted)} interrupted trial{plural}: {numbers}"
            )
        self._keep_thumbnails()

    def _complete_untrained(self, asked: AskedTrial, result: TrialResult) -> TrialResult:
        """Open the run of a result without training, such as that of a duplicate."""
        if asked.progress is not None:
            failpoints.reach("in_settling")
            folder = Folder(trial_folder(self._plan.stores.home, self._study.name, asked.number))
            if save_best_of_paused(folder, result, self._plan.data):
                result = dataclasses.replace(result, checkpoint=str(folder.best))
        return self._recorder.add_run(result, self._recorder.open(asked.number, asked.config))

    def _record_result(self, result: TrialResult) -> None:
        """Record a result that the store of studies already has."""
        failpoints.reach("between_stores")
        self._print_links()
        self._recorder.record_result(result)
        previous_best = self._best_so_far.best
        if self._best_so_far.add(result) is not previous_best:
            self._keep_thumbnails()
        self._display.trial_ended(result, self._best_so_far.best)

    def _keep_thumbnails(self) -> None:
        """Store thumbnails of the best trial's mistakes, for readers who do not have the images."""
        best = self._best_so_far.best
        if best is not None and best.number != self._study.thumbnails_trial:
            _, val = trial_splits(self._plan.data, best.config)
            self._study.keep_thumbnails(best.number, encode_thumbnails(best.mistakes, val.images))

    def _look_around(self) -> None:
        """Look at requests to stop, and at MLflow's parent run; called while trials train.

        The first call comes when all places train. What only records and the report need is
        imported from then on, in the tracker's thread and in the server of helpers.
        """
        self._stop.check()
        if not self._is_under_way:
            self._is_under_way = True
            self._tracker.release()
            if self._places == 1:  # else there is the server of the workers
                follow = self._plan.spec.finalists is not None  # perhaps with several workers
                module = forkserver.TRAINING_PRELOAD if follow else forkserver.DRAWING_PRELOAD
                forkserver.warm_up(module)
        if not self._has_printed_links and self._recorder.parent_is_open:
            with study_errors():  # else the engine would take an error for one of the trial
                self._print_links()

    def _is_out_of_time(self) -> bool:
        self._stop.check()
        timeout = self._request.timeout
        return timeout is not None and time.monotonic() - self._began > timeout

    @contextmanager
    def _recorded_ending(self) -> Iterator[None]:
        """Record the ending in the parent run if an error or a request to stop ends the block."""
        try:
            yield
        except StudyTaken:
            raise  # the record is another command's now
        except BaseException as error:
            with contextlib.suppress(Failure), study_errors():
                if isinstance(error, Interrupted):
                    self._recorder.finish("KILLED", error.code, limit=STOP_TIMEOUT)
                else:
                    self._recorder.finish("FAILED", getattr(error, "code", 1), limit=math.inf)
            raise


def search_has_ended(reason: str | None) -> bool:
    """Whether a search has come to its end, by its total, its budget or a rule of its study.

    Args:
        reason: as `sweeps.search.loop.run` returns it; None if the search was cut off.
    """
    return reason not in (None, "until", "failures")


def check_complete(outcome: Outcome, max_failures: int) -> None:
    """Check that a sweep ended with a complete trial, and not by failures in a row.

    Args:
        outcome: how the sweep ended.
        max_failures: the number of failures in a row that ends it.

    Raises:
        NothingComplete: otherwise; the message tells the first three different errors.
    """
    record = outcome.record
    errors = dict.fromkeys(str(result.error) for result in record.results if result.error)
    details = f"{ends_text(record.results)}; {'; '.join(list(errors)[:3])}"
    if outcome.reason == "failures":
        raise NothingComplete(f"stopped after {max_failures} failures in a row: {details}")
    if record.best_trial is None:
        raise NothingComplete(f"no trial is complete: {details}")


def check_images(study: StoredStudy, data: SearchData) -> None:
    """Check that the images are those that the study began with.

    Raises:
        UsageFailure: if the images or the names of their classes differ.
    """
    digest = study.facts.digest
    if study.facts.classes != data.classes:
        difference = "their classes have other names"
    elif digest not in (None, data.digest):
        difference = f"digest {digest}, now {data.digest}"
    else:
        return
    raise UsageFailure(
        f"study {study.name!r} was begun with other images of {data.name} ({difference}): "
        "put those back, or give another --name"
    )
