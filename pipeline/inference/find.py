"""Finds trained networks: by run, by trial, by study, by registered model or by checkpoint."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.checkpoints import BEST, Card, load_model
from pipeline.inference import kept_code
from pipeline.inference.networks import NetworkReference, TrainedNetwork
from pipeline.stores import access, locations
from pipeline.system.errors import (
    CodeFailure,
    IntegrityFailure,
    NothingComplete,
    StorageFailure,
    UsageFailure,
)
from pipeline.system.files import temporary_folder
from pipeline.system.text import clip
from pipeline.tracking import run_tags
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.facts import Refit
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.front import Choice
from sweeps.analysis.record import StudyRecord
from sweeps.trial import COMPLETE, TrialResult

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from pipeline.tracking.library import Run


def find_trial(stores: locations.Stores, name: str) -> tuple[StudyRecord, TrialResult]:
    """Find a trial by a name such as ``NAME#7``, and its study.

    Raises:
        UsageFailure: if there is no such trial.
    """
    study, _, number = name.rpartition("#")
    record = access.read_record(stores, study)
    if not number.isdecimal() or int(number) >= len(record.results):
        raise UsageFailure(
            f"no trial {number!r} in study {study!r}: it has {len(record.results)}, counted from 0"
        )
    return record, record.results[int(number)]


def place_of(stores: locations.Stores, run: Run) -> str | None:
    """Return where the images of a run's study are now, if not where the study was begun."""
    study = run.data.tags.get("sweep.study") or run.data.tags.get("sweep.refit_of")
    return None if study is None else access.read_place(stores, study)


def trial_with_weights(stores: locations.Stores, name: str) -> TrialResult:
    """Find a trial by a name such as ``NAME#7``; for a duplicate, the original trial.

    Raises:
        UsageFailure: if there is no such trial, or it has no checkpoint.
    """
    record, trial = find_trial(stores, name)
    if trial.duplicate_of is not None:
        trial = record.results[trial.duplicate_of]
    if trial.checkpoint is None:
        raise UsageFailure(
            f"trial {name} has no checkpoint ({trial.end}): "
            "it is paused, it failed, or keep_checkpoints dropped it; name another, or train it "
            f"again with `pipeline train --from-run {shlex.quote(name)}`"
        )
    return trial


@dataclass(frozen=True)
class BestNetwork:
    """The network that is taken as the best of a study."""

    record: StudyRecord  # the study, or the study of its finalists
    choice: Choice  # why its configuration is taken
    refit: Refit | None  # the training on both splits, if it is meant; else the trial is

    @property
    def trial(self) -> TrialResult:
        """The best seed of the chosen configuration."""
        return self.choice.entry.trials[0]

    @property
    def run_id(self) -> str | None:
        """The run that has the weights."""
        return self.trial.run_id if self.refit is None else self.refit.run_id


def best_network(
    stores: locations.Stores,
    name: str | None,
    within: float | None = None,
    *,
    takes_refit: bool = True,
) -> BestNetwork:
    """Find the best network of a study, or of its finalists as soon as they have decided.

    This is the refit of the finalists' winner, if there is one, else the best trial.

    Args:
        stores: the stores.
        name: the study; None for the study last opened.
        within: take the cheapest trial that is worse by no more, see
            `sweeps.analysis.front.choose`, and no refit, which is of the winner.
        takes_refit: whether the refit may be taken, which has learned from validation images.

    Raises:
        NothingComplete: if no trial is complete.
    """
    return best_of(access.read_record(stores, name), within, takes_refit=takes_refit)


def best_of(
    record: StudyRecord, within: float | None = None, *, takes_refit: bool = True
) -> BestNetwork:
    """Find the best network of a study that was read. The arguments are those of `best_network`.

    Raises:
        NothingComplete: if no trial is complete.
    """
    record = record.decided_finalists or record
    choice = record.choose(within)
    if choice is None:
        raise NothingComplete(f"study {record.name!r} has no complete trial")
    refit = record.refit if takes_refit and within is None else None
    return BestNetwork(record, choice, refit)


def complete_trials(stores: locations.Stores, name: str | None) -> list[TrialResult]:
    """Find all complete trials of a study with weights of their own.

    Args:
        stores: the stores.
        name: the study; None for the study last opened.

    Raises:
        NothingComplete: if there are none.
    """
    record = access.read_record(stores, name)
    trials = [
        trial
        for trial in record.results
        if trial.state == COMPLETE and trial.duplicate_of is None and trial.checkpoint is not None
    ]
    if not trials:
        raise NothingComplete(f"study {record.name!r} has no complete trial that has weights")
    return trials


