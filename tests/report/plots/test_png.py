"""The encoder of drawings."""

import io

import numpy as np
from PIL import Image

from pipeline.report.plots.png import encode_png


def test_an_image_is_read_back_as_it_was():
    """Every library reads the pixels, in their order and with their colours, and the dots per inch."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels, 300))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)
        assert round(image.info["dpi"][0]) == 300
