"""A residual network of basic blocks; it must not know about data or training."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from models import SHORTCUTS, layers, nearest


class ResNet(nn.Module):
    """A 3x3 convolution, stages of one basic block each, global average pooling, a linear layer to the logits.

    He et al. 2016, https://arxiv.org/abs/1512.03385. Each stage after the first doubles the channels and halves
    height and width, rounding up, so it takes images of any ``shape``.

    Args:
        shape: channels, height and width of one image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping a value before a block's second convolution, as in wide residual networks
            (Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146).
        batch_norm: normalise after every convolution.
        width: channels of the first stage.
        depth: number of stages.
        residual: add each block's input to its output.
        shortcut: one of `models.SHORTCUTS`, how the input gets the output's shape; unused without ``residual``.

    Raises:
        ValueError: for an unknown shortcut.
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
        residual: bool,
        shortcut: str | None,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(shape[0], width, 3, 1, batch_norm), layers.activation(activation))
        self.stages = nn.Sequential()
        channels = [width] + [width * 2**i for i in range(depth)]
        for i, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
            stride = 2 if i else 1
            branch = nn.Sequential(
                *_conv(inputs, outputs, 3, stride, batch_norm),
                layers.activation(activation),
                nn.Dropout(dropout),
                *_conv(outputs, outputs, 3, 1, batch_norm),
            )
            bypass = _shortcut(shortcut, inputs, outputs, stride, batch_norm) if residual else None
            self.stages.append(Block(branch, bypass, layers.activation(activation)))
        self.logits = nn.Linear(channels[-1], classes)
        layers.initialise(self, activation)
        if residual and activation not in layers.XAVIER_GAINS:
            _silence_branches(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        features: Tensor = self.stages(self.stem(images))
        logits: Tensor = self.logits(features.mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """The activation of ``branch(x) + shortcut(x)``, or of ``branch(x)`` alone where there is no shortcut."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        y = self.branch(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        result: Tensor = self.activation(y)
        return result


class Pad(nn.Module):
    """Every ``stride``-th pixel, and ``extra`` channels of zeros behind: alone, option A of He et al. 2016."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, inputs, height, width) to (batch, inputs + extra, height / stride, width / stride)."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def _shortcut(name: str | None, inputs: int, outputs: int, stride: int, batch_norm: bool) -> nn.Module:
    """Make what brings a block's input to the shape of its output; nothing where it has that shape."""
    if name not in SHORTCUTS:
        raise ValueError(f"shortcut is unknown: {name!r}; {nearest(str(name), SHORTCUTS)}")
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if name == "conv":
        # The pixels are picked first: equal to a 1x1 convolution with a stride, whose channels-last backward pass in
        # oneDNN writes beyond its memory at small widths (seen with torch 2.15 on AVX2).
        return nn.Sequential(Pad(0, stride), *_conv(inputs, outputs, 1, 1, batch_norm))
    return Pad(outputs - inputs, stride)


def _conv(inputs: int, outputs: int, kernel: int, stride: int, batch_norm: bool) -> list[nn.Module]:
    """Make a convolution that keeps height and width but for its stride, with a norm or else a bias."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(outputs)] if batch_norm else [conv]


def _silence_branches(network: nn.Module) -> None:
    """Let each block start as its shortcut: scale the last layer of each branch, norm or convolution, to 0.

    Goyal et al. 2017, https://arxiv.org/abs/1706.02677; without norms Zhang et al. 2019,
    https://arxiv.org/abs/1901.09321. Not for a saturating activation, which shrinks what a shortcut alone lets by:
    sigmoid then learns far slower.
    """
    for block in network.modules():
        if isinstance(block, Block):
            last = block.branch[-1]
            nn.init.zeros_(last.get_parameter("weight"))
