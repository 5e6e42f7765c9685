"""Pure: what is wrong with a trial that its accuracy alone does not say. Knows nothing of stores or terminals."""

from __future__ import annotations

from sweeps.trial import TrialResult

NEARLY_ALL = 0.95  # of the predictions
HARDLY_ANY = 0.1  # of the images of the other classes


def collapsed_class(result: TrialResult) -> int | None:
    """The class that nearly all validation images were taken for after the last epoch; None where there is none.

    A network that is right about the others' images has not collapsed, however rare they are.
    """
    if not result.history or len(result.history[-1].predicted) < 2:
        return None
    last = result.history[-1]
    top = max(range(len(last.predicted)), key=last.predicted.__getitem__)
    others = [
        share for index, share in enumerate(last.per_class) if index != top and share is not None
    ]
    if last.predicted[top] < NEARLY_ALL * sum(last.predicted) or not others:
        return None
    if sum(others) / len(others) < HARDLY_ANY:
        return top
    return None


def dead_classes(result: TrialResult) -> tuple[int, ...]:
    """The classes with validation images that the kept weights, those of the best epoch, take no image for."""
    best = result.best
    if best is None:
        return ()
    return tuple(
        index
        for index, (count, accuracy) in enumerate(zip(best.predicted, best.per_class, strict=False))
        if not count and accuracy is not None
    )
