"""Images in memory, as scripts and notebooks give them."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.api.pixels import read_pixels
from pipeline.system.errors import UsageFailure

GREY = (1, 5, 5)
COLOUR = (3, 5, 5)
ONE = np.arange(25, dtype=np.uint8).reshape(5, 5)
RGB = np.stack([ONE, ONE + 1, ONE + 2], axis=2)


@pytest.mark.parametrize(
    ("images", "shape", "count"),
    [
        (ONE, GREY, 1),
        (ONE[..., None], GREY, 1),
        (np.stack([ONE, ONE]), GREY, 2),
        (np.stack([ONE, ONE])[..., None], GREY, 2),
        (RGB, COLOUR, 1),
        (np.stack([RGB, RGB]), COLOUR, 2),
        (torch.from_numpy(RGB), COLOUR, 1),
        (Image.fromarray(RGB), COLOUR, 1),
        ([ONE, Image.fromarray(ONE)], GREY, 2),
        ((image for image in [RGB, RGB]), COLOUR, 2),
        (ONE, COLOUR, 1),  # a grey image for a network of colour images
    ],
)
def test_what_is_read(images, shape, count):
    """Each image becomes the bytes of its channels, plane by plane."""
    pixels = read_pixels(images, shape)
    assert len(pixels) == count
    assert all(len(one) == np.prod(shape) for one in pixels)
    assert pixels[0][:25] == ONE.tobytes()


def test_other_sizes_are_brought_to_the_shape():
    """An image of another size is resized as a file is."""
    assert len(read_pixels(np.zeros((9, 7), np.uint8), GREY)[0]) == 25


@pytest.mark.parametrize(
    ("images", "shape", "message"),
    [
        (ONE / 255, GREY, "uint8"),
        (torch.zeros(3, 5, 5), COLOUR, "uint8"),
        (RGB.transpose(2, 0, 1), COLOUR, "channels come last"),
        (np.stack([RGB, RGB]).transpose(0, 3, 1, 2), COLOUR, "channels come last"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), GREY, "shape"),
        (np.zeros((), np.uint8), GREY, "shape"),
        (np.zeros((0, 5), np.uint8), GREY, "shape"),
        ([], GREY, "no images"),
        (5, GREY, "int"),
        ([5], GREY, "int"),
    ],
)
def test_what_is_refused(images, shape, message):
    """What could be taken for another image is refused in one line."""
    with pytest.raises(UsageFailure, match=message) as caught:
        read_pixels(images, shape)
    assert "\n" not in str(caught.value)
