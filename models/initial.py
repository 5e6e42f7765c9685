"""The initial weights of networks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from models import INITS
from models.suggestions import did_you_mean

# He's gain is 1 / sqrt(E[f(z)^2]) for z standard normal (He et al. 2015,
# https://arxiv.org/abs/1502.01852). An activation named in neither table starts as relu does.
HE_GAINS: dict[str, float] = {
    "relu": 1.4142,
    "leaky_relu": 1.4141,
    "elu": 1.2452,
    "gelu": 1.5335,
    "silu": 1.6765,
}

# Saturating activations: Glorot & Bengio 2010. A sigmoid's slope at 0 is 1/4; a gain of 4 makes up
# for it, without which the signal shrinks fourfold a layer.
XAVIER_GAINS: dict[str, float] = {"tanh": 5 / 3, "sigmoid": 4.0}


def initialise(network: nn.Module, activation: str, init: str = "auto") -> None:
    """Set the initial weights of a whole network, in place, from torch's global random generator.

    Args:
        network: left as it is on the meta device.
        activation: what follows its layers.
        init: ``auto`` is normal weights, He's for rectifiers, Xavier's for saturating activations,
            and Xavier's with gain 1 for the last linear layer, whose outputs are the logits; ``he``
            and ``xavier`` are those for every layer, ``orthogonal`` is of Saxe et al. 2014
            (https://arxiv.org/abs/1312.6120), all with biases of 0 and norms that scale by 1;
            ``torch`` leaves what torch has drawn.

    Raises:
        ValueError: for an unknown ``init``.
    """
    if init not in INITS:
        raise ValueError(f"init is unknown: {init!r}; {did_you_mean(init, INITS)}")
    linear_layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    logits = linear_layers[-1]
    if logits.weight.is_meta or init == "torch":
        # There are no values to set, and torch would take seconds to import what pretends to draw
        # them.
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if module is logits and init == "auto":
                nn.init.xavier_normal_(module.weight)
            else:
                _draw(module, activation, init)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def silence(branches: Iterable[nn.Sequential]) -> None:
    """Let each residual block start as its shortcut.

    Scales the last layer of its branch, a norm or a convolution, to 0. Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677; without norms Zhang et al. 2019,
    https://arxiv.org/abs/1901.09321. Not for a saturating activation, which shrinks the output of a
    shortcut alone: sigmoid then learns far slower.
    """
    for branch in branches:
        nn.init.zeros_(branch[-1].get_parameter("weight"))


def _draw(layer: nn.Conv2d | nn.Linear, activation: str, init: str) -> None:
    """Draw the weights of a layer: in the default way of its activation, if `init` is ``auto``."""
    saturates = activation in XAVIER_GAINS
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight, HE_GAINS.get(activation, 1.0))
    elif init == "xavier" or (init == "auto" and saturates):
        nn.init.xavier_normal_(layer.weight, XAVIER_GAINS.get(activation, 1.0))
    else:
        _he_normal(layer, HE_GAINS.get(activation, HE_GAINS["relu"]))


def _he_normal(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Draw weights with the fan out of a convolution, or the fan in of a linear layer.

    They keep the size of the gradients through a convolution, and of the signal through a linear
    layer. `torch.nn.init.kaiming_normal_` knows no gain for elu, gelu and silu.
    """
    outputs, inputs, *kernel = layer.weight.shape
    connected = outputs if isinstance(layer, nn.Conv2d) else inputs
    fan = connected * math.prod(kernel)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan))
