"""Which images were classified correctly: packed, and read back only where it is what it says."""

import base64
import dataclasses

import numpy as np
import pytest
from support.records import make_result

from sweeps.analysis import bits

CONFUSION = ((3, 1, 0), (0, 0, 0), (2, 0, 7))
CORRECT = np.array([1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0], dtype=bool)
TEST = {"acc": 10 / 13, "loss": 0.5, "images": 13.0}


@pytest.mark.parametrize("images", [0, 1, 7, 8, 9, 239, 10_000])
def test_round_trip(images):
    """What is packed is read back equal, whatever the number of images; it takes a sixth of a letter each."""
    correct = np.random.default_rng(images).random(images) < 0.9
    text = bits.pack(correct)
    assert np.array_equal(bits.unpack(text, images), correct)
    assert len(text) == 4 * (((images + 7) // 8 + 2) // 3)


GOOD = bits.pack(CORRECT)
DAMAGED = {
    "none": None,
    "no text": 7,
    "empty": "",
    "a letter changed": "~" + GOOD[1:],
    "not ASCII": "é" + GOOD[1:],
    "cut": GOOD[:-1],
    "more images": GOOD + GOOD,
    "fewer images": base64.b64encode(b"a").decode(),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damaged(text):
    """Text that is missing or damaged is read as nothing known."""
    assert bits.unpack(text, len(CORRECT)) is None
    result = dataclasses.replace(make_result(0, 0.7), confusion=CONFUSION, correct=text)
    assert bits.correct_images(result) is None
    tested = dataclasses.replace(result, test=TEST, test_correct=text)
    assert bits.correct_test_images(tested) is None


def test_of_a_trial():
    """The images of a trial are known where each class has as many correct ones as its confusion matrix counts."""
    result = dataclasses.replace(make_result(0, 0.7), confusion=CONFUSION, correct=GOOD)
    assert np.array_equal(bits.correct_images(result), CORRECT)
    other_class = bits.pack(np.roll(CORRECT, 1))
    assert bits.correct_images(dataclasses.replace(result, correct=other_class)) is None
    assert bits.correct_images(dataclasses.replace(result, confusion=None)) is None


def test_of_the_test_split():
    """The test images are known where as many are correct as the test accuracy says, and once it is known."""
    result = dataclasses.replace(make_result(0, 0.7), test=TEST, test_correct=GOOD)
    assert np.array_equal(bits.correct_test_images(result), CORRECT)
    for test in (None, {"acc@1": 0.5}, {**TEST, "acc": 9 / 13}):
        assert bits.correct_test_images(dataclasses.replace(result, test=test)) is None
