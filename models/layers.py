"""What the networks share, activations and initial weights; it knows no single network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import ACTIVATIONS, INITS, did_you_mean

# He's gain is 1 / sqrt(E[f(z)^2]) for z standard normal (He et al. 2015, https://arxiv.org/abs/1502.01852).
# An activation named in neither table starts as relu does.
HE_GAINS: dict[str, float] = {
    "relu": 1.4142,
    "leaky_relu": 1.4141,
    "elu": 1.2452,
    "gelu": 1.5335,
    "silu": 1.6765,
}

# Saturating activations: Glorot & Bengio 2010. A sigmoid's slope at 0 is 1/4; a gain of 4 makes up for it, without
# which the signal shrinks fourfold a layer.
XAVIER_GAINS: dict[str, float] = {"tanh": 5 / 3, "sigmoid": 4.0}

# Activations that never fall as their input rises: the largest value of a window stays its largest.
_RISING = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid)


def activation(name: str) -> nn.Module:
    """Make the activation of that name.

    Raises:
        ValueError: for a name not in `models.ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is unknown: {name!r}; {did_you_mean(name, ACTIVATIONS)}")
    module: nn.Module = getattr(nn, ACTIVATIONS[name])()
    return module


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, several times as fast on the CPU: one draw of 64 random bits decides four values.

    The probability is rounded to a multiple of 2**-15. Not used for other devices or types, nor outside of training.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        """Set values of any shape to 0 at random and scale the others, so that the mean stays."""
        exact = input.dtype in {torch.float32, torch.bfloat16} and input.device.type == "cpu"
        if not self.training or self.p == 0 or not exact:
            return functional.dropout(input, self.p, self.training)
        # The mask is made in the order of memory, and takes the shape that gives its places.
        last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        mask = _mask(input.numel(), self.p, input.dtype)
        return input * (
            mask.view(input.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
            if last
            else mask.view_as(input)
        )


def _mask(count: int, drop: float, dtype: torch.dtype) -> Tensor:
    """Draw what to multiply values with (count,): 0 or ``1 / (1 - drop)``, from torch's global generator."""
    keep, ones, scale = _kept(drop, dtype)
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    # 15 random bits less `keep` are negative for what is kept; their sign, in all bits, lets `ones` through.
    bits = (
        words.view(torch.int16)[:count].bitwise_and_(2**15 - 1).sub_(keep).bitwise_right_shift_(15)
    )
    mask = bits.bitwise_and_(ones).view(torch.bfloat16)
    if dtype == torch.bfloat16:
        return mask
    return mask.to(dtype).mul_(scale)


@cache
def _kept(drop: float, dtype: torch.dtype) -> tuple[int, int, float]:
    """How many of 2**15 values to keep, the bits of what a bfloat16 mask holds for them, and what to scale that by."""
    keep = max(1, round((1 - drop) * 2**15))
    scale = 2**15 / keep
    one = scale if dtype == torch.bfloat16 else 1.0
    return keep, int(torch.tensor(one, dtype=torch.bfloat16).view(torch.int16)), scale


def pooled_first(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Exchange each rising activation with the max-pool right behind it.

    That takes a fraction of the activations for the same values: bit by bit for relu and leaky_relu, and but for the
    last rounding for the others. So are the gradients, unless two values of a window are equal behind the activation
    where that has a slope.
    """
    order: list[nn.Module] = []
    for module in modules:
        if isinstance(module, nn.MaxPool2d) and order and isinstance(order[-1], _RISING):
            order.insert(-1, module)
        else:
            order.append(module)
    return order


def flat(maps: Tensor, *, training: bool) -> Tensor:
    """Flatten maps (batch, channels, height, width) to (batch, values)."""
    if training:
        flat_maps: Tensor = _Flat.apply(maps)
        return flat_maps
    return maps.flatten(1)


def mean(maps: Tensor, *, training: bool) -> Tensor:
    """The means over height and width of maps (batch, channels, height, width): (batch, channels)."""
    if training:
        means: Tensor = _Mean.apply(maps)
        return means
    return maps.mean(dim=(2, 3))


def picked(maps: Tensor, stride: int, extra: int, *, training: bool) -> Tensor:
    """Every ``stride``-th pixel of maps, with ``extra`` channels of zeros behind.

    Maps (batch, channels, height, width) to (batch, channels + extra, height / stride, width / stride).
    """
    if training:
        pixels: Tensor = _Picked.apply(maps, stride, extra)
        return pixels
    return _pick(maps, stride, extra)


# The gradients that torch itself gives back for these three are not channels last, as the maps are. The layers before
# then read two layouts value by value, which took a fifth of a ResNet's time.


class _Flat(torch.autograd.Function):
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
        each: Tensor = gradient / math.prod(ctx.shape[2:])
        return (
            each[:, :, None, None].expand(ctx.shape).contiguous(memory_format=torch.channels_last)
        )


class _Picked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, stride: int, extra: int) -> Tensor:
        ctx.shape = maps.shape
        ctx.stride = stride
        return _pick(maps, stride, extra)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        whole = torch.zeros(
            ctx.shape[0], *ctx.shape[2:], ctx.shape[1], dtype=gradient.dtype, device=gradient.device
        )
        whole = whole.permute(0, 3, 1, 2)
        channels = ctx.shape[1]  # fewer came out where `extra` is negative
        whole[:, : gradient.shape[1], :: ctx.stride, :: ctx.stride] = gradient[:, :channels]
        return whole, None, None


def _pick(maps: Tensor, stride: int, extra: int) -> Tensor:
    return functional.pad(maps[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, extra))


def initialise(network: nn.Module, activation: str, init: str = "auto") -> None:
    """Set the initial weights of a whole network, in place, from torch's global random generator.

    Args:
        network: left as it is on the meta device.
        activation: what follows its layers.
        init: ``auto`` is normal weights, He's for rectifiers, Xavier's for saturating activations, and Xavier's with
            gain 1 for the last linear layer, whose outputs are the logits; ``he`` and ``xavier`` are those for every
            layer, ``orthogonal`` is of Saxe et al. 2014 (https://arxiv.org/abs/1312.6120), all with biases of 0 and
            norms that scale by 1; ``torch`` leaves what torch has drawn.

    Raises:
        ValueError: for an unknown ``init``.
    """
    if init not in INITS:
        raise ValueError(f"init is unknown: {init!r}; {did_you_mean(init, INITS)}")
    logits = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    if logits.weight.is_meta or init == "torch":
        return  # no values to set, and torch would take seconds to import what pretends to draw them
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _draw(module, activation, "logits" if module is logits and init == "auto" else init)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def silence(branches: Iterable[nn.Sequential]) -> None:
    """Let each residual block start as its shortcut: scale the last layer of its branch, norm or convolution, to 0.

    Goyal et al. 2017, https://arxiv.org/abs/1706.02677; without norms Zhang et al. 2019,
    https://arxiv.org/abs/1901.09321. Not for a saturating activation, which shrinks what a shortcut alone lets by:
    sigmoid then learns far slower.
    """
    for branch in branches:
        nn.init.zeros_(branch[-1].get_parameter("weight"))


def _draw(layer: nn.Conv2d | nn.Linear, activation: str, init: str) -> None:
    if init == "logits":
        nn.init.xavier_normal_(layer.weight)
    elif init == "orthogonal":
        nn.init.orthogonal_(layer.weight, HE_GAINS.get(activation, 1.0))
    elif init == "xavier" or (init == "auto" and activation in XAVIER_GAINS):
        nn.init.xavier_normal_(layer.weight, XAVIER_GAINS.get(activation, 1.0))
    else:
        _he_normal(layer, HE_GAINS.get(activation, HE_GAINS["relu"]))


def _he_normal(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Keep the size of the gradients through a convolution (fan out), of the signal through a linear layer (fan in).

    `torch.nn.init.kaiming_normal_` knows no gain for elu, gelu and silu.
    """
    connected = layer.weight.shape[0 if isinstance(layer, nn.Conv2d) else 1]
    fan = connected * layer.weight[0, 0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan))
