"""Prepares a process for training: CPU threads, the choices of cuDNN, retention of freed memory.

These settings affect the whole process. The engines call `prepare_process` in the process of each
trial. `pipeline.training.train.train` does not: a library function leaves the process as it is, or
as it was before (`thread_count`, `cudnn_choices`).
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from sweeps.trial import TrialConfig

# Parameters of mallopt(3):
_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
_RETAINED_BYTES = 2**29  # free memory at the end of the heap that is not given back
_MMAP_BYTES = 2**25  # blocks from this size on are mapped one by one; glibc allows no larger value


def prepare_process(config: TrialConfig) -> None:
    """Set this process up to train a configuration, before each trial.

    The number of threads decides the last bits of the weights. Therefore the configuration has it.
    """
    # The first training of a process needs it. Its import is no part of the time of a trial.
    importlib.import_module("torch.utils.flop_counter")
    torch.set_num_threads(config.cpu_threads)
    keep_freed_memory()


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Compute with a number of threads, and give the process its own number back.

    The number of threads decides the last bits of a network's outputs, so that a trained network is
    scored with the number of its trial.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def cudnn_choices(config: TrialConfig) -> Iterator[None]:
    """Let cuDNN choose as a configuration says, and as before afterwards.

    Its quickest algorithms may add in another order each time. By default it may take them.
    """
    if config.device != "cuda" or not config.cudnn_deterministic:
        yield
        return
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    cudnn.deterministic = True
    cudnn.benchmark = False  # which would choose by measurements
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@cache
def keep_freed_memory() -> None:
    """Let the C library retain up to half a gigabyte of freed memory. Only glibc can.

    By default, glibc gives the activations of every step back to the system, which hands them out
    again page by page, each filled with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _RETAINED_BYTES)
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
