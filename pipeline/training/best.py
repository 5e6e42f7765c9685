"""Saves the weights of a training's best epoch, to be used without the training."""

from __future__ import annotations

from models import weights
from pipeline.checkpoints import Card, Folder, save_model
from pipeline.data.search_data import SearchData, trial_data
from pipeline.system.errors import UsageFailure
from pipeline.training.state import TrainingState, progress
from sweeps.trial import FAILED, Epoch, TrialConfig, TrialResult


def save_best(folder: Folder, state: TrainingState, config: TrialConfig, data: SearchData) -> None:
    """Save the best epoch's weights, of a training that has had an epoch.

    Args:
        folder: the trial's own.
        state: the training's.
        config: the trial's.
        data: the images of the training.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    row = next(row for row in state.history if row.epoch == state.best_epoch)
    save_model(folder.best, state.best_weights, make_card(config, data, row))


def save_best_of_paused(folder: Folder, result: TrialResult, data: SearchData) -> bool:
    """Save the best epoch's weights of a paused training, which its state holds.

    Args:
        folder: the trial's own.
        result: the trial's, which ends as it was at its last pause, or has failed since.
        data: the images of the study.

    Returns:
        Whether the weights are there. A failed trial has none, nor has one whose state is lost,
        damaged, of another trial, or of a training that was killed between two pauses and has
        another best epoch.

    Raises:
        StorageFailure: if the disk is full or fails.
    """
    checkpoint = None if result.state == FAILED else folder.latest()
    if checkpoint is None:
        return False
    tensors, facts = checkpoint
    if TrialConfig.from_dict(facts["config"]).signature != result.config.signature:
        return False
    state = progress(tensors, facts)
    if state.best_epoch != result.best_epoch:
        return False
    save_best(folder, state, result.config, trial_data(data, result.config))
    return True


def make_card(config: TrialConfig, data: SearchData, row: Epoch) -> Card:
    """Describe the weights after an epoch.

    Args:
        config: the trial's.
        data: the images of the training.
        row: the epoch.
    """
    mean, std = moments(config, data)
    return Card(
        config=config,
        classes=data.classes,
        shape=data.shape,
        mean=mean,
        std=std,
        epoch=row.epoch,
        metrics=row.metrics,
        digest=data.digest,
        judged=len(data.val) > 0,
    )


def moments(config: TrialConfig, data: SearchData) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation of each channel with which images are normalised.

    These are those of the weights that the training begins with, if they are known.

    Raises:
        UsageFailure: if the file of these weights is gone.
    """
    channels = len(data.mean)
    if not config.normalize:
        return (0.0,) * channels, (1.0,) * channels
    try:
        of_weights = weights.moments(config.pretrained, config.family, channels)
    except ValueError as error:
        raise UsageFailure(str(error)) from None
    return of_weights or (data.mean, data.std)
