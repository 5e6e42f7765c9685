"""Scores finished networks on the test split. The only module that reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.checkpoints import BEST, Card
from pipeline.data import search_data, test_split
from pipeline.inference.find import fetch_network, find_network, read_run
from pipeline.inference.networks import NetworkReference
from pipeline.stores import access, locations
from pipeline.system.errors import UsageFailure
from pipeline.tracking.tracker import Run, Tracker, now_milliseconds
from pipeline.training.metrics import Scores, score
from pipeline.training.prepare import Prepare
from pipeline.training.resolve import resolve
from sweeps.search.stored import keep_test


@dataclass(frozen=True)
class Evaluation:
    """A finished network's scores on one split."""

    split: str
    card: Card
    scores: Scores
    run_id: str | None


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
        found = find_network(where, NetworkReference(checkpoint=checkpoint, model=model))
        return Evaluation(
            split, found.card, _score(found.network, found.card, data_dir, split), found.run_id
        )
    with read_run(where, run_id, keeps=split == "test") as (tracker, run):
        network, card = fetch_network(tracker, run, BEST)
        scores = _score(network, card, data_dir, split)
        if split == "test":
            by_class = {
                f"class@{i}": share for i, share in enumerate(scores.per_class) if share is not None
            }
            final = {
                "acc": scores.accuracy,
                "loss": scores.loss,
                "images": float(scores.confusion.sum()),
            }
            _keep(where, tracker, run, {**final, **by_class})
    return Evaluation(split, card, scores, run.info.run_id)


def evaluate_epochs(
    where: locations.Stores, data_dir: Path, *, split: str, run_id: str | None
) -> list[Evaluation]:
    """Score the weights after each epoch of a run that kept them all, in order.

    The accuracies are logged as ``<split>_epochs/acc``, a step an epoch; those of the test split are kept with the
    study, too.

    Raises:
        UsageFailure: where the run kept only its best epoch's.
        Failure: if a checkpoint or the data cannot be read.
    """
    with read_run(where, run_id, keeps=True) as (tracker, run):
        files = [
            path
            for path in tracker.files(run.info.run_id, "checkpoint/epochs")
            if path.endswith(".safetensors")
        ]
        if not files:
            raise UsageFailure(
                f"run {run_id} kept only its best epoch: train it with --keep-checkpoints all"
            )
        found = []
        for file in sorted(files):
            network, card = fetch_network(tracker, run, file.removeprefix("checkpoint/"))
            found.append(
                Evaluation(split, card, _score(network, card, data_dir, split), run.info.run_id)
            )
        by_epoch = {evaluation.card.epoch: evaluation.scores.accuracy for evaluation in found}
        at = now_milliseconds()
        points = [(epoch, accuracy, at) for epoch, accuracy in by_epoch.items()]
        tracker.call(tracker.log_curve, run.info.run_id, f"{split}_epochs/acc", points)
        if split == "test":
            _keep(
                where,
                tracker,
                run,
                {f"acc@{epoch}": accuracy for epoch, accuracy in by_epoch.items()},
            )
    return found


def _keep(
    where: locations.Stores, tracker: Tracker, run: Run, figures: Mapping[str, float]
) -> None:
    """Keep scores on the test split with the run and, where it is a trial's, with the study."""
    final = {f"test/{name}": value for name, value in figures.items() if "@" not in name}
    tracker.call(tracker.log_figures, run.info.run_id, final, now_milliseconds())
    tags = run.data.tags
    if "sweep.trial" in tags:
        try:
            keep_test(
                access.open_studies(where), tags["sweep.study"], int(tags["sweep.trial"]), figures
            )
        except LookupError:  # a study of another store
            return


def _score(network: torch.nn.Module, card: Card, data_dir: Path, split: str) -> Scores:
    config = card.config
    if split == "val" and not card.judged:
        raise UsageFailure(
            "the network was trained on the validation split as well: score it with --split test"
        )
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
    if split == "test":
        images = test_split.load_test_for(config, data_dir)
    else:
        images = search.val
    device = torch.device(config.device)
    torch.set_num_threads(config.threads)
    return score(
        network.to(device).to(memory_format=torch.channels_last),
        images.to(device),
        len(card.classes),
        batch_size=config.eval_batch_size,
        prepare=Prepare(card.mean, card.std, device, config.precision),
    )
