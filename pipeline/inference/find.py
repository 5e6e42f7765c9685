"""Finished networks, by whatever names them: finds and scores them. The only reader of the test split."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.checkpoints import BEST, Card, load_model
from pipeline.data import search_data
from pipeline.stores import locations
from pipeline.system.errors import NothingComplete, StorageFailure, UsageFailure
from pipeline.tracking.tracker import Run, Tracker, now
from pipeline.training.metrics import Prepare, Scores, score
from pipeline.training.train import resolve
from sweeps.analysis.finalists import SUFFIX, decided
from sweeps.analysis.ranking import StudyRecord, best
from sweeps.search.stored import keep_test
from sweeps.trial import COMPLETE, TrialResult


@dataclass(frozen=True, kw_only=True)
class Which:
    """How a command names the network that it is about: in one of these ways."""

    run: str | None = None  # a run's id, or NAME#7
    best: bool = False
    name: str | None = None  # the study of the best; None is the one last opened
    model: str | None = None  # a URI of MLflow
    checkpoint: Path | None = None  # a file or folder


@dataclass(frozen=True)
class Found:
    """A finished network, on the CPU in evaluation mode, and where it comes from."""

    network: torch.nn.Module
    card: Card
    run_id: str | None = None
    study: str | None = None  # that was searched, of its finalists too


@dataclass(frozen=True)
class Evaluation:
    """A finished network's scores on one split."""

    split: str
    card: Card
    scores: Scores
    run_id: str | None


def numbered(where: locations.Stores, name: str) -> tuple[StudyRecord, TrialResult]:
    """Find the trial that ``NAME#7`` names, and its study.

    Raises:
        UsageFailure: if there is none.
    """
    study, _, number = name.rpartition("#")
    record = locations.read_record(where, study)
    if not number.isdecimal() or int(number) >= len(record.results):
        raise UsageFailure(f"no trial {number!r} in study {study!r}: it has {len(record.results)}, counted from 0")
    return record, record.results[int(number)]


def named_trial(where: locations.Stores, name: str) -> TrialResult:
    """Find the trial that ``NAME#7`` names; of a duplicate, the trial whose result it is.

    Raises:
        UsageFailure: if there is none.
    """
    record, found = numbered(where, name)
    if found.duplicate_of is not None:
        found = record.results[found.duplicate_of]
    if found.checkpoint is None:
        raise UsageFailure(f"trial {name} has no checkpoint ({found.end}): it failed, or keep_checkpoints dropped it")
    return found


def best_trial(where: locations.Stores, name: str | None) -> TrialResult:
    """Find a study's best trial, its finalists' once they have ended; of the study last opened, if none is named.

    Raises:
        NothingComplete: if no trial is complete.
    """
    record = locations.read_record(where, name)
    record = decided(record) or record
    winner = best(record.results, maximize=record.maximize)
    if winner is None:
        raise NothingComplete(f"study {record.name!r} has no complete trial")
    return winner


def complete_trials(where: locations.Stores, name: str | None) -> list[TrialResult]:
    """Find the complete trials of a study; of the one last opened, if none is named.

    Raises:
        NothingComplete: if there are none.
    """
    record = locations.read_record(where, name)
    found = [r for r in record.results if r.state == COMPLETE and r.duplicate_of is None and r.checkpoint is not None]
    if not found:
        raise NothingComplete(f"study {record.name!r} has no complete trial that has weights")
    return found


def find(where: locations.Stores, which: Which) -> Found:
    """Find a network and build it. A checkpoint needs no store, and none is made.

    Raises:
        Failure: where there is none, or it cannot be read.
    """
    if which.checkpoint is not None:
        return Found(*load_model(which.checkpoint))
    if which.model is not None:
        from pipeline.inference import registry

        with tempfile.TemporaryDirectory() as folder:
            checkpoint, run_id = registry.fetch(where, which.model, Path(folder))
            return Found(*load_model(checkpoint), run_id)
    with _run(where, run_of(where, which)) as (tracker, run):
        tags = run.data.tags
        study = tags.get("sweep.study") or tags.get("sweep.refit_of")
        network, card = _fetch(tracker, run, BEST)
    return Found(network, card, run.info.run_id, None if study is None else study.removesuffix(SUFFIX))


def run_of(where: locations.Stores, which: Which) -> str | None:
    """The id of the run that is named, or of the trial."""
    if which.best:
        return best_trial(where, which.name).run_id
    return named_trial(where, which.run).run_id if which.run and "#" in which.run else which.run


def evaluate(
    where: locations.Stores,
    data_dir: Path,
    *,
    split: str,
    run_id: str | None = None,
    checkpoint: Path | None = None,
    model: str | None = None,
) -> Evaluation:
    """Score a finished network on the validation or the test split, as its trial did.

    Test scores are logged as ``test/acc`` and ``test/loss`` of the run, and kept with its study for the report.

    Args:
        where: the stores.
        data_dir: the folder of data sets.
        split: ``val`` or ``test``.
        run_id: whose checkpoint to take.
        checkpoint: a file or folder instead.
        model: the URI of a registered model instead.

    Raises:
        Failure: if the checkpoint or the data cannot be read.
    """
    if run_id is None:
        found = find(where, Which(checkpoint=checkpoint, model=model))
        return Evaluation(split, found.card, _score(found.network, found.card, data_dir, split), found.run_id)
    with _run(where, run_id, keeps=split == "test") as (tracker, run):
        network, card = _fetch(tracker, run, BEST)
        scores = _score(network, card, data_dir, split)
        if split == "test":
            by_class = {f"class@{i}": share for i, share in enumerate(scores.per_class) if share is not None}
            final = {"acc": scores.accuracy, "loss": scores.loss, "images": float(scores.confusion.sum())}
            _keep(where, tracker, run, {**final, **by_class})
    return Evaluation(split, card, scores, run.info.run_id)


