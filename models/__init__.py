"""The families of networks that a trial can train, by names and options.

Torch is imported only when a network is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models import libraries, own, usercode
from models.parameters import Option
from models.presets import PRESETS as CNN_PRESETS
from models.suggestions import did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Family:
    """Where a network lives (``module:Class``) and its keyword options with their defaults.

    The class is called as ``Class(shape, classes, **options)`` with ``shape`` the ``(channels,
    height, width)`` of an image, and returns logits of shape ``(batch, classes)``. It raises
    `ValueError` if it cannot take such images. A network of the user's own is called as its
    parameters are named, see `models.own`; a network of a library by `models.backbone`.
    """

    network: str
    options: Mapping[str, Option]
    own: own.Network | None = None  # the user's own network; None for one of `FAMILIES`

    def takes(self, name: str) -> bool:
        """Whether the network has an option of this name, or it is one of `TRANSFER`."""
        if self.own is not None:
            return self.own.takes(name)
        return name in self.options or name in TRANSFER


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

# What says with which weights a training begins, and how far these are trained. A network of the
# user's own may have options that are called so, but takes no such weights.
TRANSFER = ("pretrained", "freeze", "backbone_lr")

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


def find_family(name: str) -> Family:
    """Return a family of `FAMILIES`, or the user's own network with its constructor's options.

    Of a library's network, only the form of the name is looked at: `libraries.check` does more.

    Args:
        name: a key of `FAMILIES`, or ``FILE.py:Class``, ``module:Class``, ``torchvision:NAME`` or
            ``timm:NAME``.

    Raises:
        ValueError: for an unknown name, or a network that cannot be loaded.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if is_backbone(name):
        return Family("models.backbone:Backbone", {})
    if not is_own(name):
        hint = did_you_mean(name, FAMILIES)
        raise ValueError(
            f"family is unknown: {name!r}; {hint}, FILE.py:Class of your own, torchvision:NAME or "
            "timm:NAME"
        )
    network = own.load(name)
    return Family(name, network.options, network)


def is_own(family: str) -> bool:
    """Whether a family is named as a network of the user's own; nothing is loaded."""
    return family not in FAMILIES and not is_backbone(family) and usercode.is_reference(family)


def is_backbone(family: str) -> bool:
    """Whether a family is named as a network of torchvision or timm; nothing is imported."""
    return libraries.is_backbone(family)


def build(
    family: str,
    shape: tuple[int, int, int],
    classes: int,
    options: Mapping[str, Option],
    *,
    digest: str | None = None,
) -> nn.Module:
    """Build a network of a family, with random weights.

    Args:
        family: a name of `FAMILIES`, or of another form that `find_family` knows.
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        options: the keyword options of the family; of a library's network, as
            `models.backbone.build` says.
        digest: what the source of the user's own network must have; None for any.

    Raises:
        ValueError: if the network cannot take such images, or its source has another digest.
    """
    if is_backbone(family):
        from models import backbone

        return backbone.build(family, shape, classes, options)
    found = find_family(family)
    if found.own is None:
        module, _, name = found.network.partition(":")
        network_class = getattr(importlib.import_module(module), name)
        network: nn.Module = network_class(shape, classes, **options)
        return network
    source = found.own.source
    if digest not in (None, source.digest):
        raise ValueError(
            f"{family} has changed since the command began, from {digest} to {source.digest}: "
            f"{source.place}; begin the command again, or put the file back"
        )
    return found.own.build(shape, classes, options)
