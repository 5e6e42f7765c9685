"""(e) The limit: forward, backward and step on one batch already in memory, nothing else."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn import functional


def images_per_second(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    autocast: Callable[[], AbstractContextManager[object]],
    seconds: float,
) -> float:
    """Train on the same batch again and again for so many seconds, after some steps that are not timed."""
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    for _ in range(5):
        step()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    return count * len(labels) / (time.perf_counter() - began)
