"""What a command and its workers import before the first training step, counted and not timed."""

import os
import subprocess
import sys

import pytest
from support.endtoend import check_invariant, furnish
from support.sourcecode import ROOT

pytestmark = pytest.mark.slow

STUDY = """
dataset: digits
trials: 2
epochs: 1
method: random
pruner: none
search: {lr: {low: 1.0e-4, high: 1.0e-3, log: true}}
fixed: {family: mlp, width: 8, depth: 1}
"""
# What records, reports and other commands need, each of which takes a tenth of a second or more.
NOT_NEEDED = ("mlflow", "pandas", "alembic", "matplotlib", "jinja2", "torchvision", "torch._dynamo")

SWEEP = f"""
import sys
from pipeline.cli import program
from pipeline.engines import local

wait = local.InlineEngine.wait

def look_and_wait(self):
    print("imported:", *sorted(set({NOT_NEEDED}) & set(sys.modules)), flush=True)
    return wait(self)

local.InlineEngine.wait = look_and_wait
sys.argv = ["pipeline", "sweep", "tiny.yaml", "--workers", "1", "--no-finalists"]
program.main()
"""
SERVER = f"""
import sys
import pipeline.engines.preload
print("imported:", *sorted(set(({NOT_NEEDED}) + ("optuna", "sqlalchemy")) & set(sys.modules)), flush=True)
"""


def run(code, folder):
    """Run a program in a process of its own, and return the lines of what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_new_study_begins_to_train_before_what_records_it_is_imported(tmp_path, template):
    """MLflow is imported beside the first trial: nothing of it is lost, and the link still comes before its end."""
    lines = run(SWEEP, furnish(tmp_path, template, STUDY))
    began = [line for line in lines if line.startswith("imported:")]
    assert began[0] == "imported:"
    assert len(began) == 2
    links = [n for n, line in enumerate(lines) if line.startswith("in MLflow:")]
    ends = [n for n, line in enumerate(lines) if line.startswith("#0 ")]
    assert len(links) == 1
    assert links[0] < ends[0]
    check_invariant(tmp_path, "tiny-digits", 2)


def test_workers_begin_without_what_draws_and_what_stores(tmp_path):
    """The server from which they are forked imports training alone; what draws the report follows later."""
    assert run(SERVER, tmp_path) == ["imported:"]
