"""Makes what changes a network's weights: optimizer, schedule, scaler and moving average."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from models.stages import head_names, in_head
from sweeps.trial import TrialConfig

Schedule: TypeAlias = LRScheduler | ReduceLROnPlateau | None

_FACTOR = "lr_factor"  # in a group of parameters: of the learning rate


class _WithoutCompiler(Optimizer):
    """An optimizer that does not import torch's compiler, which takes more than a second.

    torch decorates these methods so that its compiler leaves them out, and their first call imports
    it for that. Nothing compiles an optimizer here, so the methods are taken as they were written.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class _SGD(_WithoutCompiler, SGD):
    step = torch.no_grad()(inspect.unwrap(SGD.step))


class _Adam(_WithoutCompiler, Adam):
    step = torch.no_grad()(inspect.unwrap(Adam.step))


class _AdamW(_WithoutCompiler, AdamW):
    step = torch.no_grad()(inspect.unwrap(AdamW.step))


class WeightAverage:
    """An exponential moving average of a network's weights and buffers, updated after each step.

    The decay grows with the steps to its full value, as min(decay, (1 + n) / (10 + n)) after n
    steps, so that the initial weights are soon forgotten (as `tf.train.ExponentialMovingAverage`
    with ``num_updates``).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with a copy of the network."""
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(requires_grad=False)
        self.steps = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of the network."""
        self.steps += 1
        share = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        averages = self.network.state_dict(keep_vars=True)
        for name, value in network.state_dict(keep_vars=True).items():
            if value.is_floating_point():
                averages[name].lerp_(value, share)
            else:  # such as the counters of batch normalisation
                averages[name].copy_(value)


@dataclass(frozen=True)
class Optimization:
    """What changes a network's weights. All of it is part of a checkpoint."""

    optimizer: Optimizer
    schedule: Schedule
    scaler: GradScaler  # of the loss, against gradients too small for fp16; else it does nothing
    average: WeightAverage | None


def make_optimization(
    network: nn.Module, config: TrialConfig, steps: int, classes: int
) -> Optimization:
    """Make what changes the weights of a network in training.

    Args:
        network: on its device.
        config: the trial's.
        steps: of the optimizer, in an epoch.
        classes: number of logits.
    """
    optimizer = make_optimizer(network, config, classes)
    schedule = make_schedule(optimizer, config, steps)
    follow_learning_rate(optimizer)  # which the schedule has set
    return Optimization(
        optimizer=optimizer,
        schedule=schedule,
        scaler=GradScaler(config.device, enabled=config.precision == "fp16"),
        average=WeightAverage(network, config.ema) if config.ema else None,
    )


def make_optimizer(network: nn.Module, config: TrialConfig, classes: int) -> Optimizer:
    """Make the optimizer of a configuration, over the parameters that are trained.

    With another learning rate for the backbone, the head is the first group of two.
    """
    parameters = _parameter_groups(network, config, classes)
    lr = config.lr
    decay = config.weight_decay
    fused = config.device != "mps"
    if config.optimizer == "sgd":
        momentum = config.momentum or 0.0
        return _SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, fused=fused)
    if config.optimizer == "adamw":
        return _AdamW(parameters, lr=lr, weight_decay=decay, fused=fused)
    return _Adam(parameters, lr=lr, weight_decay=decay, fused=fused)


def _parameter_groups(
    network: nn.Module, config: TrialConfig, classes: int
) -> list[dict[str, Any]]:
    """Return the groups of trained parameters, each with the factor of its learning rate."""
    trained = [
        (name, parameter)
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    ]
    if config.backbone_lr in (None, 1.0):
        return [{"params": [parameter for _, parameter in trained]}]
    heads = head_names(network, classes)
    head = [parameter for name, parameter in trained if in_head(name, heads)]
    backbone = [parameter for name, parameter in trained if not in_head(name, heads)]
    return [{"params": head}, {"params": backbone, _FACTOR: config.backbone_lr}]


def follow_learning_rate(optimizer: Optimizer) -> None:
    """Set the learning rate of each group with a factor, from that of the first group."""
    first, *others = optimizer.param_groups
    for group in others:
        group["lr"] = first["lr"] * group[_FACTOR]


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
