"""Networks with random weights, which need no training, and source text of users' networks."""

from __future__ import annotations

from pathlib import Path

import torch

import models
from pipeline.checkpoints import BEST, Card, save_model
from pipeline.inference.networks import TrainedNetwork
from sweeps.trial import configure

# A user's network. Others inherit from it and say what happens in each step of training.
FINE = """
from torch import nn


class Fine(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        if self.training:
            self.step()
        return self.layer(images.flatten(1))

    def step(self):
        pass
"""


def make_found(
    family="cnn", shape=(1, 8, 8), classes=tuple("0123456789"), dataset="digits", **config
) -> TrainedNetwork:
    """A network of a family, small, whose weights are drawn with the seed 0."""
    sizes = {
        "mlp": {"width": 8},
        "cnn": {"width": 4, "depth": 1},
        "resnet": {"width": 4, "depth": 2},
    }
    chosen = configure(
        {
            **sizes.get(family, {}),
            **config,
            "family": family,
            "dataset": dataset,
            "device": "cpu",
            "precision": "fp32",
        }
    )
    torch.manual_seed(0)
    network = models.build(family, shape, len(classes), chosen.options).eval()
    for module in network.modules():  # so that a norm is not the identity
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    channels = shape[0]
    card = Card(
        config=chosen,
        classes=tuple(classes),
        shape=shape,
        mean=(0.3, 0.4, 0.5)[:channels],
        std=(0.2, 0.3, 0.4)[:channels],
        epoch=3,
        metrics={"val/acc": 0.9, "val/loss": 0.3},
    )
    return TrainedNetwork(network, card)


def save_checkpoint(folder: Path, found: TrainedNetwork) -> Path:
    """Write it where `--checkpoint` takes it from."""
    save_model(folder / BEST, found.network.state_dict(), found.card)
    return folder


# Networks of a user's own: fine when they are looked at, each wrong in training.
MISBEHAVING = f"""
import os, signal, sys, time
import optuna, torch
{FINE}

NEVER_ZERO = torch.tensor([float("-inf")] + [0.0] * 9)  # an infinite loss


class Shifted(Fine):
    def forward(self, images):
        return super().forward(images) + self.shift()


class Poison(Fine):
    def step(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Hang(Fine):
    def step(self):
        time.sleep(600)


class Slow(Fine):
    def step(self):
        time.sleep(0.5)


class Oom(Fine):
    def step(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


class Huge(Fine):
    def step(self):
        torch.empty(1 << 50)


class Nan(Shifted):
    def shift(self):
        return float("nan") if self.training else 0.0


class Inf(Shifted):
    def shift(self):
        return NEVER_ZERO if self.training else 0.0


class Late(Shifted):
    def shift(self):
        return 0.0 if self.training else NEVER_ZERO


class Broken(Fine):
    def step(self):
        raise KeyError("no such layer")


class Stale(Fine):
    def step(self):
        study = optuna.load_study(storage="sqlite:///optuna.db", study_name="tiny-digits")
        (trial,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
"""


# Networks that are wrong in training, or take their time over each step.
SLOW_NETWORKS = f"""
import ctypes, time
{FINE}

class Broken(Fine):
    def step(self):
        raise KeyError("no such layer")


class Slow(Fine):
    def step(self):
        time.sleep(0.05)


class Stuck(Fine):  # in a call that neither ends nor lets Python run
    def step(self):
        ctypes.PyDLL(None).sleep(600)
"""


# A network whose steps wait while a file `hold` beside it says so; `held` then says that one waits.
HELD = f"""
import time
from pathlib import Path
{FINE}

HOLD, IS_HELD = (Path(__file__).with_name(name) for name in ("hold", "held"))


class Held(Fine):
    def step(self):
        while HOLD.exists():
            IS_HELD.touch()
            time.sleep(0.01)
"""
