"""Scores trained networks on a split: test, validation, or training in evaluation mode.

This is the only module that reads the test split: nothing is selected on test data.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.checkpoints import BEST, Card, check_code
from pipeline.data import search_data, test_split
from pipeline.inference.find import fetch_network, find_network, place_of, read_run
from pipeline.inference.networks import NetworkReference
from pipeline.stores import access, locations
from pipeline.system.errors import IntegrityFailure, UsageFailure
from pipeline.tracking import run_tags
from pipeline.tracking.run_contents import EpochScores
from pipeline.tracking.tracker import Tracker, now_milliseconds
from pipeline.training.loss import Loss
from pipeline.training.metrics import Scores, score
from pipeline.training.prepare import Prepare, image_memory_format
from pipeline.training.process import thread_count
from pipeline.training.resolve import resolve
from sweeps.analysis import bits
from sweeps.search.stored import StudyNotFoundError, count_look_of_refit, keep_test

if TYPE_CHECKING:
    from pipeline.tracking.library import Run


@dataclass(frozen=True)
class Evaluation:
    """A trained network's scores on one split."""

    split: str  # train, val or test
    card: Card
    scores: Scores
    run_id: str | None


def evaluate(
    stores: locations.Stores,
    data_dir: Path,
    *,
    split: str,
    run_id: str | None = None,
    checkpoint: Path | None = None,
    model: str | None = None,
    dataset: str | None = None,
) -> Evaluation:
    """Score a trained network on a split, as its trial scored itself: in evaluation mode.

    Test scores of a run are logged to the run, as ``test/acc`` and ``test/loss``, and stored with
    its study for the report, together with which images were classified correctly.

    Args:
        stores: the stores.
        data_dir: the folder of data sets.
        split: ``train``, ``val`` or ``test``.
        run_id: the run whose network to score.
        checkpoint: a checkpoint file or folder, instead of a run.
        model: the URI of a registered model, instead of a run.
        dataset: where one's own images are now; None for where their study last found them.

    Raises:
        Failure: if the checkpoint or the data cannot be read.
    """
    if run_id is None:
        trained = find_network(stores, NetworkReference(checkpoint=checkpoint, model=model))
        scores = _score(trained.network, trained.card, data_dir, split, dataset)
        return Evaluation(split, trained.card, scores, trained.run_id)
    with read_run(stores, run_id, keeps=split == "test") as (tracker, run):
        _check_tags(run)
        network, card = fetch_network(tracker, run, BEST)
        scores = _score(network, card, data_dir, split, dataset or place_of(stores, run))
        if split == "test":
            correct = bits.pack(scores.correct.numpy())
            _keep_test_scores(stores, tracker, run, _test_figures(scores), correct)
    return Evaluation(split, card, scores, run.info.run_id)


def evaluate_epochs(
    stores: locations.Stores,
    data_dir: Path,
    *,
    split: str,
    run_id: str | None,
    dataset: str | None = None,
) -> list[Evaluation]:
    """Score the weights of every epoch of a run that kept them all.

    The figures are logged as curves ``<split>_epochs/acc``, ``<split>_epochs/loss`` and, unless
    there are many classes, ``<split>_epochs_class/00``, ..., with a step for each epoch. The
    accuracies of all classes are kept in an artifact ``<split>_epochs.csv``. Test accuracies are
    also stored with the study. The arguments are those of `evaluate`.

    Returns:
        An evaluation for each epoch, in order.

    Raises:
        UsageFailure: if the run kept only its best epoch.
        Failure: if a checkpoint or the data cannot be read.
    """
    with read_run(stores, run_id, keeps=True) as (tracker, run):
        _check_tags(run)
        paths = tracker.files(run.info.run_id, "checkpoint/epochs")
        weights = sorted(path for path in paths if path.endswith(".safetensors"))
        if not weights:
            raise UsageFailure(
                f"run {run_id} kept only its best epoch: train it with --keep-checkpoints all"
            )
        place = dataset or place_of(stores, run)
        evaluations = []
        for path in weights:
            network, card = fetch_network(tracker, run, path.removeprefix("checkpoint/"))
            scores = _score(network, card, data_dir, split, place)
            evaluations.append(Evaluation(split, card, scores, run.info.run_id))
        accuracies = {
            evaluation.card.epoch: evaluation.scores.accuracy for evaluation in evaluations
        }
        tables = [
            EpochScores(
                evaluation.card.epoch,
                evaluation.scores.accuracy,
                evaluation.scores.loss,
                evaluation.scores.per_class,
            )
            for evaluation in evaluations
        ]
        classes = evaluations[0].card.classes
        tracker.call(tracker.log_scored_epochs, run.info.run_id, split, tables, classes)
        if split == "test":
            figures = {f"acc@{epoch}": accuracy for epoch, accuracy in accuracies.items()}
            _keep_test_scores(stores, tracker, run, figures, looks=len(evaluations))
    return evaluations