def find_network(stores: locations.Stores, reference: NetworkReference) -> TrainedNetwork:
    """Find a network and load it.

    A checkpoint needs no store. No store is created.

    Raises:
        Failure: if there is no such network, or it cannot be read.
    """
    if reference.checkpoint is not None:
        network, card = _load(reference.checkpoint)
        return TrainedNetwork(network, card)
    if reference.model is not None:
        return _registered_network(stores, reference.model)
    run_id = find_run_id(stores, reference)
    with read_run(stores, run_id) as (tracker, run):
        tags = run.data.tags
        study = tags.get(run_tags.STUDY) or tags.get(run_tags.REFIT_OF)
        if study is not None:
            study = study.removesuffix(FINALISTS_SUFFIX)
        network, card = fetch_network(tracker, run, BEST)
    return TrainedNetwork(network, card, run.info.run_id, study)


def _load(checkpoint: Path | str) -> tuple[torch.nn.Module, Card]:
    """Load a network, with a notice if the source of the user's own has changed since."""
    network, card = load_model(checkpoint)
    kept_code.notice_change(card.config)
    return network, card


def _registered_network(stores: locations.Stores, uri: str) -> TrainedNetwork:
    from pipeline.inference import registry

    with temporary_folder() as folder:
        checkpoint, run_id = registry.fetch_checkpoint(stores, uri, folder)
        network, card = _load(checkpoint)
        return TrainedNetwork(network, card, run_id)


def find_run_id(stores: locations.Stores, reference: NetworkReference) -> str | None:
    """The id of the referenced run, or of the run of the referenced trial or best trial."""
    if reference.best:
        return best_network(stores, reference.name).run_id
    if reference.run and "#" in reference.run:
        return trial_with_weights(stores, reference.run).run_id
    return reference.run


@contextmanager
def read_run(
    stores: locations.Stores, run_id: str | None, *, keeps: bool = False
) -> Iterator[tuple[Tracker, Run]]:
    """Open a run that has weights of its own.

    Args:
        stores: the stores.
        run_id: the run; that of a study stands for the run whose weights it shares.
        keeps: whether the caller will log to the run; otherwise the caller only reads.

    Yields:
        A tracker of the run's store, and the run.

    Raises:
        UsageFailure: if the run has no weights.
        StorageFailure: if the store cannot be read; with `keeps`, if it cannot be written.
        StudyBusy, IntegrityFailure: with `keeps`, as of `access.settle`.
    """
    with (
        access.read_tracking(stores, writes=keeps) as uri,
        contextlib.closing(Tracker(uri)) as tracker,
    ):
        read_only = access.read_only_store(stores)
        if keeps and read_only is not None:
            raise StorageFailure(
                f"cannot write {read_only}, where scores are kept with their run: "
                "score the network alone, by --checkpoint FOLDER, which ends with "
                f"{run_id}/artifacts/checkpoint"
            )
        run = tracker.run(str(run_id))
        owner = run.data.tags.get(run_tags.WEIGHTS_OF)
        if owner:
            run = tracker.run(owner)
        original = run_tags.read_duplicate(run)
        if original is not None:
            raise UsageFailure(
                f"run {run_id} is a duplicate and has no weights of its own: use --run {original}"
            )
        if run.data.tags.get("sweep.checkpoint") == "dropped":
            raise UsageFailure(
                f"the weights of run {run.info.run_id} were dropped, as keep_checkpoints of its "
                f"study says: train it again with `pipeline train --from-run {run.info.run_id}`"
            )
        yield tracker, run


def fetch_network(tracker: Tracker, run: Run, file: str) -> tuple[torch.nn.Module, Card]:
    """Load a network from a run's checkpoint.

    Args:
        tracker: of the run's store.
        run: the run.
        file: a ``.safetensors`` file, relative to the run's artifact ``checkpoint``.

    Raises:
        IntegrityFailure: if the checkpoint is damaged, or is another configuration's.
        CodeFailure: if the code of the user's own network is not there; it says where a copy is.
    """
    with temporary_folder() as folder:
        tracker.download(run.info.run_id, f"checkpoint/{file}", folder)
        checksum = tracker.download(run.info.run_id, f"checkpoint/{file}.sha256", folder)
        try:
            network, card = _load(checksum.with_suffix(""))
        except CodeFailure as error:
            raise CodeFailure(f"{error}{kept_code.describe_copy(tracker, run)}") from None
    signature = run.data.tags.get("sweep.signature")
    if signature not in (None, card.config.signature):
        raise IntegrityFailure(
            f"the checkpoint of run {run.info.run_id} is another configuration's: its card names "
            f"{clip(card.config.to_dict(), 200)}; put the run's own artifacts back"
        )
    return network, card
