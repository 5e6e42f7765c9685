"""Scores a network on a split, and derives every figure but the loss from its confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pipeline.data.search_data import Split
from pipeline.training.prepare import Prepare


@dataclass(frozen=True)
class Scores:
    """What a network makes of a split."""

    loss: float  # mean cross-entropy of an image, nats
    confusion: torch.Tensor  # int64 (classes, classes): [true][predicted]
    loss_std: float = 0.0  # standard deviation of the batches' mean losses
    logits: tuple[
        torch.Tensor, ...
    ] = ()  # of each batch (images, classes), in the split's order, on its device

    @property
    def accuracy(self) -> float:
        """The share of images classified rightly."""
        right = int(self.confusion.diagonal().sum())
        count = int(self.confusion.sum())
        return right / max(1, count)

    @property
    def per_class(self) -> tuple[float | None, ...]:
        """Each class's accuracy (its recall); None for a class without images."""
        return class_accuracies(self.confusion.diagonal(), self.confusion.sum(dim=1))

    @property
    def predicted(self) -> tuple[int, ...]:
        """How many images were taken for each class."""
        return tuple(self.confusion.sum(dim=0).tolist())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the classes' accuracies, over the classes that have images."""
        known = [accuracy for accuracy in self.per_class if accuracy is not None]
        return sum(known) / max(1, len(known))

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1 scores, over the classes that have images or predictions."""
        right = self.confusion.diagonal().tolist()
        true = self.confusion.sum(dim=1).tolist()
        predicted = self.confusion.sum(dim=0).tolist()
        scores: list[float] = [
            2 * r / (t + p) for r, t, p in zip(right, true, predicted, strict=True) if t + p
        ]
        return sum(scores) / max(1, len(scores))


def class_accuracies(right: torch.Tensor, count: torch.Tensor) -> tuple[float | None, ...]:
    """Each class's share of right answers, from counts (classes,); None for a class without images."""
    return tuple(r / n if n else None for r, n in zip(right.tolist(), count.tolist(), strict=True))


@torch.no_grad()
def score(
    network: nn.Module, split: Split, classes: int, *, batch_size: int, prepare: Prepare
) -> Scores:
    """Score a network, in evaluation mode, on a split of images on its device."""
    network.eval()
    device = split.labels.device
    loss = torch.zeros(
        (), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device
    )
    losses = []
    kept = []
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    for start in range(0, len(split), batch_size):
        labels = split.labels[start : start + batch_size]
        with prepare.autocast():
            logits = network(prepare(split.images[start : start + batch_size]))
        of_batch = functional.cross_entropy(logits.float(), labels, reduction="sum")
        loss += of_batch
        losses.append(of_batch / len(labels))
        kept.append(logits)
        confusion += torch.bincount(
            labels * classes + logits.argmax(dim=1), minlength=classes * classes
        )
    spread = float(torch.stack(losses).std(correction=0)) if losses else 0.0
    return Scores(
        float(loss) / max(1, len(split)),
        confusion.view(classes, classes).cpu(),
        spread,
        tuple(kept),
    )
