"""Which images a network gets most wrong, from the logits of the pass that scored it. Sees no image."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from PIL import Image

from sweeps.trial import Mistake

if TYPE_CHECKING:
    import torch

import torch
from torch.nn import functional

from pipeline.training.metrics import Scores

WORST_IMAGES = 24  # images of the largest losses
CONFUSED_PAIRS = 6  # of classes, the most confused ones
IMAGES_PER_PAIR = 4  # images of such a pair


@torch.no_grad()
def find_mistakes(scores: Scores, labels: torch.Tensor) -> tuple[Mistake, ...]:
    """The worst of the wrongly classified images, and some of the pairs of classes that are confused most.

    First come the `WORST_IMAGES` by loss, the largest first; then, of each of the `CONFUSED_PAIRS` most frequent
    pairs (true class, predicted class), those among its `IMAGES_PER_PAIR` largest losses that are not
    named yet, the most frequent pair first.
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
    images, true, taken = (
        tensor.cpu()[order] for tensor in (wrong, labels[wrong], predicted[wrong])
    )
    sureness = logits.softmax(dim=1).amax(dim=1).cpu()[order]
    places = list(range(min(WORST_IMAGES, len(images))))
    for pair in _confused(scores.confusion):
        places += (
            ((true == pair[0]) & (taken == pair[1])).nonzero().flatten()[:IMAGES_PER_PAIR].tolist()
        )
    return tuple(
        Mistake(
            int(images[i]),
            int(true[i]),
            int(taken[i]),
            _short(float(sureness[i])),
            _short(float(losses[i])),
        )
        for i in dict.fromkeys(places)
    )


def _confused(confusion: torch.Tensor) -> list[list[int]]:
    """The most frequent pairs (true class, predicted class) of two classes, from counts [true][predicted]."""
    pairs = (confusion - confusion.diagonal().diag()).nonzero()
    counts = confusion[pairs[:, 0], pairs[:, 1]]
    most: list[list[int]] = pairs[
        counts.argsort(descending=True, stable=True)[:CONFUSED_PAIRS]
    ].tolist()
    return most


def _short(value: float) -> float:
    """The 6 digits that single precision has: a study keeps thousands of these."""
    return float(f"{value:.6g}")


THUMBNAIL_SIDE = 96  # pixels; of a larger image the picture is a smaller one


def encode_thumbnails(mistakes: Iterable[Mistake], images: torch.Tensor) -> dict[int, str]:
    """The images that were classified wrongly: by index, PNG files in base64.

    Args:
        mistakes: which images.
        images: uint8 (images, channels, height, width) of the split that the mistakes are of, with 1 or 3 channels.
    """
    return {
        mistake.image: base64.b64encode(encode_thumbnail(images[mistake.image])).decode()
        for mistake in mistakes
    }


def encode_thumbnail(image: torch.Tensor) -> bytes:
    """An image, uint8 (channels, height, width) with 1 or 3 channels, as a PNG file.

    Its sides have at most `THUMBNAIL_SIDE` pixels.
    """
    pixels = image.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))  # which makes none larger
    picture.save(file, "PNG")
    return file.getvalue()
