"""What reading data sets imports."""

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
from pipeline.jobs import sweep
from pipeline.report import render
from pipeline.data.search_data import load
load("digits", Path("nowhere"))
load("mnist", Path({folder!r}))
print(*sorted({{"matplotlib", "sklearn", "torch._dynamo", "torchvision"}} & set(sys.modules)))
import torchvision.models
print(torchvision.models.resnet18.__name__, len(torchvision.datasets.MNIST({folder!r})))
"""


def test_data_sets_are_read_without_what_takes_seconds_to_import(mnist):
    """Neither torch's compiler nor scikit-learn nor torchvision's networks are; all of torchvision still can be."""
    command = [sys.executable, "-c", CODE.format(folder=str(mnist))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["", "resnet18 60", ""]
