"""The families of networks a trial can train: names and options first, torch only when one is built."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.presets import PRESETS as CNN_PRESETS

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str


@dataclass(frozen=True)
class Family:
    """Where a network lives (``module:Class``) and its keyword options with their defaults.

    The class is called as ``Class(shape, classes, **options)`` with ``shape`` the ``(channels, height, width)`` of
    one image, and returns logits of shape ``(batch, classes)``. It raises `ValueError` where it cannot take such
    images.
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
        ValueError: unless each of `LAYERS` stands in it exactly once.
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
        ValueError: unless it holds whole numbers from 1 to 50, joined by ``-``.
    """
    parts = text.split("-")
    if not all(part.isdecimal() and 1 <= int(part) <= 50 for part in parts):
        raise ValueError(f"blocks must be whole numbers from 1 to 50, joined by '-': got {text!r}")
    return tuple(map(int, parts))


def did_you_mean(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """Name the known words, the likeliest first: the tail of an error message about an unknown one."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"known: {', '.join(known)}"


def find_family(name: str) -> Family:
    """Return a family of `FAMILIES`, or the user's own ``module:Class`` with the options of its constructor.

    Raises:
        ValueError: for an unknown name, or a class that cannot be imported.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if ":" not in name:
        raise ValueError(
            f"family is unknown: {name!r}; {did_you_mean(name, FAMILIES)}, or module:Class of your own"
        )
    parameters = inspect.signature(_load(name)).parameters.values()
    options = {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }
    return Family(name, options)


def build(
    family: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, Option]
) -> nn.Module:
    """Build a network of a family for images of ``shape`` (channels, height, width), with random weights.

    Raises:
        ValueError: where the network cannot take such images.
    """
    network: nn.Module = _load(find_family(family).network)(shape, classes, **options)
    return network


def _load(path: str) -> type[nn.Module]:
    from torch import nn

    module, _, name = path.partition(":")
    try:
        network = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load {path!r}: {error}") from error
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ValueError(f"{path!r} must be a class of torch.nn.Module: got {network!r}")  # noqa: TRY004
    return network
