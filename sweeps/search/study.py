"""Asks, reports, prunes, tells and resumes over an Optuna study. Trains nothing.

Optuna is the truth about which trials exist and what came of them. Every decision is a function of the study's seed
and of what is stored, so that a sweep that was killed goes on as if it had not been. With several workers a trial is
decided from the results of all trials but the last few before it, as many as could be under way: which of those have
ended by then is a matter of time, and must not decide.
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
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, Epoch, TrialConfig, TrialResult, Value

_STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}
_DECIDED = (COMPLETE, PRUNED, "infeasible", "diverged")  # ends that the configuration decides


class StudyChangedError(ValueError):
    """The study in the store was made from another specification."""


@dataclass(frozen=True)
class AskedTrial:
    """One trial to be trained."""

    number: int
    config: TrialConfig
    deaths: int = 0  # of processes that had begun it
    adopted: bool = False  # an earlier process had begun it


class Study(StoredStudy):
    """A study in its store: the specification it was made from, and its trials."""

    def __init__(self, study: optuna.Study, spec: StudySpec) -> None:
        super().__init__(study)
        facts = self.facts
        self.workers = int(facts.get("workers", 1))  # for how many trials at a time it was made
        self.deterministic = bool(
            facts.get("deterministic", True)
        )  # or whatever has ended by then may decide
        self._live: dict[int, Trial] = {}
        self._reports: dict[int, dict[int, float]] = {}  # of the same, by epoch
        self._writer = ThreadPoolExecutor(1, "reports")  # training does not wait for the store
        self._unwritten: dict[int, Future[None]] = {}  # by trial: its last report
        self._seen_last: list[FrozenTrial] | None = (
            None  # all trials, until one is taken over or ended
        )
        self._seen_results: tuple[TrialResult, ...] | None = (
            None  # of these, until more is kept of one
        )
        self._first: dict[str, TrialResult] = {}  # by signature, of the first `_searched` results
        self._searched = 0
        self.spec = spec

    @classmethod
    def open(cls, storage: Storage, name: str, spec: StudySpec, facts: Mapping[str, Any]) -> Study:
        """Open the study, or make it.

        Args:
            storage: an Optuna storage that only this process writes.
            name: the study's name there.
            spec: what to search.
            facts: kept with a new study and read back by `facts`: what was resolved once and for all. Among them
                ``workers``, how many trials are under way at a time, if not 1; and ``deterministic``, whether the list
                of trials is the same however long each of them takes, if it is not.

        Raises:
            StudyChangedError: if it exists and was made from another specification.
        """
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if spec.maximize else "minimize",
            load_if_exists=True,
        )
        identity = spec.identity()
        stored = study.user_attrs.get("spec")
        if stored is None:
            # `spec` is written last: a study without it was killed while being made, and is made again.
            study.set_user_attr(
                "facts", {**facts, "dimensions": [d.to_dict() for d in spec.dimensions]}
            )
            study.set_user_attr("spec", identity)
        elif stored != json.loads(json.dumps(identity)):
            raise StudyChangedError(
                f"study {name!r} was made with {describe_difference(stored, identity)}"
            )
        study.set_user_attr("trials", total_trials(spec))
        study.set_user_attr(
            "reference",
            [reference.model_dump(exclude_defaults=True) for reference in spec.reference],
        )
        study.set_user_attr("keep_checkpoints", spec.keep_checkpoints)
        study.set_user_attr("opened", time.time())
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "result" in trial.user_attrs:  # killed before it could be told
                _end(study, trial.number, trial.user_attrs["result"])
        return cls(study, spec)

    @cached_property
    def total(self) -> int:
        """The trials in all."""
        return total_trials(self.spec)

    def ended(self) -> int:
        """How many trials have ended of themselves."""
        return sum(trial.state in ENDED for trial in self._trials())

    def _trials(self) -> list[FrozenTrial]:
        """All trials, by number. Only this process begins and ends them, so what it has read stays true until then."""
        if self._seen_last is None:
            self._seen_last = super()._trials()
        return self._seen_last

    def results(self) -> tuple[TrialResult, ...]:
        """What came of each trial, by number."""
        if self._seen_results is None:
            self._seen_results = super().results()
        return self._seen_results

    def keep_run(self, number: int, run_id: str, checkpoint: str | None) -> None:
        """Keep where an ended trial's record is."""
        super().keep_run(number, run_id, checkpoint)
        self._seen_results = None

    def _changed(self) -> None:
        """Read the trials again, when they are asked for next."""
        self._seen_last = self._seen_results = None

    def _add(self, trial: FrozenTrial) -> None:
        """Take a trial that was made here for read."""
        if trial.number == len(self._trials()):
            self._trials().append(trial)
            if self._seen_results is None:
                self._seen_results = None
            else:
                self._seen_results = (*self._seen_results, running_result(trial))
        else:  # another program has made some, too
            self._changed()

    def _in(self, *states: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state in states]

    def jobs(
        self, over: Callable[[Sequence[TrialResult]], bool] = lambda _results: False
    ) -> Iterator[AskedTrial | None]:
        """Yield what is left to train: first what a dead process had begun, then new trials.

        None, where the next trial has to wait for the end of earlier ones.

        Args:
            over: given the results that may decide about the next trial; True lets it not begin, nor any after it.
        """
        for frozen in self._in(TrialState.RUNNING):
            yield self._adopt(frozen)
        while (number := self._next()) < self.total:
            if self._held(number):
                yield None
            elif over(self._deciding(number)):
                break
            else:
                yield self._ask(number)

    def held(self) -> bool:
        """Whether the next trial has to wait for the end of earlier ones."""
        number = self._next()
        return number < self.total and self._held(number)

    def _next(self) -> int:
        """The number of the next trial: one may wait already, enqueued by a process that died before it could ask."""
        trials = self._trials()
        return next(
            (trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials)
        )

    def _seen(self, number: int) -> int:
        """How many of the first trials may decide about a trial: with one worker, all those before it."""
        if self.waits_for_earlier:
            return max(0, number + 1 - self.workers)
        return sys.maxsize

    @cached_property
    def predetermined(self) -> bool:
        """Whether no trial decides about another: all configurations are known beforehand, and trained to their end."""
        spec = self.spec
        decides = spec.pruner != "none" or spec.stop != Stop()
        return not decides and self.total <= len(self._points) * spec.repeats

    @property
    def waits_for_earlier(self) -> bool:
        """Whether a trial may have to wait for the end of earlier ones, or the list would not be the same each time."""
        return self.deterministic and not self.predetermined

    def _deciding(self, number: int) -> list[TrialResult]:
        """The results that may decide about a trial."""
        seen = self._seen(number)
        return [
            result for result in self.results() if result.number < seen and result.state != RUNNING
        ]

    def _held(self, number: int) -> bool:
        running = self._in(TrialState.RUNNING)
        return self.waits_for_earlier and any(
            trial.number < self._seen(number) for trial in running
        )

    def report(self, job: AskedTrial, epoch: int, best_value: float) -> bool:
        """Keep the best value so far of a trial after an epoch (from 1), and say whether to prune it.

        It is written beside the training: what a write met is raised by the trial's next report, or by its end.
        """
        self._write(job.number, epoch, best_value)
        reports = self._reports[job.number]
        others = [
            t.intermediate_values
            for t in self._trials()[: self._seen(job.number)]
            if t.state in ENDED
        ]
        if (
            min(job.number, len(others)) < PROTECTED_TRIALS
            or job.number < len(self.spec.starts) * self.spec.repeats
        ):
            return False
        seen = {step: value for step, value in reports.items() if step <= epoch}
        return should_prune(
            self.spec.pruner, seen, others, epochs=job.config.epochs, maximize=self.spec.maximize
        )

    def catch_up(self, job: AskedTrial, history: Sequence[Epoch]) -> None:
        """Keep the reports of a checkpoint's epochs that a process did not come to write before it died."""
        metric, maximize = OBJECTIVES[self.spec.objective]
        values = accumulate((row.metrics[metric] for row in history), max if maximize else min)
        for row, value in zip(history, values, strict=True):
            self._write(job.number, row.epoch, value)

    def _write(self, number: int, epoch: int, value: float) -> None:
        self._settle(number)
        if (
            epoch not in self._reports[number]
        ):  # an adopted trial repeats the epochs after its checkpoint
            self._reports[number][epoch] = value
            self._unwritten[number] = self._writer.submit(self._live[number].report, value, epoch)

    def _settle(self, number: int) -> None:
        """Wait until a trial's reports are written."""
        if number in self._unwritten:
            self._unwritten.pop(number).result()

    def earlier(self, job: AskedTrial) -> TrialResult | None:
        """The result of an earlier trial of the same configuration, which decides what this one's would be."""
        results = self.results()
        for result in results[self._searched :]:
            if result.state == RUNNING or result.number >= self._seen(job.number):
                break
            self._searched += 1
            if result.duplicate_of is None and result.end in _DECIDED:
                self._first.setdefault(result.config.signature, result)
        return self._first.get(job.config.signature)

    def record_interruption(self, job: AskedTrial) -> None:
        """Keep that the trial was asked to stop: the next start adopts it, and does not count a death."""
        with contextlib.suppress(
            optuna.exceptions.UpdateFinishedTrialError
        ):  # nothing is left to go on with
            self._settle(job.number)
            self._live[job.number].set_user_attr("interrupted", value=True)

    def died(self, job: AskedTrial) -> AskedTrial:
        """Count the death of the process that trained a trial; the trial, to be begun again."""
        deaths = job.deaths + 1
        with contextlib.suppress(
            optuna.exceptions.UpdateFinishedTrialError
        ):  # somebody else has ended it there
            self._settle(job.number)
            self._live[job.number].set_user_attr("deaths", deaths)
        return AskedTrial(job.number, job.config, deaths, adopted=True)

    def tell(self, job: AskedTrial, result: TrialResult) -> TrialResult:
        """Keep how a trial ended; return what is kept, a failure as ``lost`` where somebody else had ended it there.

        The result is written first: a trial that we ended always has one.
        """
        plain = json.loads(result.to_json())
        try:
            self._settle(job.number)
            trial = self._live.pop(job.number)
            trial.set_user_attr("result", plain)
        except optuna.exceptions.UpdateFinishedTrialError:  # what has ended cannot change in Optuna
            if result.run_id is not None:
                self.keep_run(job.number, result.run_id, None)
            return lost_result(job.number, job.config, result.run_id)
        finally:
            self._changed()
        _end(trial.study, trial, plain)
        return result

    def _ask(self, number: int) -> AskedTrial:
        if self._in(TrialState.WAITING):  # enqueued by another program, or by an older version
            asked = self._study.ask()
            self._changed()
            return self._start(self._trials()[asked.number])
        values = self._planned(number)
        trial = create_trial(
            state=TrialState.RUNNING,
            system_attrs={} if values is None else {"fixed_params": values},
        )
        trial.number = number
        return self._start(trial)

    def _start(self, frozen: FrozenTrial, deaths: int = 0, *, adopted: bool = False) -> AskedTrial:
        """Take a trial: a new one is written whole, with its values and configuration."""
        number = frozen.number
        held = BufferedTrialStorage(self._study, frozen)
        shown = SamplerView(
            self._study,
            held,
            self._trials,
            make_sampler(self.spec, f"{number}"),
            number,
            self._seen(number),
        )
        trial = Trial(shown, frozen._trial_id)  # noqa: SLF001 - re-adoption keeps the trial list identical
        if adopted:
            trial.set_user_attr("deaths", deaths)
            trial.set_user_attr("interrupted", value=False)
        if "config" not in frozen.user_attrs:
            values = choose_values(self.spec, lambda dimension: self._suggest(trial, dimension))
            made = configuration(
                self.spec, {**self.settled(), **values}, number % self.spec.repeats
            )
            trial.set_user_attr("config", made.to_dict())
        if held.made:
            self._changed()
        else:
            held.make()
            trial = Trial(shown, frozen._trial_id)  # noqa: SLF001
            self._add(frozen)
        self._live[frozen.number] = trial
        self._reports[frozen.number] = dict(frozen.intermediate_values)
        return AskedTrial(
            frozen.number, TrialConfig.from_dict(frozen.user_attrs["config"]), deaths, adopted
        )

    def settled(self) -> dict[str, Value]:
        """What was settled when the study was made, but for a device that is asked for now."""
        device = self.spec.base.get("device", "auto")
        return {**self.facts.get("runtime", {}), **({} if device == "auto" else {"device": device})}

    def _suggest(self, trial: Trial, dimension: Dimension) -> Value:
        # What is not drawn jointly is drawn apart: a kill between two values changes neither.
        if dimension.key not in trial.relative_params:
            trial.study.sampler = make_sampler(self.spec, f"{trial.number}:{dimension.key}")
        return suggest(trial, dimension)

    def _planned(self, number: int) -> dict[str, Value] | None:
        """The parameters of a trial that is not the sampler's to choose: a start, a repeat, a point of a grid."""
        index, repeat = divmod(number, self.spec.repeats)
        if repeat:
            return self._trials()[number - repeat].params
        if index < len(self._points):
            return optuna_params(self.spec, self._points[index])
        return None

    @cached_property
    def _points(self) -> list[dict[str, Value]]:
        return list(planned_values(self.spec))

    def _adopt(self, frozen: FrozenTrial) -> AskedTrial:
        """Take over a trial that a dead process left RUNNING: the same number, the same values."""
        interrupted = frozen.user_attrs.get("interrupted", False)
        return self._start(
            frozen, frozen.user_attrs.get("deaths", 0) + (not interrupted), adopted=True
        )


def _end(study: optuna.Study, trial: Trial | int, result: Mapping[str, Any]) -> None:
    value = result["value"] if result["state"] == COMPLETE else None
    with contextlib.suppress(
        optuna.exceptions.UpdateFinishedTrialError
    ):  # somebody else came first
        study.tell(trial, value, state=_STATES[result["state"]], skip_if_finished=True)
