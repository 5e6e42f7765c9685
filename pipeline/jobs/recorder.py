"""Records a study in MLflow: during its sweep, and afterwards from the results in Optuna.

The results in Optuna, and a trial's own folder of weights, stay until the MLflow run of the trial
is complete. What a tracking server missed while it was away can therefore always be sent later.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from pipeline.checkpoints import Folder, trial_folder
from pipeline.inference import winner_weights
from pipeline.stores import relocation
from pipeline.system import failpoints
from pipeline.system.errors import StorageFailure
from pipeline.system.garbage import LoadingContext
from pipeline.tracking import comparison_view
from pipeline.tracking.gaps import NO_RUN, WEIGHTS, run_tags
from pipeline.tracking.run_contents import log_params, trial_name
from pipeline.tracking.tracker import STORAGE, Tracker, now_milliseconds
from sweeps import trial
from sweeps.analysis.ranking import BestSoFar, rank
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import StoredStudy
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import MAX_TRIALS
from sweeps.trial import (
    COMPLETE,
    PAUSED,
    REPEAT_FIELDS,
    RUNNING,
    Epoch,
    TrialConfig,
    TrialResult,
)

_REPORT = "pipeline.report.render"
_RANKED_RUNS = 100  # trials whose place is logged; each takes a request
_HAS_LOG_PARAMS = "sweep.log_params"  # tag of a parent whose runs all have the logarithms

T = TypeVar("T")
OpenedRun = Future[tuple[str, str]]  # the id of a run, and the location of its artifacts


class Recorder:
    """Writes the record of one study: a parent run, and a child run for each trial."""

    def __init__(
        self,
        study: StoredStudy,
        tracker: Tracker,
        home: Path,
        say: Callable[[str], None],
        storage: str,
        *,
        beside: LoadingContext | None = None,
    ) -> None:
        """Open the study's parent run.

        The first trials of a new study may train meanwhile. What they do is recorded in order, once
        the run is open.

        Args:
            study: the study, which has its description from this command or an earlier one.
            tracker: writes to MLflow.
            home: the folder of checkpoints/ and reports/.
            say: called with a message when the server goes away, and when it is back.
            storage: the store of studies, as `Stores.studies_label` names it.
            beside: a context for MLflow's import, if it need not be waited for. Then nothing is
                sent before `Tracker.release`, or before something of the record is waited for.
        """
        self.study = study
        self.tracker = tracker
        self.home = home
        self._say = say
        self._was_away = False
        # Trials with a result in the store but not yet the id of their run, and whether they have
        # weights.
        self._runs_to_keep: dict[int, tuple[OpenedRun, bool]] = {}

        self._completed: set[int] = set()  # trials whose runs lacked something, perhaps their place

        # The parent's curve of the best value: its name, the results that it lacks, and its end.
        objective: str = study.recall("spec")["objective"]
        self._curve = f"sweep/best_{objective}"
        self._undrawn: dict[int, TrialResult] = {}
        self._best_so_far = BestSoFar(study.ranking_rule)
        self._last_step = 0
        self._last_time = 0

        self._known_parent = study.recall("parent_run_id")
        self._parent: str | None = None
        key = study.recall("key") or uuid.uuid4().hex
        study.remember("key", key)  # stored before the run exists, so that a crash leaves no second
        tags = {"sweep.dataset": study.recall("spec")["dataset"], STORAGE: storage}
        trials: int = study.recall("trials")
        if trials < MAX_TRIALS:  # of a budget alone, there is no number
            tags["sweep.trials"] = str(trials)
        # Without a trial, there is nothing in MLflow to be completed.
        self._is_fresh = self._known_parent is None and not study.results()
        waits = beside is None or not self._is_fresh or not tracker.refuses_nobody
        if beside is not None and not waits:
            tracker.hold()
            tracker.submit(tracker.open_store, beside)
        self._opened = tracker.submit(
            tracker.open_parent,
            study.name,
            self._known_parent,
            key,
            tags,
            study.parent_study_run,
        )
        self._has_ranked_runs = False
        self._sharing: Future[bool] | None = None  # of the winner's weights
        if waits:
            self.know_parent()

    @property
    def parent(self) -> str:
        """The id of the study's parent run, which is waited for."""
        return self.know_parent()

    @property
    def parent_is_open(self) -> bool:
        """Whether the parent run need not be waited for."""
        return self._opened.done()

    @property
    def _is_new_parent(self) -> bool:
        """Whether MLflow has lost the parent of an earlier command, and all child runs with it."""
        known: str | None = self._known_parent
        return self.parent != known

    def know_parent(self, limit: float = math.inf) -> str:
        """Wait until the parent run is open, store its id with the study, and return it.

        Args:
            limit: how many seconds to wait for the server at most.
        """
        if self._parent is None:
            self._parent = self.tracker.result(self._opened, limit)
            self.study.remember("parent_run_id", self._parent)
        return self._parent

    def describe(self) -> None:
        """Log the study's description, and the view that compares its trials."""
        described = self.study.recall("described") or {"params": {}, "files": {}}
        self._submit_to_parent(
            self.tracker.describe_parent, described["params"], described["files"]
        )
        self._submit_to_parent(
            self.tracker.add_params,
            {
                result.number: log_params(result.config, self._dimensions)
                for result in self.study.results()
            },
            _HAS_LOG_PARAMS,
        )
        self._set_view(self.study.record(), has_ranks=False)

    @cached_property
    def _dimensions(self) -> tuple[Dimension, ...]:
        return self.study.specification().dimensions

    @cached_property
    def _named_fields(self) -> list[str]:
        """The fields that the names of runs mention: those in which the trials may differ."""
        spec = self.study.specification()
        fields = [dimension.field for dimension in spec.dimensions]
        return [*fields, *(REPEAT_FIELDS if spec.repeats > 1 else ())]

    def _set_view(self, record: StudyRecord, *, has_ranks: bool) -> None:
        """Save the view that compares the trials.

        Args:
            record: the study.
            has_ranks: whether the runs have the places of their trials in the report.
        """
        self.tracker.submit(
            self.tracker.set_view,
            comparison_view.view_tag(self.study.name),
            comparison_view.saved_view(record, has_ranks=has_ranks),
        )

    def _rank_runs(self, record: StudyRecord) -> None:
        """Log the places of the best trials where they have changed, and sort the view by them."""
        if self._has_ranked_runs:
            return
        self._has_ranked_runs = True
        ranked = [trial for entry in record.ranked for trial in entry.trials]
        places = {trial.number: place for place, trial in enumerate(ranked, start=1)}
        logged: dict[int, int] = {}
        if not self._is_new_parent:
            logged = logged_places(self.study)
            for number in self._completed & logged.keys():
                del logged[number]
        shown = {trial.number for trial in ranked[:_RANKED_RUNS]} | set(logged)
        changed = {
            str(trial.run_id): places[trial.number]
            for trial in ranked
            if trial.run_id is not None
            and trial.number in shown
            and logged.get(trial.number) != places[trial.number]
        }
        self.tracker.submit(self.tracker.set_ranks, changed, len(record.results))
        kept = [[number, places[number]] for number in sorted(shown & places.keys())]
        self.study.remember("places", kept)
        self._set_view(record, has_ranks=True)

    def _share_weights(self, record: StudyRecord) -> Future[bool]:
        """Share the winner's weights with the parent run once; tells whether that has them."""
        if self._sharing is None:
            self._sharing = self.tracker.submit(winner_weights.share, self.tracker, record)
        return self._sharing

    # Trials during the sweep

    def open(
        self,
        number: int,
        config: TrialConfig,
        began: int | None = None,
        *,
        anew: bool = False,
        recorded: int = 0,
        fresh: bool = False,
    ) -> OpenedRun:
        """Open the run of a trial, without waiting for the server.

        Args:
            number: the number of the trial.
            config: the configuration of the trial.
            began: the time in milliseconds at which the trial began; None for now.
            anew: the trial is trained from its beginning.
            recorded: the first epochs of the trial, whose rows stay the same then.
            fresh: the trial is new, so there is no earlier run to look for.
        """
        return self._submit_to_parent(
            self.tracker.open_trial,
            self.study.name,
            number,
            config,
            self._data_source,
            None,
            began or now_milliseconds(),
            anew=anew,
            recorded=recorded,
            fresh=fresh,
            selection=self.study.facts.selection,
            name=trial_name(number, config, self._named_fields),
            more_params=log_params(config, self._dimensions),
        )

    def _submit_to_parent(
        self, call: Callable[..., T], *args: object, **options: object
    ) -> Future[T]:
        """Queue a call, whose first argument is the id of the parent run."""
        opened = self._opened
        return self.tracker.submit(lambda: call(opened.result(), *args, **options))

    @cached_property
    def _data_source(self) -> dict[str, str]:
        """Name, digest and source of the data set."""
        described = self.study.recall("described") or {}
        source: dict[str, str] | None = described.get("data")
        if source:
            return source
        return {
            "name": self.study.recall("spec")["dataset"],
            "digest": self.study.facts.digest or "unknown",
            "source": "unknown",
        }

    def add_run(self, result: TrialResult, run: OpenedRun) -> TrialResult:
        """Return the result with the id of its run, and the location of its checkpoint.

        If the server has not yet answered, the result is returned as it is, and the run is added
        to the store later: training goes on meanwhile.
        """
        opened = self.tracker.soon(run)
        if opened is None:
            self._runs_to_keep[result.number] = (run, result.checkpoint is not None)
            return result
        run_id, artifacts = opened
        checkpoint = result.checkpoint
        if checkpoint is not None and result.duplicate_of is None:
            checkpoint = f"{artifacts}/checkpoint"
        return dataclasses.replace(result, run_id=run_id, checkpoint=checkpoint)

    def pause(self, run: OpenedRun, result: TrialResult) -> None:
        """Record that a trial is paused, which is stored already."""
        self.tracker.submit(lambda: self.tracker.pause(run.result()[0], result.history))

    def reopen(self, numbers: Container[int]) -> None:
        """Record that trials are paused again that ended as pruned, which is stored already."""
        for result in self.study.results():
            if result.number in numbers and result.run_id is not None:
                self.tracker.submit(self.tracker.pause, result.run_id, ())

    def go_on(self, run: OpenedRun) -> None:
        """Record that a paused trial goes on."""
        self.tracker.submit(lambda: self.tracker.go_on(run.result()[0]))

    def interrupt(self, run: OpenedRun) -> None:
        """Mark a run as interrupted, to be resumed."""
        self.tracker.submit(lambda: self.tracker.interrupt(run.result()[0]))

    def record_result(self, result: TrialResult) -> None:
        """Complete the run of a trial with a stored result, and the parent's curve."""
        run, _ = self._runs_to_keep.get(result.number, (None, False))
        self._finish_run(result, run, None)
        self._undrawn[result.number] = result
        self._draw_curve()
        self._keep_runs()
        # While others are trained: at the end, somebody would wait for it.
        import_module(_REPORT).prepare()
        if self.tracker.away != self._was_away:
            self._was_away = self.tracker.away
            if self._was_away:
                self._say("the tracking server is away: what it misses is sent later")
            else:
                self._say("the tracking server is back")

    def _finish_run(
        self,
        result: TrialResult,
        run: OpenedRun | None,
        weights: Sequence[tuple[Path, str]] | None,
    ) -> None:
        """Complete the run of a trial: the weights become artifacts, and the local files go.

        Args:
            result: the result of the trial.
            run: the run of the trial; None if the result has the id.
            weights: each file with its artifact folder; None for those in the trial's own folder.
        """
        folder = self._folder(result.number)

        def finish() -> None:
            run_id = str(result.run_id) if run is None else run.result()[0]
            files = list(folder.artifacts()) if weights is None else weights
            self.tracker.finish_trial(run_id, result, self.study.facts.classes, files)
            failpoints.reach("before_cleanup")
            folder.clear()

        self.tracker.submit(finish)

    def _keep_runs(self) -> None:
        """Store the runs that the server opened only after the results were stored."""
        for number, (run, has_weights) in list(self._runs_to_keep.items()):
            if run.done() and not run.cancelled() and run.exception() is None:
                run_id, artifacts = run.result()
                checkpoint = f"{artifacts}/checkpoint" if has_weights else None
                self.study.keep_run(number, run_id, checkpoint)
                del self._runs_to_keep[number]

    def _folder(self, number: int) -> Folder:
        return Folder(trial_folder(self.home, self.study.name, number))

    def log_idle_time(self, seconds: float) -> None:
        """Log how long each worker waited for the end of earlier trials."""
        self._submit_to_parent(
            self.tracker.log_figures,
            {"sweep/idle_seconds": seconds},
            now_milliseconds(),
        )

    def _draw_curve(self, drawn: Container[int] = ()) -> None:
        """Log new points of the parent's curve: the best value after each number of ended trials.

        The curve is the same however long each trial takes.

        Args:
            drawn: the steps that the server already has.
        """
        points = []
        for number in self.study.in_order_of_ending(self._undrawn):
            result = self._undrawn.pop(number)
            self._last_step += 1
            self._last_time = max(self._last_time, trial.ended_at(result) or 0)
            best = self._best_so_far.add(result)
            if best is not None and best.value is not None and self._last_step not in drawn:
                points.append((self._last_step, best.value, self._last_time))
        if points:
            self._submit_to_parent(self.tracker.log_curve, self._curve, points)

    # Completion of the record that an earlier command left

    def complete_missing(self, gaps: Mapping[int, Sequence[str]] | None = None) -> list[int]:
        """Complete the runs of ended trials that MLflow lacks, and the parent's curve.

        Args:
            gaps: what the run of each trial lacks, from `pipeline.jobs.audit`; None if the runs
                were not compared.

        Returns:
            The numbers of the trials with incomplete runs.
        """
        tracker = self.tracker
        self._submit_to_parent(tracker.tidy)
        if self._is_fresh:
            return []
        results = [r for r in self.study.results() if r.state not in (RUNNING, PAUSED)]
        unfinished = tracker.call(tracker.unfinished, self.parent)
        paused = tracker.call(tracker.paused, self.parent)
        self._complete_paused(unfinished, paused)
        unfinished |= paused
        gaps = gaps or {}
        if self._is_new_parent:
            finished = set(tracker.call(tracker.finished, self.parent))
        else:
            finished = {result.number for result in results}
        incomplete = []
        for result in results:
            number = result.number
            if self._can_fill(result, gaps.get(number, ())) or (
                result.run_id is None or number in unfinished or number not in finished
            ):
                incomplete.append(number)
                self._completed.add(number)
                self._complete_run(result, unfinished, gaps.get(number))
                failpoints.reach("in_recovery")
        for result in results:
            if result.number not in incomplete:
                self._folder(result.number).clear()  # left by a process that died before this
        self._undrawn = {result.number: result for result in results}
        self._draw_curve(tracker.call(tracker.steps, self.parent, self._curve))
        return incomplete

    def _complete_paused(self, running: Mapping[int, str], paused: Mapping[int, str]) -> None:
        """Mark the runs of paused trials as paused, if a process died before this.

        Args:
            running: the ids of the runs that MLflow shows as running, by the numbers of their
                trials.
            paused: the same of those that it shows as paused.
        """
        runs = {**running, **paused}
        for result in self.study.results():
            was_reopened = result.run_id is not None and result.number not in runs
            run_id = result.run_id if was_reopened else running.get(result.number)
            if result.state == PAUSED and run_id is not None:
                self.tracker.submit(self.tracker.pause, run_id, result.history)

    def _can_fill(self, result: TrialResult, gaps: Sequence[str]) -> bool:
        """Whether anything that the run of a trial lacks can be sent again."""
        return any(gap != WEIGHTS for gap in gaps) or (
            WEIGHTS in gaps and bool(self._find_weights(result))
        )

    def _complete_run(
        self, result: TrialResult, unfinished: dict[int, str], gaps: Sequence[str] | None
    ) -> None:
        """Open the run of an ended trial again, or a new one, and complete this run.

        Args:
            result: the result of the trial.
            unfinished: the ids of unfinished runs, by the numbers of their trials.
            gaps: what the run lacks; None if that is not known.
        """
        number = result.number
        if number in unfinished:
            self.tracker.submit(self.tracker.tidy, unfinished[number])
        is_there = gaps is not None and NO_RUN not in gaps
        if is_there:
            tags = run_tags(self.parent, self.study.name, number)
            self.tracker.submit(self.tracker.tag, str(result.run_id), tags)
        weights: Sequence[tuple[Path, str]] = ()
        if gaps is None or not is_there or WEIGHTS in gaps:
            weights = self._find_weights(result)
        run = self.open(number, result.config, trial.began_at(result))
        # The same run may have its weights already.
        is_same_run = is_there or unfinished.get(number) == result.run_id
        has_weights = bool(weights) or (is_same_run and result.checkpoint is not None)
        self._runs_to_keep[number] = (run, has_weights)
        self._finish_run(result, run, weights)

    def _find_weights(self, result: TrialResult) -> list[tuple[Path, str]]:
        """Find the weights of a trial in its own folder, or in the local artifacts of its run."""
        weights = list(self._folder(result.number).artifacts())
        if weights or not result.checkpoint or result.duplicate_of is not None:
            return weights
        location = relocation.find_checkpoint(result.checkpoint, self.home)
        artifacts = Folder(Path(location.removeprefix("file://")))
        return list(artifacts.artifacts())

    def interrupt_unfinished(self) -> None:
        """Mark the runs of trials that no process trains now as interrupted."""
        unfinished = self.tracker.call(self.tracker.unfinished, self.parent)
        for result in self.study.results():
            if result.state == RUNNING and result.number in unfinished:
                self.tracker.submit(self.tracker.interrupt, unfinished[result.number])

    # The end of the sweep

    def finish_trials(self) -> None:
        """Wait until everything is sent, then delete the weights that the study does not keep."""
        try:
            self.tracker.drain()
        finally:
            self._keep_runs()
        stored_policy: str = self.study.recall("keep_checkpoints") or "each"
        policy, _, count = stored_policy.partition(":")
        if policy not in ("best", "top"):
            return
        if self.study.recall("reason") in (None, "until", "failures"):
            return  # further trials may follow, and any may turn out the best
        for result in surplus_weights(self.study, keep=int(count or 1)):
            self.tracker.submit(self.tracker.drop_checkpoint, str(result.run_id))
            self.study.keep_run(result.number, str(result.run_id), None)

    def write_report(self, *, is_last: bool = False) -> tuple[StudyRecord, Path]:
        """Write the study's report, and return the study with the folder of the report.

        Args:
            is_last: whether the search has ended well. MLflow then gets the places of the trials
                and the winner's weights while the plots are drawn.

        Raises:
            StorageFailure: if the report cannot be written.
        """
        from pipeline.report import render  # which the first trials need not wait for

        if is_last:
            self.know_parent()  # it becomes a part of the record
        record = relocation.find_checkpoints(self.study.record(), self.home)

        def record_ending() -> None:
            if is_last and record.best_trial is not None:
                self._rank_runs(record)
                self._share_weights(record)

        folder = self.home / "reports" / self.study.name
        try:
            render.write(record, folder, beside=record_ending)
        except OSError as error:
            raise StorageFailure(f"cannot write the report in {folder}: {error}") from error
        return record, folder

    def finish(
        self,
        status: str,
        code: int | None,
        folder: Path | None = None,
        *,
        end: int | None = None,
        limit: float = math.inf,
    ) -> None:
        """End the parent run: with a description, with the winner if the code is 0, and a report.

        Args:
            status: MLflow's name of the status.
            code: the exit code; None if the code is not known.
            folder: the folder of the report, which becomes an artifact.
            end: the time of the end in milliseconds; None for now.
            limit: how many seconds to wait for the server at most.
        """
        from pipeline.jobs.description import study_description

        parent = self.know_parent(limit)
        record = self.study.record()
        tags: dict[str, object] = {}
        if code is not None:
            tags["sweep.exit_code"] = code
        tags["sweep.trials"] = len(record.results) if record.has_only_budget else record.trials
        tags["sweep.trials_complete"] = sum(result.state == COMPLETE for result in record.results)
        if record.promoted is not None:
            tags["sweep.trials_paused"] = len(record.paused)
            tags["sweep.pauses"] = record.promoted.pauses
            tags["sweep.promotions"] = record.promoted.promotions
        has_weights = False
        winner: dict[str, object] = {}
        metrics: dict[str, float] = {}
        time = 0
        best_trial = record.best_trial
        if best_trial is not None and best_trial.best is not None and code == 0:
            tags["sweep.winner"] = best_trial.number
            winner = {"trial": best_trial.number, **best_trial.config.to_dict()}
            metrics = _winner_metrics(best_trial.best)
            time = best_trial.best.time
            self._rank_runs(record)
            has_weights = self.tracker.result(self._share_weights(record))
        description = study_description(
            record, self.tracker.experiment_id, parent, has_weights=has_weights
        )
        self.tracker.submit(
            lambda: self.tracker.finish_parent(
                parent,
                status=status,
                tags=tags,
                description=description,
                winner=winner,
                metrics=metrics,
                at=time,
                folder=folder,
                end=end,
            )
        )
        self.tracker.drain(limit)