def _check_tags(run: Run) -> None:
    """Check that a run's tags say where its scores are kept, before any image is looked at."""
    if run_tags.TRIAL in run.data.tags:
        run_tags.read_number(run, run_tags.TRIAL)
        run_tags.read_study(run)


def _test_figures(scores: Scores) -> dict[str, float]:
    """Test scores by the keys of `TrialResult.test`. A class without images has no figure."""
    figures = {
        "acc": scores.accuracy,
        "loss": scores.loss,
        "images": float(scores.confusion.sum()),
    }
    if scores.top5_accuracy is not None:
        figures["top5_acc"] = scores.top5_accuracy
    for index, accuracy in enumerate(scores.per_class):
        if accuracy is not None:
            figures[f"class@{index}"] = accuracy
    return figures


def _keep_test_scores(
    stores: locations.Stores,
    tracker: Tracker,
    run: Run,
    figures: Mapping[str, float],
    correct: str | None = None,
    *,
    looks: int = 1,
) -> None:
    """Log test scores to the run and, if the run is a trial, store them with the study.

    The study counts the networks that were scored, also that of a refit.
    """
    metrics = {f"test/{name}": value for name, value in figures.items() if "@" not in name}
    tracker.call(tracker.log_figures, run.info.run_id, metrics, now_milliseconds())
    tags = run.data.tags
    is_trial = run_tags.TRIAL in tags
    if not is_trial and run_tags.REFIT_OF not in tags:
        return
    with access.study_errors(), contextlib.suppress(StudyNotFoundError):  # in another store
        storage = access.open_studies(stores)
        if is_trial:
            number = run_tags.read_number(run, run_tags.TRIAL)
            study = run_tags.read_study(run)
            keep_test(storage, study, number, figures, correct, looks=looks)
        else:
            count_look_of_refit(storage, tags[run_tags.REFIT_OF])


def _score(
    network: torch.nn.Module, card: Card, data_dir: Path, split: str, place: str | None
) -> Scores:
    """Score a network on the device and with the threads that its trial used.

    The number of threads is PyTorch's setting for the whole process.
    """
    config = search_data.located(card.config, place)
    try:
        check_code({"dataset": config.dataset})
    except ValueError as error:
        raise IntegrityFailure(f"the network is not scored: {error}") from None
    has_no_val = not card.judged
    if split == "val" and has_no_val:
        raise UsageFailure(
            "the network was trained on the validation split as well: score it with --split test"
        )
    try:
        resolve(dataclasses.replace(config, gpus_per_trial=None))  # one GPU is enough for scoring
    except ValueError as error:
        raise UsageFailure(f"the network was trained elsewhere: {error}") from None
    with search_data.known_images():
        data = search_data.load_for(config, data_dir)
    if card.digest not in ("", data.digest) or card.classes != data.classes:
        raise UsageFailure(
            f"the network was trained on other images of {config.dataset}, or under other names "
            f"(digest {card.digest}, now {data.digest}): what is a test image now may have trained "
            "it; put those back"
        )
    if split == "test":
        images = test_split.load_test_for(config, data_dir)
    elif split == "train" and has_no_val:
        images = search_data.joined(data)
    else:
        train, val = search_data.trial_splits(data, config)
        images = train if split == "train" else val
    device = torch.device(config.device)
    memory_format = image_memory_format(network, config.family, card.shape)
    with thread_count(config.cpu_threads):
        return score(
            network.to(device).to(memory_format=memory_format),
            images.to(device),
            len(card.classes),
            batch_size=config.eval_batch_size,
            prepare=Prepare(card.mean, card.std, device, config.precision, memory_format),
            loss=Loss.of(config),
        )
