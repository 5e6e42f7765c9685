"""Finds failures of a network that its accuracy alone does not show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sweeps.trial import TrialResult

NEARLY_ALL = 0.95  # of the predictions
HARDLY_ANY = 0.1  # of the images of the other classes
UNEQUAL = 3.0  # times as many images as the smallest class: from here on, accuracy misleads


def collapsed_class(result: TrialResult) -> int | None:
    """Return the class predicted for nearly all validation images after the last epoch.

    A network has not collapsed as long as it recognises images of the other classes, however rare
    these are.

    Returns:
        The index of the class; None if the network has not collapsed.
    """
    if not result.history:
        return None
    last = result.history[-1]
    if len(last.predicted) < 2:
        return None
    top = max(range(len(last.predicted)), key=last.predicted.__getitem__)
    if last.predicted[top] < NEARLY_ALL * sum(last.predicted):
        return None
    other_accuracies = [
        accuracy
        for index, accuracy in enumerate(last.per_class)
        if index != top and accuracy is not None
    ]
    if not other_accuracies:
        return None
    mean_accuracy = sum(other_accuracies) / len(other_accuracies)
    return top if mean_accuracy < HARDLY_ANY else None


def dead_classes(result: TrialResult) -> tuple[int, ...]:
    """Return the classes with validation images that the network never predicts.

    Judged by the weights of the best epoch, as these are kept.
    """
    best = result.best
    if best is None:
        return ()
    return tuple(
        index
        for index, (count, accuracy) in enumerate(zip(best.predicted, best.per_class, strict=False))
        if not count and accuracy is not None
    )


class Imbalance(NamedTuple):
    """Classes whose numbers of images differ so much that accuracy misleads."""

    largest: int  # index of the class
    largest_share: float  # of all images: the accuracy of always answering this class
    smallest: int
    smallest_share: float


def imbalance(counts: Sequence[int]) -> Imbalance | None:
    """Return the largest and the smallest class, if the largest has `UNEQUAL` times as many images.

    Classes without images do not count.

    Args:
        counts: the number of images of each class.
    """
    present = [index for index, count in enumerate(counts) if count]
    if not present:
        return None
    largest = max(present, key=counts.__getitem__)
    smallest = min(present, key=counts.__getitem__)
    if counts[largest] < UNEQUAL * counts[smallest]:
        return None
    images = sum(counts)
    return Imbalance(largest, counts[largest] / images, smallest, counts[smallest] / images)