def evaluate_epochs(where: locations.Stores, data_dir: Path, *, split: str, run_id: str | None) -> list[Evaluation]:
    """Score the weights after each epoch of a run that kept them all, in order.

    The accuracies are logged as ``<split>_epochs/acc``, a step an epoch; those of the test split are kept with the
    study, too.

    Raises:
        UsageFailure: where the run kept only its best epoch's.
        Failure: if a checkpoint or the data cannot be read.
    """
    with _run(where, run_id, keeps=True) as (tracker, run):
        files = [path for path in tracker.files(run.info.run_id, "checkpoint/epochs") if path.endswith(".safetensors")]
        if not files:
            raise UsageFailure(f"run {run_id} kept only its best epoch: train it with --keep-checkpoints all")
        found = []
        for file in sorted(files):
            network, card = _fetch(tracker, run, file.removeprefix("checkpoint/"))
            found.append(Evaluation(split, card, _score(network, card, data_dir, split), run.info.run_id))
        by_epoch = {evaluation.card.epoch: evaluation.scores.accuracy for evaluation in found}
        at = now()
        points = [(epoch, accuracy, at) for epoch, accuracy in by_epoch.items()]
        tracker.call(tracker.log_curve, run.info.run_id, f"{split}_epochs/acc", points)
        if split == "test":
            _keep(where, tracker, run, {f"acc@{epoch}": accuracy for epoch, accuracy in by_epoch.items()})
    return found


@contextmanager
def _run(where: locations.Stores, run_id: str | None, *, keeps: bool = False) -> Iterator[tuple[Tracker, Run]]:
    """Open a run that has weights of its own, to keep something with it or only to read."""
    with locations.read_tracking(where) as uri, contextlib.closing(Tracker(uri)) as tracker:
        if keeps and not locations.tracking_is_writable(where):
            raise StorageFailure(
                f"cannot write {locations.shown(where.tracking)}, where scores are kept with their run: score the "
                f"network alone, by --checkpoint FOLDER, which ends with {run_id}/artifacts/checkpoint"
            )
        run = tracker.run(str(run_id))
        if "sweep.duplicate_of" in run.data.tags:
            first = f"{run.data.tags['sweep.study']}#{run.data.tags['sweep.duplicate_of']}"
            raise UsageFailure(f"run {run_id} is a duplicate and has no weights of its own: use --run {first}")
        if run.data.tags.get("sweep.checkpoint") == "dropped":
            raise UsageFailure(f"the weights of run {run_id} were dropped, as keep_checkpoints of its study says")
        yield tracker, run


def _fetch(tracker: Tracker, run: Run, file: str) -> tuple[torch.nn.Module, Card]:
    """Build a network from one file of a run's checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (file, f"{file}.sha256"):
            found = tracker.download(run.info.run_id, f"checkpoint/{name}", Path(folder))
        return load_model(found.with_suffix(""))


def _keep(where: locations.Stores, tracker: Tracker, run: Run, figures: Mapping[str, float]) -> None:
    """Keep scores on the test split with the run and, where it is a trial's, with the study."""
    final = {f"test/{name}": value for name, value in figures.items() if "@" not in name}
    tracker.call(tracker.log_figures, run.info.run_id, final, now())
    tags = run.data.tags
    if "sweep.trial" in tags:
        try:
            keep_test(locations.open_studies(where), tags["sweep.study"], int(tags["sweep.trial"]), figures)
        except LookupError:  # a study of another store
            return


def _score(network: torch.nn.Module, card: Card, data_dir: Path, split: str) -> Scores:
    config = card.config
    if split == "val" and not card.judged:
        raise UsageFailure("the network was trained on the validation split as well: score it with --split test")
    try:
        resolve(dataclasses.replace(config, gpus_per_trial=None))  # one is enough to score it
    except ValueError as error:
        raise UsageFailure(f"the network was trained elsewhere: {error}") from None
    search = search_data.load_for(config, data_dir)
    if card.digest not in ("", search.digest) or card.classes != search.classes:
        raise UsageFailure(
            f"the network was trained on other images of {config.dataset}, or under other names (digest {card.digest}, "
            f"now {search.digest}): what is a test image now may have trained it; put those back"
        )
    images = search_data.load_test_for(config, data_dir) if split == "test" else search.val
    device = torch.device(config.device)
    torch.set_num_threads(config.threads)
    return score(
        network.to(device).to(memory_format=torch.channels_last),
        images.to(device),
        len(card.classes),
        batch_size=config.eval_batch_size,
        prepare=Prepare(card.mean, card.std, device, config.precision),
    )
