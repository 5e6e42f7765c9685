"""Searches in memory: studies that are asked and told without training anything."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math

import optuna
import sqlalchemy
from optuna.trial import TrialState

from support.records import make_epoch, make_result
from sweeps.search import loop
from sweeps.search.loop import SequentialRunner
from sweeps.search.stored import open_storage
from sweeps.search.study import Study
from sweeps.spec.studyfile import parse_study
from sweeps.trial import COMPLETE, FAILED, PAUSED, PRUNED

# Conditional dimensions, two widths of one field, a start, and a pruner.
MIXED = """
dataset: digits
trials: 20
epochs: 9
search:
  family: [mlp, cnn, resnet]
  width:
    - {choices: [64, 128, 256], when: {family: mlp}}
    - {low: 8, high: 32, step: 8, when: {family: [cnn, resnet]}}
  dropout: {low: 0, high: 0.5}
  residual: [true, false]
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  optimizer: [adam, sgd]
  momentum: {low: 0.5, high: 0.99, when: {optimizer: sgd}}
start_with:
  - {family: cnn, lr: 1.0e-3}
"""


SMALL = """\
trials: 12
epochs: 3
search: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}, width: [8, 16, 32]}
"""


def accuracy(config, epoch):
    """Make up an accuracy: best for a resnet at a rate of 1e-2, and climbing with the epochs."""
    value = 0.9 - 0.1 * (math.log10(config.lr) + 2) ** 2 - 0.2 * (config.dropout or 0)
    value += {"mlp": -0.1, "cnn": 0, "resnet": 0.05}[config.family] + 0.02 * noise(config.signature)
    return round(value * (1 - 0.5**epoch), 6)


def make_train(study, *, value=accuracy, at=lambda asked, epoch: None):
    """Return a function that trains invented trials of a study.

    Args:
        study: that the trials report to.
        value: of a configuration and an epoch; counted from 1.
        at: is called before each epoch, and with 0 before the first.
    """

    def train(asked):
        at(asked, 0)
        history = [] if asked.progress is None else list(asked.progress.history)
        values = [row.metrics["val/acc"] for row in history]
        state = COMPLETE if asked.until is None else PAUSED
        for epoch in range(len(history) + 1, (asked.until or asked.config.epochs) + 1):
            at(asked, epoch)
            values.append(value(asked.config, epoch))
            history.append(make_epoch(epoch, {"val/acc": values[-1]}, per_class=(values[-1], None)))
            if study.report(asked, epoch, max(values)):
                state = PRUNED
                break
        best = max(values)
        best_epoch = values.index(best) + 1
        return make_result_of(
            asked,
            best,
            state=state,
            best_epoch=best_epoch,
            history=tuple(history),
        )

    return train


def make_result_of(asked, value=None, *, history=(), **facts):
    """Make the result of an asked trial; ``facts`` are what `make_result` takes."""
    return make_result(
        asked.number, value, config=asked.config, history=history, run_id=None, **facts
    )


def fail(asked, end="error:ValueError"):
    """Make the result of an asked trial that fails."""
    return make_result_of(asked, state=FAILED, end=end, error="invented")


def spec(text=MIXED, **overrides):
    return parse_study(text, "test", overrides=overrides)


def run(study, train, **options):
    """Train what is left of a study, one trial at a time; why it ended."""
    return loop.run(study, SequentialRunner(train), **options).reason


def begin(storage, text=MIXED, *, name="study", **overrides):
    """Open a study as a command would."""
    return Study.open(storage, name, spec(text, **overrides), FACTS)


def interrupt_all(study):
    """Note that a process was asked to stop, which writes no more; no trial counts a death."""
    for trial in study._store.in_state(TrialState.RUNNING):
        study._try_to_set_attr(trial.number, "interrupted", value=True)


def _do_not_sync(connection, _record):
    """No power is cut in these tests."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


@contextlib.contextmanager
def stores_in_files(folder):
    """A function that makes stores in files, which alone can reopen a trial that has ended."""
    with contextlib.ExitStack() as stack:
        made = []

        def make():
            storage = open_storage(f"sqlite:///{folder / f'{len(made)}.db'}", timeout=20)
            sqlalchemy.event.listen(storage.engine, "connect", _do_not_sync)
            storage.engine.dispose()
            stack.callback(storage.engine.dispose)
            stack.callback(storage.remove_session)
            made.append(storage)
            return storage

        yield make


class Disorder:
    """A runner whose trials end in any order; each trial's epochs are all reported when it ends."""

    def __init__(self, train, places, rng):
        self.places, self._train, self._rng = places, train, rng
        self.begun, self.most, self.asked = [], 0, []

    def begin(self, asked):
        assert len(self.begun) < self.places
        self.begun.append(asked)
        self.asked.append(asked.number)
        self.most = max(self.most, len(self.begun))

    def wait(self):
        asked = self.begun.pop(self._rng.randrange(len(self.begun)))
        return asked, self._train(asked)


class Timed:
    """A runner in whose own time an epoch of each trial takes as long as is said; all else takes no time.

    Attributes:
        now: the time.
        busy: the time that trials took, of all places.
    """

    def __init__(self, train, places, durations):
        self.places, self._train, self._durations = places, train, durations
        self.now, self.busy, self._begun = 0.0, 0.0, []

    @property
    def idle(self):
        """The share of the places' time in which they were empty."""
        return 1 - self.busy / (self.places * self.now)

    def _seconds(self, asked, epochs):
        return epochs * self._durations[asked.number]

    def begin(self, asked):
        known = 0 if asked.progress is None else len(asked.progress.history)
        seconds = self._seconds(asked, (asked.until or asked.config.epochs) - known)
        self.busy += seconds
        self._begun.append((self.now + seconds, asked.number, asked))

    def wait(self):
        ending = min(self._begun)
        self._begun.remove(ending)
        self.now, _, asked = ending
        result = self._train(asked)
        seconds = self._seconds(asked, len(result.history))
        return asked, dataclasses.replace(result, seconds=seconds)


def memory():
    return optuna.storages.InMemoryStorage()


FACTS = {
    "scheduler": 1,
    "window": None,
    "study": "mixed",
    "classes": ("a", "b"),
    "runtime": {"threads": 1, "precision": "fp32"},
}


def noise(text):
    """A number from 0 to 1 that the text decides."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 16**6
