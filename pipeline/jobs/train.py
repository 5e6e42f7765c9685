"""One training as one run of its own: what `pipeline train` does."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.checkpoints import Folder
from pipeline.data.search_data import SearchData, load_for
from pipeline.engines import local
from pipeline.engines.base import Task
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.reproduce import RecordedTrial
from pipeline.stores import access, locations
from pipeline.system.errors import Failure, Interrupted, NothingComplete, ServerAway, UsageFailure
from pipeline.system.signals import StopRequest, stop_requests
from pipeline.tracking.server import STOP_TIMEOUT
from pipeline.tracking.tracker import Tracker
from pipeline.training.epochs import Hooks
from pipeline.training.resolve import resolve
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult, config_fields, configure


def train_one(
    where: locations.Stores,
    values: Mapping[str, Any],
    data_dir: Path,
    *,
    objective: str,
    resume: str | None,
    experiment: str | None,
    every_epoch: bool,
    show: ProgressDisplay,
    repeats: RecordedTrial | None = None,
) -> TrialResult:
    """Train one configuration, tracked and with checkpoints.

    Args:
        where: the stores.
        values: by field of `TrialConfig`; None counts as not given.
        data_dir: the folder of data sets.
        objective: what chooses the best epoch.
        resume: the id of an interrupted run to go on with; its own configuration holds then.
        experiment: MLflow's experiment.
        every_epoch: keep the weights after each epoch, too.
        show: where progress is shown.
        repeats: the trial that is trained again: where that was pruned, this one is.

    Raises:
        Interrupted: asked to stop; its ``run_id`` can go on.
        Failure: in one line.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if resume and given:
        raise UsageFailure(
            f"--resume goes on with the run's own configuration: leave out {', '.join(given)}"
        )
    if not resume:
        config = _config(given)
        load_for(config, data_dir)  # before anything is written
    if resume:
        access.check_tracking(where)
    access.prepare(where)
    tracker = Tracker(where.tracking, experiment=experiment)
    try:
        if resume:
            found = tracker.run(resume)
            if "sweep.trial" in found.data.tags or found.info.status == "FINISHED":
                raise UsageFailure(
                    f"run {resume} is no interrupted run of `pipeline train`: nothing to go on with"
                )
            config = _config(
                {
                    name: value
                    for name, value in found.data.params.items()
                    if name in config_fields()
                }
            )
            objective = found.data.tags.get("sweep.objective", objective)
            every_epoch = found.data.tags.get("sweep.keep_checkpoints") == "all"
        return _run(
            tracker,
            where,
            config,
            data_dir,
            objective=objective,
            resume=resume,
            every_epoch=every_epoch,
            show=show,
            repeats=repeats,
        )
    finally:
        tracker.close()


def _config(values: Mapping[str, Any]) -> TrialConfig:
    try:
        return resolve(configure(values, strict=True))
    except ValueError as error:
        raise UsageFailure(str(error)) from None


def _run(
    tracker: Tracker,
    where: locations.Stores,
    config: TrialConfig,
    data_dir: Path,
    *,
    objective: str,
    resume: str | None,
    every_epoch: bool,
    show: ProgressDisplay,
    repeats: RecordedTrial | None,
) -> TrialResult:
    data = load_for(config, data_dir)
    source = {"name": data.name, "digest": data.digest, "source": str(data_dir)}
    run_id, artifacts = tracker.call(tracker.open_trial, None, None, 0, config, source, resume)
    kept = "all" if every_epoch else "each"
    tags = {"sweep.objective": objective, "sweep.keep_checkpoints": kept}
    tracker.submit(tracker.tag, run_id, tags | ({"sweep.repeats": repeats.name} if repeats else {}))
    folder = Folder(where.home / "checkpoints" / "train" / run_id)

    with stop_requests() as stop:
        result = train_in_run(
            tracker,
            run_id,
            config,
            data,
            folder,
            objective=objective,
            show=show,
            stop=stop,
            every_epoch=every_epoch,
            until=repeats.epochs if repeats else None,
        )
    result = dataclasses.replace(result, run_id=run_id, checkpoint=f"{artifacts}/checkpoint")
    try:
        tracker.submit(tracker.finish_trial, run_id, result, data.classes, list(folder.kept()))
        tracker.drain()
    except ServerAway as error:
        again = f"pipeline train --resume {run_id}"
        raise ServerAway(
            f"{error}; nothing is lost: when it is back, complete the run with: {again}"
        ) from None
    folder.clear()
    if result.state == FAILED:
        raise NothingComplete(f"run {run_id} failed: {result.end}: {result.error}")
    return result


def train_in_run(
    tracker: Tracker,
    run_id: str,
    config: TrialConfig,
    data: SearchData,
    folder: Folder,
    *,
    objective: str,
    show: ProgressDisplay,
    stop: StopRequest,
    every_epoch: bool = False,
    until: int | None = None,
) -> TrialResult:
    """Train in an open run that is no trial's: its epochs are logged, and that it was interrupted.

    Args:
        tracker: of the run.
        run_id: the run.
        config: what to train.
        data: its images.
        folder: for checkpoints, from the newest of which it goes on.
        objective: what chooses the best epoch.
        show: where progress is shown.
        stop: asked at every step.
        every_epoch: keep the weights after each epoch, too.
        until: the epoch after which it is pruned.

    Raises:
        Interrupted: asked to stop, or a process of several was killed; its ``run_id`` can go on.
    """

    def epoch(row: Epoch, _best: float) -> bool:
        show.epoch(row)
        return row.epoch == until

    def saved(history: tuple[Epoch, ...]) -> None:
        tracker.submit(tracker.log_epochs, run_id, history)

    with show.live():
        show.trial(0, config)
        hooks = Hooks(epoch=epoch, saved=saved, step=show.step, stop=stop.check)
        task = Task(
            number=0,
            config=config,
            folder=folder.path,
            objective=objective,
            every_epoch=every_epoch,
        )
        try:
            return local.train_one(task, data, hooks)
        except Interrupted as stopped:
            if stopped.code == Interrupted(signal.SIGKILL).code:
                show.say("one of its processes was killed, or ran out of memory")
            with contextlib.suppress(Failure):
                tracker.submit(tracker.interrupt, run_id)
                tracker.drain(STOP_TIMEOUT)
            stopped.run_id = run_id
            raise
