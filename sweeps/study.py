"""Asks, reports, prunes, tells and resumes over an Optuna study; is handed the function that trains.

Optuna is the truth about which trials exist and what came of them. Every decision is a function of the study's seed
and of what is stored, so that a sweep that was killed goes on as if it had not been.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweeps.dimension import Dimension, round_significant
from sweeps.layout import configuration, decide, points, total
from sweeps.pruning import PROTECTED, prune
from sweeps.ranking import StudyRecord
from sweeps.reference import Reference
from sweeps.space import StudySpec
from sweeps.trial import COMPLETE, FAILED, PRUNED, RUNNING, TrialConfig, TrialResult, Value

MAX_DEATHS = 3  # a trial that takes its process with it this often is not tried again
MAX_FAILURES = 5  # so many failures in a row are not the trials' fault

_STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}
_ENDED = tuple(_STATES.values())
_TEST = "test of trial "  # and the number: a study's attribute

Storage = optuna.storages.BaseStorage
STORE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)  # what a store raises when it cannot be used


class StorageError(Exception):
    """The store of studies cannot be opened."""


class StudyChangedError(ValueError):
    """The study in the store was made from another specification."""


class StudyNotFoundError(LookupError):
    """No such study in the store."""


@dataclass(frozen=True)
class Job:
    """One trial to be trained."""

    number: int
    config: TrialConfig
    deaths: int = 0  # of processes that had begun it


class Study:
    """A study in its store: the specification it was made from, and its trials."""

    def __init__(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study = study
        self._live: dict[int, Trial] = {}
        self._ended: dict[int, TrialResult] = {}  # read already
        self.spec = spec

    @classmethod
    def open(cls, storage: Storage, name: str, spec: StudySpec, facts: Mapping[str, Any]) -> Study:
        """Open the study, or make it.

        Args:
            storage: an Optuna storage that only this process writes.
            name: the study's name there.
            spec: what to search.
            facts: kept with a new study and read back by `facts`: what was resolved once and for all.

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
            study.set_user_attr("facts", {**facts, "dimensions": [d.to_dict() for d in spec.dimensions]})
            study.set_user_attr("spec", identity)
        elif stored != json.loads(json.dumps(identity)):
            raise StudyChangedError(f"study {name!r} was made with {_difference(stored, identity)}")
        study.set_user_attr("trials", total(spec))
        study.set_user_attr("reference", [reference.model_dump(exclude_defaults=True) for reference in spec.reference])
        study.set_user_attr("opened", time.time())
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "result" in trial.user_attrs:  # killed before it could be told
                _end(study, trial.number, trial.user_attrs["result"])
        return cls(study, spec)

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self._study.study_name

    @cached_property
    def total(self) -> int:
        """The trials in all."""
        return total(self.spec)

    @property
    def facts(self) -> dict[str, Any]:
        """What was resolved when the study was made."""
        facts: dict[str, Any] = self._study.user_attrs["facts"]
        return facts

    def remember(self, key: str, value: object) -> None:
        """Keep a fact that changes: the parent run."""
        self._study.set_user_attr(key, value)

    def recall(self, key: str) -> Any:
        """Return what was remembered, or None."""
        return self._study.user_attrs.get(key)

    def ended(self) -> int:
        """How many trials have ended of themselves."""
        return len(self._study.get_trials(deepcopy=False, states=_ENDED))

    def results(self) -> tuple[TrialResult, ...]:
        """What came of each trial, by number."""
        return tuple(_results(self._study, self._ended))

    def record(self) -> StudyRecord:
        """The study as reports know it."""
        return _record(self._study)

    def jobs(self, until: Callable[[], bool] = lambda: False) -> Iterator[Job]:
        """Yield what is left to train, one at a time: first what a dead process had begun, then new trials.

        Args:
            until: asked before each new trial; True ends it.
        """
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            yield self._adopt(frozen)
        while self.ended() < self.total and not until():
            yield self._ask()

    def report(self, job: Job, epoch: int, best_value: float) -> bool:
        """Keep the best value so far of a trial after an epoch (from 1), and say whether to prune it."""
        trial = self._live[job.number]
        trials = self._study.get_trials(deepcopy=False)
        reports = dict(trials[job.number].intermediate_values)
        if epoch not in reports:  # an adopted trial repeats the epochs after its checkpoint
            trial.report(best_value, epoch)
            reports[epoch] = best_value
        if job.number < max(PROTECTED, len(self.spec.starts) * self.spec.repeats):
            return False
        seen = {step: value for step, value in reports.items() if step <= epoch}
        others = [t.intermediate_values for t in trials[: job.number] if t.state in _ENDED]
        return prune(self.spec.pruner, seen, others, epochs=job.config.epochs, maximize=self.spec.maximize)

    def earlier(self, job: Job) -> TrialResult | None:
        """The result of an earlier trial of the same configuration, which decides what this one's would be."""
        for result in self.results()[: job.number]:
            same = result.config.signature == job.config.signature and result.duplicate_of is None
            if same and result.end in (COMPLETE, PRUNED, "infeasible", "diverged"):
                return result
        return None

    def note_interrupted(self, job: Job) -> None:
        """Keep that the trial was asked to stop: the next start adopts it, and does not count a death."""
        self._live[job.number].set_user_attr("interrupted", value=True)

    def tell(self, job: Job, result: TrialResult) -> None:
        """Keep how a trial ended. Its result is written first: a trial that has ended always has one."""
        plain = json.loads(result.to_json())
        self._live.pop(job.number).set_user_attr("result", plain)
        _end(self._study, job.number, plain)

    def _ask(self) -> Job:
        # A trial may wait already: enqueued by a process that died before it could ask.
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = waiting[0].number if waiting else len(self._study.get_trials(deepcopy=False))
        values = None if waiting else self._planned(number)
        if values is not None:
            self._study.enqueue_trial(values)
        self._study.sampler = _sampler(self.spec, f"{number}")
        return self._start(self._study.ask())

    def _start(self, trial: Trial, deaths: int = 0) -> Job:
        config = trial.user_attrs.get("config")
        if config is None:
            values = decide(self.spec, lambda dimension: self._suggest(trial, dimension))
            made = configuration(self.spec, {**self._settled(), **values}, trial.number % self.spec.repeats)
            trial.set_user_attr("config", made.to_dict())
            config = made.to_dict()
        self._live[trial.number] = trial
        return Job(trial.number, TrialConfig.from_dict(config), deaths)

    def _settled(self) -> dict[str, Value]:
        """What was settled when the study was made, but for a device that is asked for now."""
        device = self.spec.base.get("device", "auto")
        return {**self.facts.get("runtime", {}), **({} if device == "auto" else {"device": device})}

    def _suggest(self, trial: Trial, dimension: Dimension) -> Value:
        # What is not drawn jointly is drawn apart: a kill between two values changes neither.
        if dimension.key not in trial.relative_params:
            self._study.sampler = _sampler(self.spec, f"{trial.number}:{dimension.key}")
        return _suggest(trial, dimension)

    def _planned(self, number: int) -> dict[str, Value] | None:
        """The parameters of a trial that is not the sampler's to choose: a start, a repeat, a point of a grid."""
        index, repeat = divmod(number, self.spec.repeats)
        if repeat:
            return self._study.get_trials(deepcopy=False)[number - repeat].params
        return _params(self.spec, self._points[index]) if index < len(self._points) else None

    @cached_property
    def _points(self) -> list[dict[str, Value]]:
        return list(points(self.spec))

    def _adopt(self, frozen: FrozenTrial) -> Job:
        """Take over a trial that a dead process left RUNNING: the same number, the same values."""
        self._study.sampler = _sampler(self.spec, f"{frozen.number}")
        trial = Trial(self._study, frozen._trial_id)  # noqa: SLF001 - re-adoption keeps the trial list identical
        deaths = frozen.user_attrs.get("deaths", 0) + (not frozen.user_attrs.get("interrupted", False))
        trial.set_user_attr("deaths", deaths)
        trial.set_user_attr("interrupted", value=False)
        return self._start(trial, deaths)


