"""Finished networks, by whatever names them: finds and scores them. The only reader of the test split."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.checkpoints import BEST, Card, load_model
from pipeline.inference.networks import NetworkReference, TrainedNetwork
from pipeline.stores import access, locations
from pipeline.system.errors import NothingComplete, StorageFailure, UsageFailure
from pipeline.tracking.tracker import Run, Tracker
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, TrialResult

if TYPE_CHECKING:
    import torch


def find_trial(where: locations.Stores, name: str) -> tuple[StudyRecord, TrialResult]:
    """Find the trial that ``NAME#7`` names, and its study.

    Raises:
        UsageFailure: if there is none.
    """
    study, _, number = name.rpartition("#")
    record = access.read_record(where, study)
    if not number.isdecimal() or int(number) >= len(record.results):
        raise UsageFailure(
            f"no trial {number!r} in study {study!r}: it has {len(record.results)}, counted from 0"
        )
    return record, record.results[int(number)]


def trial_with_weights(where: locations.Stores, name: str) -> TrialResult:
    """Find the trial that ``NAME#7`` names; of a duplicate, the trial whose result it is.

    Raises:
        UsageFailure: if there is none.
    """
    record, found = find_trial(where, name)
    if found.duplicate_of is not None:
        found = record.results[found.duplicate_of]
    if found.checkpoint is None:
        raise UsageFailure(
            f"trial {name} has no checkpoint ({found.end}): it failed, or keep_checkpoints dropped it"
        )
    return found


def best_trial(where: locations.Stores, name: str | None) -> TrialResult:
    """Find a study's best trial, its finalists' once they have ended; of the study last opened, if none is named.

    Raises:
        NothingComplete: if no trial is complete.
    """
    record = access.read_record(where, name)
    record = record.decided_finalists or record
    winner = record.best_trial
    if winner is None:
        raise NothingComplete(f"study {record.name!r} has no complete trial")
    return winner


def complete_trials(where: locations.Stores, name: str | None) -> list[TrialResult]:
    """Find the complete trials of a study; of the one last opened, if none is named.

    Raises:
        NothingComplete: if there are none.
    """
    record = access.read_record(where, name)
    found = [
        r
        for r in record.results
        if r.state == COMPLETE and r.duplicate_of is None and r.checkpoint is not None
    ]
    if not found:
        raise NothingComplete(f"study {record.name!r} has no complete trial that has weights")
    return found


def find_network(where: locations.Stores, which: NetworkReference) -> TrainedNetwork:
    """Find a network and build it. A checkpoint needs no store, and none is made.

    Raises:
        Failure: where there is none, or it cannot be read.
    """
    if which.checkpoint is not None:
        return TrainedNetwork(*load_model(which.checkpoint))
    if which.model is not None:
        from pipeline.inference import registry

        with tempfile.TemporaryDirectory() as folder:
            checkpoint, run_id = registry.fetch_checkpoint(where, which.model, Path(folder))
            return TrainedNetwork(*load_model(checkpoint), run_id)
    with read_run(where, find_run_id(where, which)) as (tracker, run):
        tags = run.data.tags
        study = tags.get("sweep.study") or tags.get("sweep.refit_of")
        network, card = fetch_network(tracker, run, BEST)
    return TrainedNetwork(
        network,
        card,
        run.info.run_id,
        None if study is None else study.removesuffix(FINALISTS_SUFFIX),
    )


def find_run_id(where: locations.Stores, which: NetworkReference) -> str | None:
    """The id of the run that is named, or of the trial."""
    if which.best:
        return best_trial(where, which.name).run_id
    if which.run and "#" in which.run:
        return trial_with_weights(where, which.run).run_id
    return which.run


@contextmanager
def read_run(
    where: locations.Stores, run_id: str | None, *, keeps: bool = False
) -> Iterator[tuple[Tracker, Run]]:
    """Open a run that has weights of its own, to keep something with it or only to read."""
    with access.read_tracking(where) as uri, contextlib.closing(Tracker(uri)) as tracker:
        if keeps and not access.tracking_is_writable(where):
            raise StorageFailure(
                f"cannot write {locations.display_name(where.tracking)}, where scores are kept with their run: "
                f"score the network alone, by --checkpoint FOLDER, which ends with {run_id}/artifacts/checkpoint"
            )
        run = tracker.run(str(run_id))
        if "sweep.duplicate_of" in run.data.tags:
            first = f"{run.data.tags['sweep.study']}#{run.data.tags['sweep.duplicate_of']}"
            raise UsageFailure(
                f"run {run_id} is a duplicate and has no weights of its own: use --run {first}"
            )
        if run.data.tags.get("sweep.checkpoint") == "dropped":
            raise UsageFailure(
                f"the weights of run {run_id} were dropped, as keep_checkpoints of its study says"
            )
        yield tracker, run


def fetch_network(tracker: Tracker, run: Run, file: str) -> tuple[torch.nn.Module, Card]:
    """Build a network from one file of a run's checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (file, f"{file}.sha256"):
            found = tracker.download(run.info.run_id, f"checkpoint/{name}", Path(folder))
        return load_model(found.with_suffix(""))
