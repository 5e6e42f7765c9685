"""Pictures of images that a network gets wrong, small enough to be kept with a study. Knows no study and no store."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from PIL import Image

from sweeps.trial import Mistake

if TYPE_CHECKING:
    import torch

SIDE = 96  # pixels; of a larger image the picture is a smaller one


def pictures(mistakes: Iterable[Mistake], images: torch.Tensor) -> dict[int, str]:
    """The images that were classified wrongly: by index, PNG files in base64.

    Args:
        mistakes: which images.
        images: uint8 (images, channels, height, width) of the split that the mistakes are of, with 1 or 3 channels.
    """
    return {mistake.image: base64.b64encode(png(images[mistake.image])).decode() for mistake in mistakes}


def png(image: torch.Tensor) -> bytes:
    """An image, uint8 (channels, height, width) with 1 or 3 channels, as a PNG file of at most `SIDE` pixels a side."""
    pixels = image.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))  # which makes none larger
    picture.save(file, "PNG")
    return file.getvalue()
