"""Reads studies from their store, and adds attributes to them. Asks for no trial and ends none.

Optuna is imported by the functions that use it alone: what reads an SQLite file needs none of it,
see `sweeps.search.tables`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import ValidationError

from sweeps.analysis.facts import SELECTION, Refit, StoredSpec, StudyFacts
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.looks import REFIT
from sweeps.analysis.ranking import RankingRule, find_best_trial
from sweeps.analysis.record import Promotions, StudyRecord
from sweeps.search.checked import (
    PLACE,
    RUN_OF,
    TEST,
    TEST_CORRECT,
    TEST_LOOKS,
    THUMBNAILS,
    check_promising,
    check_study,
)
from sweeps.search.decisions import (
    PROMOTING,
    DamagedStudyError,
    Decision,
    DecisionLog,
    count_promotions,
    named,
)
from sweeps.search.stored_trial import (
    BEGUN,
    ENDED,
    end_of,
    has_ended,
    has_finished,
    is_drawn_ahead,
    is_paused,
    is_running,
    lost_result,
    paused_epoch,
    paused_result,
    read_config,
    read_result,
    read_trials,
    running_result,
)
from sweeps.search.tables import StudyData, TableStorage, TrialData
from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import MAX_TRIALS, StudySpec, parse_budget
from sweeps.trial import PAUSED, PRUNED, TrialResult, problem

if TYPE_CHECKING:
    import optuna
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

    from sweeps.search.tables import TableStudy

Storage: TypeAlias = "optuna.storages.BaseStorage"
ReadableStorage: TypeAlias = "Storage | TableStorage"


def store_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a store that cannot be used, for an ``except`` clause."""
    # The last if a damaged page spoils only the text of a value.
    errors: tuple[type[Exception], ...] = (sqlite3.Error, json.JSONDecodeError)
    if "optuna" in sys.modules:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        errors += (SQLAlchemyError, StorageInternalError)
    return errors


def cause(error: BaseException) -> str:
    """Return the cause of a store's error, as one line.

    Optuna's own text blames the length of a value.
    """
    source = error.__cause__ or error
    database_error = getattr(source, "orig", None)  # behind SQLAlchemy's
    text = str(database_error or source)
    return " ".join(text.split())[:300]


class StudyChangedError(ValueError):
    """The study in the store was made from another specification."""

    def __init__(self, study: str, differences: str) -> None:
        """Keep which study it is, and how its specification differs from the one asked for.

        Args:
            study: the study's name.
            differences: as `sweeps.spec.differences.short_differences` says them.
        """
        super().__init__(f"study {study!r} has another definition ({differences})")
        self.study = study
        self.differences = differences


class StorageError(Exception):
    """The store of studies cannot be opened."""


class StudyNotFoundError(LookupError):
    """The store has no study of that name."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has not ended: in training, or left by an interrupted sweep."""

    number: int
    epoch: int  # the last that has ended; 0 before the first
    since: float | None  # the start: seconds since 1970, UTC


