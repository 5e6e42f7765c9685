"""A plain convolutional network whose layers stand in any order; it must not know about residual connections."""

from __future__ import annotations

from torch import Tensor, nn

from models import layer_order as split_order
from models import layers


class CNN(nn.Module):
    """Blocks of 3x3 convolution, batch norm, activation, dropout and max-pool 2; then a linear layer to the logits.

    Each block doubles the channels and halves height and width, rounding down.

    Args:
        shape: channels, height and width of one image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping one value of a feature map.
        batch_norm: keep the norm of ``layer_order``.
        width: channels of the first block.
        depth: number of blocks.
        layer_order: order of the layers in each block, as `models.layer_order` reads it.

    Raises:
        ValueError: where pooling would leave nothing of the images.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        activation: str,
        dropout: float,
        batch_norm: bool,
        width: int,
        depth: int,
        layer_order: str,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        _check_size(rows, columns, depth)
        order = [layer for layer in split_order(layer_order) if batch_norm or layer != "norm"]
        self.blocks = nn.Sequential()
        for i in range(depth):
            self.blocks.append(_block(order, channels, width * 2**i, activation, dropout))
            channels = width * 2**i
        self.logits = nn.Linear(channels * (rows >> depth) * (columns >> depth), classes)
        layers.initialise(self, activation)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        logits: Tensor = self.logits(self.blocks(images).flatten(1))
        return logits


def _block(order: list[str], inputs: int, outputs: int, activation: str, dropout: float) -> nn.Sequential:
    """Make the layers of one block in their order; a norm before the convolution sees the block's input channels."""
    at = {layer: place for place, layer in enumerate(order)}
    norm_follows = "norm" in at and at["conv"] < at["norm"]
    # A norm cancels the convolution's bias, unless the activation has used it in between.
    bias = not norm_follows or at["conv"] < at["act"] < at["norm"]
    modules: dict[str, nn.Module] = {
        "conv": nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias),
        "act": layers.activation(activation),
        "drop": nn.Dropout(dropout),
        "pool": nn.MaxPool2d(2),
    }
    if "norm" in at:
        modules["norm"] = nn.BatchNorm2d(outputs if norm_follows else inputs)
    block = nn.Sequential()
    for name in order:
        block.add_module(name, modules[name])
    return block


def _check_size(rows: int, columns: int, depth: int) -> None:
    """Raise ValueError unless ``depth`` halvings leave a pixel."""
    most = min(rows, columns).bit_length() - 1
    if depth > most:
        remedy = f"use a depth of at most {most}" if most else "use an mlp or a resnet"
        raise ValueError(
            f"a cnn of depth {depth} cannot take {rows}x{columns} images: "
            f"pooling leaves nothing after block {most + 1}; {remedy}"
        )
