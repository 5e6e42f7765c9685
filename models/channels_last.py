"""Operations on feature maps that keep the memory of maps and gradients channels last.

The gradients that torch itself gives back for `flatten`, `mean` and `subsample` are not channels
last, as the maps are. The layers before then read two layouts value by value, which took a fifth of
a ResNet's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Activations that never fall as their input rises: the largest value of a window stays its largest.
_RISING = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid)


def pooled_first(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Exchange each rising activation with the max-pool right behind it.

    That takes a fraction of the activations for the same values: bit by bit for relu and
    leaky_relu, and but for the last rounding for the others. So are the gradients, unless two
    values of a window are equal behind the activation where that has a slope.
    """
    order: list[nn.Module] = []
    for module in modules:
        if isinstance(module, nn.MaxPool2d) and order and isinstance(order[-1], _RISING):
            order.insert(-1, module)
        else:
            order.append(module)
    return order


def flatten(maps: Tensor, *, training: bool) -> Tensor:
    """Flatten maps (batch, channels, height, width) to (batch, values)."""
    return _Flatten.apply(maps) if training else maps.flatten(1)


def mean(maps: Tensor, *, training: bool) -> Tensor:
    """Average maps (batch, channels, height, width) over height and width: (batch, channels)."""
    return _Mean.apply(maps) if training else maps.mean(dim=(2, 3))


def subsample(maps: Tensor, stride: int, extra: int, *, training: bool) -> Tensor:
    """Pick every ``stride``-th pixel of maps, and add ``extra`` channels of zeros behind.

    Maps (batch, channels, height, width) to (batch, channels + extra, height / stride,
    width / stride). A negative ``extra`` leaves out the last channels.
    """
    return _Subsample.apply(maps, stride, extra) if training else _subsample(maps, stride, extra)


class _Flatten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        ctx.shape = maps.shape
        return maps.flatten(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view(ctx.shape).contiguous(memory_format=torch.channels_last)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        ctx.shape = maps.shape
        return maps.mean(dim=(2, 3))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        pixel_gradient: Tensor = gradient / math.prod(ctx.shape[2:])
        expanded = pixel_gradient[:, :, None, None].expand(ctx.shape)
        return expanded.contiguous(memory_format=torch.channels_last)


class _Subsample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, stride: int, extra: int) -> Tensor:
        ctx.shape = maps.shape
        ctx.stride = stride
        return _subsample(maps, stride, extra)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        batch, channels, height, width = ctx.shape
        zeros = torch.zeros(
            batch, height, width, channels, dtype=gradient.dtype, device=gradient.device
        )
        maps_gradient = zeros.permute(0, 3, 1, 2)  # channels last in memory
        # `gradient` has fewer channels than the maps if `extra` is negative.
        gradient_channels = gradient.shape[1]
        maps_gradient[:, :gradient_channels, :: ctx.stride, :: ctx.stride] = gradient[:, :channels]
        return maps_gradient, None, None


def _subsample(maps: Tensor, stride: int, extra: int) -> Tensor:
    pixels = maps[:, :, ::stride, ::stride]
    return functional.pad(pixels, (0, 0, 0, 0, 0, extra))
