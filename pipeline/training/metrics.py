"""The figures of a network: as trained in an epoch, and as scored on a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from pipeline.data.search_data import Split
from pipeline.training.loss import CROSS_ENTROPY, Loss
from pipeline.training.prepare import Prepare
from sweeps.analysis.health import CONFIDENCE_BINS, balanced_accuracy, macro_f1
from sweeps.trial import ConfidenceBin

MANY_CLASSES = 20  # above this number, the accuracy of the first five answers is scored, too
TOP = 5  # answers


@dataclass(frozen=True)
class TrainingScores:
    """The figures of one epoch's training: with dropout, and while the weights changed."""

    loss: float  # mean of an image
    loss_std: float  # standard deviation of the batches' mean losses
    accuracy: float
    per_class: tuple[float | None, ...]  # accuracy of each class; None for a class without images
    step_losses: tuple[float, ...]  # the mean loss of each step, in order


class RunningLoss:
    """The losses of an epoch's steps. They stay on the device until they are read together."""

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        """Begin an epoch.

        Args:
            batch_sizes: the number of images in each step.
        """
        self.values: list[float] = []  # of the steps that are read
        self.total = 0.0  # of all images in these steps
        self._batch_sizes = batch_sizes
        self._images = 0
        self._unread: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor) -> None:
        """Add the mean loss of the next step."""
        self._unread.append(loss)

    def read(self) -> None:
        """Read all losses that were added since the last time."""
        for value in torch.stack(self._unread).tolist():
            batch_size = self._batch_sizes[len(self.values)]
            self.total += value * batch_size
            self._images += batch_size
            self.values.append(value)
        self._unread.clear()

    @property
    def mean(self) -> float:
        """The mean loss of an image."""
        return self.total / self._images

    @property
    def std(self) -> float:
        """The standard deviation of the steps' mean losses."""
        return float(torch.tensor(self.values).std(correction=0))


