"""What the networks share, activations and initial weights; it knows no single network."""

from __future__ import annotations

import math

from torch import nn

from models import ACTIVATIONS, nearest

# He's gain is 1 / sqrt(E[f(z)^2]) for z standard normal (He et al. 2015, https://arxiv.org/abs/1502.01852).
# An activation named in neither table starts as relu does.
HE_GAINS: dict[str, float] = {"relu": 1.4142, "leaky_relu": 1.4141, "elu": 1.2452, "gelu": 1.5335, "silu": 1.6765}

# Saturating activations: Glorot & Bengio 2010. A sigmoid's slope at 0 is 1/4; a gain of 4 makes up for it, without
# which the signal shrinks fourfold a layer.
XAVIER_GAINS: dict[str, float] = {"tanh": 5 / 3, "sigmoid": 4.0}


def activation(name: str) -> nn.Module:
    """Make the activation of that name.

    Raises:
        ValueError: for a name not in `models.ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is unknown: {name!r}; {nearest(name, ACTIVATIONS)}")
    module: nn.Module = getattr(nn, ACTIVATIONS[name])()
    return module


def initialise(network: nn.Module, activation: str) -> None:
    """Set the initial weights of a whole network, in place, from torch's global random generator.

    Weights are normal: He's for rectifiers, Xavier's for saturating activations, and Xavier's with gain 1 for the
    last linear layer, whose outputs are the logits. Biases are 0; norms scale by 1. A network on the meta device is
    left as it is.
    """
    logits = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    if logits.weight.is_meta:
        return  # no values to set, and torch would take seconds to import what pretends to draw them
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if module is logits:
                nn.init.xavier_normal_(module.weight)
            elif activation in XAVIER_GAINS:
                nn.init.xavier_normal_(module.weight, XAVIER_GAINS[activation])
            else:
                _he_normal(module, HE_GAINS.get(activation, HE_GAINS["relu"]))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _he_normal(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Keep the size of the gradients through a convolution (fan out), of the signal through a linear layer (fan in).

    `torch.nn.init.kaiming_normal_` knows no gain for elu, gelu and silu.
    """
    connected = layer.weight.shape[0 if isinstance(layer, nn.Conv2d) else 1]
    fan = connected * layer.weight[0, 0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan))