class StoredStudy:
    """A study in a store: gives access to results and attributes, but to no new trial."""

    def __init__(self, storage: ReadableStorage, study: StudyData) -> None:
        self._storage = storage
        self._study = study
        # Results that do not change are read once.
        self._ended_results: dict[int, TrialResult] = {}
        self._paused_results: dict[int, TrialResult] = {}  # the last of each trial

    @property
    def name(self) -> str:
        """The study's name in the store."""
        return self._study.study_name

    @cached_property
    def facts(self) -> StudyFacts:
        """The facts resolved when the study was made. They never change."""
        with named(self.name):
            return _read_facts(self._study.user_attrs["facts"])

    @cached_property
    def ranking_rule(self) -> RankingRule:
        """The rule by which the study's configurations are ranked."""
        spec = StoredSpec.from_dict(self._study.user_attrs["spec"])
        return RankingRule(
            maximize=self._study.directions[0].name == "MAXIMIZE",
            selection=self.facts.selection,
            repeats=spec.repeats,
        )

    def remember(self, key: str, value: object) -> None:
        """Store an attribute of the study, such as the parent run. It may change."""
        self._study.set_user_attr(key, value)

    def recall(self, key: str) -> Any:
        """Return a remembered attribute, or None."""
        return self._study.user_attrs.get(key)

    def results(self) -> tuple[TrialResult, ...]:
        """Return the result of each trial that has begun, by number."""
        trials = self._trials()
        return tuple(self._results(trials, self._study.user_attrs))

    def check(self) -> None:
        """Check all that is stored, for a command that is about to write.

        Raises:
            DamagedStudyError: if the store does not hold what a study holds.
        """
        with named(self.name):
            self.results()
            if self.promotes:
                _ = self.decisions

    def has_trial(self, number: int) -> bool:
        """Whether there is a trial of a number."""
        return 0 <= number < len(self._trials())

    def first_unended(self) -> int | None:
        """Return the number of the first trial in training or before it; None without any."""
        for trial in self._trials():
            if is_running(trial) or is_drawn_ahead(trial):
                return trial.number
        return None

    @cached_property
    def promotes(self) -> bool:
        """Whether paused trials may go on."""
        pruner = self._study.user_attrs["spec"]["pruner"]
        return self.facts.scheduler >= PROMOTING and pruner == "asha"

    @property
    def decisions(self) -> Sequence[Decision]:
        """The decisions so far of a study whose trials may go on, in order."""
        attrs = self._study.user_attrs
        return DecisionLog.read(attrs["goal"], self._trials(), attrs).decisions

    def in_order_of_ending(self, numbers: Collection[int]) -> list[int]:
        """Return ended trials in an order that no duration decides.

        This is the order of the decisions that ended them, or of their numbers. A trial is left out
        as long as another that has to come before it has not ended.

        Args:
            numbers: the numbers of ended trials.
        """
        if not self.promotes:
            first = self.first_unended()
            return sorted(number for number in numbers if first is None or number < first)
        return [number for number in self._ended_by_decisions() if number in numbers]

    def _ended_by_decisions(self) -> list[int]:
        trials = self._trials()
        order: dict[int, None] = {}  # as an ordered set
        decisions = self.decisions
        for decision in decisions:
            trial = trials[decision.trial]
            if not has_finished(trial, decision.until):
                return list(order)
            if has_ended(trial, decision.until):
                order[trial.number] = None
        for decision in decisions:  # trials that were paused to the end of the sweep
            if trials[decision.trial].state not in ENDED:
                break
            order[decision.trial] = None
        return list(order)

    def specification(self) -> StudySpec:
        """Return the specification that the study was made with, and its present total and budget.

        Conditions that end the study early are not stored. There are none here.
        """
        attrs = self._study.user_attrs
        budget = attrs.get("budget")
        trials: int | None = attrs["trials"]
        if budget is not None and trials == MAX_TRIALS:
            trials = None  # a budget alone says how many
        try:
            return StudySpec.from_identity(
                attrs["spec"],
                trials=trials,
                budget=budget,
                keep_checkpoints=attrs.get("keep_checkpoints") or "each",
                reference=attrs.get("reference") or (),
            )
        except ValidationError as error:
            text = f"attribute 'spec' holds no specification: {problem(error)}"
            raise DamagedStudyError(text, self.name) from None

    def promising_trials(self, top: int) -> list[int]:
        """Return the paused trials to finish before finalists are chosen; for a search at its end.

        Once the first of them is about to begin, the list is stored, see `keep_promising`.

        Args:
            top: how many finalists are chosen.
        """
        if not self.promotes or self.facts.selection < SELECTION:
            return []
        kept = self.recall(self._promising_key(top))
        if kept is not None:
            with named(self.name):
                return check_promising(kept, len(self._trials()))
        from sweeps.search.scheduling import Scheduler

        attrs = self._study.user_attrs
        trials = cast("Sequence[FrozenTrial]", self._trials())
        scheduler = Scheduler(
            self.specification(),
            total=attrs["trials"],
            version=self.facts.scheduler,
            order=self.facts.order,
            window=lambda: None,
            trials=lambda: trials,
            log=DecisionLog.read(attrs["goal"], trials, attrs),
        )
        return scheduler.promising(top)

    def is_unfinished(self, number: int) -> bool:
        """Whether a trial is paused, or ended as one that was."""
        trial = self._trials()[number]
        return trial.state not in ENDED or end_of(trial) == PRUNED

    def _promising_key(self, top: int) -> str:
        return f"promising for {top} finalists of {self._study.user_attrs['goal']}"

    def record(self) -> StudyRecord:
        """Read the study for a report, as it is in the store at this moment.

        Raises:
            DamagedStudyError: if the store does not hold what a study holds.
        """
        with named(self.name):
            return self._read_record()

    def _read_record(self) -> StudyRecord:
        attrs = self._study.user_attrs
        results = tuple(self._results(self._read_trials(), attrs))
        rope = _read_rope(attrs.get("rope"))
        finalists = _finalists_record(self._storage, self.name)
        if finalists is not None:
            finalists = dataclasses.replace(finalists, rope=rope)
        return StudyRecord(
            name=self.name,
            study=self.name if self.facts.study is None else self.facts.study,
            dataset=attrs["spec"]["dataset"],
            objective=attrs["spec"]["objective"],
            maximize=self.ranking_rule.maximize,
            trials=attrs["trials"],
            dimensions=tuple(Dimension.from_dict(data) for data in attrs["facts"]["dimensions"]),
            classes=self.facts.classes,
            results=results,
            parent_run_id=attrs.get("parent_run_id"),
            budget=_read_budget(attrs.get("budget")),
            promoted=self._count_promotions(results, attrs),
            method=attrs["spec"]["method"],
            keep_checkpoints=attrs.get("keep_checkpoints") or "each",
            deviations=attrs.get("deviations") or "",
            reference=tuple(map(Reference.model_validate, attrs.get("reference") or ())),
            thumbnails=_winner_thumbnails(
                attrs.get(THUMBNAILS), find_best_trial(results, self.ranking_rule)
            ),
            spec=StoredSpec.from_dict(attrs["spec"]),
            facts=self.facts,
            reason=attrs.get("reason"),
            command=attrs.get("command") or "",
            finalists_wanted=attrs.get("finalists wanted", False),
            rope=rope,
            finalists=finalists,
            counted_looks=_read_looks(attrs),
            refit=Refit(**attrs["refit"]) if attrs.get("refit") else None,
        )

    def _count_promotions(
        self, results: Sequence[TrialResult], attrs: Mapping[str, Any]
    ) -> Promotions | None:
        """Count promotions and pauses: each promotion is of a pause, and some trials still are."""
        if not self.promotes:
            return None
        promotions = count_promotions(attrs)
        still_paused = [
            result
            for result in results
            if result.duplicate_of is None and result.end in (PAUSED, PRUNED)
        ]
        return Promotions(
            promotions=promotions,
            pauses=promotions + len(still_paused),
            expected_epochs=attrs.get("expected epochs"),
        )

    @property
    def thumbnails_trial(self) -> int | None:
        """The number of the trial with stored thumbnails of mistakes, or None."""
        thumbnails = self.recall(THUMBNAILS)
        if thumbnails is None:
            return None
        return int(thumbnails["trial"])

    def keep_thumbnails(self, number: int, thumbnails: Mapping[int, str]) -> None:
        """Store the thumbnails of a trial's mistakes, in place of another trial's.

        Args:
            number: the trial's number.
            thumbnails: PNG in base64, by the image's index in the validation split.
        """
        self.remember(THUMBNAILS, {"trial": number, "images": thumbnails})

    @property
    def parent_study_run(self) -> str | None:
        """For a study of finalists, the parent run of their study; None for any other study."""
        parent_name = _parent_study_name(self._study)
        if parent_name is None:
            return None
        try:
            parent = load(self._storage, parent_name)
        except StudyNotFoundError:
            return None
        run_id: str | None = parent.recall("parent_run_id")
        return run_id

    def keep_run(self, number: int, run_id: str, checkpoint: str | None) -> None:
        """Store the run and the checkpoint of an ended trial.

        They are attributes of the study, because the result may have been told before, and cannot
        change then.
        """
        run = {"run_id": run_id, "checkpoint": checkpoint}
        self._study.set_user_attr(f"{RUN_OF}{number}", run)

    def _trials(self) -> Sequence[TrialData]:
        """All trials, by number."""
        return self._read_trials()

    def _read_trials(self) -> Sequence[TrialData]:
        with named(self.name):
            return read_trials(lambda: self._study.get_trials(deepcopy=False))

    def _results(
        self, trials: Iterable[TrialData], attrs: Mapping[str, Any]
    ) -> Iterator[TrialResult]:
        """Yield the result of each trial, completed by the study's attributes about the trial."""
        checkpoints: dict[int | None, str | None] = {}
        for trial in trials:
            if "config" not in trial.user_attrs:  # it is another program's
                continue
            if is_drawn_ahead(trial):
                continue
            run = attrs.get(f"{RUN_OF}{trial.number}", {})
            if "result" in trial.user_attrs and trial.state in ENDED:
                result = self._ended_result(trial)
                changes = dict(run)
                if result.duplicate_of in checkpoints:
                    changes["checkpoint"] = checkpoints[result.duplicate_of]
                test_key = f"{TEST}{trial.number}"
                if test_key in attrs:
                    changes["test"] = attrs[test_key]
                    changes["test_correct"] = attrs.get(f"{TEST_CORRECT}{trial.number}")
                if changes:
                    result = dataclasses.replace(result, **changes)
                checkpoints[trial.number] = result.checkpoint
                yield result
            elif is_paused(trial):
                yield dataclasses.replace(self._paused_result(trial), **run)
            elif is_running(trial):
                yield running_result(trial, self.facts)
            else:
                lost = lost_result(trial.number, read_config(trial))
                yield dataclasses.replace(lost, **run)

    def _paused_result(self, trial: TrialData) -> TrialResult:
        result = self._paused_results.get(trial.number)
        if result is None or len(result.history) != paused_epoch(trial):
            result = paused_result(trial, self.facts)
            self._paused_results[trial.number] = result
        return result

    def _ended_result(self, trial: TrialData) -> TrialResult:
        if trial.number not in self._ended_results:
            result = read_result(trial, "result", self.facts)
            read_config(trial)
            self._ended_results[trial.number] = result
        return self._ended_results[trial.number]


