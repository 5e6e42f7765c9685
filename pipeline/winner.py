"""Finished networks in use: finds the checkpoint of a run and scores it. The only reader of the test split."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline import data, stores
from pipeline.checkpoints import Card, load_model
from pipeline.errors import NothingComplete, UsageFailure
from pipeline.metrics import Prepare, Scores, score
from pipeline.tracking import Tracker
from pipeline.train import resolve
from sweeps.ranking import best
from sweeps.trial import TrialResult


@dataclass(frozen=True)
class Evaluation:
    """A finished network's scores on one split."""

    split: str
    card: Card
    scores: Scores
    run_id: str | None


def named_trial(where: stores.Stores, name: str) -> TrialResult:
    """Find the trial that ``NAME#7`` names.

    Raises:
        UsageFailure: if there is none.
    """
    study, _, number = name.rpartition("#")
    results = stores.read_record(where, study).results
    if not number.isdigit() or int(number) >= len(results):
        raise UsageFailure(f"no trial {number!r} in study {study!r}: it has {len(results)}, counted from 0")
    found = results[int(number)]
    if found.checkpoint is None:
        raise UsageFailure(f"trial {name} has no checkpoint: {found.end}")
    return found


def best_trial(where: stores.Stores, name: str | None) -> TrialResult:
    """Find the best trial of a study; of the one last opened, if none is named.

    Raises:
        NothingComplete: if no trial is complete.
    """
    record = stores.read_record(where, name)
    winner = best(record.results, maximize=record.maximize)
    if winner is None:
        raise NothingComplete(f"study {record.name!r} has no complete trial")
    return winner


def evaluate(
    where: stores.Stores, data_dir: Path, *, split: str, run_id: str | None = None, checkpoint: Path | None = None
) -> Evaluation:
    """Score a finished network on the validation or the test split, as its trial did.

    Args:
        where: the stores.
        data_dir: the folder of data sets.
        split: ``val`` or ``test``.
        run_id: whose checkpoint to take, and where to log ``test/acc`` and ``test/loss``.
        checkpoint: a file or folder instead.

    Raises:
        Failure: if the checkpoint or the data cannot be read.
    """
    if checkpoint is not None:
        network, card = load_model(checkpoint)
        return Evaluation(split, card, _score(network, card, data_dir, split), None)
    stores.check_tracking(where)
    tracker = Tracker(where.tracking)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = str(tracker.run(str(run_id)).info.run_id)
            network, card = load_model(tracker.download(run, "checkpoint", Path(folder)))
        scores = _score(network, card, data_dir, split)
        if split == "test":
            tracker.call(tracker.log_figures, run, {"test/acc": scores.accuracy, "test/loss": scores.loss})
    finally:
        tracker.close()
    return Evaluation(split, card, scores, run)


def _score(network: torch.nn.Module, card: Card, data_dir: Path, split: str) -> Scores:
    config = card.config
    try:
        resolve(config)
    except ValueError as error:
        raise UsageFailure(f"the network was trained elsewhere: {error}") from None
    if split == "test":
        images = data.load_test(config.dataset, data_dir.absolute(), config.split_seed)
    else:
        images = data.load(config.dataset, data_dir.absolute(), config.split_seed).val
    device = torch.device(config.device)
    torch.set_num_threads(config.threads)
    return score(
        network.to(device).to(memory_format=torch.channels_last),
        images.to(device),
        len(card.classes),
        batch_size=config.eval_batch_size,
        prepare=Prepare(card.mean, card.std, device, config.precision),
    )
