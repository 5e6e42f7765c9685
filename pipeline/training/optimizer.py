"""Makes the optimiser and the learning-rate schedule of a configuration. Knows no data and no training loop."""

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
    """The optimiser of a configuration, over all of a network's parameters."""
    parameters = network.parameters()
    decay = config.weight_decay
    fused = config.device != "mps"
    if config.optimizer == "sgd":
        return SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum or 0.0,
            weight_decay=decay,
            fused=fused,
        )
    adam = AdamW if config.optimizer == "adamw" else Adam
    return adam(parameters, lr=config.lr, weight_decay=decay, fused=fused)


def make_schedule(optimizer: Optimizer, config: TrialConfig, steps: int) -> Schedule:
    """The schedule of the learning rate: by epoch, or by step (``steps`` an epoch) for one cycle.

    One cycle is of Smith & Topin 2018, https://arxiv.org/abs/1708.07120; the momentum stays as it is.
    """
    factor = config.lr_factor or 1.0
    floor = config.min_lr or 0.0
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=config.epochs, eta_min=floor)
    if config.schedule == "onecycle":
        return OneCycleLR(
            optimizer, config.lr, total_steps=config.epochs * steps, cycle_momentum=False
        )
    if config.schedule == "plateau":
        return ReduceLROnPlateau(
            optimizer, patience=config.lr_patience or 0, factor=factor, min_lr=floor
        )
    if config.schedule == "step":
        return StepLR(optimizer, step_size=config.lr_step or 1, gamma=factor)
    return None
