"""Health checks of the winner's learning curve: overfitting, underfitting, a training too short."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.report.checks.base import (
    Check,
    improvement,
    training_images,
    validation_images,
    winner_uncertainty,
)
from pipeline.report.scores import PERCENT, unit_of
from sweeps.analysis.intervals import newcombe_interval
from sweeps.analysis.record import StudyRecord
from sweeps.spec.study_spec import OBJECTIVES
from sweeps.trial import TrialConfig, TrialResult

LARGE_GAP = 0.02  # training minus validation accuracy; a smaller gap is hardly worth closing
RISE = 1.1  # of the validation loss over its lowest; learning curves waver by some percent
FALL = 0.95  # of the validation loss over the last epochs
LAST = 4  # the "last epochs" are one in so many
# A training accuracy below this leaves much to learn.
LOW = 0.9
TRAINING_RISE = 0.01  # of the training accuracy over the last epochs; less is hardly a rise


def overfitting(record: StudyRecord) -> Check | None:
    """Check the winner for overfitting.

    An overfitted network is better on its training images than on others, and its validation loss
    has risen in the course of the training.
    """
    trial = record.best_trial
    images = validation_images(trial)
    if trial is None or trial.best is None or not images:
        return None
    train = trial.best.metrics.get("train/acc")
    val = trial.best.metrics.get("val/acc")
    losses = _known(trial, "val/loss")
    if train is None or val is None or not losses:
        return None
    low, high = newcombe_interval(train, training_images(record, trial) or images, val, images)
    lowest = min(losses, key=losses.__getitem__)
    last = max(losses)
    accuracies = (
        f"training accuracy {PERCENT.value(train)} and validation {PERCENT.value(val)} "
        f"({images:,} images) at trial {trial.number}'s best epoch"
    )
    loss = (
        f"the validation loss rose from {losses[lowest]:.4f} at epoch {lowest} "
        f"to {losses[last]:.4f} at epoch {last}"
    )
    has_gap = low > 0 and train - val >= LARGE_GAP
    has_risen = losses[last] >= RISE * losses[lowest]
    if has_gap and has_risen:
        text = (
            f"Overfitting: {accuracies}, a gap of {PERCENT.difference(train - val)} "
            f"(95 % interval {PERCENT.signed_interval(low, high)}), and {loss}: "
            "try more dropout, weight_decay or augment, or stop earlier (patience)."
        )
        return Check(name="overfitting", level="warning", text=text)
    if lowest >= last:
        loss = "the validation loss was lowest at the end"
    finding = "No sign that the training went on for too long"
    if has_risen:
        finding = "No gap that tells of overfitting"
    return Check(name="overfitting", level="good", text=f"{finding}: {accuracies}; {loss}.")


def underfitting(record: StudyRecord) -> Check | None:
    """Check whether the winner was still learning when its epochs were over, or cannot learn more.

    It was still learning if its value was best at the end and rose beyond chance in the last
    epochs; or if its training accuracy rose then, and its validation loss fell, or the training
    accuracy is low and no better than that of the validation images. It underfits if its training
    accuracy is low, no better than that of the validation images, and does not rise.
    """
    trial = record.best_trial
    if trial is None or trial.value is None:
        return None
    epochs = trial.config.epochs
    if len(trial.history) < max(2, epochs):
        return None
    last = max(1, round(epochs / LAST))
    words = "epoch" if last == 1 else f"{last} epochs"
    accuracies = _known(trial, "train/acc")
    train = accuracies.get(epochs)
    earlier_train = accuracies.get(epochs - last)
    is_low = train is not None and _fits_no_better_than_others(record, trial, train)
    signs = _signs_of_learning(record, trial, last, is_low=is_low)
    if signs:
        text = (
            f"Trial {trial.number} was still learning when its {epochs} epochs were over: in the "
            f"last {words} {' and '.join(signs)}: train longer, as with --epochs {2 * epochs} "
            "under another --name."
        )
        return Check(name="underfitting", level="note", text=text)
    if is_low and train is not None and earlier_train is not None:
        val = trial.history[-1].metrics["val/acc"]
        text = (
            f"Trial {trial.number} does not fit its training images: after {epochs} epochs its "
            f"accuracy is {PERCENT.value(train)} on them and {PERCENT.value(val)} on the "
            f"{validation_images(trial) or 0:,} validation images, and on the training images it "
            f"changed by {PERCENT.difference(train - earlier_train, sign=True)} in the last "
            f"{words}: try {_remedies(trial.config)}, unless no network tells more of them apart."
        )
        return Check(name="underfitting", level="note", text=text)
    text = (
        f"Trial {trial.number} is best at epoch {trial.best_epoch} of {epochs}: "
        f"no clear sign in its last {words} that more epochs would help."
    )
    return Check(name="underfitting", level="good", text=text)


def _signs_of_learning(
    record: StudyRecord, trial: TrialResult, last: int, *, is_low: bool
) -> list[str]:
    """Collect what got better in the last epochs, if it shows that a trial was still learning."""
    epochs = trial.config.epochs
    signs = []
    gained = _late_gain(record, trial, last)
    if gained is not None:
        by = unit_of(record.objective).difference(gained)
        signs.append(f"{record.objective} got better by {by}")
    losses = _known(trial, "val/loss")
    earlier_losses = [loss for epoch, loss in losses.items() if epoch <= epochs - last]
    falls = bool(earlier_losses) and losses.get(epochs, math.inf) <= FALL * min(earlier_losses)
    train = _known(trial, "train/acc")
    if _rises(record, trial, train, last) and (falls or is_low):
        low = PERCENT.value(train[epochs - last])
        signs.append(f"the training accuracy rose from {low} to {PERCENT.value(train[epochs])}")
        if falls and record.objective != "val_loss":
            signs.append(
                f"the validation loss fell from {min(earlier_losses):.4f} to {losses[epochs]:.4f}"
            )
    return signs


def _late_gain(record: StudyRecord, trial: TrialResult, last: int) -> float | None:
    """Return the gain of the objective in the last epochs; None unless it is beyond chance."""
    epochs = trial.config.epochs
    earlier_best = _best_until(record, trial, epochs - last)
    if earlier_best is None or trial.value is None or trial.best_epoch != epochs:
        return None
    gained = improvement(record, trial.value, earlier_best)
    if record.objective == "val_loss":
        enough = (1 - FALL) * earlier_best
    else:
        # The answers of one network after two epochs are closer than those of two networks:
        # half of their uncertainty is enough.
        enough = (winner_uncertainty(record) or math.inf) / 2
    return gained if gained > enough else None


def _rises(
    record: StudyRecord, trial: TrialResult, accuracies: Mapping[int, float], last: int
) -> bool:
    """Whether the training accuracy rises at the end.

    It has to rise in the last epochs, and beyond chance in twice as many: a slow rise shows only
    over a longer time.
    """
    epochs = trial.config.epochs
    images = training_images(record, trial) or validation_images(trial)
    later = accuracies.get(epochs)
    recent = accuracies.get(epochs - last)
    earlier = accuracies.get(max(1, epochs - 2 * last))
    if later is None or recent is None or earlier is None or not images:
        return False
    low, _ = newcombe_interval(later, images, earlier, images)
    return later - recent >= TRAINING_RISE and low > 0


def _fits_no_better_than_others(record: StudyRecord, trial: TrialResult, train: float) -> bool:
    """Whether a training accuracy is low, and not beyond chance above that of validation."""
    val = trial.history[-1].metrics.get("val/acc")
    images = validation_images(trial)
    if val is None or not images:
        return False
    low, _ = newcombe_interval(train, training_images(record, trial) or images, val, images)
    return train < LOW and (train - val < LARGE_GAP or low <= 0)


def _remedies(config: TrialConfig) -> str:
    """List what would let a network fit more of its training images."""
    remedies = ["a larger network", "another lr", "more epochs"]
    if config.dropout:
        remedies.append("less dropout")
    if config.weight_decay:
        remedies.append("less weight_decay")
    if config.augment not in ("none", "auto"):
        remedies.append("less augment")
    return f"{', '.join(remedies[:-1])} or {remedies[-1]}"


def _known(trial: TrialResult, key: str) -> dict[int, float]:
    """Collect the values of a metric that are known, by epoch."""
    values = {}
    for row in trial.history:
        value = row.metrics.get(key)
        if value is not None:
            values[row.epoch] = value
    return values


def _best_until(record: StudyRecord, trial: TrialResult, epoch: int) -> float | None:
    """Return the best value of the objective in the first epochs; None if none is known."""
    key = OBJECTIVES[record.objective][0]
    metrics = [row.metrics.get(key) for row in trial.history[:epoch]]
    values = [value for value in metrics if value is not None]
    if not values:
        return None
    if record.maximize:
        return max(values)
    return min(values)
