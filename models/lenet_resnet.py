"""A LeNet-like network with residual blocks, from a lab report on MNIST."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from models import channels_last, layers
from models.initial import XAVIER_GAINS, initialise, silence

# pixels a side
_CONV = 5
_POOL = 2
_HIDDEN = 5  # hidden units, in multiples of the width


class LeNetResNet(nn.Module):
    """Two convolutions with residual blocks, and two linear layers.

    Each convolution is 5x5, pooled, activated and followed by a residual block. The second drops
    whole maps before it is pooled, the hidden layer drops units. No convolution is padded but the
    residual blocks' 3x3 ones. At width 10 and 28x28 grey images: 30,900 parameters.

    Args:
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping a map of the second convolution, and a hidden unit.
        init: one of `models.INITS`.
        width: channels of the first convolution; the second has twice, the hidden layer five times
            as many.
        residual: add each residual block's input to its output.
        softmax_output: return probabilities instead of logits. A cross-entropy takes the softmax of
            them again, and so cannot fall below ``log(1 + (classes - 1) / e)``: 1.461 for ten
            classes.

    Raises:
        ValueError: for images too small for two convolutions.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        activation: str,
        dropout: float,
        init: str,
        width: int,
        residual: bool,
        softmax_output: bool,
    ) -> None:
        super().__init__()
        channels, height, width_in_pixels = shape
        rows = _side_behind(height)
        columns = _side_behind(width_in_pixels)
        if min(rows, columns) < 1:
            raise ValueError(
                f"a lenet_resnet cannot take {height}x{width_in_pixels} images: its convolutions "
                "leave nothing of less than 16x16; use a resnet"
            )
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, _CONV),
            nn.MaxPool2d(_POOL),
            layers.activation(activation),
            _Residual(width, activation, residual),
            nn.Conv2d(width, 2 * width, _CONV),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(_POOL),
            layers.activation(activation),
            _Residual(2 * width, activation, residual),
        )
        hidden = _HIDDEN * width
        self.hidden = nn.Sequential(
            nn.Linear(2 * width * rows * columns, hidden),
            layers.activation(activation),
            layers.Dropout(dropout),
        )
        self.logits = nn.Linear(hidden, classes)
        self.softmax_output = softmax_output
        initialise(self, activation, init)
        if residual and init == "auto" and activation not in XAVIER_GAINS:
            silence(module.branch for module in self.modules() if isinstance(module, _Residual))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes).

        With ``softmax_output`` these are probabilities.
        """
        maps = self.features(images)
        values = channels_last.flatten(maps, training=self.training)
        logits: Tensor = self.logits(self.hidden(values))
        if self.softmax_output:
            return functional.softmax(logits, dim=1)
        return logits


def _side_behind(side: int) -> int:
    """Return the height or width behind both convolutions and their pooling, in pixels."""
    for _ in range(2):
        side = (side - _CONV + 1) // _POOL
    return side


class _Residual(nn.Module):
    """The activation of ``x + branch(x)``.

    The branch is two 3x3 convolutions with an activation between.
    """

    def __init__(self, channels: int, activation: str, residual: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            layers.activation(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.activation = layers.activation(activation)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, channels, height, width) to features of the same shape."""
        y = self.branch(x)
        if self.residual:
            y = x + y
        result: Tensor = self.activation(y)
        return result
