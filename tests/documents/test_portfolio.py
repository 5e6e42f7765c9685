"""The starts of the default study are what its program learns from the recorded tables."""

import subprocess
import sys
from importlib import resources

import pytest
from support.sourcecode import ROOT

LEARNED_FROM = ("mnist_1000", "fashion_mnist_1000", "cifar10_1000")


@pytest.mark.slow
def test_the_default_study_starts_with_what_the_tables_give():
    """Nobody picked a start by hand: the program gives the same ones in the same order."""
    tables = [f"benchmarks/curves/{name}.jsonl" for name in LEARNED_FROM]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.portfolio", *tables],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    starts, _, _ = done.stdout.partition("\n\n")
    assert starts.startswith("start_with:\n  - {family: ")
    assert starts in resources.files("sweeps.studies").joinpath("networks.yaml").read_text("utf-8")
