"""Compares a study's configurations with published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.scores import Score, complete_trials, mean_test_score
from sweeps.spec.reference import Reference
from sweeps.spec.study_spec import CENTRED_METHODS
from sweeps.trial import TrialResult


@dataclass(frozen=True, kw_only=True)
class ComparedFigure:
    """A published figure beside ours."""

    name: str
    split: str  # of the published figure: train, val or test
    published: float | None  # None if only ours is known
    ours: Mapping[str, Score]  # by split
    comparable: bool = True

    @property
    def against(self) -> str | None:
        """The split of our score for the difference: the published split, else validation."""
        if self.published is None or not self.comparable:
            return None
        return next((split for split in (self.split, "val") if split in self.ours), None)

    @property
    def difference(self) -> float | None:
        """Our mean minus the published figure."""
        if self.published is None or self.against is None:
            return None
        return self.ours[self.against].mean - self.published

    @property
    def within(self) -> bool | None:
        """Whether the difference is no larger than our seeds' spread; None if that is unknown."""
        spread = None if self.against is None else self.ours[self.against].spread
        if self.difference is None or spread is None:
            return None
        return abs(self.difference) <= spread


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A reference beside the matching configuration."""

    reference: Reference
    entry: Ranked | None  # None if no trial matches
    matches: int  # configurations that match, including the entry
    figures: tuple[ComparedFigure, ...]
    epochs: tuple[ComparedFigure, ...]  # after each epoch, from the first
    classes: tuple[ComparedFigure, ...]  # in the order of the classes, named by their indices

    @property
    def unscored(self) -> bool:
        """Whether a complete trial of the configuration has no test score."""
        return any(trial.test is None for trial in complete_trials(self.entry))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All references of a study, and the configurations that match none of them."""

    variants: tuple[Variant, ...]  # in the study file's order
    unnamed: tuple[Ranked, ...]  # in ranked order


def compare(record: StudyRecord, entries: Sequence[Ranked]) -> Comparison | None:
    """Compare a study's configurations with its references.

    A reference is compared with the best-ranked matching configuration. If the study's method has a
    centre and the centre matches, the centre is taken instead.

    Args:
        record: the study.
        entries: its configurations, ranked.

    Returns:
        The comparison; None if the study has no references.
    """
    if not record.reference:
        return None
    variants = tuple(_variant(record, reference, entries) for reference in record.reference)
    unnamed = tuple(
        entry
        for entry in entries
        if not any(reference.matches(entry.trials[0].config) for reference in record.reference)
    )
    return Comparison(variants=variants, unnamed=unnamed)


def _variant(record: StudyRecord, reference: Reference, entries: Sequence[Ranked]) -> Variant:
    matching = [entry for entry in entries if reference.matches(entry.trials[0].config)]
    entry = _representative(record, matching)
    trials = complete_trials(entry)

    def comparable(name: str) -> bool:
        return name not in reference.incomparable

    figures = [
        _figure(name, value, trials, comparable(name)) for name, value in reference.figures.items()
    ]
    detailed = reference.by_epoch or reference.per_class or reference.per_class_train
    if not figures and not detailed:
        figures = [_figure("test_acc", None, trials, True)]
    epochs = [
        _epoch_figure(epoch, value, trials, comparable("by_epoch"))
        for epoch, value in enumerate(reference.by_epoch, start=1)
    ]
    classes = [
        _class_figure(index, value, trials, comparable("per_class"))
        for index, value in enumerate(reference.per_class)
    ]
    classes += [
        _train_class_figure(index, value, trials, comparable("per_class_train"))
        for index, value in enumerate(reference.per_class_train)
    ]
    return Variant(
        reference=reference,
        entry=entry,
        matches=len(matching),
        figures=tuple(figures),
        epochs=tuple(epochs),
        classes=tuple(classes),
    )


def _representative(record: StudyRecord, matching: Sequence[Ranked]) -> Ranked | None:
    """Choose the configuration to compare with a reference from the matching ones."""
    if record.method in CENTRED_METHODS:
        for entry in matching:
            if record.at_centre(entry.trials[0].config):
                return entry
    return matching[0] if matching else None


def _figure(
    name: str, published: float | None, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    """Compare a figure such as ``test_acc``: a split and a metric."""
    split, metric = name.split("_")
    ours: dict[str, Score | None] = {}
    if split == "train":
        ours["train"] = _score_at_best(trials, f"train/{metric}")
    else:
        ours["val"] = _score_at_best(trials, f"val/{metric}")
        ours["test"] = mean_test_score(trials, metric)
    return _compared(name, split, published, ours, comparable)


def _score_at_best(trials: Sequence[TrialResult], key: str) -> Score | None:
    return Score.of(trial.best.metrics.get(key) for trial in trials if trial.best)


def _epoch_figure(
    epoch: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    rows = [row for trial in trials for row in trial.history if row.epoch == epoch]
    ours = {
        "val": Score.of(row.metrics.get("val/acc") for row in rows),
        "test": mean_test_score(trials, f"acc@{epoch}"),
    }
    return _compared(str(epoch), "test", published, ours, comparable)


def _class_figure(
    index: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    shares = [trial.best.per_class for trial in trials if trial.best]
    ours = {
        "val": Score.of(per_class[index] for per_class in shares if index < len(per_class)),
        "test": mean_test_score(trials, f"class@{index}"),
    }
    return _compared(str(index), "test", published, ours, comparable)


def _train_class_figure(
    index: int, published: float, trials: Sequence[TrialResult], comparable: bool
) -> ComparedFigure:
    shares = [trial.best.train_per_class for trial in trials if trial.best]
    score = Score.of(per_class[index] for per_class in shares if index < len(per_class))
    return _compared(str(index), "train", published, {"train": score}, comparable)


def _compared(
    name: str,
    split: str,
    published: float | None,
    ours: Mapping[str, Score | None],
    comparable: bool,
) -> ComparedFigure:
    return ComparedFigure(
        name=name,
        split=split,
        published=published,
        ours={split: score for split, score in ours.items() if score is not None},
        comparable=comparable,
    )
