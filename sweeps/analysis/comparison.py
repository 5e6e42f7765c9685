"""Pure: a study's trials beside each other and beside published figures. Knows nothing of stores or terminals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import CENTRED_METHODS
from sweeps.trial import COMPLETE, TrialConfig, TrialResult, Value


@dataclass(frozen=True, kw_only=True)
class Score:
    """One of our figures: its mean over seeds."""

    mean: float
    spread: float | None  # sample standard deviation; None for one seed
    seeds: int

    @staticmethod
    def of(values: Iterable[float | None]) -> Score | None:
        """Take the mean of the values that are known; None where none is."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        spread = statistics.stdev(known) if len(known) > 1 else None
        return Score(mean=statistics.fmean(known), spread=spread, seeds=len(known))


@dataclass(frozen=True, kw_only=True)
class ComparedFigure:
    """One published figure beside ours."""

    name: str
    split: str  # of the published figure: train, val or test
    published: float | None  # None where ours stands alone
    ours: Mapping[str, Score]  # by split
    comparable: bool = True

    @property
    def against(self) -> str | None:
        """The split of ours that the difference is taken with: the published one's, else validation."""
        if self.published is None or not self.comparable:
            return None
        return next((split for split in (self.split, "val") if split in self.ours), None)

    @property
    def difference(self) -> float | None:
        """Ours less the published one."""
        if self.published is None or self.against is None:
            return None
        return self.ours[self.against].mean - self.published

    @property
    def within(self) -> bool | None:
        """Whether the difference is no larger than our seeds' spread; None where that is unknown."""
        spread = None if self.against is None else self.ours[self.against].spread
        if self.difference is None or spread is None:
            return None
        return abs(self.difference) <= spread


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A reference beside the configuration that it is of."""

    reference: Reference
    entry: Ranked | None  # None where no trial matches
    matches: int  # configurations that match; the entry is one of them
    figures: tuple[ComparedFigure, ...]
    epochs: tuple[ComparedFigure, ...]  # after each epoch, from the first
    classes: tuple[ComparedFigure, ...]  # in the order of the classes, named by their indices

    @property
    def unscored(self) -> bool:
        """Whether a complete trial of it has no test score."""
        return any(trial.test is None for trial in complete_trials(self.entry))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All references of a study, and what none of them names."""

    variants: tuple[Variant, ...]  # in the study file's order
    unnamed: tuple[Ranked, ...]  # in ranked order


def compare(record: StudyRecord, entries: Sequence[Ranked]) -> Comparison | None:
    """Set a study's ranked configurations beside its references; None where it has none.

    A reference is compared with the best-ranked configuration that matches it; with the centre, if that matches and
    the study's method has one.
    """
    if not record.reference:
        return None
    variants = tuple(_variant(record, reference, entries) for reference in record.reference)
    unnamed = [
        e for e in entries if not any(r.matches(e.trials[0].config) for r in record.reference)
    ]
    return Comparison(variants=variants, unnamed=tuple(unnamed))


def complete_trials(entry: Ranked | None) -> list[TrialResult]:
    """The complete trials of a configuration, by number."""
    trials = [trial for trial in (entry.trials if entry else ()) if trial.state == COMPLETE]
    return sorted(trials, key=lambda trial: trial.number)


def mean_test_score(trials: Sequence[TrialResult], key: str) -> Score | None:
    """The mean of what was recorded on the test split: ``acc``, ``loss``, ``acc@3`` after epoch 3, ``class@3``."""
    return Score.of(trial.test.get(key) for trial in trials if trial.test)


def _variant(record: StudyRecord, reference: Reference, entries: Sequence[Ranked]) -> Variant:
    matching = [entry for entry in entries if reference.matches(entry.trials[0].config)]
    entry = next(iter(matching), None)
    if record.method in CENTRED_METHODS:
        entry = next((e for e in matching if at_centre(record, e.trials[0].config)), entry)
    trials = complete_trials(entry)
    apart = reference.incomparable
    published = list(reference.figures.items())
    figures = [_figure(name, value, trials, name not in apart) for name, value in published]
    shown = reference.by_epoch or reference.per_class or reference.per_class_train
    return Variant(
        reference=reference,
        entry=entry,
        matches=len(matching),
        figures=tuple(figures) or (() if shown else (_figure("test_acc", None, trials, True),)),
        epochs=tuple(
            _epoch(i, v, trials, "by_epoch" not in apart)
            for i, v in enumerate(reference.by_epoch, start=1)
        ),
        classes=(
            *(
                _class(i, v, trials, "per_class" not in apart)
                for i, v in enumerate(reference.per_class)
            ),
            *(
                _train_class(i, v, trials, "per_class_train" not in apart)
                for i, v in enumerate(reference.per_class_train)
            ),
        ),
    )


