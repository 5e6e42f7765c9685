"""The loop of a sweep: asks for trials, has them trained, tells what came of them. Knows no process and no network."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeps.search.study import AskedTrial, Study
from sweeps.spec.study_spec import StudySpec
from sweeps.trial import COMPLETE, FAILED, TrialResult

MAX_DEATHS = 3  # a trial that takes its process with it this often is not tried again
MAX_FAILURES = 5  # so many failures in a row are not the trials' fault


class Runner(Protocol):
    """What trains: so many trials at a time."""

    @property
    def places(self) -> int:
        """How many at a time."""

    def begin(self, job: AskedTrial) -> None:
        """Begin a trial; called while a place is free."""

    def wait(self) -> tuple[AskedTrial, TrialResult | None]:
        """Wait for the next of those begun that ends; without a result its process has died."""


class SequentialRunner:
    """An engine that trains with a function, one trial at a time, while it is waited for."""

    places = 1

    def __init__(self, train: Callable[[AskedTrial], TrialResult]) -> None:
        self._train = train
        self._begun: deque[AskedTrial] = deque()

    def begin(self, job: AskedTrial) -> None:
        """Keep the trial until it is waited for."""
        self._begun.append(job)

    def wait(self) -> tuple[AskedTrial, TrialResult]:
        """Train it."""
        job = self._begun.popleft()
        return job, self._train(job)


@dataclass(frozen=True)
class SweepEnding:
    """How a sweep ended."""

    reason: str  # done, until, failures (after so many in a row), or which rule of the study's `stop` holds
    idle: float = 0.0  # seconds that places were empty because the next trial had to wait for the end of earlier ones


def run(
    study: Study,
    engine: Runner,
    *,
    untrained: Callable[[AskedTrial, TrialResult], TrialResult] = lambda _job, result: result,
    told: Callable[[TrialResult], None] = lambda _result: None,
    until: Callable[[], bool] = lambda: False,
    max_failures: int = MAX_FAILURES,
) -> SweepEnding:
    """Train what is left of a study, and keep each result as soon as it is there.

    Args:
        study: the study.
        engine: trains the trials; their epochs are reported through `Study.report`.
        untrained: completes a result that was not trained: an earlier trial's of the same configuration, or that of
            a trial whose process died too often.
        told: called after a result is kept.
        until: asked before each new trial; True lets none begin any more.
        max_failures: so many in a row do the same.
    """
    return _Loop(study, engine, untrained, told, until, max_failures).run()


class _Loop:
    """One sweep under way."""

    def __init__(
        self,
        study: Study,
        engine: Runner,
        untrained: Callable[[AskedTrial, TrialResult], TrialResult],
        told: Callable[[TrialResult], None],
        until: Callable[[], bool],
        max_failures: int,
    ) -> None:
        self._study = study
        self._engine = engine
        self._untrained = untrained
        self._told = told
        self._until = until
        self._max_failures = max_failures
        self._jobs = study.jobs(self._over)
        self._again: deque[AskedTrial] = deque()  # whose process died
        self._ended: set[int] = set()  # in this sweep
        self._reason: str | None = None  # why no further trial is begun
        self._idle = 0.0

    def run(self) -> SweepEnding:
        """Train until nothing is left."""
        begun = 0
        while True:
            while begun < self._engine.places and (job := self._next()) is not None:
                begun += self._begin(job)
            if not begun:
                return SweepEnding(self._end(), self._idle)
            waited = time.monotonic()
            job, result = self._engine.wait()
            if begun < self._engine.places and self._study.held():
                self._idle += (self._engine.places - begun) * (time.monotonic() - waited)
            begun -= 1
            if result is None:
                self._again.append(self._study.died(job))
            else:
                self._tell(job, result)

    def _next(self) -> AskedTrial | None:
        """The next trial that can be begun, if there is one now."""
        if self._again:
            return self._again.popleft()
        return next(self._jobs, None)

    def _begin(self, job: AskedTrial) -> bool:
        """Begin a trial, or tell at once what is known of it; whether it was begun."""
        known = _duplicate(job, self._study.earlier(job)) or _poison(job)
        if known is None:
            self._engine.begin(job)
        else:
            self._tell(job, self._untrained(job, known))
        return known is None

    def _tell(self, job: AskedTrial, result: TrialResult) -> None:
        self._told(self._study.tell(job, result))
        self._ended.add(job.number)

    def _over(self, results: Sequence[TrialResult]) -> bool:
        """Whether no further trial is begun after these results."""
        if self._failing(results):
            self._reason = "failures"
        else:
            self._reason = stop_reason(self._study.spec, results) or (
                "until" if self._until() else None
            )
        return self._reason is not None

    def _failing(self, results: Sequence[TrialResult]) -> bool:
        """Whether too many of what ended in this sweep failed in a row."""
        in_a_row = 0
        for result in results:
            if (
                result.number not in self._ended or result.duplicate_of is not None
            ):  # which says nothing new
                continue
            in_a_row = in_a_row + 1 if result.state == FAILED else 0
            if in_a_row >= self._max_failures:
                return True
        return False

    def _end(self) -> str:
        if self._reason is None and self._failing(self._study.results()):
            return "failures"
        return self._reason or "done"


def _duplicate(job: AskedTrial, earlier: TrialResult | None) -> TrialResult | None:
    if earlier is None:
        return None
    return dataclasses.replace(earlier, number=job.number, duplicate_of=earlier.number, run_id=None)


def _poison(job: AskedTrial) -> TrialResult | None:
    if job.deaths < MAX_DEATHS:
        return None
    error = f"its process died {job.deaths} times"
    return TrialResult(
        number=job.number, config=job.config, state=FAILED, end="poison", error=error
    )


def stop_reason(spec: StudySpec, results: Sequence[TrialResult]) -> str | None:
    """Which rule of a study's ``stop`` holds after these results, in words; None if none does."""
    stop = spec.stop
    sign = 1 if spec.maximize else -1
    values = [
        sign * r.value if r.state == COMPLETE and r.value is not None else -math.inf
        for r in results
    ]
    best = max(values, default=-math.inf)
    if stop.target is not None and best >= sign * stop.target:
        return f"target {stop.target:g} reached"
    if (
        stop.no_gain is not None
        and math.isfinite(best)
        and len(values) - 1 - values.index(best) >= stop.no_gain
    ):
        return f"no gain in {stop.no_gain} trials"
    if (
        stop.time is not None
        and math.fsum(r.seconds for r in results if r.duplicate_of is None) >= stop.time
    ):
        return f"{stop.time:g} s of training used up"
    return None
