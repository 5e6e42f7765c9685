"""A study as its store keeps it: read back, and told facts that may be added later. Asks for no trial and ends none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweeps.analysis.facts import Refit, StoredSpec, StudyFacts
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.ranking import find_best_trial
from sweeps.analysis.record import StudyRecord
from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.trial import FAILED, RUNNING, TrialConfig, TrialResult

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_TEST = "test of trial "  # and the number: a study's attribute
_RUN = "run of trial "  # the same
_PICTURES = "pictures"  # of one trial's mistakes
Storage = optuna.storages.BaseStorage
# What a store raises when it cannot be used; the last where a damaged page holds nothing but the text of a value.
STORE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError, json.JSONDecodeError)


def cause(error: BaseException) -> str:
    """What a store's error comes from, as one line: Optuna's own text blames the length of a value."""
    found = error.__cause__ or error
    return " ".join(str(getattr(found, "orig", None) or found).split())[
        :300
    ]  # the database's words, not SQLAlchemy's


class StorageError(Exception):
    """The store of studies cannot be opened."""


class StudyNotFoundError(LookupError):
    """No such study in the store."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has not ended: being trained, or left by a sweep that was cut."""

    number: int
    epoch: int  # that has ended; 0 before the first
    since: float | None  # when it was begun: seconds since 1970, UTC


class StoredStudy:
    """What is kept of a study in its store, to be read and added to: no trial can be asked of it."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._ended: dict[int, TrialResult] = {}  # read already

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self._study.study_name

    @cached_property
    def facts(self) -> StudyFacts:
        """What was resolved when the study was made, and never changes."""
        return StudyFacts.from_dict(self._study.user_attrs["facts"])

    def remember(self, key: str, value: object) -> None:
        """Keep a fact that changes: the parent run."""
        self._study.set_user_attr(key, value)

    def recall(self, key: str) -> Any:
        """Return what was remembered, or None."""
        return self._study.user_attrs.get(key)

    def results(self) -> tuple[TrialResult, ...]:
        """What came of each trial, by number."""
        return tuple(_results(self._trials(), self._study.user_attrs, self._ended))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def first_running(self) -> int | None:
        """The number of the first trial that has not ended; None where all have."""
        trials = (
            t for t in self._trials() if t.state == TrialState.RUNNING and "config" in t.user_attrs
        )
        return next((trial.number for trial in trials), None)

    def record(self) -> StudyRecord:
        """The study as reports know it."""
        attrs = self._study.user_attrs
        results = tuple(
            _results(StoredStudy._trials(self), attrs, self._ended)
        )  # as they are in the store at this moment
        maximize = self._study.direction == optuna.study.StudyDirection.MAXIMIZE
        return StudyRecord(
            name=self.name,
            study=self.name if self.facts.study is None else self.facts.study,
            dataset=attrs["spec"]["dataset"],
            objective=attrs["spec"]["objective"],
            maximize=maximize,
            trials=attrs["trials"],
            dimensions=tuple(Dimension.from_dict(data) for data in attrs["facts"]["dimensions"]),
            classes=self.facts.classes,
            results=results,
            parent_run_id=attrs.get("parent_run_id"),
            method=attrs["spec"]["method"],
            keep_checkpoints=attrs.get("keep_checkpoints", "each"),
            deviations=attrs.get("deviations", ""),
            reference=tuple(map(Reference.model_validate, attrs.get("reference", ()))),
            thumbnails=_pictures(attrs.get(_PICTURES), find_best_trial(results, maximize=maximize)),
            spec=StoredSpec.from_dict(attrs["spec"]),
            facts=self.facts,
            reason=attrs.get("reason"),
            command=attrs.get("command", ""),
            finalists=_finalists(self._study),
            refit=Refit(**attrs["refit"]) if attrs.get("refit") else None,
        )

    @property
    def thumbnails_trial(self) -> int | None:
        """The trial whose mistakes are kept as pictures."""
        kept = self.recall(_PICTURES)
        if kept is None:
            return None
        return int(kept["trial"])

    def keep_thumbnails(self, number: int, pictures: Mapping[int, str]) -> None:
        """Keep a trial's mistakes as pictures, in place of another trial's: PNG in base64, by image."""
        self.remember(_PICTURES, {"trial": number, "images": pictures})

    @property
    def parent_study_run(self) -> str | None:
        """The parent run of the study whose finalists these are; None where there is none."""
        of = _of(self._study)
        if of is None:
            return None
        try:
            study = load(self._study._storage, of)  # noqa: SLF001
        except StudyNotFoundError:
            return None
        run: str | None = study.recall("parent_run_id")
        return run

    def keep_run(self, number: int, run_id: str, checkpoint: str | None) -> None:
        """Keep where an ended trial's record is: the result itself, which may have been told before, cannot change."""
        self._study.set_user_attr(f"{_RUN}{number}", {"run_id": run_id, "checkpoint": checkpoint})