def logged_places(study: StoredStudy) -> dict[int, int]:
    """Return the places of trials in the report that were sent to their runs, by number."""
    return dict(study.recall("places") or ())


def surplus_weights(study: StoredStudy, keep: int) -> list[TrialResult]:
    """Return the trials whose weights are not those of the best configurations.

    Args:
        study: the study.
        keep: how many configurations keep their weights.
    """
    results = study.results()
    repeats = study.recall("spec")["repeats"]
    ranked = rank(results, study.ranking_rule)
    repeated = [entry for entry in ranked if len(entry.trials) >= repeats]
    # Further repeats can still change the rank of a configuration that lacks some.
    unrepeated = [entry for entry in ranked if len(entry.trials) < repeats]
    kept = {trial.number for entry in repeated[:keep] + unrepeated for trial in entry.trials}
    return [
        result
        for result in results
        if result.checkpoint is not None
        and result.duplicate_of is None
        and result.number not in kept
    ]


def _winner_metrics(best: Epoch) -> dict[str, float]:
    """Return the metrics of the winner's best epoch, under their names in the parent run."""
    metrics: dict[str, float] = {"sweep/winner_epoch": best.epoch}
    for name, value in best.metrics.items():
        if name.startswith("val/"):
            metrics[f"sweep/winner_{name.replace('/', '_')}"] = value
    return metrics
