"""What reading data sets and training import."""

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
from pipeline.jobs import sweep
from pipeline.report import render
print(*sorted({{"mlflow", "pandas", "triton", "matplotlib"}} & set(sys.modules)))
from pipeline.data.search_data import load
load("digits", Path("nowhere"))
load("mnist", Path({folder!r}))
import torch
from pipeline.training import cost, optimizer
from sweeps.trial import configure
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
assert cost.count_mflops(network, (1, 8, 8)) == 2 * 64 * 2 / 1e6
steps = optimizer.make_optimization(network, configure({{"schedule": "onecycle"}}), 5, 2)
steps.optimizer.zero_grad()
network(torch.ones(1, 1, 8, 8)).sum().backward()
steps.optimizer.step()
steps.optimizer.load_state_dict(steps.optimizer.state_dict())
print(*sorted({{"matplotlib", "sklearn", "torch._dynamo", "torchvision"}} & set(sys.modules)))
import torchvision.models
print(torchvision.models.resnet18.__name__, len(torchvision.datasets.MNIST({folder!r})))
"""


def test_data_sets_are_read_and_networks_trained_without_what_takes_seconds_to_import(mnist):
    """Neither MLflow, torch's compiler, scikit-learn nor torchvision's networks are; torchvision still can be."""
    command = [sys.executable, "-c", CODE.format(folder=str(mnist))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["", "", "resnet18 60", ""]