@dataclass(frozen=True)
class Scores:
    """The figures of a network on a split, in evaluation mode."""

    loss: float  # mean of an image, as `pipeline.training.loss.Loss` has it in scoring
    confusion: torch.Tensor  # int64 (classes, classes): [true][predicted]
    loss_std: float = 0.0  # standard deviation of the batches' mean losses
    # Of each batch (images, classes), in the split's order, on its device:
    logits: tuple[torch.Tensor, ...] = ()
    # The share of images with their class among the `TOP` most probable ones; None where there are
    # no more than `MANY_CLASSES` classes.
    top5_accuracy: float | None = None
    # Which images are classified correctly, bool (images,) on the CPU: by class, and within a class
    # in the split's order.
    correct: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    @property
    def accuracy(self) -> float:
        """The share of images classified correctly."""
        correct = int(self.confusion.diagonal().sum())
        images = int(self.confusion.sum())
        return correct / max(1, images)

    @property
    def per_class(self) -> tuple[float | None, ...]:
        """Each class's accuracy (its recall); None for a class without images."""
        return class_accuracies(self.confusion.diagonal(), self.confusion.sum(dim=1))

    @property
    def predicted(self) -> tuple[int, ...]:
        """The number of images classified as each class."""
        return tuple(self.confusion.sum(dim=0).tolist())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the classes' accuracies, over the classes with images."""
        return balanced_accuracy(self.confusion.tolist())

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1 scores, over the classes with images or predictions."""
        return macro_f1(self.confusion.tolist())


@torch.no_grad()
def score(
    network: nn.Module,
    split: Split,
    classes: int,
    *,
    batch_size: int,
    prepare: Prepare,
    loss: Loss = CROSS_ENTROPY,
) -> Scores:
    """Score a network, in evaluation mode, on a split of images on its device.

    Args:
        network: on its device.
        split: the images.
        classes: the number of classes.
        batch_size: images a step.
        prepare: the transform of the network's images.
        loss: the loss of the network's configuration.
    """
    network.eval()
    device = split.labels.device
    total_dtype = torch.float32 if device.type == "mps" else torch.float64
    total_loss = torch.zeros((), dtype=total_dtype, device=device)
    batch_losses = []
    batch_logits = []
    batch_cells = [split.labels[:0]]  # for a split without images
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    among_top = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(0, len(split), batch_size):
        images = split.between(start, start + batch_size)
        labels = split.labels[start : start + batch_size]
        with prepare.autocast():
            logits = network(prepare(images))
        batch_loss = loss.total(logits.float(), labels)
        total_loss += batch_loss
        batch_losses.append(batch_loss / len(labels))
        batch_logits.append(logits)
        if classes > MANY_CLASSES:
            top = logits.topk(TOP, dim=1).indices
            among_top += (top == labels.unsqueeze(1)).sum()
        cells = labels * classes + logits.argmax(dim=1)
        batch_cells.append(cells)
        confusion += torch.bincount(cells, minlength=classes * classes)
    loss_std = float(torch.stack(batch_losses).std(correction=0)) if batch_losses else 0.0
    all_cells = torch.cat(batch_cells)
    return Scores(
        loss=float(total_loss) / max(1, len(split)),
        confusion=confusion.view(classes, classes).cpu(),
        loss_std=loss_std,
        logits=tuple(batch_logits),
        top5_accuracy=int(among_top) / max(1, len(split)) if classes > MANY_CLASSES else None,
        correct=_correct_by_class(all_cells.cpu(), classes),
    )


@torch.no_grad()
def bin_confidences(
    scores: Scores, labels: torch.Tensor, loss: Loss
) -> tuple[ConfidenceBin, ...] | None:
    """Count the images by the probability of the answer, in `CONFIDENCE_BINS` equal intervals.

    A probability on the border of two intervals is in the lower one. See Guo et al. 2017, On
    Calibration of Modern Neural Networks, section 3.

    Args:
        scores: of a split.
        labels: the split's, int64 (images,), on the device of the logits.
        loss: of the network's configuration.

    Returns:
        The intervals from 0 to 1; None without images.
    """
    if not scores.logits:
        return None
    confidences = []
    predictions = []
    for logits in scores.logits:
        confidence, prediction = loss.probabilities(logits).max(dim=1)
        confidences.append(confidence)
        predictions.append(prediction)
    confidence = torch.cat(confidences).cpu().double()
    right = (torch.cat(predictions) == labels).cpu()
    places = (confidence * CONFIDENCE_BINS).ceil().long().clamp(1, CONFIDENCE_BINS) - 1
    images = torch.bincount(places, minlength=CONFIDENCE_BINS).tolist()
    hits = torch.bincount(places[right], minlength=CONFIDENCE_BINS).tolist()
    sums = torch.bincount(places, weights=confidence, minlength=CONFIDENCE_BINS).tolist()
    return tuple(
        ConfidenceBin(count, hit, float(f"{total:.6g}"))
        for count, hit, total in zip(images, hits, sums, strict=True)
    )


def _correct_by_class(cells: torch.Tensor, classes: int) -> torch.Tensor:
    """Say which images are classified correctly, the images of the first class first.

    Args:
        cells: of the confusion matrix, row by row: that of each image, int64 (images,).
        classes: their number.

    Returns:
        bool (images,): by class, and within a class in the order of ``cells``.
    """
    labels = cells // classes
    predictions = cells % classes
    by_class = labels.argsort(stable=True)
    return (predictions == labels)[by_class]


def count_by_class(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Count the images of each class, and the correctly classified images among them.

    Args:
        labels: the true classes, int64 (images,).
        predictions: the predicted classes, int64 (images,).
        classes: the number of classes.

    Returns:
        int64 (2, classes): the correctly classified images, and all images.
    """
    correct_labels = labels[predictions == labels]
    correct_counts = torch.bincount(correct_labels, minlength=classes)
    image_counts = torch.bincount(labels, minlength=classes)
    return torch.stack([correct_counts, image_counts])


def class_accuracies(correct: torch.Tensor, images: torch.Tensor) -> tuple[float | None, ...]:
    """Divide each class's counts, both (classes,). A class without images has None."""
    return tuple(
        c / n if n else None for c, n in zip(correct.tolist(), images.tolist(), strict=True)
    )