def open_storage(
    url: str, *, timeout: float, engine: dict[str, Any] | None = None, examined: bool = False
) -> Storage:
    """Open a store of studies, and make the tables of a new store.

    Args:
        url: SQLAlchemy's URL of the store.
        timeout: seconds that a write to a file waits for another write.
        engine: SQLAlchemy's engine options, for a database on a server.
        examined: whether the tables are known to be of the installed version. Otherwise Optuna
            checks them over a second connection, with migrations that take a while to import.

    Raises:
        StorageError: for a file that is no store, or a store of another version of Optuna.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if engine:  # Optuna formats its URL
        url = url.replace("{", "{{").replace("}", "}}")
    options = engine or {"connect_args": {"timeout": timeout}}
    migrations = _left_out_migrations() if examined else nullcontext()
    try:
        with migrations:
            return optuna.storages.RDBStorage(
                url, engine_kwargs=options, skip_compatibility_check=examined
            )
    except RuntimeError as error:
        raise StorageError(cause(error)) from error
    except store_errors() as error:
        raise StorageError(cause(error)) from error


@contextmanager
def _left_out_migrations() -> Iterator[None]:
    """Have Optuna open a store in this block without Alembic, which would only find it as it is.

    Optuna has a way to leave out the check of the tables' version, but imports Alembic all the
    same, to see whether there is a version.
    """
    from optuna.storages._rdb.storage import _VersionManager

    manager: Any = _VersionManager
    original = manager._init_alembic  # noqa: SLF001
    manager._init_alembic = lambda _self: None  # noqa: SLF001
    try:
        yield
    finally:
        manager._init_alembic = original  # noqa: SLF001


def create_tables(url: str) -> None:
    """Create the tables of a new store in a file, and close the file.

    Args:
        url: SQLAlchemy's URL of the file.
    """
    import optuna

    storage = optuna.storages.RDBStorage(url)
    storage.remove_session()
    storage.engine.dispose()


def check_before_use(storage: Storage, check: Callable[[], None]) -> None:
    """Have a function called before each transaction of a store; its error prevents the use."""
    import optuna
    from sqlalchemy import event

    if isinstance(storage, optuna.storages.RDBStorage):
        event.listen(storage.engine, "begin", lambda _connection: check())


def read_record(storage: ReadableStorage, name: str) -> StudyRecord:
    """Read a study for a report.

    Raises:
        StudyNotFoundError: with the names of the store's studies.
    """
    return load(storage, name).record()


def load(storage: ReadableStorage, name: str) -> StoredStudy:
    """Open a study.

    Raises:
        StudyNotFoundError: with the names of the store's studies.
        DamagedStudyError: if the store does not hold what a study holds.
    """
    study = _find(storage, name)
    if study is None:
        names = ", ".join(study_names(storage)) or "none yet"
        raise StudyNotFoundError(f"no study {name!r}; there are: {names}")
    return StoredStudy(storage, study)


def _load_study(storage: ReadableStorage, name: str) -> StudyData:
    """Open a study.

    Raises:
        KeyError: if there is none of this name.
    """
    if isinstance(storage, TableStorage):
        return storage.load_study(name)
    import optuna

    return optuna.load_study(storage=storage, study_name=name)


def _find(storage: ReadableStorage, name: str) -> StudyData | None:
    """Find a study, and check it; None if there is none.

    Another program's study, and one half made by a process that was killed, are none.

    Raises:
        DamagedStudyError: if the store does not hold what a study holds.
    """
    try:
        study = _load_study(storage, name)
    except KeyError:
        return None
    except json.JSONDecodeError:
        raise  # as of `store_errors`
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedStudyError(f"Optuna cannot read it: {error}", name) from error
    if "spec" not in study.user_attrs:
        return None
    check_study(study)
    return study


def running_trials(storage: ReadableStorage, name: str) -> tuple[RunningTrial, ...]:
    """Return the running trials, and how far they are."""
    study = _load_study(storage, name)
    running = []
    with named(name):
        trials = read_trials(lambda: study.get_trials(deepcopy=False))
    for trial in trials:
        if is_running(trial):
            epoch = max(trial.intermediate_values, default=0)
            start = trial.datetime_start
            since = None if start is None else start.timestamp()
            since = trial.user_attrs.get(BEGUN, since)
            running.append(RunningTrial(number=trial.number, epoch=epoch, since=since))
    return tuple(running)


def study_facts(storage: ReadableStorage, name: str) -> StudyFacts | None:
    """Read what was resolved when a study was made; None if there is no such study."""
    try:
        study = _load_study(storage, name)
    except KeyError:
        return None
    with named(name):
        return _read_facts(study.user_attrs.get("facts", {}))


def study_identity(storage: ReadableStorage, name: str) -> Mapping[str, Any] | None:
    """Read the specification that a study was made from; None if there is no such study."""
    study = _find(storage, name)
    if study is None:
        return None
    identity: Mapping[str, Any] = study.user_attrs["spec"]
    return identity


def study_place(storage: ReadableStorage, name: str) -> str | None:
    """Read where the images of a study are now; None if where it was begun, or without a study."""
    study = _find(storage, name)
    if study is None:
        return None
    place: str | None = study.user_attrs.get(PLACE)
    return place


def names_by_digest(storage: ReadableStorage, digest: str) -> list[str]:
    """Return the names of the studies begun with these images, the one last opened at the end.

    Studies of finalists are left out.
    """
    names = []
    for name in study_names(storage):
        facts = _load_study(storage, name).user_attrs.get("facts")
        is_same = isinstance(facts, dict) and facts.get("digest") == digest
        if is_same and not name.endswith(FINALISTS_SUFFIX):
            names.append(name)
    return names


def _read_facts(data: Mapping[str, Any]) -> StudyFacts:
    try:
        return StudyFacts.from_dict(data)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedStudyError(f"attribute 'facts' holds no facts: {error}") from error


def keep_test(
    storage: Storage,
    name: str,
    number: int,
    figures: Mapping[str, float],
    correct: str | None = None,
    *,
    looks: int = 1,
) -> None:
    """Store a trial's scores on the test split, and count them.

    They are an attribute of the study, because Optuna changes no ended trial.

    Args:
        storage: the store.
        name: the study's name.
        number: the trial's number.
        figures: the scores by the keys of `TrialResult.test`; they replace earlier ones.
        correct: which images are classified correctly, as in `TrialResult`; None if the scores are
            of other epochs than the best.
        looks: how many networks were scored.

    Raises:
        StudyNotFoundError: if there is no such study, or no such trial in it.
        DamagedStudyError: if the store does not hold what a study holds.
    """
    study = load(storage, name)
    if not study.has_trial(number):
        raise StudyNotFoundError(f"study {name!r} has no trial {number}")
    key = f"{TEST}{number}"
    earlier_figures = study.recall(key)
    if earlier_figures is not None and study.recall(f"{TEST_LOOKS}{number}") is None:
        looks += 1  # by version 0.1.0, which did not count
    _add_looks(study, str(number), looks)
    if correct is not None:  # before the scores: whoever finds these needs both
        study.remember(f"{TEST_CORRECT}{number}", correct)
    study.remember(key, {**(earlier_figures or {}), **figures})


def count_look_of_refit(storage: Storage, name: str) -> None:
    """Count that the refit of a study of finalists was scored on the test split.

    Args:
        storage: the store.
        name: the name of the study of finalists.

    Raises:
        StudyNotFoundError, DamagedStudyError: as of `keep_test`.
    """
    _add_looks(load(storage, name), REFIT, 1)


def _add_looks(study: StoredStudy, network: str, looks: int) -> None:
    """Count scorings on the test split.

    Args:
        study: the study.
        network: the number of the trial, or `REFIT`.
        looks: how many scorings to add.
    """
    key = f"{TEST_LOOKS}{network}"
    study.remember(key, (study.recall(key) or 0) + looks)


def _read_looks(attrs: Mapping[str, Any]) -> dict[str, int]:
    """Read the counts of scorings on the test split, by the number of a trial, or by `REFIT`."""
    return {
        key.removeprefix(TEST_LOOKS): int(count)
        for key, count in attrs.items()
        if key.startswith(TEST_LOOKS)
    }


def study_names(storage: ReadableStorage) -> list[str]:
    """Return the names of the studies in a store, the last opened last."""
    # Optuna's summaries of studies would copy every trial.
    studies = [study for study in _all_studies(storage) if "spec" in study.user_attrs]
    studies.sort(key=_opened)
    return [study.study_name for study in studies]


def _all_studies(storage: ReadableStorage) -> Sequence[FrozenStudy | TableStudy]:
    """Read what a store says of its studies.

    Raises:
        DamagedStudyError: if Optuna cannot read it.
    """
    try:
        return storage.get_all_studies()
    except json.JSONDecodeError:
        raise  # as of `store_errors`
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedStudyError(f"Optuna cannot read it: {error}") from error


def opened_at(storage: ReadableStorage, name: str) -> float:
    """Return when a study was last opened to be trained, in seconds since 1970; 0 if unknown."""
    return max((_opened(one) for one in _all_studies(storage) if one.study_name == name), default=0)


def latest_opening(storage: ReadableStorage) -> float:
    """Return when the study last opened was opened, in seconds since 1970; 0 without a study."""
    openings = [study.user_attrs.get("opened") for study in _all_studies(storage)]
    return max((time for time in openings if isinstance(time, int | float)), default=0.0)


def _opened(study: FrozenStudy | TableStudy) -> float:
    """When a study was opened; one that does not say comes first."""
    opened = study.user_attrs.get("opened")
    return opened if isinstance(opened, int | float) else 0.0


def _read_budget(stored: object) -> str | None:
    """Read the budget of a study.

    Raises:
        DamagedStudyError: if the attribute is no budget.
    """
    try:
        return None if stored is None else str(parse_budget(stored))
    except ValueError as error:
        raise DamagedStudyError(f"attribute 'budget' is damaged: {error}") from error


def _read_rope(value: object) -> float | None:
    """Read a region of practical equivalence.

    Raises:
        DamagedStudyError: if it is no number from 0.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise DamagedStudyError(f"attribute 'rope' must be a number from 0: got {value!r}")


def _finalists_record(storage: ReadableStorage, name: str) -> StudyRecord | None:
    """Read the study of a study's finalists, if the same store has one."""
    try:
        finalists = _load_study(storage, f"{name}{FINALISTS_SUFFIX}")
    except KeyError:
        return None
    if _parent_study_name(finalists) == name and "spec" in finalists.user_attrs:
        check_study(finalists)
        return StoredStudy(storage, finalists).record()
    return None


def _parent_study_name(study: StudyData) -> str | None:
    """For a study of finalists, the name of their study; None for any other study."""
    facts = study.user_attrs.get("facts")
    finalists = facts.get("finalists") if isinstance(facts, dict) else None
    name = finalists.get("of") if isinstance(finalists, dict) else None
    return name if isinstance(name, str) else None


def _winner_thumbnails(
    stored: Mapping[str, Any] | None, winner: TrialResult | None
) -> dict[int, str]:
    """The stored thumbnails by image; none if they are of a trial that is no longer the winner."""
    if stored is None or winner is None or stored["trial"] != winner.number:
        return {}
    return {int(image): thumbnail for image, thumbnail in stored["images"].items()}
