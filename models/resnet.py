"""A residual network of basic blocks; it must not know about data or training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor, nn

from models import (
    HEADS,
    SHORTCUTS,
    STEMS,
    channels_last,
    layers,
    parse_block_counts,
)
from models.initial import XAVIER_GAINS, initialise, silence
from models.suggestions import did_you_mean


class ResNet(nn.Module):
    """A stem, stages of basic blocks, a head, and a linear layer to the logits.

    He et al. 2016, https://arxiv.org/abs/1512.03385. Each stage after the first doubles the
    channels and halves height and width, rounding up, so it takes images of any ``shape``.

    Args:
        shape: channels, height and width of an image, in pixels.
        classes: number of logits.
        activation: a name of `models.ACTIVATIONS`.
        dropout: probability of dropping a value before a block's second convolution, as in wide
            residual networks (Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146).
        batch_norm: normalise after every convolution.
        bias: keep the biases of convolutions, which a norm cancels.
        init: one of `models.INITS`.
        width: channels of the first stage.
        depth: number of stages.
        blocks: blocks of each stage, as `models.parse_block_counts` reads it; the last number
            holds for all further stages.
        stem: one of `models.STEMS`: a convolution, one with a max-pool 3 of stride 2 behind it, or
            none.
        head: one of `models.HEADS`: global average pooling, or every value of the last maps, to the
            logits.
        residual: add each block's input to its output.
        shortcut: one of `models.SHORTCUTS`, how the input gets the output's shape; unused without
            ``residual``.

    Raises:
        ValueError: for an unknown shortcut, stem or head.
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
        blocks: str,
        stem: str,
        head: str,
        residual: bool,
        shortcut: str | None,
    ) -> None:
        super().__init__()
        for name, value, known in (("stem", stem, STEMS), ("head", head, HEADS)):
            if value not in known:
                raise ValueError(f"{name} is unknown: {value!r}; {did_you_mean(value, known)}")
        conv = partial(_conv, batch_norm=batch_norm, bias=bias)
        channels, *size = shape
        self.stem = nn.Sequential()
        if stem != "none":
            self.stem.extend([*conv(channels, width, 3, 1), layers.activation(activation)])
            channels = width
        if stem == "pool":
            self.stem.append(nn.MaxPool2d(3, 2, padding=1))
            size = [math.ceil(side / 2) for side in size]
        self.stages = nn.Sequential()
        counts = parse_block_counts(blocks)
        for inputs, outputs, stride in _block_sizes(channels, width, depth, counts):
            branch = nn.Sequential(
                *conv(inputs, outputs, 3, stride),
                layers.activation(activation),
                layers.Dropout(dropout),
                *conv(outputs, outputs, 3, 1),
            )
            bypass = _shortcut(shortcut, inputs, outputs, stride, conv) if residual else None
            self.stages.append(Block(branch, bypass, layers.activation(activation)))
            size = [math.ceil(side / stride) for side in size]
        if head == "flatten":
            self.head: nn.Module = _Flatten()
            values = outputs * math.prod(size)
        else:
            self.head = _Mean()
            values = outputs
        self.logits = nn.Linear(values, classes)
        initialise(self, activation, init)
        if residual and init == "auto" and activation not in XAVIER_GAINS:
            silence(module.branch for module in self.modules() if isinstance(module, Block))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) to logits (batch, classes)."""
        features: Tensor = self.stages(self.stem(images))
        logits: Tensor = self.logits(self.head(features))
        return logits


class _Mean(nn.Module):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, channels, height, width) to (batch, channels)."""
        return channels_last.mean(x, training=self.training)


class _Flatten(nn.Module):
    """Every value, in one row."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, channels, height, width) to (batch, channels * height * width)."""
        return channels_last.flatten(x, training=self.training)


class Block(nn.Module):
    """The activation of ``branch(x) + shortcut(x)``; without a shortcut, of ``branch(x)``."""

    def __init__(
        self, branch: nn.Sequential, shortcut: nn.Module | None, activation: nn.Module
    ) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, inputs, height, width) to the shape of the branch's output.

        That is (batch, outputs, height / stride, width / stride).
        """
        y = self.branch(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        result: Tensor = self.activation(y)
        return result


class Pad(nn.Module):
    """Every ``stride``-th pixel, and ``extra`` channels of zeros behind.

    Alone, as a shortcut, this is option A of He et al. 2016.
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, inputs, height, width) to smaller ones with more channels.

        That is (batch, inputs + extra, height / stride, width / stride).
        """
        return channels_last.subsample(x, self.stride, self.extra, training=self.training)


def _block_sizes(
    channels: int, width: int, depth: int, counts: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    """Yield the inputs, outputs and stride of each block.

    The first block of every stage but the first doubles the channels and halves height and width.
    """
    for stage in range(depth):
        outputs = width * 2**stage
        blocks = counts[min(stage, len(counts) - 1)]
        for block in range(blocks):
            halves = stage > 0 and block == 0
            yield channels, outputs, 2 if halves else 1
            channels = outputs


def _shortcut(
    name: str | None,
    inputs: int,
    outputs: int,
    stride: int,
    conv: Callable[[int, int, int, int], list[nn.Module]],
) -> nn.Module:
    """Make the layer that brings a block's input to the shape of its output, if they differ."""
    if name not in SHORTCUTS:
        raise ValueError(f"shortcut is unknown: {name!r}; {did_you_mean(str(name), SHORTCUTS)}")
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if name == "conv":
        # The pixels are picked first: equal to a 1x1 convolution with a stride, whose channels-last
        # backward pass in oneDNN writes beyond its memory at small widths (seen with torch 2.15 on
        # AVX2).
        return nn.Sequential(Pad(0, stride), *conv(inputs, outputs, 1, 1))
    return Pad(outputs - inputs, stride)


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int, *, batch_norm: bool, bias: bool
) -> list[nn.Module]:
    """Make a convolution, with a norm or else a bias.

    It keeps height and width, but for its stride.
    """
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias or not batch_norm
    )
    if batch_norm:
        return [conv, nn.BatchNorm2d(outputs)]
    return [conv]
