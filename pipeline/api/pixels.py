"""Reads the images that a program has in memory: PIL images, and arrays of pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from pipeline.data import decode
from pipeline.system.errors import UsageFailure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # An image, besides a file; an array holds pixels as image libraries give them.
    Pixels: TypeAlias = Image.Image | NDArray[np.uint8] | torch.Tensor

_CHANNELS = (1, 3, 4)  # grey, colour, and colour with transparency


def as_items(images: Any) -> Iterable[Any]:
    """One or several images as several.

    Raises:
        UsageFailure: if they are neither.
    """
    if isinstance(images, str | Path | Image.Image | np.ndarray | torch.Tensor):
        return [images]
    if not isinstance(images, Iterable):
        raise UsageFailure(
            f"images must be files, PIL images or arrays of pixels: got {type(images).__name__}"
        )
    return images


def read_pixels(images: Any, shape: decode.Shape) -> list[bytes]:
    """Read images in memory, and bring them to a shape as files are.

    Args:
        images: one or several PIL images, or arrays of uint8 pixels: (height, width) or (height,
            width, channels), with one dimension more for a batch.
        shape: channels, height and width.

    Returns:
        The pixels of each image, as `decode.fit_to_shape` returns them.

    Raises:
        UsageFailure: if something is no such image.
    """
    found: list[Image.Image] = []
    for item in as_items(images):
        if isinstance(item, Image.Image):
            found.append(item)
        elif isinstance(item, np.ndarray | torch.Tensor):
            found += _images_of(item, shape[0])
        else:
            raise UsageFailure(
                "an image in memory must be a PIL image or an array of pixels: "
                f"got {type(item).__name__}"
            )
    if not found:
        raise UsageFailure("no images are given: give one at least")
    return [decode.fit_to_shape(image.copy(), shape) for image in found]


def _images_of(pixels: NDArray[Any] | torch.Tensor, channels: int) -> list[Image.Image]:
    """Read an array as an image or a batch of images.

    Args:
        pixels: the array.
        channels: of the images that the network was trained on: three dimensions without channels
            are a batch of grey images only for a network of grey images.
    """
    array = pixels.detach().cpu().numpy() if isinstance(pixels, torch.Tensor) else pixels
    if array.dtype != np.uint8:
        raise UsageFailure(
            f"pixels must be uint8, 0 to 255, as image files have them: got {array.dtype}; "
            "the model normalises them itself"
        )
    has_channels = array.ndim > 2 and array.shape[-1] in _CHANNELS
    if array.size and (array.ndim == 2 or (array.ndim == 3 and has_channels)):
        batch = array[None]
    elif array.size and ((array.ndim == 4 and has_channels) or (array.ndim == 3 and channels == 1)):
        batch = array
    else:
        raise UsageFailure(
            "pixels must have the shape (height, width) or (height, width, channels), with one "
            f"dimension more for a batch: got {tuple(array.shape)}; channels come last"
        )
    if has_channels and batch.shape[-1] == 1:
        batch = batch[..., 0]
    return [Image.fromarray(image) for image in batch]
