"""Trains the winner of a study's finalists once on training and validation images together.

Nothing is selected any more: the configuration and the number of epochs are settled beforehand.
"""

from __future__ import annotations

import dataclasses
import math
import statistics

from pipeline.checkpoints import Folder
from pipeline.data.search_data import SearchData, Split, joined
from pipeline.inference import evaluate
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.sweep import Plan, Request
from pipeline.jobs.train import train_in_run
from pipeline.stores import access, locks
from pipeline.stores.access import study_errors
from pipeline.system.errors import NothingComplete, ServerAway
from pipeline.system.signals import StopRequest
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.facts import Refit
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.search import stored
from sweeps.trial import FAILED, TrialConfig


def winner_config(record: StudyRecord) -> TrialConfig | None:
    """Return the configuration for the refit, or None if the finalists have no final winner.

    The number of epochs is the median of the best epochs of the winner's seeds. The learning rate
    schedule runs over that number: the refit has no validation images to select an epoch, or to
    stop early.
    """
    verdict = record.judged_as_finalists
    if verdict is None or not verdict.final:
        return None
    best_epochs = [
        trial.best_epoch
        for trial in complete_trials(verdict.winner.entry)
        if trial.best_epoch is not None
    ]
    return dataclasses.replace(
        verdict.winner.trial.config,
        epochs=math.ceil(statistics.median(best_epochs)),
        patience=0,
        seed=record.spec.seed,
        redraw=None,
        train_images=None,
    )


def join_splits(data: SearchData) -> SearchData:
    """Return data with both splits of a search as training images, and an empty validation split.

    The mean and deviation for normalisation stay those of the training split.
    """
    empty = Split(data.val.images[:0], data.val.labels[:0])
    return dataclasses.replace(data, train=joined(data), val=empty)


def refit(
    plan: Plan, request: Request, display: ProgressDisplay, stop: StopRequest | None = None
) -> None:
    """Train the winner of the finalists, once all have ended, and score it once on the test split.

    A refit that an earlier command began is resumed, and a finished one is not repeated.

    Args:
        plan: the study of the finalists.
        request: the request of the command.
        display: shows the progress.
        stop: a request to stop between two steps; without one, the training runs to its end.

    Raises:
        Interrupted: if asked to stop; the same command resumes.
        Failure: with a message of one line and an exit code.
    """
    stop = stop or StopRequest()
    with locks.lock(plan.stores, plan.name) as held, stop.listening(), study_errors():
        study = stored.load(access.open_studies(plan.stores, held), plan.name)
        record = study.record()
        config = winner_config(record)
        if config is None or record.refit:
            return
        tracker = Tracker(plan.stores.tracking, experiment=request.experiment)
        tracker.listen(stop.check)
        try:
            seeds = _seeds_if_added(record)
            run_id = tracker.call(tracker.open_refit, str(record.parent_run_id), plan.name, seeds)
            place = "refit" if seeds is None else f"refit of {seeds} seeds"
            folder = Folder(plan.stores.home / "checkpoints" / plan.name / place)
            if tracker.run(run_id).info.status != "FINISHED":
                _train(plan, request, config, folder, tracker, run_id, stop, display)
            folder.clear()
            metrics = tracker.run(run_id).data.metrics
        except ServerAway as error:
            raise ServerAway(
                f"{error}; nothing is lost: when it is back, the same command goes on"
            ) from None
        finally:
            tracker.close()
        accuracy = metrics.get("test/acc")
        if accuracy is None:
            evaluation = evaluate.evaluate(
                plan.stores, request.data_dir, split="test", run_id=run_id
            )
            accuracy = evaluation.scores.accuracy
        outcome = Refit(run_id=run_id, epochs=config.epochs, acc=accuracy)
        study.remember("refit", dataclasses.asdict(outcome))


def _seeds_if_added(record: StudyRecord) -> int | None:
    """The number of seeds of finalists, if some were added to the first ones; else None."""
    chosen = record.facts.finalists
    if chosen is None or record.spec.repeats == chosen.seeds:
        return None
    return record.spec.repeats


def _train(
    plan: Plan,
    request: Request,
    config: TrialConfig,
    folder: Folder,
    tracker: Tracker,
    run_id: str,
    stop: StopRequest,
    display: ProgressDisplay,
) -> None:
    """Train the winner, from its newest checkpoint if there is one, and store its weights."""
    data = join_splits(plan.data)
    source = {"name": data.name, "digest": data.digest, "source": str(request.data_dir)}
    tracker.call(tracker.open_trial, None, None, 0, config, source, run_id)
    display.print_line(
        f"training the winner on all {len(data.train):,} images of the search, "
        f"epochs: {config.epochs}"
    )
    result = train_in_run(
        tracker,
        run_id,
        config,
        data,
        folder,
        objective=plan.spec.objective,
        display=display,
        stop=stop,
    )
    tracker.submit(tracker.finish_trial, run_id, result, data.classes, list(folder.artifacts()))
    tracker.drain()
    if result.state == FAILED:
        raise NothingComplete(
            f"the winner, trained on both splits, failed: {result.end}: {result.error}"
        )
