"""A multilayer perceptron; it must not know that pixels have neighbours."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from models import layers
from models.initial import initialise


class MLP(nn.Module):
    """Hidden layers of equal width, and a linear layer to the logits.

    A hidden layer is linear, batch norm, activation, dropout. Takes any images of ``shape``.

    Args:
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping a hidden unit.
        batch_norm: normalise before the activation.
        bias: keep the biases of hidden layers, which a norm cancels.
        init: one of `models.INITS`.
        width: units of each hidden layer.
        depth: number of hidden layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        activation: str,
        dropout: float,
        batch_norm: bool,
        bias: bool,
        init: str,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        sizes = [math.prod(shape), *[width] * depth]
        self.hidden = nn.Sequential()
        for inputs, units in itertools.pairwise(sizes):
            # A norm has its own shift, so the layer before it needs no bias.
            self.hidden.append(nn.Linear(inputs, units, bias=bias or not batch_norm))
            if batch_norm:
                self.hidden.append(nn.BatchNorm1d(units))
            self.hidden.append(layers.activation(activation))
            self.hidden.append(layers.Dropout(dropout))
        self.logits = nn.Linear(sizes[-1], classes)
        initialise(self, activation, init)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        logits: Tensor = self.logits(self.hidden(images.flatten(1)))
        return logits