def run(
    study: Study,
    train: Callable[[Job], TrialResult],
    *,
    untrained: Callable[[Job, TrialResult], TrialResult] = lambda _job, result: result,
    told: Callable[[TrialResult], None] = lambda _result: None,
    until: Callable[[], bool] = lambda: False,
) -> str:
    """Train what is left of a study, one trial at a time, and keep each result.

    Args:
        study: the study.
        train: trains one trial; reports its epochs through `Study.report`.
        untrained: completes a result that was not trained: an earlier trial's of the same configuration, or that of
            a trial whose process died too often.
        told: called after a result is kept.
        until: asked before each new trial; True ends the loop.

    Returns:
        Why it ended: ``done``, ``until``, ``failures`` after `MAX_FAILURES` in a row, or which rule of the study's
        ``stop`` holds.
    """
    in_a_row = 0
    for job in study.jobs(lambda: stop_reason(study.spec, study.results()) is not None or until()):
        known = _duplicate(job, study.earlier(job)) or _poison(job)
        result = train(job) if known is None else untrained(job, known)
        study.tell(job, result)
        told(result)
        in_a_row = in_a_row + 1 if result.state == FAILED else 0
        if in_a_row >= MAX_FAILURES:
            return "failures"
    if study.ended() >= study.total:
        return "done"
    return stop_reason(study.spec, study.results()) or "until"


