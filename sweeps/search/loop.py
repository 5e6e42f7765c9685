"""Runs a sweep: asks a study for trials, has a runner train them, and tells the study the results.

The loop itself starts no process and builds no network.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeps.search.study import AskedTrial, Pause, Study
from sweeps.spec.study_spec import Stop, StudySpec
from sweeps.trial import (
    BAD_CONFIGURATION,
    COMPLETE,
    FAILED,
    PAUSED,
    PRUNED,
    TrialResult,
)

# A trial that takes its process with it this often, and is no further by it, is not tried again.
MAX_DEATHS = 3
MAX_FAILURES = 5  # so many failures in a row are not the trials' fault


@dataclass(frozen=True)
class Death:
    """What comes of a trial whose process has died."""

    epochs: int = 0  # in the newest checkpoint of the trial


class Runner(Protocol):
    """Trains trials, up to `places` of them at a time."""

    @property
    def places(self) -> int:
        """The number of trials at a time."""

    def begin(self, trial: AskedTrial) -> None:
        """Begin a trial. Called only while a place is free."""

    def wait(self) -> tuple[AskedTrial, TrialResult | Death]:
        """Wait for the next begun trial to end, or for its process to die."""


class SequentialRunner:
    """A runner that trains with a function, one trial at a time, inside `wait`."""

    places = 1

    def __init__(self, train: Callable[[AskedTrial], TrialResult | Death]) -> None:
        self._train = train
        self._begun: deque[AskedTrial] = deque()

    def begin(self, trial: AskedTrial) -> None:
        """Queue the trial for the next `wait`."""
        self._begun.append(trial)

    def wait(self) -> tuple[AskedTrial, TrialResult | Death]:
        """Train the oldest queued trial."""
        trial = self._begun.popleft()
        return trial, self._train(trial)


@dataclass(frozen=True)
class SweepEnding:
    """How a sweep ended."""

    # done, until (asked to stop), failures (too many in a row), or the rule of the study's `stop`
    reason: str
    idle: float = 0.0  # seconds that places were empty while the next trial waited for earlier ones


def _unchanged(_trial: AskedTrial, result: TrialResult) -> TrialResult:
    return result


def run(
    study: Study,
    runner: Runner,
    *,
    complete_untrained: Callable[[AskedTrial, TrialResult], TrialResult] = _unchanged,
    on_result: Callable[[TrialResult], None] = lambda _result: None,
    on_pause: Callable[[Pause], None] = lambda _pause: None,
    should_stop: Callable[[], bool] = lambda: False,
    max_failures: int = MAX_FAILURES,
    finalists: int | None = None,
    searches: bool = True,
) -> SweepEnding:
    """Train the remaining trials of a study, and store each result at once.

    When nothing is left to train, the trials that are still paused end as pruned. If the sweep is
    to go on (it was asked to stop, or too many trials failed), they stay paused.

    Args:
        study: the study.
        runner: trains the trials, and reports their epochs with `Study.report`.
        complete_untrained: completes a result without a training: a copy of the result of an
            earlier trial of the same configuration, the failure of a trial after too many deaths of
            processes, or the result of a trial that was paused and does not go on.
        on_result: called with each stored result.
        on_pause: called when a trial is paused, after this is stored.
        should_stop: asked before each new trial; after True, no further trial begins.
        max_failures: after so many failures in a row, no further trial begins either.
        finalists: how many finalists are to be chosen. Before the paused trials end, the promising
            ones among them are trained, see `sweeps.search.promotion.promising`.
        searches: whether the search goes on; else only promising trials of an ended search do.
    """
    loop = _Loop(study, runner, complete_untrained, on_result, on_pause, should_stop, max_failures)
    return loop.run(finalists=finalists, searches=searches)


class _Loop:
    """A sweep in progress."""

    def __init__(
        self,
        study: Study,
        runner: Runner,
        complete_untrained: Callable[[AskedTrial, TrialResult], TrialResult],
        on_result: Callable[[TrialResult], None],
        on_pause: Callable[[Pause], None],
        should_stop: Callable[[], bool],
        max_failures: int,
    ) -> None:
        self._study = study
        self._runner = runner
        self._complete_untrained = complete_untrained
        self._on_result = on_result
        self._on_pause = on_pause
        self._should_stop = should_stop
        self._max_failures = max_failures
        self._new_trials: Iterator[AskedTrial | None] = study.trials_to_train(
            self._is_over, places=runner.places
        )
        self._is_out_of_time = False  # while promising trials were left
        self._restarts: deque[AskedTrial] = deque()  # trials whose process died
        self._ended: set[int] = set()  # numbers of the trials that ended in this sweep
        self._stop_reason: str | None = None  # why no further trial begins
        self._idle = 0.0

    def run(self, *, finalists: int | None, searches: bool) -> SweepEnding:
        """Train until no trial is left."""
        if searches:
            self._train()
        reason = self._ending_reason()
        if reason not in ("until", "failures") and finalists is not None:
            self._new_trials = self._next_promising(finalists)
            self._train()
            if self._is_out_of_time:
                reason = "until"
        if reason not in ("until", "failures"):
            self._end_paused()
        return SweepEnding(reason, self._idle)

    def _next_promising(self, finalists: int) -> Iterator[AskedTrial]:
        """Yield the promising trials, until asked to stop."""
        trials = self._study.promising_to_train(finalists, places=self._runner.places)
        while not self._should_stop():
            trial = next(trials, None)
            if trial is None:
                return
            yield trial
        self._is_out_of_time = True

    def _train(self) -> None:
        """Train the trials that are next, until none is."""
        running = 0
        while True:
            running += self._fill_places(running)
            if running == 0:
                break
            if running == self._runner.places and self._stop_reason is None:
                self._study.draw_ahead(running)
            trial, result = self._wait(running)
            running -= 1
            if isinstance(result, Death):
                self._restarts.append(self._study.record_death(trial, result.epochs))
            elif result.state == PAUSED:
                self._pause(trial, result)
            else:
                self._tell(trial, result)

    def _fill_places(self, running: int) -> int:
        """Begin trials while a place is free and a trial is available; return how many began."""
        begun = 0
        while running + begun < self._runner.places:
            trial = self._next_trial()
            if trial is None:
                break
            if self._begin(trial):
                begun += 1
        return begun

    def _next_trial(self) -> AskedTrial | None:
        """The next trial to begin; None if there is none, or none yet."""
        if self._restarts:
            return self._restarts.popleft()
        return next(self._new_trials, None)

    def _begin(self, trial: AskedTrial) -> bool:
        """Begin a trial, or tell the result if known already; return whether the trial began."""
        known_result = self._known_result(trial)
        if known_result is None:
            self._runner.begin(trial)
            return True
        self._tell(trial, self._complete_untrained(trial, known_result))
        return False

    def _known_result(self, trial: AskedTrial) -> TrialResult | None:
        lost = self._study.lost_result(trial)
        if lost is not None:
            return lost
        earlier = self._study.earlier_result(trial)
        if earlier is not None:
            return _duplicate_result(trial, earlier)
        if trial.deaths >= MAX_DEATHS:
            return _poison_result(trial)
        return None

    def _wait(self, running: int) -> tuple[AskedTrial, TrialResult | Death]:
        """Wait for the next trial to end, and count the idle time of empty places."""
        start = time.monotonic()
        ended = self._runner.wait()
        empty_places = self._runner.places - running
        if empty_places > 0 and self._study.is_waiting:
            self._idle += empty_places * (time.monotonic() - start)
        return ended

    def _tell(self, trial: AskedTrial, result: TrialResult) -> None:
        stored_result = self._study.tell(trial, result)
        self._on_result(stored_result)
        self._ended.add(trial.number)
        for duplicate in self._study.waiting_duplicates(trial.number):
            self._tell(
                duplicate,
                self._complete_untrained(duplicate, _duplicate_result(duplicate, stored_result)),
            )

    def _pause(self, trial: AskedTrial, result: TrialResult) -> None:
        pause = self._study.pause(trial, result)
        if isinstance(pause, Pause):
            self._on_pause(pause)
        else:  # somebody else has ended the trial
            self._tell(trial, self._complete_untrained(trial, pause))

    def _end_paused(self) -> None:
        """End the trials that will not go on."""
        for trial in self._study.paused_trials():
            if trial.progress is not None:
                result = dataclasses.replace(trial.progress, state=PRUNED, end=PRUNED)
                self._tell(trial, self._complete_untrained(trial, result))

    def _is_over(self, results: Sequence[TrialResult]) -> bool:
        """Whether no further trial begins after these results."""
        if self._too_many_failures(results):
            self._stop_reason = "failures"
        else:
            self._stop_reason = stop_reason(self._study.spec, results)
            if self._stop_reason is None and self._should_stop():
                self._stop_reason = "until"
        return self._stop_reason is not None

    def _too_many_failures(self, results: Sequence[TrialResult]) -> bool:
        """Whether too many of the trials that ended in this sweep failed in a row."""
        in_a_row = 0
        for result in results:
            if result.duplicate_of is not None:  # says nothing new
                continue
            if result.state == PAUSED:
                in_a_row = 0
            if result.number not in self._ended:  # it ended earlier, or is paused
                continue
            if result.end in BAD_CONFIGURATION:  # says nothing of other configurations
                continue
            in_a_row = in_a_row + 1 if result.state == FAILED else 0
            if in_a_row >= self._max_failures:
                return True
        return False

    def _ending_reason(self) -> str:
        if self._stop_reason is not None:
            return self._stop_reason
        if self._too_many_failures(self._study.results()):
            return "failures"
        return "done"


def _duplicate_result(trial: AskedTrial, earlier: TrialResult) -> TrialResult:
    return dataclasses.replace(
        earlier, number=trial.number, duplicate_of=earlier.number, run_id=None
    )


def _poison_result(trial: AskedTrial) -> TrialResult:
    return TrialResult(
        number=trial.number,
        config=trial.config,
        state=FAILED,
        end="poison",
        error=f"its process died {trial.deaths} times without a new checkpoint",
    )


def stop_reason(spec: StudySpec, results: Sequence[TrialResult]) -> str | None:
    """Return the rule of a study's ``stop`` that holds after these results, in words, or None.

    Args:
        spec: the study.
        results: of its trials, in order: at each pause, and at the end.
    """
    stop = spec.stop
    if stop == Stop():
        return None
    sign = 1 if spec.maximize else -1  # below, more is better
    # Whether a duplicate has its result yet is a matter of time, and its original has the same.
    complete = [
        sign * result.value
        for result in results
        if result.state == COMPLETE and result.value is not None and result.duplicate_of is None
    ]
    if stop.target is not None and max(complete, default=-math.inf) >= sign * stop.target:
        return f"target {stop.target:g} reached"
    if stop.no_gain is not None and _trials_since_best(results, sign) >= stop.no_gain:
        return f"no gain in {stop.no_gain} trials"
    if stop.time is not None:
        seconds = {r.number: r.seconds for r in results if r.duplicate_of is None}
        if math.fsum(seconds.values()) >= stop.time:
            return f"{stop.time:g} s of training used up"
    return None


def _trials_since_best(results: Sequence[TrialResult], sign: int) -> int:
    """Count the trials that began after the best value; 0 without a value."""
    best = -math.inf
    begun: set[int] = set()
    count = 0
    for result in results:
        if result.number not in begun:
            begun.add(result.number)
            count += 1
        has_value = result.state in (COMPLETE, PAUSED) and result.duplicate_of is None
        if has_value and result.value is not None and sign * float(result.value or 0.0) > best:
            best = sign * float(result.value or 0.0)
            count = 0
    return count if math.isfinite(best) else 0
