"""Pure: what a plot shows of scores set beside each other, as frozen values. Knows nothing of matplotlib."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.plots.labels import axis_label, counted, sentence, trial_names
from sweeps.analysis.comparison import Score, compare, complete
from sweeps.analysis.finalists import judge, mean_interval
from sweeps.analysis.ranking import StudyRecord, rank


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One reference's accuracies, by split."""

    name: str
    published: dict[str, float]
    comparable: bool
    ours: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class PublishedInfo:
    """Published accuracies beside ours on validation and test."""

    study: str
    rows: list[PublishedRow]
    close: tuple[float, float] | None  # the range of most of them, where a few lie far below


def published_info(record: StudyRecord) -> PublishedInfo | None:
    """Collect the references that have an accuracy on validation or test; None where none has."""
    found = compare(record, rank(record.results, maximize=record.maximize))
    rows = []
    for variant in found.variants if found else ():
        figures = [c for c in variant.figures if c.name in ("val_acc", "test_acc") and c.published is not None]
        if figures:
            rows.append(
                PublishedRow(
                    name=variant.reference.label,
                    published={c.split: c.published for c in figures if c.published is not None},
                    comparable=all(c.comparable for c in figures),
                    ours=dict(figures[0].ours),
                )
            )
    return PublishedInfo(study=record.name, rows=rows, close=_close(rows)) if rows else None


def published_alt(info: PublishedInfo) -> str:
    """Each variant's figures."""
    rows = []
    for row in info.rows:
        figures = [f"published {value:.4g} ({split})" for split, value in row.published.items()]
        figures += [f"ours {score.mean:.4g} ({split})" for split, score in row.ours.items()]
        rows.append(f"{row.name}: {', '.join(figures)}")
    return sentence("Accuracy", *rows[:12], f"and {len(rows) - 12} more" if len(rows) > 12 else "")


@dataclass(frozen=True, kw_only=True)
class SeedsMark:
    """What a configuration reached with each of its seeds."""

    row: int
    split: str  # val or test
    values: list[float]
    mean: float
    low: float | None  # of the interval of 95 % of the mean; None for one seed
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SeedsPanel:
    """One figure across."""

    label: str
    marks: list[SeedsMark]
    most: float = math.inf  # that there can be

    @property
    def range(self) -> tuple[float, float]:
        """What of the axis to show: all values, and half as much again on both sides that can be; no whole interval."""
        values = [value for mark in self.marks for value in mark.values]
        room = 0.5 * (max(values) - min(values)) or 0.005
        return min(values) - room, min(max(values) + room, self.most)


@dataclass(frozen=True, kw_only=True)
class FinalistsInfo:
    """The finalists with their fresh seeds, the winner first."""

    study: str
    rows: list[str]
    tied: bool  # whether the winner is not known to be better than another
    planned: int  # runs
    ended: int
    panels: list[SeedsPanel]


def finalists_info(record: StudyRecord) -> FinalistsInfo | None:
    """Collect what the finalists reached on validation and test; None where there are none, or none is complete."""
    verdict = None if record.finalists is None else judge(record.finalists)
    if verdict is None:
        return None
    shown = [finalist for finalist in verdict.finalists if finalist.value is not None]
    val = [mark for i, f in enumerate(shown) for mark in _mark(i, "val", [t.value for t in complete(f.entry)])]
    scored = [[t.test.get("acc") for t in complete(f.entry) if t.test] for f in shown]
    test = [mark for i, values in enumerate(scored) for mark in _mark(i, "test", values)]
    if record.objective == "val_acc":
        panels = [SeedsPanel(label="accuracy (fraction)", marks=val + test, most=1)]
    else:
        panels = [SeedsPanel(label=axis_label(record), marks=val, most=1 if record.maximize else math.inf)]
        panels += [SeedsPanel(label="test accuracy (fraction)", marks=test, most=1)] if test else []
    # Named as in the study itself: the finalists' own numbers are those of another study.
    known = {result.config.group: result for result in reversed(record.results)}
    trials = [known.get(finalist.trial.config.group, finalist.trial) for finalist in shown]
    return FinalistsInfo(
        study=record.name,
        rows=trial_names(record, trials),
        tied=bool(verdict.tied),
        planned=verdict.planned,
        ended=verdict.ended,
        panels=panels,
    )


def _mark(row: int, split: str, values: Sequence[float | None]) -> list[SeedsMark]:
    known = [value for value in values if value is not None]
    if not known:
        return []
    low, high = mean_interval(known)
    return [SeedsMark(row=row, split=split, values=known, mean=statistics.fmean(known), low=low, high=high)]


def finalists_alt(info: FinalistsInfo) -> str:
    """The means, their intervals, and whether it is a tie."""
    rows = []
    for i, name in enumerate(info.rows):
        marks = [mark for panel in info.panels for mark in panel.marks if mark.row == i]
        rows.append(f"{name}: {', '.join(map(_in_words, marks))}")
    ended = "" if info.ended >= info.planned else f"{info.ended} of {info.planned} runs have ended"
    return sentence("a tie" if info.tied else "", *rows, ended)


def _in_words(mark: SeedsMark) -> str:
    interval = "" if mark.low is None or mark.high is None else f", 95 % {mark.low:.4f} to {mark.high:.4f}"
    return f"{mark.split} {mark.mean:.4f} ({counted(len(mark.values), 'seed')}{interval})"


def _close(rows: Sequence[PublishedRow]) -> tuple[float, float] | None:
    """The range above the widest gap, if that is most of the whole range and at least half of the values lie there."""
    ours = [score.mean + s * (score.spread or 0) for row in rows for score in row.ours.values() for s in (-1, 1)]
    values = sorted(ours + [value for row in rows for value in row.published.values()])
    gaps = [(high - low, i) for i, (low, high) in enumerate(itertools.pairwise(values), start=1)]
    widest, cut = max(gaps, default=(0.0, 0))
    if (
        len(rows) < 3
        or widest < 0.5 * (values[-1] - values[0])
        or widest < 0.1
        or 2 * (len(values) - cut) < len(values)
    ):
        return None
    return values[cut], values[-1]
