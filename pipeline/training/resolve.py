"""What `--precision auto` stands for: a fixed rule on hardware, family and data set. Knows no training loop."""

from __future__ import annotations

import torch

import models
from sweeps.trial import TrialConfig


def arithmetic(config: TrialConfig, device: str, *, has_bf16: bool) -> str:
    """The precision that ``auto`` stands for, by a fixed rule that measures nothing.

    A GPU that has bf16 uses it. So does a CPU that has instructions for it, with a built-in family, but for the bundled
    digits: at 8x8 pixels, turning numbers into bf16 takes about as long as it saves.
    """
    if device == "cpu":
        has_bf16 = has_bf16 and config.family in models.FAMILIES and config.dataset != "digits"
    return "bf16" if has_bf16 else "fp32"


def has_bf16(device: str) -> bool:
    """Whether the device of that kind computes in bf16 faster than in float32, by what it says of itself."""
    if device == "cpu":
        can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported()
