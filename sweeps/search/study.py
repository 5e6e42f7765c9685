"""Asks, reports, pauses, prunes, tells and resumes trials over an Optuna study. Trains nothing.

Optuna is the truth about which trials exist and what came of them. Every decision is a function of
the study's seed and of what is stored, so that a sweep that was killed goes on as if it had not
been. With several workers, a decision does not know the results of the last few decisions before
it, see `sweeps.search.decisions`: which of those have ended by then is a matter of time, and must
not decide.

While a sweep lasts, a paused trial is RUNNING in Optuna, so that no other program takes it, and has
its result so far as an attribute. It becomes PRUNED when the sweep ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweeps.analysis.facts import FILLED, SELECTION
from sweeps.search.checked import RUN_OF, check_study
from sweeps.search.decisions import (
    DRAWN_BY,
    HEAD_STARTS,
    WHOLE,
    DamagedStudyError,
    Decision,
    DecisionLog,
    finishing_key,
    named,
    window,
)
from sweeps.search.prior import Prior, at_equal_epochs
from sweeps.search.promotion import End, Standing, Wait
from sweeps.search.pruning import PROTECTED_TRIALS, should_prune
from sweeps.search.sampling import (
    BufferedTrialStorage,
    SamplerView,
    make_sampler,
    suggest,
)
from sweeps.search.scheduling import Scheduler, Step
from sweeps.search.stored import Storage, StoredStudy, StudyChangedError, latest_opening
from sweeps.search.stored_trial import (
    BEGUN,
    DEATHS,
    DIED_AFTER,
    DUPLICATE_OF,
    ENDED,
    ENDED_AFTER,
    PAUSED_AT,
    PROGRESS,
    end_of,
    has_ended,
    has_finished,
    is_drawn_ahead,
    lost_result,
    paused_epoch,
    paused_result,
    read_config,
    running_result,
    trained_seconds,
)
from sweeps.search.trial_store import TrialStore
from sweeps.spec.configurations import (
    LISTS_FIRST,
    baseline_values,
    choose_values,
    configuration,
    lists_come_first,
    optuna_params,
    place_of,
    planned_values,
    total_trials,
)
from sweeps.spec.differences import short_differences
from sweeps.spec.dimension import Dimension
from sweeps.spec.study_spec import (
    OBJECTIVES,
    StudySpec,
    has_definition,
    lasting_identity,
)
from sweeps.trial import (
    COMPLETE,
    FAILED,
    PAUSED,
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
# Attribute of a study of finalists: the numbers of repeats that it had before some were added.
EARLIER_REPEATS = "earlier repeats"
_MILLISECOND = 0.001  # in seconds
# Of a list that is known beforehand, the longest of those drawn ahead begins next: of so many at
# first, and of more that are drawn a few at a time while all places train. To draw one takes about
# 16 ms, in which an empty place would wait.
_DRAWN_AT_FIRST = 24
_DRAWN_AHEAD = 64
_DRAWN_AHEAD_FOR_A_PLACE = 8
_DRAWN_AT_A_TIME = 16
# Ends that the configuration decides: another trial of it would end alike.
_DECIDED_ENDS = (COMPLETE, PRUNED, "infeasible", "diverged")


@dataclass(frozen=True)
class AskedTrial:
    """A trial to be trained, asked of a study."""

    number: int
    config: TrialConfig
    # The deaths of processes that trained it, in a row and without a new checkpoint in between.
    # Only those count that the command lived to see: it may have been killed as a whole, and no
    # trial is to blame for that.
    deaths: int = 0
    adopted: bool = False  # whether an earlier process had begun this part of the training
    # Whether it is trained in a process of its own, whose death the command sees: another process
    # has died while it trained the trial.
    apart: bool = False
    until: int | None = None  # the epoch after which to pause; None for the last
    progress: TrialResult | None = None  # the result so far of a trial that was paused


@dataclass(frozen=True)
class Pause:
    """A trial that was paused, and its place among its rivals."""

    result: TrialResult
    # None if its configuration has further seeds that have not come to the same epoch.
    standing: Standing | None


class Study(StoredStudy):
    """A study in a store: gives out trials, and takes their reports and results."""

    _study: optuna.Study

    def __init__(self, storage: Storage, study: optuna.Study, spec: StudySpec) -> None:
        super().__init__(storage, study)
        self.spec = spec
        # The number of trials at a time that decides the list of trials.
        self.workers = self.facts.workers
        # Whether the list of trials is the same each time. If not, all results available by then
        # may decide about the next trial.
        self.deterministic = self.facts.deterministic
        # Whether places that would stand empty at the end are for further epochs, if the order in
        # which trials end may decide.
        self.fills_places = True
        self.clock: Callable[[], float] = time.monotonic
        # How long a configuration trains beside others, in any unit. With it, the longest trials of
        # a known list begin first where several are trained at a time.
        self.expected_time: Callable[[TrialConfig], float] | None = None
        # How many repeats of each configuration there were at first, after the first addition, ...
        earlier_repeats = study.user_attrs.get(EARLIER_REPEATS, ())
        self._repeats: list[int] = sorted({*earlier_repeats, spec.repeats})
        self._store = TrialStore(storage, study.study_name)
        self._cached_results: tuple[TrialResult, ...] | None = None
        # The first decided result of each configuration, by signature, among the indexed results.
        self._first_decided: dict[str, TrialResult] = {}
        self._indexed = 0
        self._expected_times: dict[int, float] = {}  # of trials drawn ahead
        self._log = DecisionLog.read(_goal(spec), self._trials(), study.user_attrs)
        self._outcomes: list[TrialResult] = []  # of the first decisions, in order
        self._signatures: dict[int, str] = {}  # of configurations, by the number of the trial
        self.is_waiting = False  # whether the next decision has to wait for the end of a training
        # The numbers of trials that ended as pruned, and are paused again.
        self.reopened: list[int] = []

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
            DamagedStudyError: if the study in the store is damaged.
        """
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if spec.maximize else "minimize",
            load_if_exists=True,
        )
        attrs = study.user_attrs
        is_new = "spec" not in attrs
        if is_new:
            dimensions = [dimension.to_dict() for dimension in spec.dimensions]
            rules = {
                "scheduler": HEAD_STARTS,
                "window": window(int(facts.get("workers", 1))),
                "selection": SELECTION,
                "order": LISTS_FIRST,
                "places": FILLED,
            }
            made_of: dict[str, Any] = {"dimensions": dimensions}
            if spec.baselines:
                made_of["baselines"] = baseline_values(spec)
            study.set_user_attr("facts", {**rules, **facts, **made_of})
        else:
            check_study(study)
            _add_repeats(study, spec)
            _check_identity(study, spec)
        with named(name):
            opened = cls(storage, study, spec)
            opened.results()  # a damaged trial is told before anything is changed
            opened._check_warm_start()
        references = [reference.model_dump(exclude_defaults=True) for reference in spec.reference]
        study.set_user_attr("trials", total_trials(spec))
        study.set_user_attr("goal", _goal(spec))
        study.set_user_attr("reference", references)
        study.set_user_attr("keep_checkpoints", spec.keep_checkpoints)
        # The clock may have been set back since another study was opened.
        latest = latest_opening(storage)
        study.set_user_attr("opened", max(time.time(), latest + _MILLISECOND))
        if is_new:
            # Last: readers skip a study without it, and if this process is killed before, the next
            # start makes the study again.
            study.set_user_attr("spec", spec.identity())
        opened.remember("rope", spec.rope)
        opened.remember("budget", None if spec.budget is None else str(spec.budget))
        if opened.promotes:
            opened.remember("expected epochs", opened.expected_epochs)
        opened._complete_writes()
        return opened

    def _check_warm_start(self) -> None:
        """Check that what was taken from earlier studies is of the study's space.

        Raises:
            DamagedStudyError: if it is not.
        """
        if self.facts.warm_start is None:
            return
        try:
            for values in self.facts.warm_start.first:
                optuna_params(self.spec, values)
            _ = self._prior
        except (KeyError, ValueError) as error:
            problem = f"attribute 'facts' has a warm_start of another space: {error}"
            raise DamagedStudyError(problem) from error

    def _complete_writes(self) -> None:
        """Complete what a process was about to write when it was killed."""
        for trial in self._store.in_state(TrialState.RUNNING):
            attrs = trial.user_attrs
            if "config" not in attrs:
                continue
            if "result" in attrs:
                self._end(trial, self._ended_result(trial))
            elif PROGRESS in attrs and attrs.get(PAUSED_AT) is None:
                # It is paused, also if it was told to go on at the end of a study that has another
                # total by now.
                epoch = paused_epoch(trial)
                if epoch >= self._log.until(trial.number):
                    self._set_attr(trial.number, PAUSED_AT, epoch)

    @cached_property
    def total(self) -> int:
        """The total number of trials."""
        return total_trials(self.spec)

    def count_ended(self) -> int:
        """Count the ended trials; if trials may go on, without those of other programs."""
        return sum(
            trial.state in ENDED and (not self.promotes or DRAWN_BY in trial.user_attrs)
            for trial in self._trials()
        )

    def foreign_trials(self) -> list[int]:
        """The numbers of the ended trials that another program has made in the study."""
        return [
            trial.number
            for trial in self._trials()
            if trial.state in ENDED and "config" not in trial.user_attrs
        ]

    def results(self) -> tuple[TrialResult, ...]:
        """The result of each trial that has begun, by number."""
        if self._cached_results is None:
            self._cached_results = super().results()
        return self._cached_results

    def keep_run(self, number: int, run_id: str, checkpoint: str | None) -> None:
        """Store the run and the checkpoint of an ended trial."""
        super().keep_run(number, run_id, checkpoint)
        self._cached_results = None

    @property
    def decisions(self) -> Sequence[Decision]:
        """The decisions so far, in order."""
        return self._scheduler.decisions

    @property
    def expected_epochs(self) -> float | None:
        """The epochs that all trials will take; None if that is not known before the end."""
        return self._scheduler.expected_epochs()

    # Which trial is next

    @cached_property
    def _scheduler(self) -> Scheduler:
        return Scheduler(
            self.spec,
            total=self.total,
            version=self.facts.scheduler,
            order=self.facts.order,
            window=self._window,
            trials=self._trials,
            log=self._log,
            fills_places=lambda: self.fills_places and self.facts.places >= FILLED,
            clock=self._now,
        )

    def _now(self) -> float:
        """The seconds of a clock that is another in a simulation."""
        return self.clock()

    def _window(self) -> int | None:
        """How many decisions do not know of one another's results; None if all results decide."""
        if not self.waits_for_earlier:
            return None
        return self.facts.window or self.workers

    def trials_to_train(
        self,
        is_over: Callable[[Sequence[TrialResult]], bool] = lambda _results: False,
        *,
        places: int = 1,
    ) -> Iterator[AskedTrial | None]:
        """Yield the trials to train: first the trials of a dead process, then as decided.

        Of a list that is known beforehand, the longest trial of those drawn ahead is yielded next
        if several are trained at a time. That decides no number and no result.

        Yields None while the next decision has to wait for the end of a training.

        Args:
            is_over: asked before each decision, with the outcomes that may decide, in order: the
                result of a trial at each of its pauses, and at its end. After True, nothing more
                begins.
            places: how many trials are trained at a time.
        """
        held: list[AskedTrial | None] = []  # while the result of an earlier trial may decide
        for left in self._store.in_state(TrialState.RUNNING):
            trial = self._trials()[left.number]
            # A duplicate has ended by now, with its original.
            if trial.state in ENDED or is_drawn_ahead(trial):
                continue
            held.append(self._adopt(trial))
            yield from self._release(held)
        while True:
            yield from self._release(held)
            if self.begins_longest_first(places):
                self._draw_until_ahead(_DRAWN_AT_FIRST)
            ahead = self._drawn_ahead()
            ready = self._next_of(ahead, places)
            if ready is not None:
                if is_over(self._known_outcomes()):
                    return
                yield self._begin_drawn_ahead(ready)
                continue
            step = self._scheduler.next()
            is_held_up = isinstance(step, End) and bool(held or ahead)
            self.is_waiting = isinstance(step, Wait) or is_held_up
            if self.is_waiting:
                yield None
                continue
            if not isinstance(step, Step) or is_over(self._known_outcomes()):
                return
            held.append(self._take(step))

    def begins_longest_first(self, places: int) -> bool:
        """Whether the longest of the trials that are known beforehand begin first.

        Args:
            places: how many trials are trained at a time.
        """
        return places > 1 and self.predetermined and self.expected_time is not None

    def _drawn_ahead(self) -> list[FrozenTrial]:
        """The trials that were drawn ahead and have not begun, by number."""
        running = self._store.in_state(TrialState.RUNNING)
        return [trial for trial in running if is_drawn_ahead(trial) and trial.number < self.total]

    def draw_ahead(self, places: int) -> None:
        """Draw a few more trials, while all places train, if the longest of them begins next.

        Args:
            places: as for `trials_to_train`.
        """
        if self.begins_longest_first(places):
            most = max(_DRAWN_AHEAD, _DRAWN_AHEAD_FOR_A_PLACE * places)
            self._draw_until_ahead(min(most, len(self._drawn_ahead()) + _DRAWN_AT_A_TIME))

    def _draw_until_ahead(self, count: int) -> None:
        """Draw until so many have not begun, or all are drawn; see how long they will take."""
        for _ in range(count - len(self._drawn_ahead())):
            step = self._scheduler.next()
            if not isinstance(step, Step):
                break
            self._draw(step, ahead=True)
        for trial in self._drawn_ahead():
            self._expected_time(trial)

    def _next_of(self, ahead: Sequence[FrozenTrial], places: int) -> FrozenTrial | None:
        """The first of trials drawn ahead, or the longest; None if none can begin now."""
        ready = [trial for trial in ahead if not self._waits_for_result(trial.number)]
        if not self.begins_longest_first(places):
            return next(iter(ready), None)
        return max(ready, key=self._expected_time, default=None)  # the first of equal ones

    def _expected_time(self, trial: FrozenTrial) -> float:
        """How long a trial that was drawn ahead trains beside others."""
        if self.expected_time is None:
            return 0.0
        if trial.number not in self._expected_times:
            self._expected_times[trial.number] = self.expected_time(read_config(trial))
        return self._expected_times[trial.number]

    def _begin_drawn_ahead(self, trial: FrozenTrial) -> AskedTrial:
        """Begin a trial that was drawn ahead."""
        self._try_to_set_attr(trial.number, BEGUN, time.time())
        return self._begin(self._trials()[trial.number])

    def _release(self, held: list[AskedTrial | None]) -> Iterator[AskedTrial]:
        """Take the trials from a list that need not wait for others, and yield them."""
        for asked in list(held):
            if asked is None:
                held.remove(asked)
            elif not self._waits_for_result(asked.number):
                held.remove(asked)
                yield asked

    def promising_to_train(self, top: int, *, places: int = 1) -> Iterator[AskedTrial]:
        """Yield the promising trials of a search at its end, to be trained to their own ends.

        Those that had ended as pruned are paused again, and go on. Trials that a dead process had
        begun come again.

        Args:
            top: how many finalists are chosen then.
            places: how many trials are trained at a time. If several are, what has the most left to
                train goes on first.
        """
        for trial in self._store.in_state(TrialState.RUNNING):
            original = trial.user_attrs.get(DUPLICATE_OF)
            if original is not None and self._trials()[original].state in ENDED:
                yield self._begin(trial)  # the process died after the original's end
        numbers = self.promising_trials(top)
        self.remember(self._promising_key(top), numbers)
        unfinished = [number for number in numbers if self.is_unfinished(number)]
        if places > 1:
            unfinished.sort(key=lambda number: -_seconds_left(self._trials()[number]))
        self._reopen(of=unfinished)
        for number in unfinished:
            yield self._finish(self._trials()[number])

    def _finish(self, trial: FrozenTrial) -> AskedTrial:
        """Begin the rest of the training of a paused trial."""
        key = finishing_key(trial.number, _goal(self.spec))
        if self.recall(key) is None:
            self.remember(key, [trial.number, read_config(trial).epochs])
            return replace(self._go_on(trial), until=None)
        deaths = self._deaths(trial)
        asked = self._go_on(trial)
        self._set_attr(trial.number, DEATHS, deaths)
        return replace(asked, until=None, deaths=deaths, adopted=True, apart=True)

    @cached_property
    def predetermined(self) -> bool:
        """Whether all configurations are known beforehand and trained to their end.

        No trial then decides about another. Random draws learn from no trial either.
        """
        if not self.spec.trains_all_whole:
            return False
        if self.spec.method == "random":
            return True
        return self.total <= len(self._planned_values) * self.spec.repeats

    @cached_property
    def listed_first(self) -> int | None:
        """How many configurations are trained once each before any is repeated.

        None if all repeats of a configuration are trained before the next one.
        """
        if lists_come_first(self.spec, self.facts.order):
            return len(self._planned_values)
        return None

    def _earlier_draws(self, number: int) -> list[FrozenTrial]:
        """The earlier trials of a trial's configuration, of a list that is known beforehand.

        They are those that would have ended if each trial had waited for the earlier ones. The
        trial ends with their result, see `earlier_result`.
        """
        window = self.facts.window or self.workers
        alike = self._numbers_by_signature[self._signature(number)]
        return [self._trials()[earlier] for earlier in alike if earlier < number + 1 - window]

    @cached_property
    def _numbers_by_signature(self) -> dict[str, list[int]]:
        """The numbers of all trials with a configuration, by its signature."""
        numbers: dict[str, list[int]] = {}
        for trial in self._trials():
            if "config" in trial.user_attrs:  # it is not another program's
                numbers.setdefault(self._signature(trial.number), []).append(trial.number)
        return numbers

    def _note_signature(self, number: int, config: TrialConfig) -> None:
        """Note the signature of a new trial, if later ones of a known list may be alike."""
        if self.predetermined:
            alike = self._numbers_by_signature.setdefault(config.signature, [])
            if number not in alike:
                alike.append(number)

    def _waits_for_result(self, number: int) -> bool:
        """Whether a trial of a known list waits for an earlier one of its configuration."""
        if not self.predetermined:
            return False
        return any(trial.state not in ENDED for trial in self._earlier_draws(number))

    @property
    def waits_for_earlier(self) -> bool:
        """Whether a decision may have to wait for the end of a training.

        Otherwise the list of trials would not be the same each time.
        """
        return self.deterministic and not self.predetermined

    def _known_outcomes(self) -> Sequence[TrialResult]:
        """The outcomes of the decisions that the next one may know."""
        known = self._scheduler.known_decisions()
        if not self.waits_for_earlier or not self.promotes:
            numbers = {decision.trial for decision in known}
            return [
                result
                for result in self.results()
                if result.number in numbers and result.state != RUNNING
            ]
        for decision in known[len(self._outcomes) :]:
            self._outcomes.append(self._outcome(decision))
        return self._outcomes

    def _outcome(self, decision: Decision) -> TrialResult:
        """The result of a trial when it had come to the epoch of a decision."""
        trial = self._trials()[decision.trial]
        if has_ended(trial, decision.until):
            if "result" in trial.user_attrs:
                return self._ended_result(trial)
            return lost_result(trial.number, read_config(trial))
        result = self._paused_result(trial)
        seconds = sum(
            row.metrics.get("time/epoch_seconds", 0.0) for row in result.history[: decision.until]
        )
        value = trial.intermediate_values.get(decision.until)
        return replace(result, state=PAUSED, end=PAUSED, value=value, seconds=seconds)

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
        self._store.report(asked.number, epoch, best_value)
        if self.promotes or self.spec.pruner == "none":
            return False
        reports = self._store.reports(asked.number)
        known = self._scheduler.decisions[: self._scheduler.known_count(asked.number)]
        rivals = [
            self._trials()[decision.trial].intermediate_values
            for decision in known
            if self._trials()[decision.trial].state in ENDED
        ]
        too_little_to_compare = min(asked.number, len(rivals)) < PROTECTED_TRIALS
        configuration_number, _ = self._place_of(asked.number)
        is_start = configuration_number < self._starts
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
            self._store.report(asked.number, row.epoch, best_value)

    # How a part of a training ends

    def pause(self, asked: AskedTrial, result: TrialResult) -> Pause | TrialResult:
        """Store that a trial has come to its epoch, and may go on later.

        Returns:
            The pause; or a failure that ended as ``lost``, if somebody else had ended the trial in
            the store.
        """
        number = asked.number
        try:
            # The progress is written first: it makes the trial a paused one.
            self._set_attr(number, PROGRESS, json.loads(result.to_json()))
            self._set_attr(number, PAUSED_AT, len(result.history))
        except optuna.exceptions.UpdateFinishedTrialError:
            return self._lose(asked, result)
        self._store.show_reports(number)
        return Pause(result, self._scheduler.standing(number))

    def paused_trials(self) -> list[AskedTrial]:
        """The trials that are paused now, with their results so far.

        Only if a trial has ended before, its result has a run.
        """
        return [
            AskedTrial(result.number, result.config, progress=result)
            for result in self.results()
            if result.state == PAUSED and result.duplicate_of is None
        ]

    def earlier_result(self, asked: AskedTrial) -> TrialResult | None:
        """The result of an earlier trial of the same configuration, which decides this trial's."""
        if self.promotes:
            original = self._trials()[asked.number].user_attrs.get(DUPLICATE_OF)
            if original is None:
                return None
            return next(result for result in self.results() if result.number == original)
        results = self.results()
        if self.predetermined:
            originals = {trial.number for trial in self._earlier_draws(asked.number)}
            decided = (
                result
                for result in results
                if result.number in originals
                and result.duplicate_of is None
                and result.end in _DECIDED_ENDS
            )
            return next(decided, None)
        count = self._scheduler.known_count(asked.number)
        for result in results[self._indexed :]:
            if result.state == RUNNING or result.number >= count:
                break
            self._indexed += 1
            if result.duplicate_of is None and result.end in _DECIDED_ENDS:
                self._first_decided.setdefault(result.config.signature, result)
        return self._first_decided.get(asked.config.signature)

    def lost_result(self, asked: AskedTrial) -> TrialResult | None:
        """The result of a trial that somebody else has ended while it was paused."""
        if self._trials()[asked.number].state in ENDED:
            return lost_result(asked.number, asked.config)
        return None

    def waiting_duplicates(self, number: int) -> list[AskedTrial]:
        """The trials that wait for the end of this trial, to end with its result."""
        if not self.promotes:
            return []
        return [
            AskedTrial(trial.number, read_config(trial))
            for trial in self._store.in_state(TrialState.RUNNING)
            if trial.user_attrs.get(DUPLICATE_OF) == number
        ]

    def record_interruption(self, asked: AskedTrial) -> None:
        """Store that the trial was asked to stop: no process has died while it trained it."""
        self._try_to_set_attr(asked.number, "interrupted", value=True)

    def record_death(self, asked: AskedTrial, epochs: int) -> AskedTrial:
        """Count the death of the process that trained a trial, if the trial is no further by it.

        Args:
            asked: the trial.
            epochs: the epochs in its newest checkpoint.

        Returns:
            The trial, to begin again.
        """
        trial = self._trials()[asked.number]
        earlier = max(trial.user_attrs.get(DIED_AFTER, 0), paused_epoch(trial))
        deaths = 0 if epochs > earlier else asked.deaths + 1
        self._try_to_set_attr(asked.number, DIED_AFTER, epochs)
        self._try_to_set_attr(asked.number, DEATHS, deaths)
        return replace(asked, deaths=deaths, adopted=True, apart=True)

    def _try_to_set_attr(self, number: int, key: str, value: object) -> None:
        """Set an attribute of a trial, unless somebody else has ended the trial in the store."""
        try:
            self._set_attr(number, key, value)
        except optuna.exceptions.UpdateFinishedTrialError:
            self._reload()

    def tell(self, asked: AskedTrial, result: TrialResult) -> TrialResult:
        """Store the result of a trial, and end it.

        The result is written first: a trial that we ended always has one.

        Returns:
            The stored result; a failure that ended as ``lost``, if somebody else had ended the
            trial in the store.
        """
        data = json.loads(result.to_json())
        number = asked.number
        # Only a trial that was paused can have been reopened, and its run been kept then.
        may_have_run = result.run_id is not None and PROGRESS in self._trials()[number].user_attrs
        if may_have_run and self.recall(f"{RUN_OF}{number}") is not None:
            self.keep_run(number, str(result.run_id), result.checkpoint)
        try:
            self._store.settle(number)
            self._store.show_reports(number)
            if result.state == FAILED and self.promotes:
                # The epochs after which it was known not to have failed, see `has_ended`.
                until = asked.until or asked.config.epochs
                epochs = min(len(self._store.reports(number)), until - 1)
                self._set_attr(number, ENDED_AFTER, epochs)
            self._set_attr(number, "result", data)
        except optuna.exceptions.UpdateFinishedTrialError:  # Optuna changes no ended trial
            return self._lose(asked, result)
        self._end(self._trials()[number], result)
        return result

    def _lose(self, asked: AskedTrial, result: TrialResult) -> TrialResult:
        """Keep the run of a trial that somebody else has ended in the store."""
        if result.run_id is not None:
            self.keep_run(asked.number, result.run_id, None)
        self._reload()
        return lost_result(asked.number, asked.config, result.run_id)

    def _end(self, trial: FrozenTrial, result: TrialResult) -> None:
        """Tell Optuna how a trial ended."""
        state = _OPTUNA_STATES[result.state]
        values = None
        if state == TrialState.COMPLETE and result.value is not None:
            values = [result.value]
        elif state == TrialState.PRUNED and trial.intermediate_values:
            values = [trial.intermediate_values[max(trial.intermediate_values)]]
        self._cached_results = None
        try:
            self._store.end(trial.number, state, values)
        except optuna.exceptions.UpdateFinishedTrialError:  # somebody else has ended it first
            self._reload()

    # How a trial begins, and goes on

    def _take(self, step: Step) -> AskedTrial | None:
        """Store a decision, and return the trial to train; None if it is trained already."""
        if step.trial is None:
            return self._draw(step)
        self._reopen()
        trial = self._trials()[step.trial]
        decision = Decision(step.trial, step.until)
        self.remember(self._log.promotion_key(at_end=step.at_end), [decision.trial, decision.until])
        self._log.add(decision, at_end=step.at_end)
        if has_finished(trial, decision.until):
            return None
        return self._go_on(trial)

    def _go_on(self, trial: FrozenTrial) -> AskedTrial:
        """Begin the next part of the training of a paused trial."""
        asked = self._begin(trial, progress=paused_result(trial, self.facts))
        for key, value in ((PAUSED_AT, None), (DEATHS, 0), ("interrupted", False)):
            if trial.user_attrs.get(key, value) != value:
                self._try_to_set_attr(trial.number, key, value)
        return asked

    def _reopen(self, of: Sequence[int] | None = None) -> None:
        """Have trials go on again that an earlier command had paused to its end.

        Args:
            of: the numbers of trials, which are reopened with their duplicates; None for all.
        """
        if not self.promotes:
            return
        settled = [
            trial
            for trial in self._trials()
            if trial.state == TrialState.PRUNED and end_of(trial) == PRUNED
        ]
        if of is not None:
            settled = [
                trial
                for trial in settled
                if trial.number in of or trial.user_attrs.get(DUPLICATE_OF) in of
            ]
        if not settled:
            return
        numbers = [trial.number for trial in settled]
        for result in self.results():
            if result.number in numbers and result.run_id is not None:
                self.keep_run(result.number, result.run_id, result.checkpoint)  # the result goes
        self._store.reopen(numbers)
        self.reopened += numbers
        for number in numbers:
            self._ended_results.pop(number, None)
        self._cached_results = None
        # Optuna reads an ended trial only once for each object of a study.
        self._study = optuna.load_study(study_name=self.name, storage=self._store.storage)

    def _draw(self, step: Step, *, ahead: bool = False) -> AskedTrial | None:
        """Begin a new trial, or one that another program has enqueued.

        Args:
            step: decides for it.
            ahead: whether the trial is only drawn, and waits.
        """
        self._reopen()
        self._store.notice_others()
        for trial in self._store.in_state(TrialState.RUNNING):
            is_ours = trial.user_attrs.get(DRAWN_BY) is not None
            if is_ours and "config" not in trial.user_attrs:
                return self._choose(trial, step.until)  # killed while it was drawn
        for trial in self._store.in_state(TrialState.WAITING):
            if self._take_enqueued(trial, step):
                return self._choose(trial, step.until, ahead=ahead)
        params = self._planned_params(len(self._scheduler.drawn))
        system_attrs = {} if params is None else {"fixed_params": params}
        trial = create_trial(state=TrialState.RUNNING, system_attrs=system_attrs)
        trial.number = len(self._trials())
        return self._choose(trial, step.until, ahead=ahead)

    def _take_enqueued(self, trial: FrozenTrial, step: Step) -> bool:
        """Begin a trial that another program has enqueued; return whether nobody else has."""
        decision = [len(self._log.decisions), step.until]
        try:
            if self.promotes:  # before it is taken: it is ours if this process is killed
                self._set_attr(trial.number, DRAWN_BY, decision)
            if self._store.take(trial):
                return True
            if self.promotes:
                self._set_attr(trial.number, DRAWN_BY, None)
        except optuna.exceptions.UpdateFinishedTrialError:
            pass  # somebody else has even ended it
        self._reload()
        return False

    def _adopt(self, trial: FrozenTrial) -> AskedTrial | None:
        """Take over a trial that a dead process left: the same number, the same values.

        Returns None if nothing of it is to be trained now.
        """
        attrs = trial.user_attrs
        if "config" not in attrs:
            if self.promotes:
                return None  # it is another program's, or is drawn again
            return self._choose(trial, WHOLE, adopted=True)
        if DUPLICATE_OF in attrs:
            original = self._trials()[attrs[DUPLICATE_OF]]
            return self._begin(trial) if original.state in ENDED else None
        if self.promotes and paused_epoch(trial) >= self._log.until(trial.number):
            return None
        if attrs.get(PAUSED_AT) is not None:  # killed before it went on
            return self._go_on(trial)
        was_asked_to_stop = bool(attrs.get("interrupted", False))
        if was_asked_to_stop:
            self._set_attr(trial.number, "interrupted", value=False)
        progress = paused_result(trial, self.facts) if PROGRESS in attrs else None
        asked = self._begin(trial, deaths=self._deaths(trial), adopted=True, progress=progress)
        return replace(asked, apart=not was_asked_to_stop)

    @staticmethod
    def _deaths(trial: FrozenTrial) -> int:
        """Return the deaths that count, of processes that trained a trial."""
        return int(trial.user_attrs.get(DEATHS, 0))

    def _choose(
        self, trial: FrozenTrial, until: int, *, adopted: bool = False, ahead: bool = False
    ) -> AskedTrial | None:
        """Choose the configuration of a trial, and begin the trial.

        A new trial is written whole, with values and configuration.

        Args:
            trial: a new trial, or one of the store without a configuration.
            until: the epoch until which it is trained.
            adopted: whether an earlier process had begun the trial, without a configuration.
            ahead: whether it is only drawn, and waits.
        """
        is_new = trial.number == len(self._trials())
        trial_id = None if is_new else self._store.id(trial.number)
        storage = BufferedTrialStorage(self._store.storage, self._store.study_id, trial, trial_id)
        known = self._scheduler.known_decisions()
        place = trial.number
        if self.promotes:
            place = len(self._scheduler.drawn)  # another program's trials do not count
        else:
            known = self._scheduler.decisions[: self._scheduler.known_count(place)]
        view = SamplerView(
            self.name,
            storage,
            make_sampler(self.spec, f"{place}"),
            lambda: self._seen_by_sampler(known, before=None if self.promotes else place),
            has_cost=self.spec.cost is not None,
        )
        draft = Trial(view, -1 if trial_id is None else trial_id)
        config = self._choose_configuration(draft, place)
        if self.promotes:
            draft.set_user_attr(DRAWN_BY, [len(self._log.decisions), until])
            original = self._find_original(config, known)
            if original is not None:
                draft.set_user_attr(DUPLICATE_OF, original)
        if ahead:
            draft.set_user_attr(BEGUN, None)
        elif BEGUN in trial.user_attrs:  # killed while it was drawn ahead
            draft.set_user_attr(BEGUN, time.time())
        draft.set_user_attr("config", config.to_dict())
        if is_new:
            self._store.add(trial, storage.write())
            self._add_result(trial)
        else:
            self._cached_results = None
        self._note_signature(trial.number, config)
        if self.promotes:
            self._log.add(Decision(trial.number, until))
        if DUPLICATE_OF in trial.user_attrs:
            original_trial = self._trials()[trial.user_attrs[DUPLICATE_OF]]
            return self._begin(trial) if original_trial.state in ENDED else None
        return self._begin(trial, adopted=adopted)

    def _seen_by_sampler(
        self, known: Sequence[Decision], *, before: int | None
    ) -> list[FrozenTrial]:
        """The trials as a sampler sees them, with the configurations of earlier studies if any.

        A Gaussian process learns from complete trials only, and needs values that mean the same.
        With two objectives, trials are shown so anyway, and the costs of earlier ones are unknown.
        """
        trials = self._scheduler.seen(known, before=before)
        if self.spec.cost is not None:
            return trials
        if self._prior is not None:
            return self._prior.join(trials)
        if self.spec.method == "gp":
            return at_equal_epochs(trials, maximize=self.spec.maximize)
        return trials

    @cached_property
    def _prior(self) -> Prior | None:
        if self.facts.warm_start is None:
            return None
        return Prior(self.spec, self.facts.warm_start)

    def _find_original(self, config: TrialConfig, known: Sequence[Decision]) -> int | None:
        """Find an earlier trial of a configuration; None if all have failed by accident."""
        reached = self._scheduler.reached(known)
        for number in self._scheduler.drawn:
            trial = self._trials()[number]
            if DUPLICATE_OF in trial.user_attrs or self._signature(number) != config.signature:
                continue
            may_differ = trial.state == TrialState.FAIL and end_of(trial) not in _DECIDED_ENDS
            if not (may_differ and has_ended(trial, reached.get(number, 0))):
                return number
        return None

    def _signature(self, number: int) -> str:
        """The signature of a trial's configuration."""
        if number not in self._signatures:
            self._signatures[number] = read_config(self._trials()[number]).signature
        return self._signatures[number]

    def _begin(
        self,
        trial: FrozenTrial,
        *,
        deaths: int = 0,
        adopted: bool = False,
        progress: TrialResult | None = None,
    ) -> AskedTrial:
        """Make a trial ready for reports."""
        self._store.begin_reports(trial.number)
        config = read_config(trial)
        until: int | None = self._log.until(trial.number) if self.promotes else WHOLE
        if until is not None and until >= config.epochs:
            until = None
        return AskedTrial(
            trial.number, config, deaths=deaths, adopted=adopted, until=until, progress=progress
        )

    def _choose_configuration(self, trial: Trial, place: int) -> TrialConfig:
        values = choose_values(self.spec, lambda dimension: self._suggest(trial, place, dimension))
        _, repeat = self._place_of(place)
        return configuration(self.spec, {**self.resolved_values(), **values}, repeat)

    def _suggest(self, trial: Trial, place: int, dimension: Dimension) -> Value:
        # A dimension that is not drawn jointly has a sampler of its own: a kill between two values
        # changes neither.
        if dimension.key not in trial.relative_params:
            trial.study.sampler = make_sampler(self.spec, f"{place}:{dimension.key}")
        return suggest(trial, dimension)

    def resolved_values(self) -> dict[str, Value]:
        """The values that were resolved when the study was made, except a device asked for now."""
        values: dict[str, Value] = dict(self.facts.runtime)
        device = self.spec.base.get("device", "auto")
        if device != "auto":
            values["device"] = device
        return values

    def _planned_params(self, place: int) -> dict[str, Value] | None:
        """The parameters of a start, a repeat, or a configuration of a planned method.

        None for any other trial: the sampler chooses.
        """
        index, repeat = self._place_of(place)
        if repeat > 0 and self.listed_first is None:
            first_seed = self._scheduler.drawn[index * self._repeats[0]]
            return self._trials()[first_seed].params
        if index < len(self._planned_values):
            return optuna_params(self.spec, self._planned_values[index])
        return None

    def _place_of(self, place: int) -> tuple[int, int]:
        """Which configuration the trial of a place has, and which repeat of it that is."""
        if self.listed_first is not None:
            repeat, configuration_number = divmod(place, self.listed_first)
            return configuration_number, repeat
        return place_of(place, self._repeats, len(self._planned_values))

    @cached_property
    def _planned_values(self) -> list[dict[str, Value]]:
        planned = list(planned_values(self.spec))
        if self.facts.warm_start is not None:
            first = [dict(values) for values in self.facts.warm_start.first]
            planned += [values for values in first if values not in planned]
        return planned

    @property
    def _starts(self) -> int:
        """How many configurations are tried first, before the method's own."""
        if self.facts.warm_start is not None:  # the method draws all others
            return len(self._planned_values)
        return len(baseline_values(self.spec)) + len(self.spec.starts)

    def _trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self._store.all()

    def _set_attr(self, number: int, key: str, value: object) -> None:
        self._store.set_attr(number, key, value)
        self._cached_results = None

    def _add_result(self, trial: FrozenTrial) -> None:
        """Add a trial that has just begun to the results."""
        if self._cached_results is None or self._trials()[-1] is not trial:
            self._cached_results = None
        elif not is_drawn_ahead(trial):
            self._cached_results = (*self._cached_results, running_result(trial, self.facts))

    def _reload(self) -> None:
        """Have the trials read again: somebody else has changed one."""
        self._store.reload()
        self._cached_results = None


