"""The families of networks a trial can train: names and options first, torch only when one is built."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        {"activation": "relu", "dropout": 0.2, "batch_norm": True, "width": 256, "depth": 2},
    ),
    "cnn": Family(
        "models.cnn:CNN",
        {
            "activation": "relu",
            "dropout": 0.1,
            "batch_norm": True,
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
            "width": 16,
            "depth": 3,
            "residual": True,
            "shortcut": "conv",
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

SHORTCUTS = ("conv", "pad")
LAYERS = ("conv", "norm", "act", "drop", "pool")


def layer_order(text: str) -> tuple[str, ...]:
    """Split ``conv-norm-act-pool-drop`` into its layers.

    Raises:
        ValueError: unless each of `LAYERS` stands in it exactly once.
    """
    order = tuple(text.split("-"))
    if sorted(order) != sorted(LAYERS):
        raise ValueError(f"layer_order must hold each of {', '.join(LAYERS)} once, joined by '-': got {text!r}")
    return order


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """Name the known words, the likeliest first: the tail of an error message about an unknown one."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"known: {', '.join(known)}"


def find(name: str) -> Family:
    """Return a family of `FAMILIES`, or the user's own ``module:Class`` with the options of its constructor.

    Raises:
        ValueError: for an unknown name, or a class that cannot be imported.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if ":" not in name:
        raise ValueError(f"family is unknown: {name!r}; {nearest(name, FAMILIES)}, or module:Class of your own")
    parameters = inspect.signature(_load(name)).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
    return Family(name, options)


def build(family: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, Option]) -> nn.Module:
    """Build a network of a family for images of ``shape`` (channels, height, width), with random weights.

    Raises:
        ValueError: where the network cannot take such images.
    """
    network: nn.Module = _load(find(family).network)(shape, classes, **options)
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
