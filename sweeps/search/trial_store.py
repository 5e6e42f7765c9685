"""Keeps the trials of one study in memory, and writes every change of them to the store."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from sweeps.search.stored_trial import read_trials

# Optuna itself reopens no trial. A paused trial has no value and no result.
_REOPENING = (
    "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :trial",
    "DELETE FROM trial_values WHERE trial_id = :trial",
    "DELETE FROM trial_user_attributes WHERE trial_id = :trial AND key = 'result'",
)


class TrialStore:
    """The trials of a study.

    Only this process begins and ends its trials, so what was read stays true. Every method that
    changes a trial raises `optuna.exceptions.UpdateFinishedTrialError` if somebody else has ended
    the trial in the store.
    """

    def __init__(self, storage: optuna.storages.BaseStorage, study_name: str) -> None:
        """Open the trials of a study.

        Args:
            storage: an Optuna storage without a cache.
            study_name: the study's name there.
        """
        self.storage = storage
        self.study_id = storage.get_study_id_from_name(study_name)
        self._trials: list[FrozenTrial] | None = None
        self._ids: dict[int, int] = {}  # in the storage, by number
        self._reports: dict[int, dict[int, float]] = {}  # values by epoch, of trials in training
        # Reports are written by a thread: training does not wait for the store.
        self._writer = ThreadPoolExecutor(1, "reports")
        self._pending_writes: dict[int, Future[None]] = {}  # the last one of each trial

    def __getitem__(self, number: int) -> FrozenTrial:
        return self.all()[number]

    def all(self) -> list[FrozenTrial]:
        """Return all trials, by number."""
        if self._trials is None:
            stored = read_trials(lambda: self.storage.get_all_trials(self.study_id, deepcopy=False))
            self._trials = [_copy(trial) for trial in stored]
        return self._trials

    def in_state(self, state: TrialState) -> list[FrozenTrial]:
        """Return the trials in a state, by number."""
        return [trial for trial in self.all() if trial.state == state]

    def reload(self) -> None:
        """Have the trials read again when they are needed next."""
        self._trials = None

    def notice_others(self) -> None:
        """Have the trials read again if another program has made some."""
        with contextlib.suppress(KeyError):
            next_number = len(self.all())
            self.storage.get_trial_id_from_study_id_trial_number(self.study_id, next_number)
            self.reload()

    def id(self, number: int) -> int:
        """Return the id of a trial in the storage."""
        if number not in self._ids:
            self._ids[number] = self.storage.get_trial_id_from_study_id_trial_number(
                self.study_id, number
            )
        return self._ids[number]

    def add(self, trial: FrozenTrial, trial_id: int) -> None:
        """Add a trial that this process has written."""
        self._ids[trial.number] = trial_id
        if trial.number == len(self.all()):
            self.all().append(trial)
        else:  # another program has made some, too
            self.reload()

    def set_attr(self, number: int, key: str, value: object) -> None:
        """Set an attribute of a trial, after its reports are written."""
        self.settle(number)
        self.storage.set_trial_user_attr(self.id(number), key, value)
        self[number].user_attrs[key] = value

    # Reports

    def begin_reports(self, number: int) -> None:
        """Prepare for the reports of a trial."""
        self._reports[number] = dict(self[number].intermediate_values)

    def reports(self, number: int) -> dict[int, float]:
        """Return the reports of a trial: values by epoch."""
        return self._reports.get(number, self[number].intermediate_values)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Write a report of a trial in training, while the training goes on.

        If that fails, the next call about the trial raises the error. An epoch is reported once:
        an adopted trial repeats the epochs after its checkpoint.
        """
        self.settle(number)
        if epoch in self._reports[number]:
            return
        self._reports[number][epoch] = value
        self._pending_writes[number] = self._writer.submit(
            self.storage.set_trial_intermediate_value, self.id(number), epoch, value
        )

    def settle(self, number: int) -> None:
        """Wait until a trial's reports are written."""
        if number in self._pending_writes:
            self._pending_writes.pop(number).result()

    def show_reports(self, number: int) -> None:
        """Add the reports of a training that has come to a pause or its end to the trial."""
        self[number].intermediate_values = dict(self.reports(number))

    # States

    def take(self, trial: FrozenTrial) -> bool:
        """Begin a trial that another program has enqueued; return whether nobody else has."""
        is_taken = self.storage.set_trial_state_values(self.id(trial.number), TrialState.RUNNING)
        if is_taken:
            trial.state = TrialState.RUNNING
        return is_taken

    def end(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """End a trial."""
        self.storage.set_trial_state_values(self.id(number), state, values)
        self[number].state = state
        self[number].values = values

    def reopen(self, numbers: Sequence[int]) -> None:
        """Have ended trials go on: they are running again, and paused.

        Changes Optuna's tables in one transaction.

        Args:
            numbers: trials with their result so far as an attribute.
        """
        if not isinstance(self.storage, optuna.storages.RDBStorage):
            kind = type(self.storage).__name__
            raise TypeError(f"trials go on in a database only, and not in {kind}")
        values = [{"trial": self.id(number)} for number in numbers]
        with self.storage.engine.begin() as connection:
            for statement in _REOPENING:
                connection.execute(text(statement), values)
        self.reload()


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """Copy a trial, so that it can be changed without changing the store's own."""
    trial = copy.copy(trial)
    trial.intermediate_values = dict(trial.intermediate_values)
    trial.user_attrs = dict(trial.user_attrs)
    return trial
