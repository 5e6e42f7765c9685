"""Trains one configuration as one MLflow run: the job behind `pipeline train`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import own
from pipeline.checkpoints import Folder
from pipeline.data.datasets import is_own
from pipeline.data.search_data import SearchData, load_for
from pipeline.engines import local
from pipeline.engines.base import Task
from pipeline.jobs import preflight, pretrained, sources
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.reproduce import RecordedTrial
from pipeline.stores import access, locations, locks
from pipeline.system.errors import (
    KILL,
    Failure,
    Interrupted,
    NothingComplete,
    ServerAway,
    UsageFailure,
)
from pipeline.system.signals import StopRequest
from pipeline.tracking import run_tags
from pipeline.tracking.run_contents import training_name
from pipeline.tracking.server import STOP_TIMEOUT
from pipeline.tracking.tracker import Tracker
from pipeline.training.epochs import Hooks
from pipeline.training.resolve import choose_threads, resolve
from sweeps.analysis.facts import SELECTION
from sweeps.trial import (
    DATA_VERSION,
    FAILED,
    Epoch,
    TrialConfig,
    TrialResult,
    config_fields,
    configure,
)

if TYPE_CHECKING:
    from pipeline.tracking.library import Run


def train_one(
    stores: locations.Stores,
    values: Mapping[str, Any],
    data_dir: Path,
    *,
    objective: str,
    resume: str | None,
    experiment: str | None,
    every_epoch: bool,
    display: ProgressDisplay,
    repeats: RecordedTrial | None = None,
    stop: StopRequest | None = None,
) -> TrialResult:
    """Train one configuration, with a record in MLflow and checkpoints.

    Args:
        stores: the stores.
        values: the configuration, by field of `TrialConfig`; None counts as not given.
        data_dir: the folder of data sets.
        objective: the metric that selects the best epoch.
        resume: the id of an interrupted run to resume, with the configuration of that run.
        experiment: the name of MLflow's experiment.
        every_epoch: keep the weights of every epoch, besides the best.
        display: shows the progress.
        repeats: the recorded trial to train again; if that was pruned, this training stops after
            the same epoch.
        stop: a request to stop between two steps; without one, the training runs to its end.

    Raises:
        Interrupted: if asked to stop; the run with its ``run_id`` can be resumed.
        Failure: with a message of one line.
    """
    own.forget()  # what an earlier command of this process has loaded may have changed
    selection = repeats.selection if repeats else SELECTION
    given = {name: value for name, value in values.items() if value is not None}
    if resume:
        if given:
            raise UsageFailure(
                f"--resume goes on with the run's own configuration: leave out {', '.join(given)}"
            )
        access.check_tracking(stores)
    else:
        config, _ = prepare(given, data_dir, repeats)  # fails before anything is written
        sources.remember_code(given)
    access.prepare(stores)
    tracker = Tracker(stores.tracking, experiment=experiment)
    try:
        if resume:
            run = _find_interrupted(tracker, resume)
            recorded = sources.read_config(stores, run)
            sources.check_unchanged(
                [recorded], f"run {resume} began", "that run", "begin anew, without --resume"
            )
            config = _resolve_config(recorded.to_dict())
            objective = run_tags.read_objective(run, missing=objective)
            selection = run_tags.read_selection(run)
            every_epoch = run.data.tags.get("sweep.keep_checkpoints") == "all"
        return _train_tracked(
            tracker,
            stores,
            config,
            data_dir,
            objective=objective,
            selection=selection,
            resume=resume,
            every_epoch=every_epoch,
            display=display,
            repeats=repeats,
            stop=stop or StopRequest(),
        )
    finally:
        tracker.close()


def prepare(
    given: Mapping[str, Any], data_dir: Path, repeats: RecordedTrial | None = None
) -> tuple[TrialConfig, SearchData]:
    """Resolve a configuration, read its images, and check that they fit.

    Args:
        given: the configuration, by field of `TrialConfig`.
        data_dir: the folder of data sets.
        repeats: the recorded trial to train again.

    Raises:
        Failure: with a message of one line; nothing is written.
    """
    values = dict(given)
    dataset = str(values.get("dataset", config_fields()["dataset"].default))
    repeats_own = repeats is not None and is_own(repeats.config.dataset)
    if is_own(dataset) and not repeats_own:
        values.setdefault("data_version", DATA_VERSION)
    config = _resolve_config(values)
    if repeats is None:  # a trial of a cluster may have had a share: here it gets a whole GPU
        local.check_whole(config.gpus_per_trial)
    if config.image_size is None and repeats is None:
        chosen = [(config.pretrained, config.family)]
        size = pretrained.wanted_size(config.dataset, data_dir, chosen)
        config = dataclasses.replace(config, image_size=size)
    data = load_for(config, data_dir)
    preflight.check_network(config, data.shape, len(data.classes))
    if "eval_batch_size" not in given:
        size = preflight.scoring_batch_size([config], data)
        config = dataclasses.replace(config, eval_batch_size=size)
    return config, data


def _resolve_config(values: Mapping[str, Any]) -> TrialConfig:
    """Resolve a configuration, and settle its threads: nothing else is trained beside it.

    Raises:
        UsageFailure: for a value against its rule, or a device that is not there.
    """
    try:
        config = resolve(configure(values, strict=True))
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    if config.threads is not None:
        return config
    cores = local.LocalFactory().cores(config.processes)
    threads = choose_threads([config.family], config.dataset, config.device, cores)
    return dataclasses.replace(config, threads=threads)


def _find_interrupted(tracker: Tracker, run_id: str) -> Run:
    """Find the run of an interrupted `pipeline train`."""
    run = tracker.run(run_id)
    if "sweep.trial" in run.data.tags or run.info.status == "FINISHED":
        raise UsageFailure(
            f"run {run_id} is no interrupted run of `pipeline train`: nothing to go on with"
        )
    return run


def _train_tracked(
    tracker: Tracker,
    stores: locations.Stores,
    config: TrialConfig,
    data_dir: Path,
    *,
    objective: str,
    selection: int,
    resume: str | None,
    every_epoch: bool,
    display: ProgressDisplay,
    repeats: RecordedTrial | None,
    stop: StopRequest,
) -> TrialResult:
    """Open the run or the one to resume, train in this run, and finish its record."""
    data = load_for(config, data_dir)
    source = {"name": data.name, "digest": data.digest, "source": str(data_dir)}
    usual = resolve(configure({"dataset": config.dataset, "family": config.family}))
    open_run = partial(
        tracker.open_trial,
        None,
        None,
        0,
        config,
        source,
        resume,
        selection=selection,
        name=training_name(config, usual),
    )
    run_id, artifacts = tracker.call(open_run)
    tags = {
        "sweep.objective": objective,
        "sweep.keep_checkpoints": "all" if every_epoch else "each",
    }
    if repeats:
        tags["sweep.repeats"] = repeats.name
    tracker.submit(tracker.tag, run_id, tags)
    found = sources.own_sources([config.family])
    for line in sources.describe_sources(found):
        display.print_line(line)
    files = {**sources.source_files(found), **sources.code_files()}
    tracker.submit(tracker.describe_parent, run_id, {}, files)
    folder = Folder(stores.home / "checkpoints" / "train" / run_id)

    with locks.lock_training(stores, run_id):
        with stop.listening():
            result = train_in_run(
                tracker,
                run_id,
                config,
                data,
                folder,
                objective=objective,
                selection=selection,
                display=display,
                stop=stop,
                every_epoch=every_epoch,
                until=repeats.epochs if repeats else None,
            )
        result = dataclasses.replace(result, run_id=run_id, checkpoint=f"{artifacts}/checkpoint")
        try:
            tracker.submit(
                tracker.finish_trial, run_id, result, data.classes, list(folder.artifacts())
            )
            tracker.drain()
        except ServerAway as error:
            command = f"pipeline train --resume {run_id}"
            raise ServerAway(
                f"{error}; nothing is lost: when it is back, complete the run with: {command}"
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
    display: ProgressDisplay,
    stop: StopRequest,
    selection: int = SELECTION,
    every_epoch: bool = False,
    until: int | None = None,
) -> TrialResult:
    """Train in an open run outside any sweep, and log its epochs or its interruption.

    Args:
        tracker: writes to the run.
        run_id: the id of the run.
        config: the configuration to train.
        data: the images.
        folder: the folder of checkpoints; training resumes from the newest of them.
        objective: the metric that selects the best epoch.
        display: shows the progress.
        stop: checked at every step.
        selection: the version of the rules that choose the best epoch.
        every_epoch: keep the weights of every epoch, besides the best.
        until: the epoch after which the training is pruned.

    Raises:
        Interrupted: if asked to stop, or if one process of several was killed; the run with its
            ``run_id`` can be resumed.
    """

    def report_epoch(epoch: Epoch, _best: float) -> bool:
        display.epoch_ended(epoch)
        return epoch.epoch == until

    def log_saved_epochs(history: tuple[Epoch, ...]) -> None:
        tracker.submit(tracker.log_epochs, run_id, history)

    hooks = Hooks(
        epoch=report_epoch, saved=log_saved_epochs, step=display.step_ended, stop=stop.check
    )
    task = Task(
        number=0,
        config=config,
        folder=folder.path,
        objective=objective,
        every_epoch=every_epoch,
        selection=selection,
    )
    with display.live():
        display.trial_began(0, config)
        try:
            return local.train_one(task, data, hooks)
        except Interrupted as interrupted:
            if interrupted.code == Interrupted(KILL).code:
                display.print_line("one of its processes was killed, or ran out of memory")
            with contextlib.suppress(Failure):
                tracker.submit(tracker.interrupt, run_id)
                tracker.drain(STOP_TIMEOUT)
            interrupted.run_id = run_id
            raise
