"""(e) The limit: forward, backward and step on one batch already in memory, nothing else."""

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
    clock: Callable[[], float],
) -> float:
    """Train on the same batch again and again for so many seconds of a clock, after some steps that are not timed."""
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    for _ in range(5):
        step()
    count, began = 0, clock()
    while clock() - began < seconds:
        step()
        count += 1
    return count * len(labels) / (clock() - began)