def open_storage(
    url: str, *, timeout: float, engine: dict[str, Any] | None = None, examined: bool = False
) -> Storage:
    """Open a store of studies; a new one gets its tables.

    Args:
        url: of SQLAlchemy.
        timeout: seconds that a write to a file waits for another's.
        engine: how SQLAlchemy connects to what is no file.
        examined: the tables are of the installed version; Optuna, to see that, opens a second connection.

    Raises:
        StorageError: for a file that is none, or of another version of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = engine or {"connect_args": {"timeout": timeout}}
    # Optuna formats it
    if engine:
        plain = url.replace("{", "{{").replace("}", "}}")
    else:
        plain = url
    try:
        return optuna.storages.RDBStorage(
            plain, engine_kwargs=options, skip_compatibility_check=examined
        )
    except (*STORE_ERRORS, RuntimeError) as error:
        raise StorageError(cause(error)) from error


def read_record(storage: Storage, name: str) -> StudyRecord:
    """Read a study back.

    Raises:
        StudyNotFoundError: naming the studies that there are.
    """
    return load(storage, name).record()


def load(storage: Storage, name: str) -> StoredStudy:
    """Open what is kept of a study.

    Raises:
        StudyNotFoundError: naming the studies that there are.
    """
    try:
        study = optuna.load_study(storage=storage, study_name=name)
        _ = study.user_attrs["spec"]  # another program's has none
        return StoredStudy(study)
    except KeyError:
        known = ", ".join(study_names(storage)) or "none yet"
        raise StudyNotFoundError(f"no study {name!r}; there are: {known}") from None


def running_trials(storage: Storage, name: str) -> tuple[RunningTrial, ...]:
    """How far the trials are that have not ended."""
    trials = optuna.load_study(storage=storage, study_name=name).get_trials(deepcopy=False)
    return tuple(
        RunningTrial(
            number=trial.number,
            epoch=max(trial.intermediate_values, default=0),
            since=trial.datetime_start.timestamp() if trial.datetime_start else None,
        )
        for trial in trials
        if trial.state == TrialState.RUNNING and "config" in trial.user_attrs
    )


def study_facts(storage: Storage, name: str) -> StudyFacts | None:
    """Read what was resolved when a study was made; None if there is no such study."""
    try:
        study = optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        return None
    return StudyFacts.from_dict(study.user_attrs.get("facts", {}))


def keep_test(storage: Storage, name: str, number: int, figures: Mapping[str, float]) -> None:
    """Keep a trial's scores on the test split with its study: an ended trial itself cannot change in Optuna."""
    study = optuna.load_study(storage=storage, study_name=name)
    key = f"{_TEST}{number}"
    study.set_user_attr(key, {**study.user_attrs.get(key, {}), **figures})


def study_names(storage: Storage) -> list[str]:
    """The names of the studies in a store, the one last opened last."""
    made = [
        s for s in storage.get_all_studies() if "opened" in s.user_attrs
    ]  # a summary would copy every trial
    return [s.study_name for s in sorted(made, key=lambda s: s.user_attrs["opened"])]


def _finalists(study: optuna.Study) -> StudyRecord | None:
    """The study of a study's finalists, if there is one in the same store."""
    try:
        found = optuna.load_study(
            storage=study._storage,  # noqa: SLF001
            study_name=f"{study.study_name}{FINALISTS_SUFFIX}",
        )
    except KeyError:
        return None
    if _of(found) == study.study_name and "spec" in found.user_attrs:
        return StoredStudy(found).record()
    return None


def _of(study: optuna.Study) -> str | None:
    """The name of the study whose finalists a study is; None for any other."""
    name: str | None = (study.user_attrs.get("facts", {}).get("finalists") or {}).get("of")
    return name


def _pictures(kept: Mapping[str, Any] | None, winner: TrialResult | None) -> dict[int, str]:
    """The pictures that are kept, unless they are of a trial that is the best no more."""
    if kept is None or winner is None or kept["trial"] != winner.number:
        return {}
    return {int(image): picture for image, picture in kept["images"].items()}


def _results(
    trials: Iterable[FrozenTrial], kept: Mapping[str, Any], known: dict[int, TrialResult]
) -> Iterator[TrialResult]:
    """Every trial's result, with what the study keeps of it; ``known`` holds those read before: they do not change."""
    read: dict[int | None, TrialResult] = {}
    for trial in trials:
        attrs = trial.user_attrs
        if "result" in attrs and trial.state in ENDED:
            if trial.number not in known:
                known[trial.number] = TrialResult.from_dict(attrs["result"])
            result = known[trial.number]
            changes = {**kept.get(f"{_RUN}{trial.number}", {})}
            if result.duplicate_of in read:
                changes["checkpoint"] = read[result.duplicate_of].checkpoint
            if f"{_TEST}{trial.number}" in kept:
                changes["test"] = kept[f"{_TEST}{trial.number}"]
            read[trial.number] = dataclasses.replace(result, **changes) if changes else result
            yield read[trial.number]
        elif "config" in attrs:
            if trial.state == TrialState.RUNNING:
                yield running_result(trial)
            else:
                ended = lost_result(trial.number, TrialConfig.from_dict(attrs["config"]))
                yield dataclasses.replace(ended, **kept.get(f"{_RUN}{trial.number}", {}))


def running_result(trial: FrozenTrial) -> TrialResult:
    """What is known of a trial that has not ended: how far it is."""
    reports = trial.intermediate_values
    attrs = trial.user_attrs
    return TrialResult(
        number=trial.number,
        config=TrialConfig.from_dict(attrs["config"]),
        state=RUNNING,
        end="interrupted" if attrs.get("interrupted") else "running",
        value=reports[max(reports)] if reports else None,
    )


def lost_result(number: int, config: TrialConfig, run_id: str | None = None) -> TrialResult:
    """What is known of a trial that we did not end: declared stale by another program, or ended by hand."""
    error = "it was ended in the store of studies by somebody else"
    return TrialResult(
        number=number, config=config, state=FAILED, end="lost", error=error, run_id=run_id
    )
