"""Packs which images of a split a network classified correctly, a bit for each image, as text.

The images stand by class, and within a class in the order of the split: so the rows of a confusion
matrix tell the class of each bit. All trials of a study with the same redraw, or without one,
have the same images in the same places; test images are the same for all.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeps.trial import TrialResult


def pack(correct: NDArray[np.bool_]) -> str:
    """Pack booleans, eight to a byte and the first as the highest bit, in base64.

    Args:
        correct: bool (images,).
    """
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpack(text: object, images: int) -> NDArray[np.bool_] | None:
    """Read what `pack` returned.

    Args:
        text: as it was stored; it may be missing, or damaged.
        images: their number.

    Returns:
        bool (images,); None unless the text is that of so many images.
    """
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the second for letters beyond ASCII
        return None
    packed = np.frombuffer(data, dtype=np.uint8)
    if len(packed) != (images + 7) // 8:
        return None
    return np.unpackbits(packed, count=images).astype(np.bool_)


def correct_images(result: TrialResult) -> NDArray[np.bool_] | None:
    """Return which validation images a trial classified correctly at its best epoch.

    Returns:
        bool (images,), by class; None where it is not known, as of a trial of version 0.1.0, or
        where it is not what the trial's confusion matrix counts.
    """
    if result.confusion is None:
        return None
    sizes = [sum(row) for row in result.confusion]
    correct = unpack(result.correct, sum(sizes))
    if correct is None:
        return None
    ends = np.cumsum(sizes)
    for true, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        if np.count_nonzero(correct[end - size : end]) != result.confusion[true][true]:
            return None
    return correct


def correct_test_images(result: TrialResult) -> NDArray[np.bool_] | None:
    """Return which test images a trial's network classified correctly.

    Returns:
        bool (images,), by class; None where it is not known, as of a trial that was not evaluated
        or was by version 0.1.0, or where it is not what the trial's test accuracy says.
    """
    test = result.test or {}
    if "images" not in test or "acc" not in test:
        return None
    images = int(test["images"])
    correct = unpack(result.test_correct, images)
    if correct is None or np.count_nonzero(correct) != round(test["acc"] * images):
        return None
    return correct
