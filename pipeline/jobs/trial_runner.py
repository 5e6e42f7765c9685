"""The trials of a sweep that are under way: each trained by an engine, its record kept meanwhile. Chooses none."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from pipeline.checkpoints import Folder, trial_folder
from pipeline.engines.base import Engine, Task
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.recorder import OpenedRun, Recorder
from pipeline.stores.access import study_errors
from pipeline.system import failpoints
from pipeline.system.errors import Failure, Interrupted
from pipeline.system.signals import StopRequest
from pipeline.training.epochs import Hooks
from sweeps.search.study import AskedTrial, Study
from sweeps.trial import Epoch, TrialResult


@dataclass(frozen=True)
class _UnderWay:
    """A trial that is begun."""

    job: AskedTrial
    opened: OpenedRun  # its run


class TrialRunner:
    """An engine, as the loop of a sweep knows it. To be closed, as a context, before anybody else trains the trials."""

    def __init__(
        self,
        study: Study,
        engine: Engine,
        recorder: Recorder,
        show: ProgressDisplay,
        stop: StopRequest,
        time_limit: float | None,
    ) -> None:
        self._study = study
        self._engine = engine
        self._recorder = recorder
        self._show = show
        self._stop = stop
        self._time_limit = time_limit
        self._under_way: dict[int, _UnderWay] = {}

    @property
    def places(self) -> int:
        """How many at a time."""
        return self._engine.places

    def begin(self, job: AskedTrial) -> None:
        """Begin a trial, and its run."""
        failpoints.reach("in_adoption" if job.adopted else "after_ask")
        spec = self._study.spec
        folder = trial_folder(self._recorder.home, self._study.name, job.number)
        # Begun on another machine, its checkpoints are there.
        anew = job.adopted and Folder(folder).latest() is None
        opened = self._recorder.open(job.number, job.config, anew=anew, fresh=not job.adopted)
        self._show.trial(job.number, job.config)
        task = Task(
            number=job.number,
            config=job.config,
            folder=folder,
            objective=spec.objective,
            limits=spec.constraints.limits,
            every_epoch=spec.keep_checkpoints == "all",
            time_limit=self._time_limit,
        )
        self._under_way[job.number] = _UnderWay(job, opened)
        self._engine.begin(task, self._hooks(job, opened))

    def _hooks(self, job: AskedTrial, opened: OpenedRun) -> Hooks:
        tracker = self._recorder.tracker

        def epoch(row: Epoch, best_value: float) -> bool:
            self._show.epoch(row, job.number)
            with study_errors():  # or it would pass for a fault of the trial
                return self._study.report(job, row.epoch, best_value)

        def saved(history: tuple[Epoch, ...]) -> None:
            if job.adopted:
                with study_errors():
                    self._study.catch_up(job, history)
            tracker.submit(lambda: tracker.log_epochs(opened.result()[0], history))

        step = partial(self._show.step, number=job.number)
        return Hooks(epoch=epoch, saved=saved, step=step, stop=self._stop.check)

    def wait(self) -> tuple[AskedTrial, TrialResult | None]:
        """Wait for the next that ends; without a result its process has died."""
        number, result = self._engine.wait()
        ended = self._under_way[number]
        if result is not None:
            failpoints.reach("before_tell")
            result = self._recorder.placed(result, ended.opened)
        else:
            self._show.say(
                f"the process of trial #{number} died (time {ended.job.deaths + 1}); the others go on"
            )
        del self._under_way[number]
        return ended.job, result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.close()
        if not isinstance(error, Interrupted | Failure):
            return
        for trial in self._under_way.values():
            with contextlib.suppress(Failure), study_errors():
                self._study.record_interruption(trial.job)
                self._recorder.interrupt(trial.opened)
