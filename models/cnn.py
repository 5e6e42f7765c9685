"""A plain convolutional network whose layers stand in any order, without residual connections."""

from __future__ import annotations

from torch import Tensor, nn

from models import channels_last, layers, parse_layer_order
from models.initial import initialise
from models.presets import PRESETS, Block, Shape, pyramid
from models.suggestions import did_you_mean


class CNN(nn.Module):
    """Blocks of convolution, batch norm, activation, dropout and max-pool; then linear layers.

    Without a preset, each block's convolution is 3x3, doubles the channels and keeps height and
    width, which the block's max-pool halves, rounding down; and one linear layer follows, to the
    logits.

    Args:
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping a value of a feature map, or a hidden unit.
        batch_norm: keep the norm of ``layer_order``.
        bias: keep the biases of convolutions, which a norm cancels.
        init: one of `models.INITS`.
        preset: a name of `models.presets.PRESETS`, which decides all sizes; or ``none``.
        width: channels of the first block; unused with a preset.
        depth: number of blocks; unused with a preset.
        layer_order: order of the layers in each block, as `models.parse_layer_order` reads it.

    Raises:
        ValueError: for an unknown preset, or if convolutions or pooling would leave nothing of the
            images.
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
        preset: str,
        width: int | None,
        depth: int | None,
        layer_order: str,
    ) -> None:
        super().__init__()
        channels, *size = shape
        sizes = _sizes(preset, width, depth)
        order = parse_layer_order(layer_order)
        self.blocks = nn.Sequential()
        for block in sizes.blocks:
            names = [name for name in order if _has_layer(block, name, batch_norm=batch_norm)]
            self.blocks.append(_block(names, block, channels, activation, dropout, bias=bias))
            size = [_side_behind(names, block, side) for side in size]
            if min(size) < 1:
                raise ValueError(_too_small(shape, preset, len(self.blocks), sizes))
            channels = block.channels
        units = channels * size[0] * size[1]
        self.hidden = nn.Sequential()
        for hidden_units in sizes.hidden:
            self.hidden.append(nn.Linear(units, hidden_units))
            self.hidden.append(layers.activation(activation))
            self.hidden.append(layers.Dropout(dropout))
            units = hidden_units
        self.logits = nn.Linear(units, classes)
        initialise(self, activation, init)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        maps = self.blocks(images)
        values = channels_last.flatten(maps, training=self.training)
        logits: Tensor = self.logits(self.hidden(values))
        return logits


class _Block(nn.Sequential):
    """The layers of one block, in their order."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        """Map features (batch, channels, height, width) to what the last layer makes of them."""
        for layer in channels_last.pooled_first(self):
            input = layer(input)  # noqa: A001
        return input


def _sizes(preset: str, width: int | None, depth: int | None) -> Shape:
    """Return the sizes of a preset, or of a plain CNN."""
    if preset == "none":
        return pyramid(width or 1, depth or 1)
    if preset not in PRESETS:
        raise ValueError(
            f"preset is unknown: {preset!r}; {did_you_mean(preset, ['none', *PRESETS])}"
        )
    return PRESETS[preset]


def _has_layer(block: Block, layer: str, *, batch_norm: bool) -> bool:
    """Whether a layer of the order stands in this block."""
    if layer == "norm":
        return batch_norm and block.norm
    if layer == "drop":
        return block.drop
    if layer == "pool":
        return block.pool is not None
    return True


def _block(
    order: list[str], block: Block, inputs: int, activation: str, dropout: float, *, bias: bool
) -> nn.Sequential:
    """Make the layers of a block in their order.

    A norm before the convolution sees the block's input channels.
    """
    place = {layer: index for index, layer in enumerate(order)}
    norm_follows = "norm" in place and place["conv"] < place["norm"]
    # A norm cancels the convolution's bias, unless the activation has used it in between.
    bias = bias or not norm_follows or place["conv"] < place["act"] < place["norm"]
    modules: dict[str, nn.Module] = {
        "conv": nn.Conv2d(
            inputs, block.channels, block.kernel, block.stride, block.padding, bias=bias
        ),
        "act": layers.activation(activation),
        "drop": layers.Dropout(dropout),
    }
    if "norm" in place:
        modules["norm"] = nn.BatchNorm2d(block.channels if norm_follows else inputs)
    if block.pool is not None:
        modules["pool"] = nn.MaxPool2d(*block.pool)
    sequence = _Block()
    for name in order:
        sequence.add_module(name, modules[name])
    return sequence


def _side_behind(order: list[str], block: Block, side: int) -> int:
    """Return the height or width behind a block, in pixels; 0 or less if nothing remains."""
    for name in order:
        if name == "conv":
            side = (side + 2 * block.padding - block.kernel) // block.stride + 1
        elif name == "pool" and block.pool is not None:
            side = (side - block.pool[0]) // block.pool[1] + 1
        if side < 1:
            break
    return side


def _too_small(shape: tuple[int, int, int], preset: str, block: int, sizes: Shape) -> str:
    """Say which block leaves nothing of the images, and what to use instead."""
    _, rows, columns = shape
    if preset != "none":
        return (
            f"the cnn {preset} cannot take {rows}x{columns} images: "
            f"nothing is left after block {block}; use larger images or preset none"
        )
    if block > 1:
        remedy = f"use a depth of at most {block - 1}"
    else:
        remedy = "use an mlp or a resnet"
    return (
        f"a cnn of depth {len(sizes.blocks)} cannot take {rows}x{columns} images: "
        f"pooling leaves nothing after block {block}; {remedy}"
    )
