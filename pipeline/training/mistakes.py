"""Which images a network gets most wrong, from the logits of the pass that scored it. Sees no image."""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.training.metrics import Scores
from sweeps.trial import Mistake

WORST = 24  # images of the largest losses
PAIRS = 6  # of classes, the most confused ones
OF_EACH = 4  # images of such a pair


@torch.no_grad()
def mistakes(scores: Scores, labels: torch.Tensor) -> tuple[Mistake, ...]:
    """The worst of the wrongly classified images, and some of the pairs of classes that are confused most.

    First come the `WORST` by loss, the largest first; then, of each of the `PAIRS` most frequent pairs (true class,
    predicted class), those among its `OF_EACH` largest losses that are not named yet, the most frequent pair first.
    Equal losses stand in the order of the images, equally frequent pairs in that of the classes.

    Args:
        scores: of a split.
        labels: the split's, int64 (images,), on the device of the logits.
    """
    if not scores.logits:
        return ()
    predicted = torch.cat([logits.argmax(dim=1) for logits in scores.logits])
    wrong = (predicted != labels).nonzero().flatten()
    logits = torch.cat(scores.logits)[wrong].float()
    losses = functional.cross_entropy(logits, labels[wrong], reduction="none")
    losses, order = losses.cpu().sort(descending=True, stable=True)
    images, true, taken = (tensor.cpu()[order] for tensor in (wrong, labels[wrong], predicted[wrong]))
    sureness = logits.softmax(dim=1).amax(dim=1).cpu()[order]
    places = list(range(min(WORST, len(images))))
    for pair in _confused(scores.confusion):
        places += ((true == pair[0]) & (taken == pair[1])).nonzero().flatten()[:OF_EACH].tolist()
    return tuple(
        Mistake(int(images[i]), int(true[i]), int(taken[i]), _short(float(sureness[i])), _short(float(losses[i])))
        for i in dict.fromkeys(places)
    )


def _confused(confusion: torch.Tensor) -> list[list[int]]:
    """The most frequent pairs (true class, predicted class) of two classes, from counts [true][predicted]."""
    pairs = (confusion - confusion.diagonal().diag()).nonzero()
    counts = confusion[pairs[:, 0], pairs[:, 1]]
    most: list[list[int]] = pairs[counts.argsort(descending=True, stable=True)[:PAIRS]].tolist()
    return most


def _short(value: float) -> float:
    """The 6 digits that single precision has: a study keeps thousands of these."""
    return float(f"{value:.6g}")
