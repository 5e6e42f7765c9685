"""Layers that the networks share; it knows no single network."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import ACTIVATIONS
from models.suggestions import did_you_mean

_STEPS = 2**15  # the probability of dropout is rounded to a multiple of 1 / _STEPS


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
    """`torch.nn.Dropout`, several times as fast on the CPU.

    One draw of 64 random bits decides four values. The probability is rounded to a multiple of
    2**-15. Not used for other devices or types, outside of training, or in compiled code, which
    draws its own.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch names it
        """Set values of any shape to 0 at random and scale the others, so that the mean stays."""
        supported = input.dtype in {torch.float32, torch.bfloat16} and input.device.type == "cpu"
        if not self.training or self.p == 0 or not supported or torch.compiler.is_compiling():
            return functional.dropout(input, self.p, self.training)
        # The mask is made in the order of memory, and takes the shape that gives its places.
        mask = _mask(input.numel(), self.p, input.dtype)
        if input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last):
            channels_last_shape = input.permute(0, 2, 3, 1).shape
            return input * mask.view(channels_last_shape).permute(0, 3, 1, 2)
        return input * mask.view_as(input)


def _mask(count: int, drop: float, dtype: torch.dtype) -> Tensor:
    """Draw factors (count,): 0 or ``1 / (1 - drop)``, from torch's global random generator."""
    keep, one_bits, scale = _keep_parameters(drop, dtype)
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    # 15 random bits less `keep` are negative for what is kept; their sign, in all bits, lets
    # `one_bits` through.
    random = words.view(torch.int16)[:count].bitwise_and_(_STEPS - 1)
    signs = random.sub_(keep).bitwise_right_shift_(15)
    mask = signs.bitwise_and_(one_bits).view(torch.bfloat16)
    return mask if dtype == torch.bfloat16 else mask.to(dtype).mul_(scale)


@cache
def _keep_parameters(drop: float, dtype: torch.dtype) -> tuple[int, int, float]:
    """Return the constants of a mask.

    Returns:
        How many of 2**15 random values to keep; the bits of a kept value in a bfloat16 mask; and
        the factor that scales a mask of another type.
    """
    keep = max(1, round((1 - drop) * _STEPS))
    scale = _STEPS / keep
    mask_value = scale if dtype == torch.bfloat16 else 1.0
    bits = int(torch.tensor(mask_value, dtype=torch.bfloat16).view(torch.int16))
    return keep, bits, scale