def _figure(
    name: str, published: float | None, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    split, kind = name.split("_")
    scores = {
        s: Score.of(t.best.metrics.get(f"{s}/{kind}") for t in trials if t.best)
        for s in ("train", "val")
    }
    scores["test"] = mean_test_score(trials, kind)
    own = ("train",) if split == "train" else ("val", "test")
    ours = {s: score for s in own if (score := scores[s]) is not None}
    return ComparedFigure(
        name=name, split=split, published=published, ours=ours, comparable=comparable
    )


def _epoch(
    epoch: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    rows = [row for trial in trials for row in trial.history if row.epoch == epoch]
    scores = {
        "val": Score.of(row.metrics.get("val/acc") for row in rows),
        "test": mean_test_score(trials, f"acc@{epoch}"),
    }
    ours = {split: score for split, score in scores.items() if score is not None}
    return ComparedFigure(
        name=str(epoch), split="test", published=published, ours=ours, comparable=comparable
    )


def _class(
    index: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    known = Score.of(
        t.best.per_class[index] for t in trials if t.best and index < len(t.best.per_class)
    )
    scores = {"val": known, "test": mean_test_score(trials, f"class@{index}")}
    ours = {split: score for split, score in scores.items() if score is not None}
    return ComparedFigure(
        name=str(index), split="test", published=published, ours=ours, comparable=comparable
    )


def _train_class(
    index: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    score = Score.of(
        t.best.train_per_class[index]
        for t in trials
        if t.best and index < len(t.best.train_per_class)
    )
    ours = {} if score is None else {"train": score}
    return ComparedFigure(
        name=str(index), split="train", published=published, ours=ours, comparable=comparable
    )


def centre(record: StudyRecord) -> dict[str, Value]:
    """What each searched field is at the centre of a method that has one: the first of its values."""
    return {dimension.field: dimension.first for dimension in record.dimensions}


def at_centre(record: StudyRecord, config: TrialConfig, *, but: str | None = None) -> bool:
    """Whether all searched fields (``but`` one) stand at the centre, or do not apply."""
    return all(
        name == but or getattr(config, name) in (value, None)
        for name, value in centre(record).items()
    )


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The first-ranked configuration beside the second."""

    first: Ranked
    second: Ranked
    differing: tuple[str, ...]  # the searched fields in which they differ
    difference: float  # not negative
    spread: float | None  # the larger of the two; None for one seed each

    @property
    def within(self) -> bool | None:
        """Whether the difference is no larger than the spread; None where that is unknown."""
        if self.spread is None:
            return None
        return self.difference <= self.spread


def find_lead(record: StudyRecord, entries: Sequence[Ranked]) -> Lead | None:
    """Set the two first-ranked configurations beside each other; None unless both are complete."""
    top = [entry for entry in entries[:2] if entry.state == COMPLETE]
    values = [entry.value for entry in top if entry.value is not None]
    if len(values) < 2:
        return None
    first, second = top
    spreads = [entry.spread for entry in top if entry.spread is not None]
    return Lead(
        first=first,
        second=second,
        differing=differing_fields(record, [first.trials[0], second.trials[0]]),
        difference=abs(values[0] - values[1]),
        spread=max(spreads, default=None),
    )


def differing_fields(record: StudyRecord, results: Iterable[TrialResult]) -> tuple[str, ...]:
    """The searched fields in which some of the results differ."""
    configs = [result.config for result in results]
    return tuple(
        name for name in record.searched if len({getattr(config, name) for config in configs}) > 1
    )


def config_text(result: TrialResult, names: Sequence[str]) -> str:
    """A trial's configuration in short, by some of its fields; by its number where none applies."""
    values = {name: value for name in names if (value := getattr(result.config, name)) is not None}
    words = [
        value_text(value) if name == "family" else f"{name} {value_text(value)}"
        for name, value in values.items()
    ]
    return ", ".join(words) or f"trial {result.number}"


def value_text(value: Value) -> str:
    """A field's value as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
