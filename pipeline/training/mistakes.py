"""Selects the images that a network gets most wrong, and draws their thumbnails for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import torch
from PIL import Image
from torch.nn import functional

from pipeline.training.loss import CROSS_ENTROPY, Loss
from pipeline.training.metrics import Scores
from sweeps.trial import Mistake

WORST_IMAGES = 24  # with the largest losses
CONFUSED_PAIRS = 6  # pairs of classes, the most frequently confused
IMAGES_PER_PAIR = 4
THUMBNAIL_SIDE = 96  # pixels, at most


@torch.no_grad()
def find_mistakes(
    scores: Scores, labels: torch.Tensor, loss: Loss = CROSS_ENTROPY
) -> tuple[Mistake, ...]:
    """Select the worst mistakes, and examples of the pairs of classes confused most.

    First come the `WORST_IMAGES` by loss, the largest first. Then follow, for each of the
    `CONFUSED_PAIRS` most frequent pairs (true class, predicted class), the images among its
    `IMAGES_PER_PAIR` largest losses that are not listed yet, the most frequent pair first. Equal
    losses stand in the order of the images, equally frequent pairs in that of the classes.

    Args:
        scores: of a split.
        labels: the split's, int64 (images,), on the device of the logits.
        loss: of the network's configuration: it knows what are probabilities.
    """
    if not scores.logits:
        return ()
    predictions = torch.cat([logits.argmax(dim=1) for logits in scores.logits])
    wrong = (predictions != labels).nonzero().flatten()
    logits = torch.cat(scores.logits)[wrong].float()
    losses = functional.cross_entropy(logits, labels[wrong], reduction="none")
    losses, order = losses.cpu().sort(descending=True, stable=True)
    # All of these are of the wrong images, by falling loss:
    images = wrong.cpu()[order]
    true = labels[wrong].cpu()[order]
    predicted = predictions[wrong].cpu()[order]
    probabilities = loss.probabilities(logits).amax(dim=1).cpu()[order]
    selected = list(range(min(WORST_IMAGES, len(images))))
    for true_class, predicted_class in _most_confused(scores.confusion):
        of_pair = (true == true_class) & (predicted == predicted_class)
        selected += of_pair.nonzero().flatten()[:IMAGES_PER_PAIR].tolist()
    return tuple(
        Mistake(
            image=int(images[index]),
            true=int(true[index]),
            predicted=int(predicted[index]),
            probability=_six_digits(float(probabilities[index])),
            loss=_six_digits(float(losses[index])),
        )
        for index in dict.fromkeys(selected)
    )


def _most_confused(confusion: torch.Tensor) -> list[list[int]]:
    """The most frequent pairs (true class, predicted class), from counts [true][predicted]."""
    pairs = (confusion - confusion.diagonal().diag()).nonzero()
    counts = confusion[pairs[:, 0], pairs[:, 1]]
    order = counts.argsort(descending=True, stable=True)
    most_confused: list[list[int]] = pairs[order[:CONFUSED_PAIRS]].tolist()
    return most_confused


def _six_digits(value: float) -> float:
    """Round to the precision of float32: a study stores thousands of these."""
    return float(f"{value:.6g}")


def encode_thumbnails(mistakes: Iterable[Mistake], images: torch.Tensor) -> dict[int, str]:
    """Encode the images of mistakes as PNG files in base64.

    Args:
        mistakes: whose images.
        images: uint8 (images, channels, height, width) of the mistakes' split, with 1 or 3
            channels.

    Returns:
        The encoded files, by the image's index.
    """
    thumbnails = {}
    for mistake in mistakes:
        png = encode_thumbnail(images[mistake.image])
        thumbnails[mistake.image] = base64.b64encode(png).decode()
    return thumbnails


def encode_thumbnail(image: torch.Tensor) -> bytes:
    """Encode an image as a PNG file of at most `THUMBNAIL_SIDE` pixels a side.

    Args:
        image: uint8 (channels, height, width) with 1 or 3 channels.
    """
    pixels = image.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    thumbnail = Image.fromarray(pixels)
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))  # makes no image larger
    file = io.BytesIO()
    thumbnail.save(file, "PNG")
    return file.getvalue()
