"""A study's record in MLflow: made while it is searched, completed afterwards from what Optuna kept. Trains nothing.

Optuna's results, and a trial's own folder of weights, stay until its run is complete: what a tracking server that was
away did not get can always be sent.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from pathlib import Path

from pipeline.checkpoints import Folder, trial_folder
from pipeline.jobs.description import study_description
from pipeline.report import render
from pipeline.system import failpoints
from pipeline.system.errors import StorageFailure
from pipeline.tracking import comparison_view
from pipeline.tracking.tracker import Tracker, now_milliseconds
from sweeps import trial
from sweeps.analysis.ranking import BestSoFar, rank
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import StoredStudy
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import COMPLETE, RUNNING, TrialConfig, TrialResult

OpenedRun = Future[tuple[str, str]]  # a run's id, and where its artifacts go


class Recorder:
    """The record of one study, under way."""

    def __init__(
        self, study: StoredStudy, tracker: Tracker, home: Path, say: Callable[[str], None]
    ) -> None:
        """Open the study's parent run.

        Args:
            study: whose record it is; `describe` has been called for it, now or by an earlier command.
            tracker: the store.
            home: the folder of checkpoints/ and reports/.
            say: told when the server goes away and when it is back.
        """
        self.study = study
        self.tracker = tracker
        self.home = home
        self.say = say
        objective: str = study.recall("spec")["objective"]
        self._curve = f"sweep/best_{objective}"
        self._maximize = OBJECTIVES[objective][1]
        self._opened: dict[
            int, tuple[OpenedRun, bool]
        ] = {}  # by trial: whose result is kept and whose run is not known
        self._away = False
        self._told: dict[int, TrialResult] = {}  # not yet part of the parent's curve
        # where that ends
        self._leader = BestSoFar(maximize=self._maximize)
        self._step = 0
        self._latest = 0
        known = study.recall("parent_run_id")
        key = study.recall("key") or uuid.uuid4().hex
        study.remember("key", key)  # before the run is made
        tags = {
            "sweep.trials": str(study.recall("trials")),
            "sweep.dataset": study.recall("spec")["dataset"],
        }
        self.parent = tracker.call(
            tracker.open_parent, study.name, known, key, tags, study.parent_study_run
        )
        self._remade = self.parent != known  # and so are the runs below it
        study.remember("parent_run_id", self.parent)

    def describe(self) -> None:
        """Log what the study is: what `describe` kept of it."""
        kept = self.study.recall("described") or {"params": {}, "files": {}}
        self.tracker.submit(
            self.tracker.describe_parent, self.parent, kept["params"], kept["files"]
        )
        name = self.study.name
        self.tracker.submit(
            self.tracker.set_view,
            comparison_view.view_key(name),
            comparison_view.saved_view(self.study.record()),
        )

    # -- a trial ------------------------------------------------------------------------------------------------------

    def open(
        self,
        number: int,
        config: TrialConfig,
        began: int | None = None,
        *,
        anew: bool = False,
        fresh: bool = False,
    ) -> OpenedRun:
        """Have a trial's run opened, which began now or at that time: its id and place come in time.

        With ``anew``, the trial is trained from its beginning, whatever was recorded of it; if it is ``fresh``, nothing
        was, and no run of it is looked for.
        """
        arguments = (
            self.parent,
            self.study.name,
            number,
            config,
            self._source,
            None,
            began or now_milliseconds(),
        )
        return self.tracker.submit(
            partial(self.tracker.open_trial, *arguments, anew=anew, fresh=fresh)
        )

    @cached_property
    def _source(self) -> dict[str, str]:
        """Name, digest and source of the data set."""
        study = self.study
        source: dict[str, str] = (study.recall("described") or {}).get("data") or {
            "name": study.recall("spec")["dataset"],
            "digest": study.facts.digest or "unknown",
            "source": "unknown",
        }
        return source

    def placed(self, result: TrialResult, opened: OpenedRun) -> TrialResult:
        """The result with its run; without, as long as the server does not say which that is: training goes on."""
        found = self.tracker.soon(opened)
        if found is None:
            self._opened[result.number] = (opened, result.checkpoint is not None)
            return result
        run_id, place = found
        own = result.checkpoint is not None and result.duplicate_of is None
        return dataclasses.replace(
            result, run_id=run_id, checkpoint=f"{place}/checkpoint" if own else result.checkpoint
        )

    def interrupt(self, opened: OpenedRun) -> None:
        """Mark a run as stopped by a signal, to be gone on with."""
        self.tracker.submit(lambda: self.tracker.interrupt(opened.result()[0]))

    def told(self, result: TrialResult) -> None:
        """Complete the run of a trial whose result is kept, and the parent's curve."""
        opened, _ = self._opened.get(result.number, (None, False))
        self._finish(result, opened, None)
        self._told[result.number] = result
        self._draw()
        self._keep_runs()
        if self.tracker.away != self._away:
            self._away = self.tracker.away
            self.say(
                "the tracking server is "
                + ("away: what it misses is sent later" if self._away else "back")
            )

    def _finish(
        self,
        result: TrialResult,
        opened: OpenedRun | None,
        weights: Sequence[tuple[Path, str]] | None,
    ) -> None:
        """Complete a trial's run; its weights are artifacts then, and the local copies go."""
        folder = self._folder(result.number)

        def finish() -> None:
            run_id = opened.result()[0] if opened else str(result.run_id)
            files = list(folder.kept()) if weights is None else weights
            self.tracker.finish_trial(run_id, result, self.study.facts.classes, files)
            failpoints.reach("before_cleanup")
            folder.clear()

        self.tracker.submit(finish)

    def _keep_runs(self) -> None:
        """Keep which runs are those of results that were kept before."""
        for number, (opened, has_weights) in list(self._opened.items()):
            if opened.done() and not opened.cancelled() and opened.exception() is None:
                run_id, place = opened.result()
                self.study.keep_run(number, run_id, f"{place}/checkpoint" if has_weights else None)
                del self._opened[number]

    def _folder(self, number: int) -> Folder:
        return Folder(trial_folder(self.home, self.study.name, number))

    # -- what is missing ----------------------------------------------------------------------------------------------

    def complete(self, *, thorough: bool = False) -> list[int]:
        """Complete what the store lacks of trials whose end is kept: their runs, and the parent's curve.

        Args:
            thorough: look for each trial's run, and not only for those that are known to be incomplete.

        Returns:
            The trials whose runs were not complete.
        """
        tracker = self.tracker
        results = self._ended()
        tracker.submit(tracker.tidy, self.parent)
        unfinished = tracker.call(tracker.unfinished, self.parent)
        look = thorough or self._remade
        if look:
            whole = tracker.call(tracker.finished, self.parent)
        else:
            whole = {r.number: "" for r in results}
        missing = [
            r
            for r in results
            if r.run_id is None or r.number in unfinished or r.number not in whole
        ]
        for result in missing:
            number = result.number
            if number in unfinished:
                tracker.submit(tracker.tidy, unfinished[number])
            weights = list(self._weights(result))
            opened = self.open(number, result.config, trial.began_at(result))
            same = unfinished.get(number) == result.run_id  # which may have its weights already
            self._opened[number] = (
                opened,
                bool(weights) or (same and result.checkpoint is not None),
            )
            self._finish(result, opened, weights)
            failpoints.reach("in_recovery")
        found = [result.number for result in missing]
        for result in results:
            if result.number not in found:  # its process died before this
                self._folder(result.number).clear()
        self._told = {result.number: result for result in results}
        self._draw(tracker.call(tracker.steps, self.parent, self._curve))
        return found

    def interrupt_begun(self) -> None:
        """Mark the runs of trials that nobody trains now as interrupted."""
        unfinished = self.tracker.call(self.tracker.unfinished, self.parent)
        for result in self.study.results():
            if result.state == RUNNING and result.number in unfinished:
                self.tracker.submit(self.tracker.interrupt, unfinished[result.number])

    def _weights(self, result: TrialResult) -> Iterator[tuple[Path, str]]:
        """A trial's weights: in its own folder, or where those of its former run are files here."""
        own = list(self._folder(result.number).kept())
        former = result.checkpoint if result.duplicate_of is None else None
        yield from own or Folder(Path((former or "").removeprefix("file://") or "nowhere")).kept()

    def _ended(self) -> list[TrialResult]:
        return [result for result in self.study.results() if result.state != RUNNING]

    def idle(self, seconds: float) -> None:
        """Log for how long each worker had nothing to do, because it had to wait for the end of earlier trials."""
        self.tracker.submit(
            self.tracker.log_figures,
            self.parent,
            {"sweep/idle_seconds": seconds},
            now_milliseconds(),
        )

    def _draw(self, drawn: Container[int] = ()) -> None:
        """Log points of the parent's curve, but for the steps already drawn: at each, so many trials have ended.

        A result waits for those of earlier trials under way: so the curve is the same however long each takes.
        """
        first = self.study.first_running()
        points = []
        for number in sorted(number for number in self._told if first is None or number < first):
            result = self._told.pop(number)
            self._step = self._step + 1
            self._latest = max(self._latest, trial.ended_at(result) or 0)
            winner = self._leader.add(result)
            if winner is not None and winner.value is not None and self._step not in drawn:
                points.append((self._step, winner.value, self._latest))
        if points:
            self.tracker.submit(self.tracker.log_curve, self.parent, self._curve, points)

    # -- the end ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until all is sent, then remove the weights of all trials but the best, where the study says so."""
        try:
            self.tracker.drain()
        finally:
            self._keep_runs()
        policy, _, most = self.study.record().keep_checkpoints.partition(":")
        if policy not in ("best", "top") or self.study.recall("reason") in (
            None,
            "until",
            "failures",
        ):
            return  # trials are still to come, and any may turn out the best
        results = self.study.results()
        repeats = self.study.recall("spec")["repeats"]
        ranked = rank(results, maximize=self._maximize)
        # Further repeats can still change the place of a configuration that has not had them all.
        whole, partly = (
            [e for e in ranked if (len(e.trials) < repeats) == few] for few in (False, True)
        )
        kept = {
            trial.number for entry in whole[: int(most or 1)] + partly for trial in entry.trials
        }
        for result in results:
            if (
                result.checkpoint is not None
                and result.number not in kept
                and result.duplicate_of is None
            ):
                self.tracker.submit(self.tracker.drop_checkpoint, str(result.run_id))
                self.study.keep_run(result.number, str(result.run_id), None)

    def write_report(self) -> tuple[StudyRecord, Path]:
        """Write the study's report; what it says, and its folder."""
        record = self.study.record()
        folder = self.home / "reports" / self.study.name
        try:
            render.write(record, folder)
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
        """End the parent: with the winner if the code is 0, and a folder of artifacts.

        Args:
            status: as MLflow names it.
            code: the exit code; None where that is not known.
            folder: of the report.
            end: when, if not now.
            limit: seconds to wait for it, at most.
        """
        record = self.study.record()
        winner = record.best_trial
        tags: dict[str, object] = {
            **({} if code is None else {"sweep.exit_code": code}),
            "sweep.trials": record.trials,
            "sweep.trials_complete": sum(result.state == COMPLETE for result in record.results),
            "mlflow.note.content": study_description(
                record, self.tracker.experiment_id, self.parent
            ),
        }
        configuration: dict[str, object] = {}
        metrics: dict[str, float] = {}
        at = 0
        if winner is not None and winner.best is not None and code == 0:
            tags["sweep.winner"] = winner.number
            configuration = {"trial": winner.number, **winner.config.to_dict()}
            found = {
                k.replace("/", "_"): v
                for k, v in winner.best.metrics.items()
                if k.startswith("val/")
            }
            metrics = {f"sweep/winner_{key}": value for key, value in found.items()}
            metrics["sweep/winner_epoch"] = winner.best.epoch
            at = winner.best.time
        self.tracker.submit(
            lambda: self.tracker.finish_parent(
                self.parent,
                status=status,
                tags=tags,
                winner=configuration,
                metrics=metrics,
                at=at,
                folder=folder,
                end=end,
            )
        )
        self.tracker.drain(limit)
