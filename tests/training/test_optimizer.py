"""Optimizers without torch's compiler."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from pipeline.training.optimizer import make_optimizer
from sweeps.trial import configure


def trained(network, optimizer):
    """The weights after three steps, with the optimizer's state taken out and put back once."""
    for step in range(3):
        optimizer.zero_grad()
        network(torch.full((4, 3), step + 1.0)).sum().backward()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
    return torch.nn.utils.parameters_to_vector(network.parameters())


@pytest.mark.parametrize(
    ("name", "expected"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)], ids=str
)
def test_they_compute_what_those_of_torch_do(name, expected):
    """The weights are the same bit by bit."""
    config = configure({"optimizer": name, "lr": 0.1})
    options = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if name == "sgd":
        options["momentum"] = config.momentum
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    same = copy.deepcopy(network)
    ours = trained(network, make_optimizer(network, config, 2))
    assert torch.equal(ours, trained(same, expected(same.parameters(), **options)))