def stop_reason(spec: StudySpec, results: Sequence[TrialResult]) -> str | None:
    """Which rule of a study's ``stop`` holds after these results, in words; None if none does."""
    stop, sign = spec.stop, 1 if spec.maximize else -1
    values = [sign * r.value if r.state == COMPLETE and r.value is not None else -math.inf for r in results]
    best = max(values, default=-math.inf)
    if stop.target is not None and best >= sign * stop.target:
        return f"target {stop.target:g} reached"
    if stop.no_gain is not None and math.isfinite(best) and len(values) - 1 - values.index(best) >= stop.no_gain:
        return f"no gain in {stop.no_gain} trials"
    if stop.time is not None and math.fsum(r.seconds for r in results if r.duplicate_of is None) >= stop.time:
        return f"{stop.time:g} s of training used up"
    return None


def _duplicate(job: Job, earlier: TrialResult | None) -> TrialResult | None:
    if earlier is None:
        return None
    return dataclasses.replace(earlier, number=job.number, duplicate_of=earlier.number, run_id=None)


def _poison(job: Job) -> TrialResult | None:
    if job.deaths < MAX_DEATHS:
        return None
    error = f"its process died {job.deaths} times"
    return TrialResult(number=job.number, config=job.config, state=FAILED, end="poison", error=error)


def open_storage(url: str, *, timeout: float) -> Storage:
    """Open a store of studies; a new file gets its tables.

    Args:
        url: of SQLAlchemy.
        timeout: seconds that a write waits for another's.

    Raises:
        StorageError: for a file that is none, or of another version of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": timeout}})
    except (*STORE_ERRORS, RuntimeError) as error:
        raise StorageError(" ".join(str(error).split())) from error


def read(storage: Storage, name: str) -> StudyRecord:
    """Read a study back.

    Raises:
        StudyNotFoundError: naming the studies that there are.
    """
    try:
        return _record(optuna.load_study(storage=storage, study_name=name))
    except KeyError:
        known = ", ".join(names(storage)) or "none yet"
        raise StudyNotFoundError(f"no study {name!r}; there are: {known}") from None


def keep_test(storage: Storage, name: str, number: int, figures: Mapping[str, float]) -> None:
    """Keep a trial's scores on the test split with its study: an ended trial itself cannot change in Optuna."""
    study = optuna.load_study(storage=storage, study_name=name)
    key = f"{_TEST}{number}"
    study.set_user_attr(key, {**study.user_attrs.get(key, {}), **figures})


