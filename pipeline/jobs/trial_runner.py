"""Runs the trials of a sweep: an engine trains each trial, while its MLflow run is recorded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.checkpoints import Folder, trial_folder
from pipeline.engines.base import Engine, Task
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import OpenedRun, Recorder
from pipeline.stores.access import study_errors
from pipeline.system import failpoints
from pipeline.system.errors import Failure, Interrupted, StudyTaken
from pipeline.training.epochs import Hooks
from sweeps.search.loop import Death
from sweeps.search.study import AskedTrial, Pause, Study
from sweeps.trial import PAUSED, Epoch, TrialResult


@dataclass(frozen=True)
class _RunningTrial:
    """A trial that has begun, and its MLflow run."""

    asked: AskedTrial
    run: OpenedRun


class TrialRunner:
    """The runner that the loop of a sweep calls: begins trials, and waits for their results.

    A context, which must be left before another process trains the same trials.
    """

    def __init__(
        self,
        study: Study,
        engine: Engine,
        recorder: Recorder,
        display: ProgressDisplay,
        look: Callable[[], None],
        time_limit: float | None,
    ) -> None:
        """Begin nothing yet.

        Args:
            study: the study.
            engine: trains the trials.
            recorder: of the study.
            display: of the progress.
            look: called again and again while trials train; raises to stop.
            time_limit: seconds that each trial may take.
        """
        self._study = study
        self._engine = engine
        self._recorder = recorder
        self._display = display
        self._look = look
        self._time_limit = time_limit
        self._running: dict[int, _RunningTrial] = {}
        self._runs: dict[int, OpenedRun] = {}  # of the trials that this process has paused
        # Pauses that MLflow does not have yet: a trial that goes on at once was never paused there.
        self._new_pauses: dict[int, TrialResult] = {}

    @property
    def places(self) -> int:
        """The number of trials at a time."""
        return self._engine.places

    def begin(self, asked: AskedTrial) -> None:
        """Begin a trial or go on with it, and open its MLflow run."""
        if asked.adopted:
            failpoints.reach("in_adoption")
        elif asked.progress is not None:
            failpoints.reach("after_promotion")
        else:
            failpoints.reach("after_ask")
        if self._study.reopened:
            self._recorder.reopen(self._study.reopened)
            self._display.trials_reopened()
            self._study.reopened = []
        spec = self._study.spec
        folder = trial_folder(self._recorder.home, self._study.name, asked.number)
        time_used = 0.0  # also if a paused trial's state is gone: it is trained from the start then
        if asked.progress is not None and Folder(folder).states():
            time_used = asked.progress.seconds
        run = self._open_run(asked, folder)
        self._show(asked)
        task = Task(
            number=asked.number,
            config=asked.config,
            folder=folder,
            objective=spec.objective,
            limits=spec.limits,
            every_epoch=spec.keep_checkpoints == "all",
            until=asked.until,
            time_limit=self._time_limit,
            time_used=time_used,
            selection=self._study.facts.selection,
            apart=asked.apart,
        )
        self._running[asked.number] = _RunningTrial(asked, run)
        self._engine.begin(task, self._make_hooks(asked, run))

    def _show(self, asked: AskedTrial) -> None:
        """Show that a trial begins, or goes on."""
        until = asked.config.epochs if asked.until is None else asked.until
        if asked.progress is None or asked.adopted:
            self._display.trial_began(asked.number, asked.config, until)
            return
        after = len(asked.progress.history)
        self._display.trial_goes_on(asked.number, asked.config, after, until)

    def _open_run(self, asked: AskedTrial, folder: Path) -> OpenedRun:
        if asked.number in self._runs and not asked.adopted:
            run = self._runs[asked.number]
            if self._new_pauses.pop(asked.number, None) is None:
                self._recorder.go_on(run)
            return run
        fresh = not asked.adopted and asked.progress is None
        # The checkpoints of a trial that began on another machine are there, and those of a trial
        # that had ended are gone: it starts anew here.
        anew = not fresh and Folder(folder).latest() is None
        recorded = 0 if asked.progress is None else len(asked.progress.history)
        return self._recorder.open(
            asked.number, asked.config, anew=anew, recorded=recorded, fresh=fresh
        )

    def _make_hooks(self, asked: AskedTrial, run: OpenedRun) -> Hooks:
        tracker = self._recorder.tracker

        def report_epoch(epoch: Epoch, best_value: float) -> bool:
            self._display.epoch_ended(epoch, asked.number)
            with study_errors():  # otherwise the engine would take the error for one of the trial
                return self._study.report(asked, epoch.epoch, best_value)

        def log_saved_epochs(saved: tuple[Epoch, ...]) -> None:
            history = _recorded_history(asked, saved)
            if asked.adopted or asked.progress is not None:
                with study_errors():
                    self._study.catch_up(asked, history)
            if asked.until is None or len(history) < asked.until:  # else it is sent with the pause
                tracker.submit(lambda: tracker.log_epochs(run.result()[0], history))
            failpoints.reach("after_progress")

        return Hooks(
            epoch=report_epoch,
            saved=log_saved_epochs,
            step=partial(self._display.step_ended, number=asked.number),
            stop=self._look,
        )

    def wait(self) -> tuple[AskedTrial, TrialResult | Death]:
        """Wait until a trial ends, and return its result, or that its process died."""
        self._record_new_pauses()
        number, result = self._engine.wait()
        trial = self._running[number]
        outcome: TrialResult | Death
        if result is not None:
            failpoints.reach("before_pause" if result.state == PAUSED else "before_tell")
            history = _recorded_history(trial.asked, result.history)
            result = dataclasses.replace(result, history=history)
            if result.state == PAUSED:
                self._runs[number] = trial.run
                outcome = result
            else:
                outcome = self._recorder.add_run(result, trial.run)
        else:
            folder = Folder(trial_folder(self._recorder.home, self._study.name, number))
            outcome = Death(folder.newest_epoch())
            self._display.print_line(
                f"the process of trial #{number} died after epoch {outcome.epochs}; "
                "it begins again there, the others go on"
            )
        del self._running[number]
        return trial.asked, outcome

    def record_pause(self, pause: Pause) -> None:
        """Record a pause that the store of studies already has."""
        failpoints.reach("after_pause")
        number = pause.result.number
        folder = Folder(trial_folder(self._recorder.home, self._study.name, number))
        folder.keep_state(len(pause.result.history))
        self._new_pauses[number] = pause.result
        self._display.trial_paused(pause)

    def forget_pause(self, number: int) -> None:
        """Drop a pause that is not recorded yet, of a trial that has ended since."""
        self._new_pauses.pop(number, None)

    def _record_new_pauses(self) -> None:
        for number, result in self._new_pauses.items():
            self._recorder.pause(self._runs[number], result)
        self._new_pauses.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.close()
        if isinstance(error, StudyTaken):
            return  # the record is another command's now
        self._record_new_pauses()
        if not isinstance(error, Interrupted | Failure):
            return
        for trial in self._running.values():
            with contextlib.suppress(Failure), study_errors():
                self._study.record_interruption(trial.asked)
                self._recorder.interrupt(trial.run)


def _recorded_history(asked: AskedTrial, history: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    """Return a trial's history, with the rows that are recorded already in place of their like.

    A trial whose state is gone is trained again from its start, to the same values at other times:
    MLflow would take these for further values.
    """
    if asked.progress is None:
        return history
    recorded = asked.progress.history[: len(history)]
    return recorded + history[len(recorded) :]
