"""Resolves ``auto`` in a configuration: device, precision, augmentation; and chooses threads."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

import torch

import models
from pipeline.data.datasets import BUNDLED_DIGITS, get_source
from pipeline.training.distributed import check_processes
from sweeps.trial import TrialConfig

MOST_THREADS = 4  # that are chosen for a trial; more were not measured
# Families whose steps are too short for threads that wait for one another in each.
_OF_ONE_THREAD = ("mlp",)


def resolve(config: TrialConfig) -> TrialConfig:
    """Resolve the device of this machine, the precision by a fixed rule, and the augmentation.

    Raises:
        ValueError: if this machine has no such device, or fewer than the trial asks for, or cannot
            compile.
    """
    device = _choose_device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = choose_precision(
            config,
            device,
            has_bf16=_computes_in_bf16(device),
            has_fp16=_computes_in_fp16(device),
        )
    augment = config.augment
    if augment == "auto":
        augment = get_source(config.dataset).augment
    resolved = dataclasses.replace(config, device=device, precision=precision, augment=augment)
    check_processes(resolved)
    if resolved.compile:
        _check_compiler(device)
    return resolved


def choose_precision(
    config: TrialConfig, device: str, *, has_bf16: bool, has_fp16: bool = False
) -> str:
    """Choose the precision by a fixed rule, without measuring.

    A GPU uses bf16 if it computes in it, else fp16 if it computes in that. A CPU with instructions
    for bf16 uses bf16 for built-in families, except on the bundled digits: at 8x8 pixels, the
    conversion costs about as much as bf16 saves.
    """
    if device == "cpu":
        is_built_in = config.family in models.FAMILIES
        has_bf16 = has_bf16 and is_built_in and config.dataset not in BUNDLED_DIGITS
    if has_bf16:
        return "bf16"
    return "fp16" if has_fp16 else "fp32"


def choose_threads(families: Iterable[str], dataset: str, device: str, cores: int) -> int:
    """Choose the number of CPU threads of each process by a fixed rule, without measuring.

    One, if the cores are few, or if the steps are short: MLPs, the bundled digits of 8x8 pixels, a
    GPU that computes. Else as many as there are cores, up to `MOST_THREADS`.

    Args:
        families: of the networks.
        dataset: their images.
        device: where they are trained.
        cores: for each process.
    """
    are_small = dataset in BUNDLED_DIGITS or all(family in _OF_ONE_THREAD for family in families)
    if are_small or device != "cpu":
        return 1
    return max(1, min(cores, MOST_THREADS))


def _choose_device(device: str) -> str:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if not available[device]:
        # The order of the message is older than that of the choice.
        names = [name for name in ("cpu", "cuda", "mps") if available[name]]
        raise ValueError(f"device {device} is not there: {', '.join(names)}")
    return device


def _check_compiler(device: str) -> None:
    """Check that this machine has what `torch.compile` needs.

    Raises:
        ValueError: if it has not.
    """
    if device == "cuda" and find_spec("triton") is None:
        raise ValueError(
            "compile needs Triton on a GPU: `pip install triton`, or leave compile out"
        )
    compilers = (os.environ.get("CXX") or "g++", "clang++", "cl")
    if device != "mps" and not any(map(shutil.which, compilers)):
        raise ValueError(
            "compile needs a C++ compiler on this machine (g++, clang++, or the one in CXX): "
            "install one, or leave compile out"
        )


def _computes_in_bf16(device: str) -> bool:
    """Whether a device computes in bf16 faster than in float32, by its own account.

    Some GPUs (T4) only emulate bf16, and are slower with it. So are Intel's processors where a
    virtual machine hides their AMX: AVX512_BF16 multiplies at half the speed of float32 there.
    """
    if device == "cpu":
        if not hasattr(torch.cpu, "get_capabilities"):
            return False
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("amx_bf16"):
            return True
        is_intel = str(capabilities.get("cpu_name", "")).startswith("Intel")
        return bool(capabilities.get("avx512_bf16")) and not is_intel
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _computes_in_fp16(device: str) -> bool:
    """Whether a device computes in fp16 faster than in float32: GPUs do since Nvidia's Volta."""
    return device == "cuda" and torch.cuda.get_device_capability() >= (7, 0)
