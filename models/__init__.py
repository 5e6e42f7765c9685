"""The families of networks that a trial can train, by names and options.

Torch is imported only when a network is built.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from models.presets import PRESETS as CNN_PRESETS

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str


@dataclass(frozen=True)
class Family:
    """Where a network lives (``module:Class``) and its keyword options with their defaults.

    The class is called as ``Class(shape, classes, **options)`` with ``shape`` the ``(channels,
    height, width)`` of an image, and returns logits of shape ``(batch, classes)``. It raises
    `ValueError` if it cannot take such images.
    """

    network: str
    options: Mapping[str, Option]


FAMILIES: dict[str, Family] = {
    "mlp": Family(
        "models.mlp:MLP",
        {
            "activation": "relu",
            "dropout": 0.2,
            "batch_norm": True,
            "bias": False,
            "init": "auto",
            "width": 256,
            "depth": 2,
        },
    ),
    "cnn": Family(
        "models.cnn:CNN",
        {
            "activation": "relu",
            "dropout": 0.1,
            "batch_norm": True,
            "bias": False,
            "init": "auto",
            "preset": "none",
            "width": 32,
            "depth": 2,
            "layer_order": "conv-norm-act-pool-drop",
        },
    ),
    "resnet": Family(
        "models.resnet:ResNet",
        {
            "activation": "relu",
            "dropout": 0.0,
            "batch_norm": True,
            "bias": False,
            "init": "auto",
            "width": 16,
            "depth": 3,
            "blocks": "1",
            "stem": "conv",
            "head": "pool",
            "residual": True,
            "shortcut": "conv",
        },
    ),
    "lenet_resnet": Family(
        "models.lenet_resnet:LeNetResNet",
        {
            "activation": "relu",
            "dropout": 0.5,
            "init": "auto",
            "width": 10,
            "residual": True,
            "softmax_output": False,
        },
    ),
}

# The classes of torch.nn behind the names.
ACTIVATIONS: dict[str, str] = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
}

PRESETS = ("none", *CNN_PRESETS)  # of a CNN
INITS = ("auto", "torch", "he", "xavier", "orthogonal")
SHORTCUTS = ("conv", "pad")
STEMS = ("conv", "pool", "none")
HEADS = ("pool", "flatten")
LAYERS = ("conv", "norm", "act", "drop", "pool")


def parse_layer_order(text: str) -> tuple[str, ...]:
    """Split ``conv-norm-act-pool-drop`` into its layers.

    Raises:
        ValueError: unless the text has each of `LAYERS` exactly once.
    """
    order = tuple(text.split("-"))
    if sorted(order) != sorted(LAYERS):
        raise ValueError(
            f"layer_order must hold each of {', '.join(LAYERS)} once, joined by '-': got {text!r}"
        )
    return order


def parse_block_counts(text: str) -> tuple[int, ...]:
    """Split ``3-4-4-3`` into the blocks of each stage.

    Raises:
        ValueError: unless the text is whole numbers from 1 to 50, joined by ``-``.
    """
    parts = text.split("-")
    if not all(part.isdecimal() and 1 <= int(part) <= 50 for part in parts):
        raise ValueError(f"blocks must be whole numbers from 1 to 50, joined by '-': got {text!r}")
    return tuple(map(int, parts))


def did_you_mean(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """Suggest the nearest known word and name all: the end of an error about an unknown word."""
    all_known = f"known: {', '.join(known)}"
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]}? {all_known}" if nearest else all_known


def find_family(name: str) -> Family:
    """Return a family of `FAMILIES`, or the user's own class with its constructor's options.

    Args:
        name: a key of `FAMILIES`, or ``module:Class``.

    Raises:
        ValueError: for an unknown name, or a class that cannot be imported.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if ":" not in name:
        hint = did_you_mean(name, FAMILIES)
        raise ValueError(f"family is unknown: {name!r}; {hint}, or module:Class of your own")
    options = {}
    for parameter in inspect.signature(_load(name)).parameters.values():
        has_default = parameter.default is not parameter.empty
        if has_default and parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = parameter.default
    return Family(name, options)


def build(
    family: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, Option]
) -> nn.Module:
    """Build a network of a family, with random weights.

    Args:
        family: a name of `FAMILIES`, or ``module:Class``.
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        options: the keyword options of the family.

    Raises:
        ValueError: if the network cannot take such images.
    """
    network_class = _load(find_family(family).network)
    network: nn.Module = network_class(shape, classes, **options)
    return network


def _import(name: str) -> ModuleType:
    """Import a module, which may be in the working folder.

    The folder becomes the last of the import path, where it hides no module of another place.
    """
    folder = os.path.realpath(os.curdir)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def _load(path: str) -> type[nn.Module]:
    """Import the class at ``module:Class``."""
    from torch import nn

    module, _, name = path.partition(":")
    try:
        network_class = getattr(_import(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load {path!r}: {error}") from error
    if not (isinstance(network_class, type) and issubclass(network_class, nn.Module)):
        raise ValueError(  # noqa: TRY004
            f"{path!r} must be a class of torch.nn.Module: got {network_class!r}"
        )
    return network_class
