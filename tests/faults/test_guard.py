"""What an epoch and a trial may cost beside the training, counted and not timed: transactions, statements, fsyncs."""

import os
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event
from support.endtoend import furnish, pipeline

from pipeline.training import epochs as training
from sweeps.search.stored import StoredStudy

STUDY = """
dataset: digits
trials: {trials}
epochs: {epochs}
method: random
search: {{lr: {{low: 1.0e-4, high: 1.0e-3, log: true}}}}
fixed: {{family: mlp, width: 8, depth: 1}}
pruner: none
"""
WRITES = ("INSERT", "UPDATE", "DELETE")


class Counts(dict):
    """How often each thing was done."""

    def add(self, what):
        self[what] = self.get(what, 0) + 1

    def per(self, other, many):
        """By how much these are more than others, for each of so many further epochs or trials."""
        return {what: (self[what] - other[what]) / many for what in self}


@contextmanager
def counted(monkeypatch):
    """Count statements and transactions that write, in each store; fsyncs; and readings of all results."""
    counts, writing = Counts(), set()

    def executed(connection, _cursor, statement, *_):
        if not statement.startswith("PRAGMA"):  # of which MLflow sends three for each transaction
            counts.add(f"{_store(connection)} statements")
        if statement.startswith(WRITES):
            writing.add(connection)

    def committed(connection):
        if connection in writing:
            writing.remove(connection)
            counts.add(f"{_store(connection)} transactions")

    fsync, results = os.fsync, StoredStudy.results
    monkeypatch.setattr(os, "fsync", lambda file: counts.add("fsyncs") or fsync(file))
    monkeypatch.setattr(
        StoredStudy, "results", lambda self: counts.add("readings") or results(self)
    )
    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "commit", committed)
    try:
        yield counts
    finally:
        event.remove(Engine, "after_cursor_execute", executed)
        event.remove(Engine, "commit", committed)
        monkeypatch.undo()


def _store(connection):
    return "studies" if str(connection.engine.url).endswith("optuna.db") else "tracking"


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory, template):
    """Counts of whole sweeps, by trials and epochs; after every epoch they write a checkpoint and send metrics."""
    found = {}
    for trials, epochs in ((2, 1), (4, 1), (6, 1), (2, 3)):
        study = STUDY.format(trials=trials, epochs=epochs)
        folder = furnish(tmp_path_factory.mktemp("guard"), template, study)
        with pytest.MonkeyPatch.context() as patch, counted(patch) as counts:
            patch.chdir(folder)
            patch.setattr(training, "SAVE_EVERY", 0.0)
            assert pipeline("sweep", "tiny.yaml", "--workers", "1") == 0
        found[trials, epochs] = counts
    return found


def test_an_epoch_costs_two_transactions_and_one_checkpoint(sweeps):
    """For a further epoch: a report with the study, a batch of metrics, two files of a checkpoint with their folder."""
    each = sweeps[2, 3].per(sweeps[2, 1], 2 * 2)
    assert each["studies transactions"] == each["tracking transactions"] == 1
    assert each["fsyncs"] == 4
    assert each["studies statements"] <= 3
    assert each["tracking statements"] <= 14
    assert each["readings"] == 0


def test_a_trial_costs_the_same_however_many_were_before_it(sweeps):
    """A further trial: so many transactions, statements and readings after two trials, and no more after four."""
    early, late = sweeps[4, 1].per(sweeps[2, 1], 2), sweeps[6, 1].per(sweeps[4, 1], 2)
    assert late == early
    assert late["studies transactions"] <= 4
    assert late["tracking transactions"] <= 8  # one of them is its place in the report, at the end
    assert late["studies statements"] <= 27
    assert late["tracking statements"] <= 40
    assert late["readings"] <= 1
