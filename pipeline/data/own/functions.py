"""Reads images that a function of the user's own returns: ``FILE.py:function``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from models import usercode
from pipeline.data.listing import PART_OF_WORD, PARTS
from pipeline.data.sources import Images
from pipeline.system.errors import UsageFailure
from pipeline.system.text import clip

_RULE = (
    "it must return a dict of parts, such as {'train': (images, labels), 'test': (images, labels)}"
)


@lru_cache(maxsize=1)
def read_function(reference: str) -> Images:
    """Call a function that returns images and labels of each part, once.

    It takes no arguments, and returns a mapping from train, val and test (any usual word; only
    train is needed) to a pair: images as a uint8 array (images, height, width), (images, height,
    width, 1 or 3) or (images, 1 or 3, height, width), and labels, one for each image: whole
    numbers from 0, or names. The key ``classes`` may hold the names of the classes.

    Args:
        reference: ``FILE.py:function`` or ``module:function``.

    Returns:
        All images, with their official parts.

    Raises:
        UsageFailure: in one line, if there is no such function, it raises, or returns anything
            else.
    """
    try:
        function = usercode.load(reference).value
    except ValueError as error:
        raise UsageFailure(f"dataset: {error}") from None
    if not inspect.isfunction(function):  # others, such as os.abort, are no data sets
        raise UsageFailure(
            f"{reference} must be a function written in Python, without arguments: "
            f"got {_kind(function)}"
        )
    try:
        returned = function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a function of the user's can raise anything
        reason = clip(f"{type(error).__name__}: {error}", 300)
        raise UsageFailure(
            f"{reference} was called without arguments and raised {reason}"
        ) from error
    return _images(reference, returned)


def _images(reference: str, returned: Any) -> Images:
    """Check what a function has returned, and join its parts.

    Raises:
        UsageFailure: with the rule and what was got.
    """
    if not isinstance(returned, Mapping):
        raise UsageFailure(f"{reference}: {_RULE}: got {_kind(returned)}")
    names = returned.get("classes")
    parts: dict[str, tuple[torch.Tensor, list[Any]]] = {}
    for key, value in returned.items():
        if key == "classes":
            continue
        part = PART_OF_WORD.get(str(key).casefold())
        if part is None or part in parts:
            raise UsageFailure(
                f"{reference}: parts are train, val and test, each once: got {clip(key, 80)!r}"
            )
        parts[part] = _part(f"{reference}: {clip(key, 40)}", value)
    if "train" not in parts:
        raise UsageFailure(f"{reference}: {_RULE}: got no train")
    shape = parts["train"][0].shape[1:]
    for part, (images, _) in parts.items():
        if images.shape[1:] != shape:
            raise UsageFailure(
                f"{reference}: all parts must have images of one shape: train has "
                f"{_shape_text(shape)}, and {part} {_shape_text(images.shape[1:])}"
            )
    ordered = [part for part in PARTS if part in parts]
    labels = [label for part in ordered for label in parts[part][1]]
    classes, numbers = _number(reference, labels, len(parts["train"][1]), names)
    return Images(
        torch.cat([parts[part][0] for part in ordered]),
        torch.tensor(numbers),
        classes,
        parts=tuple(part for part in ordered for _ in parts[part][1]),
    )


def _part(where: str, value: Any) -> tuple[torch.Tensor, list[Any]]:
    """Check the images and labels of a part.

    Returns:
        uint8 (images, channels, height, width), and the labels.

    Raises:
        UsageFailure: with the rule and what was got.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise UsageFailure(f"{where} must be a pair (images, labels): got {_kind(value)}")
    images = _to_array(where, value[0])
    if images.dtype != np.uint8:
        raise UsageFailure(
            f"{where}: images must be of uint8, 0 to 255: got {images.dtype}; "
            "for floats of 0 to 1: (255 * images).round().astype('uint8')"
        )
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise UsageFailure(
            f"{where}: images must be (images, height, width), or with 1 or 3 channels behind or "
            f"before height and width: got the shape {_shape_text(images.shape)}"
        )
    labels = _to_array(where, value[1])
    if labels.shape != (len(images),):
        raise UsageFailure(
            f"{where}: labels must be one for each of {len(images):,} images: "
            f"got the shape {_shape_text(labels.shape)}"
        )
    return torch.from_numpy(np.ascontiguousarray(images)), labels.tolist()


def _to_array(where: str, value: Any) -> np.ndarray[Any, Any]:
    """Return an array; a tensor is moved to the CPU.

    Raises:
        UsageFailure: if it is none.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise UsageFailure(
            f"{where} must be an array, or convertible to one: {clip(error, 200)}"
        ) from None


def _number(
    reference: str, labels: list[Any], train_count: int, names: Any
) -> tuple[tuple[str, ...], list[int]]:
    """Return the names of the classes, and the number of each image's class.

    Args:
        reference: of the function, for messages.
        labels: of all images, those of train first.
        train_count: how many images train.
        names: of the classes, as the function gives them; None for none.

    Raises:
        UsageFailure: if labels and names do not fit.
    """
    classes = None if names is None else tuple(str(name) for name in names)
    if classes is not None and len(set(classes)) < len(classes):
        raise UsageFailure(f"{reference}: classes must have different names")
    are_names = all(isinstance(label, str) for label in labels)
    if are_names:
        known = classes or tuple(sorted(set(labels[:train_count])))
        number_of_name = {name: number for number, name in enumerate(known)}
        unknown = [label for label in labels if label not in number_of_name]
        if unknown:
            raise UsageFailure(
                f"{reference}: label {clip(unknown[0], 80)!r} is of no class"
                f"{'' if names is not None else ' of train'}"
            )
        numbers = [number_of_name[label] for label in labels]
    else:
        odd = [label for label in labels if type(label) is not int or label < 0]
        if odd:
            raise UsageFailure(
                f"{reference}: labels must be whole numbers from 0, or names: got {odd[0]!r}"
            )
        count = max(labels[:train_count]) + 1
        known = classes or tuple(str(number) for number in range(count))
        if max(labels) >= len(known):
            raise UsageFailure(
                f"{reference}: label {max(labels)} is of no class: there are {len(known)}"
            )
        numbers = labels
    if len(set(numbers[:train_count])) < 2:
        raise UsageFailure(f"{reference}: train needs images of at least 2 classes")
    return known, numbers


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {clip(repr(value), 60)}"


def _shape_text(shape: Any) -> str:
    return "x".join(str(size) for size in shape) or "of a single number"
