"""Asks, reports, prunes, tells and resumes trials over an Optuna study. Trains nothing.

Optuna is the truth about which trials exist and what came of them. Every decision is a function of
the study's seed and of what is stored, so that a sweep that was killed goes on as if it had not
been. With several workers, a trial is decided from the results of all trials except the last few
before it, as many as could be running: which of those have ended by then is a matter of time, and
must not decide.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweeps.search.pruning import PROTECTED_TRIALS, should_prune
from sweeps.search.sampling import (
    BufferedTrialStorage,
    SamplerView,
    make_sampler,
    optuna_params,
    suggest,
)
from sweeps.search.stored import ENDED, Storage, StoredStudy, lost_result, running_result
from sweeps.spec.configurations import choose_values, configuration, planned_values, total_trials
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import OBJECTIVES, Stop, StudySpec, describe_difference
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PRUNED,
    RUNNING,
    Epoch,
    TrialConfig,
    TrialResult,
    Value,
)

_OPTUNA_STATES = {
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAILED: TrialState.FAIL,
}
# Ends that the configuration decides: another trial of it would end alike.
_DECIDED_ENDS = (COMPLETE, PRUNED, "infeasible", "diverged")


class StudyChangedError(ValueError):
    """The study in the store was made from another specification."""


@dataclass(frozen=True)
class AskedTrial:
    """A trial to be trained, asked of a study."""

    number: int
    config: TrialConfig
    deaths: int = 0  # of processes that had begun the trial
    adopted: bool = False  # whether an earlier process had begun the trial


class Study(StoredStudy):
    """A study in a store: gives out trials, and takes their reports and results."""

    def __init__(self, study: optuna.Study, spec: StudySpec) -> None:
        super().__init__(study)
        self.spec = spec
        # The number of trials at a time that decides the list of trials.
        self.workers = self.facts.workers
        # Whether the list of trials is the same each time. If not, all results available by then
        # may decide about the next trial.
        self.deterministic = self.facts.deterministic
        self._live: dict[int, Trial] = {}  # the running trials of this process, by number
        self._reports: dict[int, dict[int, float]] = {}  # their best values so far, by epoch
        # Reports are written by a thread: training does not wait for the store.
        self._writer = ThreadPoolExecutor(1, "reports")
        self._pending_writes: dict[int, Future[None]] = {}  # the last one of each trial
        self._cached_trials: list[FrozenTrial] | None = None
        self._cached_results: tuple[TrialResult, ...] | None = None
        # The first decided result of each configuration, by signature, among the indexed results.
        self._first_decided: dict[str, TrialResult] = {}
        self._indexed = 0

    @classmethod
    def open(cls, storage: Storage, name: str, spec: StudySpec, facts: Mapping[str, Any]) -> Study:
        """Open the study, or make a new study.

        Args:
            storage: an Optuna storage that only this process writes.
            name: the study's name there.
            spec: what to search.
            facts: the data of `StudyFacts`, resolved once for the whole study; stored with a new
                study only.

        Raises:
            StudyChangedError: if the study exists and was made from another specification.
        """
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if spec.maximize else "minimize",
            load_if_exists=True,
        )
        is_new = "spec" not in study.user_attrs
        if is_new:
            dimensions = [dimension.to_dict() for dimension in spec.dimensions]
            study.set_user_attr("facts", {**facts, "dimensions": dimensions})
        else:
            _check_identity(study, spec)
        references = [reference.model_dump(exclude_defaults=True) for reference in spec.reference]
        study.set_user_attr("trials", total_trials(spec))
        study.set_user_attr("reference", references)
        study.set_user_attr("keep_checkpoints", spec.keep_checkpoints)
        study.set_user_attr("opened", time.time())
        if is_new:
            # Last: readers skip a study without it, and if this process is killed before, the next
            # start makes the study again.
            study.set_user_attr("spec", spec.identity())
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "result" in trial.user_attrs:  # killed before Optuna was told
                _finish(study, trial.number, trial.user_attrs["result"])
        return cls(study, spec)

    @cached_property
    def total(self) -> int:
        """The total number of trials."""
        return total_trials(self.spec)

    def count_ended(self) -> int:
        """Count the ended trials."""
        return sum(trial.state in ENDED for trial in self._trials())

    def results(self) -> tuple[TrialResult, ...]:
        """The result of each trial, by number."""
        if self._cached_results is None:
            self._cached_results = super().results()
        return self._cached_results

    def keep_run(self, number: int, run_id: str, checkpoint: str | None) -> None:
        """Store the run and the checkpoint of an ended trial."""
        super().keep_run(number, run_id, checkpoint)
        self._cached_results = None

    # Which trial is next

    def trials_to_train(
        self, is_over: Callable[[Sequence[TrialResult]], bool] = lambda _results: False
    ) -> Iterator[AskedTrial | None]:
        """Yield the trials to train: first the trials of a dead process, then new trials.

        Yields None while the next trial has to wait for the end of earlier trials.

        Args:
            is_over: asked before each new trial, with the results that may decide about the trial;
                after True, neither this trial nor a later trial begins.
        """
        for frozen in self._trials_in(TrialState.RUNNING):
            yield self._adopt(frozen)
        while (number := self._next_number()) < self.total:
            if self._waits_for_earlier(number):
                yield None
            elif is_over(self._deciding_results(number)):
                break
            else:
                yield self._ask(number)

    def must_wait(self) -> bool:
        """Whether the next trial has to wait for the end of earlier trials."""
        number = self._next_number()
        return number < self.total and self._waits_for_earlier(number)

    @cached_property
    def predetermined(self) -> bool:
        """Whether all configurations are known beforehand and trained to their end.

        No trial then decides about another.
        """
        if self.spec.pruner != "none" or self.spec.stop != Stop():
            return False
        return self.total <= len(self._planned_values) * self.spec.repeats

    @property
    def waits_for_earlier(self) -> bool:
        """Whether a trial may have to wait for the end of earlier trials.

        Otherwise the list of trials would not be the same each time.
        """
        return self.deterministic and not self.predetermined

    def _next_number(self) -> int:
        """The number of the next trial.

        A trial may be waiting already, if a process died between enqueueing and asking.
        """
        trials = self._trials()
        for trial in trials:
            if trial.state == TrialState.WAITING:
                return trial.number
        return len(trials)

    def _deciding_count(self, number: int) -> int:
        """How many of the first trials may decide about a trial; with one worker, all before."""
        if not self.waits_for_earlier:
            return sys.maxsize
        return max(0, number + 1 - self.workers)

    def _deciding_results(self, number: int) -> list[TrialResult]:
        """The results that may decide about a trial."""
        count = self._deciding_count(number)
        return [
            result for result in self.results() if result.number < count and result.state != RUNNING
        ]

    def _waits_for_earlier(self, number: int) -> bool:
        """Whether a trial is still running, and may decide about this trial."""
        if not self.waits_for_earlier:
            return False
        count = self._deciding_count(number)
        return any(trial.number < count for trial in self._trials_in(TrialState.RUNNING))

    # While a trial is trained

    def report(self, asked: AskedTrial, epoch: int, best_value: float) -> bool:
        """Store a trial's best value so far, and return whether to prune the trial.

        The value is written while training goes on. If that fails, the error is raised by the
        trial's next report or by its end.

        Args:
            asked: the trial.
            epoch: the epoch that has ended, counted from 1.
            best_value: the best value of the objective so far.
        """
        self._write_report(asked.number, epoch, best_value)
        reports = self._reports[asked.number]
        rivals = [
            trial.intermediate_values
            for trial in self._trials()[: self._deciding_count(asked.number)]
            if trial.state in ENDED
        ]
        too_little_to_compare = min(asked.number, len(rivals)) < PROTECTED_TRIALS
        is_start = asked.number < len(self.spec.starts) * self.spec.repeats
        if too_little_to_compare or is_start:
            return False
        return should_prune(
            self.spec.pruner,
            {step: value for step, value in reports.items() if step <= epoch},
            rivals,
            epochs=asked.config.epochs,
            maximize=self.spec.maximize,
        )

    def catch_up(self, asked: AskedTrial, history: Sequence[Epoch]) -> None:
        """Store the missing reports of a dead process, from the history of a checkpoint."""
        objective = OBJECTIVES[self.spec.objective]
        values = [row.metrics[objective.metric] for row in history]
        best_values = accumulate(values, max if objective.maximize else min)
        for row, best_value in zip(history, best_values, strict=True):
            self._write_report(asked.number, row.epoch, best_value)

    def _write_report(self, number: int, epoch: int, value: float) -> None:
        self._settle(number)
        reports = self._reports[number]
        if epoch not in reports:  # an adopted trial repeats the epochs after its checkpoint
            reports[epoch] = value
            write = self._live[number].report
            self._pending_writes[number] = self._writer.submit(write, value, epoch)

    def _settle(self, number: int) -> None:
        """Wait until a trial's reports are written."""
        if number in self._pending_writes:
            self._pending_writes.pop(number).result()

    # How a trial ends

    def earlier_result(self, asked: AskedTrial) -> TrialResult | None:
        """The result of an earlier trial of the same configuration, which decides this trial's."""
        results = self.results()
        count = self._deciding_count(asked.number)
        for result in results[self._indexed :]:
            if result.state == RUNNING or result.number >= count:
                break
            self._indexed += 1
            if result.duplicate_of is None and result.end in _DECIDED_ENDS:
                self._first_decided.setdefault(result.config.signature, result)
        return self._first_decided.get(asked.config.signature)

    def record_interruption(self, asked: AskedTrial) -> None:
        """Store that the trial was asked to stop: the next start adopts it and counts no death."""
        # A trial that somebody else has ended in the store cannot be gone on with.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._settle(asked.number)
            self._live[asked.number].set_user_attr("interrupted", value=True)

    def record_death(self, asked: AskedTrial) -> AskedTrial:
        """Count the death of the process that trained a trial; return the trial, to begin again."""
        deaths = asked.deaths + 1
        # Somebody else may have ended the trial in the store.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._settle(asked.number)
            self._live[asked.number].set_user_attr("deaths", deaths)
        return AskedTrial(asked.number, asked.config, deaths, adopted=True)

    def tell(self, asked: AskedTrial, result: TrialResult) -> TrialResult:
        """Store the result of a trial, and end it.

        The result is written first: a trial that we ended always has one.

        Returns:
            The stored result; a failure that ended as ``lost``, if somebody else had ended the
            trial in the store.
        """
        data = json.loads(result.to_json())
        try:
            self._settle(asked.number)
            trial = self._live.pop(asked.number)
            trial.set_user_attr("result", data)
        except optuna.exceptions.UpdateFinishedTrialError:  # Optuna changes no ended trial
            if result.run_id is not None:
                self.keep_run(asked.number, result.run_id, None)
            return lost_result(asked.number, asked.config, result.run_id)
        finally:
            self._clear_cache()
        _finish(trial.study, trial, data)
        return result

    # How a trial begins

    def _ask(self, number: int) -> AskedTrial:
        """Begin the trial of this number."""
        # A waiting trial was enqueued by another program, or by an older version.
        if self._trials_in(TrialState.WAITING):
            enqueued = self._study.ask()
            self._clear_cache()
            return self._start(self._trials()[enqueued.number])
        params = self._planned_params(number)
        system_attrs = {} if params is None else {"fixed_params": params}
        trial = create_trial(state=TrialState.RUNNING, system_attrs=system_attrs)
        trial.number = number
        return self._start(trial)

    def _adopt(self, frozen: FrozenTrial) -> AskedTrial:
        """Take over a trial that a dead process left running: the same number, the same values."""
        deaths = frozen.user_attrs.get("deaths", 0)
        if not frozen.user_attrs.get("interrupted", False):
            deaths += 1
        return self._start(frozen, deaths, adopted=True)

    def _start(self, frozen: FrozenTrial, deaths: int = 0, *, adopted: bool = False) -> AskedTrial:
        """Make a trial live. A new trial is written whole, with values and configuration."""
        number = frozen.number
        storage = BufferedTrialStorage(self._study, frozen)
        view = SamplerView(
            self._study,
            storage,
            self._trials,
            make_sampler(self.spec, f"{number}"),
            number,
            self._deciding_count(number),
        )
        # Taking over the same trial keeps the list of trials identical.
        trial = Trial(view, frozen._trial_id)  # noqa: SLF001
        if adopted:
            trial.set_user_attr("deaths", deaths)
            trial.set_user_attr("interrupted", value=False)
        if "config" not in frozen.user_attrs:
            trial.set_user_attr("config", self._choose_configuration(trial, number).to_dict())
        if storage.written:
            self._clear_cache()
        else:
            storage.write()
            trial = Trial(view, frozen._trial_id)  # noqa: SLF001
            self._add_to_cache(frozen)
        self._live[frozen.number] = trial
        self._reports[frozen.number] = dict(frozen.intermediate_values)
        config = TrialConfig.from_dict(frozen.user_attrs["config"])
        return AskedTrial(frozen.number, config, deaths, adopted)

    def _choose_configuration(self, trial: Trial, number: int) -> TrialConfig:
        values = choose_values(self.spec, lambda dimension: self._suggest(trial, dimension))
        repeat = number % self.spec.repeats
        return configuration(self.spec, {**self.resolved_values(), **values}, repeat)

    def _suggest(self, trial: Trial, dimension: Dimension) -> Value:
        # A dimension that is not drawn jointly has a sampler of its own: a kill between two values
        # changes neither.
        if dimension.key not in trial.relative_params:
            trial.study.sampler = make_sampler(self.spec, f"{trial.number}:{dimension.key}")
        return suggest(trial, dimension)

    def resolved_values(self) -> dict[str, Value]:
        """The values that were resolved when the study was made, except a device asked for now."""
        values: dict[str, Value] = dict(self.facts.runtime)
        device = self.spec.base.get("device", "auto")
        if device != "auto":
            values["device"] = device
        return values

    def _planned_params(self, number: int) -> dict[str, Value] | None:
        """The parameters of a start, a repeat, or a configuration of a planned method.

        None for any other trial: the sampler chooses.
        """
        index, repeat = divmod(number, self.spec.repeats)
        if repeat > 0:
            return self._trials()[number - repeat].params
        if index < len(self._planned_values):
            return optuna_params(self.spec, self._planned_values[index])
        return None

    @cached_property
    def _planned_values(self) -> list[dict[str, Value]]:
        return list(planned_values(self.spec))

    # The trials in memory: only this process begins and ends them, so what was read stays true
    # until then.

    def _trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        if self._cached_trials is None:
            self._cached_trials = self._read_trials()
        return self._cached_trials

    def _trials_in(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state == state]

    def _clear_cache(self) -> None:
        """Have the trials read again when they are needed next."""
        self._cached_trials = None
        self._cached_results = None

    def _add_to_cache(self, trial: FrozenTrial) -> None:
        """Add a trial of this process."""
        if trial.number != len(self._trials()):  # another program has made some, too
            self._clear_cache()
            return
        self._trials().append(trial)
        if self._cached_results is not None:
            self._cached_results = (*self._cached_results, running_result(trial))


def _check_identity(study: optuna.Study, spec: StudySpec) -> None:
    """Check that a study was made from this specification.

    Raises:
        StudyChangedError: if the study was made from another specification.
    """
    identity = spec.identity()
    stored_identity = study.user_attrs["spec"]
    if stored_identity != json.loads(json.dumps(identity)):
        changes = describe_difference(stored_identity, identity)
        raise StudyChangedError(f"study {study.study_name!r} was made with {changes}")


def _finish(study: optuna.Study, trial: Trial | int, result: Mapping[str, Any]) -> None:
    """Tell Optuna how a trial ended."""
    value = result["value"] if result["state"] == COMPLETE else None
    state = _OPTUNA_STATES[result["state"]]
    # Somebody else may have ended the trial first.
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        study.tell(trial, value, state=state, skip_if_finished=True)
