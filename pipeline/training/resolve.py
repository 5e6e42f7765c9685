"""What `--precision auto` stands for: a fixed rule on hardware, family and data set. Knows no training loop."""

from __future__ import annotations

import dataclasses

import torch

import models
from pipeline.data.datasets import get_source
from pipeline.training.distributed import check_processes
from sweeps.trial import TrialConfig


def choose_precision(config: TrialConfig, device: str, *, has_bf16: bool) -> str:
    """The precision that ``auto`` stands for, by a fixed rule that measures nothing.

    A GPU that has bf16 uses it. So does a CPU that has instructions for it, with a built-in family, but for the bundled
    digits: at 8x8 pixels, turning numbers into bf16 takes about as long as it saves.
    """
    if device == "cpu":
        has_bf16 = has_bf16 and config.family in models.FAMILIES and config.dataset != "digits"
    if has_bf16:
        return "bf16"
    return "fp32"


def has_bf16(device: str) -> bool:
    """Whether the device of that kind computes in bf16 faster than in float32, by what it says of itself."""
    if device == "cpu":
        if hasattr(torch.cpu, "get_capabilities"):
            can = torch.cpu.get_capabilities()
        else:
            can = {}
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported()


def resolve(config: TrialConfig) -> TrialConfig:
    """Settle what ``auto`` means: the device of this machine, the arithmetic by a fixed rule on it, the augmentation.

    Raises:
        ValueError: for a device that this machine has not, or has fewer of than the trial asks for.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    device = config.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        raise ValueError(
            f"device {device} is not there: {', '.join(k for k, v in available.items() if v)}"
        )
    precision = config.precision
    if precision == "auto":
        precision = choose_precision(config, device, has_bf16=has_bf16(device))
    if config.augment == "auto":
        changes = get_source(config.dataset).augment
    else:
        changes = config.augment
    settled = dataclasses.replace(config, device=device, precision=precision, augment=changes)
    check_processes(settled)
    return settled