def _seconds_left(trial: FrozenTrial) -> float:
    """The seconds that the rest of a paused trial takes, if its epochs take as long as so far."""
    epochs = max(1, paused_epoch(trial))
    return trained_seconds(trial) / epochs * (read_config(trial).epochs - epochs)


def _goal(spec: StudySpec) -> str:
    """Name what ends a study: its total, and its budget."""
    total = str(total_trials(spec))
    return total if spec.budget is None else f"{total} within {spec.budget}"


def _add_repeats(study: optuna.Study, spec: StudySpec) -> None:
    """Add repeats to a study of finalists, if the specification has more of them, all else alike.

    The repeats so far keep their numbers. What was trained for the verdict on fewer is forgotten.
    """
    if study.user_attrs["facts"].get("finalists") is None:
        return
    stored_identity = lasting_identity(study.user_attrs["spec"])
    identity = json.loads(json.dumps(spec.identity()))
    present = stored_identity["repeats"]
    grown_identity = {**stored_identity, "repeats": spec.repeats}
    if "split_seeds" in stored_identity:  # more draws leave the others as they are, but not folds
        grown_identity["split_seeds"] = spec.repeats
    if grown_identity != identity or spec.repeats <= present:
        return
    earlier = {*study.user_attrs.get(EARLIER_REPEATS, ()), present}
    study.set_user_attr("refit", None)
    # Last is what makes the addition: if this process is killed before, nothing is added yet.
    study.set_user_attr(EARLIER_REPEATS, sorted(earlier))
    study.set_user_attr("spec", identity)


def _check_identity(study: optuna.Study, spec: StudySpec) -> None:
    """Check that a study was made from this specification.

    Raises:
        StudyChangedError: if the study was made from another specification.
    """
    stored_identity = study.user_attrs["spec"]
    if not has_definition(spec, stored_identity):
        differences = short_differences(lasting_identity(stored_identity), spec.identity())
        raise StudyChangedError(study.study_name, differences)
