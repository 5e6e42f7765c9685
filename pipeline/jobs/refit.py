"""The finalists' winner, trained once on training and validation images together: nothing is chosen any more."""

from __future__ import annotations

import dataclasses
import math
import statistics

import torch

from pipeline.checkpoints import Folder
from pipeline.data.search_data import SearchData, Split
from pipeline.inference import evaluate
from pipeline.jobs.progress import ProgressDisplay
from pipeline.jobs.sweep import Plan, Request
from pipeline.jobs.train import train_in_run
from pipeline.stores import access, locks
from pipeline.stores.access import study_errors
from pipeline.system.errors import NothingComplete, ServerAway
from pipeline.system.signals import StopRequest, stop_requests
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.facts import Refit
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import complete_trials
from sweeps.search import stored
from sweeps.trial import FAILED, TrialConfig


def winner_config(record: StudyRecord) -> TrialConfig | None:
    """The winner's configuration for as many epochs as its seeds were best after: their median. None if none has won.

    No epoch is chosen, and none is the last before its time: the schedule runs over these.
    """
    verdict = record.judged_as_finalists
    if verdict is None or not verdict.final:
        return None
    epochs = [
        trial.best_epoch
        for trial in complete_trials(verdict.winner.entry)
        if trial.best_epoch is not None
    ]
    config = verdict.winner.trial.config
    return dataclasses.replace(
        config,
        epochs=math.ceil(statistics.median(epochs)),
        patience=0,
        seed=record.spec.seed,
    )


def join_splits(data: SearchData) -> SearchData:
    """Both splits of a search as training images; none are left to judge by. The moments stay the training split's."""
    images = torch.cat([data.train.images, data.val.images])
    labels = torch.cat([data.train.labels, data.val.labels])
    return dataclasses.replace(
        data, train=Split(images, labels), val=Split(data.val.images[:0], data.val.labels[:0])
    )


def refit(made: Plan, request: Request, show: ProgressDisplay) -> None:
    """Train the winner of finalists that have all ended, and score it once on the test split.

    What an earlier command did of it is not done again.

    Raises:
        Interrupted: asked to stop by a signal; the same command goes on.
        Failure: in one line, with its exit code.
    """
    with locks.lock(made.stores, made.name) as held, stop_requests() as stop, study_errors():
        kept = stored.load(access.open_studies(made.stores, held), made.name)
        record = kept.record()
        config = winner_config(record)
        if config is None or record.refit:
            return
        tracker = Tracker(made.stores.tracking, experiment=request.experiment)
        tracker.listen(stop.check)
        try:
            run_id = tracker.call(tracker.open_refit, str(record.parent_run_id), made.name)
            folder = Folder(made.stores.home / "checkpoints" / made.name / "refit")
            if tracker.run(run_id).info.status != "FINISHED":
                _train(made, request, config, folder, tracker, run_id, stop, show)
            folder.clear()
            scores = tracker.run(run_id).data.metrics
        except ServerAway as error:
            raise ServerAway(
                f"{error}; nothing is lost: when it is back, the same command goes on"
            ) from None
        finally:
            tracker.close()
        if "test/acc" not in scores:
            found = evaluate.evaluate(
                made.stores, request.data_dir, split="test", run_id=run_id
            ).scores
            scores = {"test/acc": found.accuracy}
        outcome = Refit(run_id=run_id, epochs=config.epochs, acc=scores["test/acc"])
        kept.remember("refit", dataclasses.asdict(outcome))


def _train(
    made: Plan,
    request: Request,
    config: TrialConfig,
    folder: Folder,
    tracker: Tracker,
    run_id: str,
    stop: StopRequest,
    show: ProgressDisplay,
) -> None:
    """Train it, going on from its newest checkpoint; its weights become artifacts of its run."""
    data = join_splits(made.data)
    source = {"name": data.name, "digest": data.digest, "source": str(request.data_dir)}
    tracker.call(tracker.open_trial, None, None, 0, config, source, run_id)
    show.say(
        f"training the winner on all {len(data.train):,} images of the search, epochs: {config.epochs}"
    )

    result = train_in_run(
        tracker, run_id, config, data, folder, objective=made.spec.objective, show=show, stop=stop
    )
    tracker.submit(tracker.finish_trial, run_id, result, data.classes, list(folder.kept()))
    tracker.drain()
    if result.state == FAILED:
        raise NothingComplete(
            f"the winner, trained on both splits, failed: {result.end}: {result.error}"
        )
