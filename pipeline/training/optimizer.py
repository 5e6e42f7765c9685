"""Makes the optimizer and the learning-rate schedule of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from sweeps.trial import TrialConfig

if TYPE_CHECKING:
    from torch import nn

Schedule = LRScheduler | ReduceLROnPlateau | None


def make_optimizer(network: nn.Module, config: TrialConfig) -> Optimizer:
    """Make the optimizer of a configuration, over all of a network's parameters."""
    parameters = network.parameters()
    lr = config.lr
    decay = config.weight_decay
    fused = config.device != "mps"
    if config.optimizer == "sgd":
        momentum = config.momentum or 0.0
        return SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, fused=fused)
    if config.optimizer == "adamw":
        return AdamW(parameters, lr=lr, weight_decay=decay, fused=fused)
    return Adam(parameters, lr=lr, weight_decay=decay, fused=fused)


def make_schedule(optimizer: Optimizer, config: TrialConfig, steps: int) -> Schedule:
    """Make the schedule of the learning rate.

    One cycle (Smith & Topin 2018, https://arxiv.org/abs/1708.07120) is stepped with the optimizer,
    the others after each epoch. One cycle leaves the momentum constant.

    Args:
        optimizer: whose learning rate the schedule sets.
        config: names the schedule.
        steps: of the optimizer, in an epoch.
    """
    factor = config.lr_factor or 1.0
    min_lr = config.min_lr or 0.0
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=config.epochs, eta_min=min_lr)
    if config.schedule == "onecycle":
        total_steps = config.epochs * steps
        return OneCycleLR(optimizer, config.lr, total_steps=total_steps, cycle_momentum=False)
    if config.schedule == "plateau":
        patience = config.lr_patience or 0
        return ReduceLROnPlateau(optimizer, patience=patience, factor=factor, min_lr=min_lr)
    if config.schedule == "step":
        return StepLR(optimizer, step_size=config.lr_step or 1, gamma=factor)
    return None