def names(storage: Storage) -> list[str]:
    """The names of the studies in a store, the one last opened last."""
    summaries = optuna.study.get_all_study_summaries(storage, include_best_trial=False)
    made = [s for s in summaries if "opened" in s.user_attrs]
    return [s.study_name for s in sorted(made, key=lambda s: s.user_attrs["opened"])]


def _record(study: optuna.Study) -> StudyRecord:
    attrs = study.user_attrs
    return StudyRecord(
        name=study.study_name,
        study=attrs["facts"].get("study", study.study_name),
        dataset=attrs["spec"]["dataset"],
        objective=attrs["spec"]["objective"],
        maximize=study.direction == optuna.study.StudyDirection.MAXIMIZE,
        trials=attrs["trials"],
        dimensions=tuple(Dimension.from_dict(data) for data in attrs["facts"]["dimensions"]),
        classes=tuple(attrs["facts"].get("classes", ())),
        results=tuple(_results(study, {})),
        parent_run_id=attrs.get("parent_run_id"),
        method=attrs["spec"]["method"],
        reference=tuple(map(Reference.model_validate, attrs.get("reference", ()))),
    )


def _results(study: optuna.Study, known: dict[int, TrialResult]) -> Iterator[TrialResult]:
    """Every trial's result; ``known`` holds those that were read before, which cannot change."""
    tests = study.user_attrs
    for trial in study.get_trials(deepcopy=False):
        attrs = trial.user_attrs
        if "result" in attrs and trial.state in _ENDED:
            if trial.number not in known:
                known[trial.number] = TrialResult.from_dict(attrs["result"])
            test = tests.get(f"{_TEST}{trial.number}")
            yield dataclasses.replace(known[trial.number], test=test) if test else known[trial.number]
        elif "config" in attrs:
            reports = trial.intermediate_values
            yield TrialResult(
                number=trial.number,
                config=TrialConfig.from_dict(attrs["config"]),
                state=RUNNING if trial.state == TrialState.RUNNING else FAILED,
                end="running" if trial.state == TrialState.RUNNING else "lost",
                value=reports[max(reports)] if reports else None,
                run_id=attrs.get("run_id"),
            )


def _end(study: optuna.Study, number: int, result: Mapping[str, Any]) -> None:
    value = result["value"] if result["state"] == COMPLETE else None
    study.tell(number, value, state=_STATES[result["state"]], skip_if_finished=True)


def _sampler(spec: StudySpec, what: str) -> optuna.samplers.BaseSampler:
    """A fresh sampler, seeded by the study's seed and by what it samples: a restart changes nothing."""
    digest = hashlib.sha256(f"{spec.seed}:{what}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if spec.method != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Grouped: dimensions that apply to one family are modelled together, over the trials that have them.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _params(spec: StudySpec, values: Mapping[str, Value]) -> dict[str, Value]:
    """The Optuna parameters of a configuration: its values by the keys of the dimensions that apply."""
    params: dict[str, Value] = {}

    def choose(dimension: Dimension) -> Value:
        params[dimension.key] = values[dimension.field]
        return values[dimension.field]

    decide(spec, choose)
    return params


def _suggest(trial: Trial, dimension: Dimension) -> Value:
    if dimension.choices:
        return cast("Value", trial.suggest_categorical(dimension.key, tuple(dict.fromkeys(dimension.choices))))
    low, high, step = float(dimension.low or 0), float(dimension.high or 0), dimension.step
    if dimension.integer:
        return trial.suggest_int(dimension.key, int(low), int(high), step=int(step or 1), log=dimension.log)
    return round_significant(trial.suggest_float(dimension.key, low, high, step=step, log=dimension.log))


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any], path: str = "") -> str:
    """Say what differs, key by key: ``lr 0.0001 to 0.1, log (now 0.0001 to 1, log)``."""
    parts = []
    for key in sorted({*stored, *asked}):
        old, new = stored.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _difference(old, new, f"{path}{key}.")
            parts += [inner] if inner else []
        elif json.dumps(old) != json.dumps(new):
            parts.append(f"{path}{key} {json.dumps(old)} (now {json.dumps(new)})")
    return ", ".join(parts)
