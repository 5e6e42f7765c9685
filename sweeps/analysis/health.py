"""Finds what accuracy alone does not show: failures, imbalance, calibration, and copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sweeps.analysis.facts import Copies
from sweeps.trial import ConfidenceBin, TrialResult

NEARLY_ALL = 0.95  # of the predictions
HARDLY_ANY = 0.1  # of the images of the other classes
CONFIDENCE_BINS = 15  # equal intervals of the probability of the answer, as in Guo et al. 2017
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


def balanced_accuracy(confusion: Sequence[Sequence[int]]) -> float:
    """Return the mean of the classes' accuracies, over the classes with images.

    Args:
        confusion: counts [true][predicted].
    """
    accuracies: list[float] = [
        row[index] / sum(row) for index, row in enumerate(confusion) if sum(row)
    ]
    return sum(accuracies) / max(1, len(accuracies))


def macro_f1(confusion: Sequence[Sequence[int]]) -> float:
    """Return the mean of the classes' F1 scores, over the classes with images or predictions.

    Args:
        confusion: counts [true][predicted].
    """
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    scores: list[float] = [
        2 * row[index] / (sum(row) + predicted[index])
        for index, row in enumerate(confusion)
        if sum(row) + predicted[index] > 0
    ]
    return sum(scores) / max(1, len(scores))


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


def expected_calibration_error(bins: Sequence[ConfidenceBin]) -> float | None:
    """Return the mean distance between probability and accuracy, weighted by images.

    In each interval of the probability of the answer, it is the distance between the mean
    probability and the share of right answers. Source: Naeini et al. 2015; Guo et al. 2017, On
    Calibration of Modern Neural Networks, equation 3.

    Args:
        bins: the images by the probability of the answer.

    Returns:
        0 to 1; None without images.
    """
    images = sum(one.images for one in bins)
    if not images:
        return None
    return sum(abs(one.right - one.confidence) for one in bins) / images


def overconfidence(bins: Sequence[ConfidenceBin]) -> float | None:
    """Return the mean probability of the answers less the share that is right.

    Positive for a network that is surer than it may be; None without images.
    """
    images = sum(one.images for one in bins)
    if not images:
        return None
    return sum(one.confidence - one.right for one in bins) / images


def copies_texts(copies: Copies, *, is_own: bool = True) -> Iterator[str]:
    """Say what there is of copies, a sentence for each finding; nothing if there are none.

    Args:
        copies: what was counted.
        is_own: whether the images are the user's own, who could remove copies.
    """
    yield from _leaks_texts(copies, is_own=is_own)
    if copies.different < copies.images:
        kept = "; copies are kept in one split" if copies.together and not copies.leaks else ""
        yield (
            f"{copies.images:,} images show {copies.different:,} different pictures, the others "
            f"are copies{kept}"
        )
    if copies.other_label:
        yield (
            f"{_are_copies(copies.other_label, 'image')} of an image with another label: one of "
            "the two labels is wrong"
        )
    if copies.groups_apart:
        groups = "group is" if copies.groups_apart == 1 else "groups are"
        yield (
            f"{copies.groups_apart:,} {groups} in several splits: put all images of a group into "
            "one, or leave out the column split"
        )
    near = [f"{copies.near_val:,} validation"] if copies.near_val else []
    near += [f"{copies.near_test:,} test"] if copies.near_test else []
    if near:
        yield (
            f"{' and '.join(near)} images look nearly like a training image, by a perceptual hash: "
            "the same picture in another size or quality, or one of a series"
        )


def _leaks_texts(copies: Copies, *, is_own: bool) -> Iterator[str]:
    """Say which images are copies of those of another split, if any are."""
    counts = (
        (copies.val_of_train, "validation image", "training"),
        (copies.test_of_train, "test image", "training"),
        (copies.test_of_val, "test image", "validation"),
    )
    leaks = [f"{_are_copies(count, what)} of {of} images" for count, what, of in counts if count]
    if not leaks:
        return
    if not is_own:
        remedy = "the published images stay as they are, so that results can be compared"
    elif copies.together:
        remedy = "remove them from one of the two"
    else:
        remedy = "remove them from one of the two, or leave out copies=apart"
    yield (
        f"{' and '.join(leaks)} (equal pixels): scores of copies tell what was remembered, not "
        f"what was learned; {remedy}"
    )


def _are_copies(count: int, what: str) -> str:
    return f"{count:,} {what} is a copy" if count == 1 else f"{count:,} {what}s are copies"
