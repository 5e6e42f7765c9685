"""Pure: what health checks look at, and what each of them says. Judges nothing itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sweeps.analysis.intervals import Z, wilson_interval
from sweeps.analysis.ranking import Ranked
from sweeps.analysis.record import StudyRecord
from sweeps.analysis.verdict import Verdict
from sweeps.spec.study_spec import PLANNED_METHODS
from sweeps.trial import COMPLETE, PRUNED, RUNNING, TrialResult

Level = Literal["good", "note", "warning"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one health check says of a study."""

    name: str
    level: Level  # good: nothing to do; note: worth knowing; warning: the result may mislead
    text: str  # what was seen, with figures, and what to do about it; names in it are as they were given


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A study, ranked once for all checks."""

    record: StudyRecord
    complete: tuple[Ranked, ...]  # the complete configurations, the best first
    winner: TrialResult | None  # the best repeat of the first of them
    tried: tuple[TrialResult, ...]  # all that have ended and reused no other's result
    images: int | None  # of the validation split
    chance: float | None  # how far chance may move the winner's value either way
    verdict: Verdict | None  # of the finalists, once it is final

    @property
    def trained(self) -> tuple[TrialResult, ...]:
        """Those that were trained and have a value."""
        return tuple(
            trial
            for trial in self.tried
            if trial.state in (COMPLETE, PRUNED) and trial.value is not None
        )

    @property
    def sampled(self) -> bool:
        """Whether a sampler chose the configurations, rather than a layout."""
        return self.record.method not in PLANNED_METHODS


def see(record: StudyRecord) -> Seen:
    """Look at a study once."""
    entries = record.ranked
    complete = tuple(
        entry for entry in entries if entry.state == COMPLETE and entry.value is not None
    )
    winner = complete[0].trials[0] if complete else None
    images = None if winner is None else validation_images(winner)
    return Seen(
        record=record,
        complete=complete,
        winner=winner,
        tried=tuple(r for r in record.results if r.state != RUNNING and r.duplicate_of is None),
        images=images,
        chance=None if winner is None or not images else _chance(record.objective, winner, images),
        verdict=record.final_verdict,
    )


def validation_images(trial: TrialResult) -> int | None:
    """How many images a trial was scored on; None where they were not counted."""
    counts = trial.confusion or ((trial.best.predicted,) if trial.best else ())
    return sum(sum(row) for row in counts) or None


def _chance(objective: str, trial: TrialResult, images: int) -> float | None:
    """Half the interval of 95 % of a trial's value, from the validation images alone; None where it is unknown.

    Two networks are scored on the same images and err on many of the same, so that it serves for the difference of
    two as well, unless that is known better. The deviation of a macro F1 is taken to be that of the balanced accuracy.
    """
    if trial.best is None or trial.value is None:
        return None
    if objective == "val_acc":
        low, high = wilson_interval(min(max(trial.value, 0.0), 1.0), images)
        return (high - low) / 2
    if objective == "val_loss":
        batches = math.ceil(images / trial.config.eval_batch_size)
        spread = trial.best.metrics.get("val/loss_std")
        if spread is not None and batches > 1:
            return Z * spread / math.sqrt(batches)
        return None
    halves = []
    for row, share in zip(trial.confusion or (), trial.best.per_class, strict=False):
        count = sum(row)
        if share is not None and count:
            low, high = wilson_interval(share, count)
            halves.append((high - low) / 2)
    if halves:
        return math.hypot(*halves) / len(halves)
    return None


def improvement(record: StudyRecord, first: float, second: float) -> float:
    """By how much the first value is better than the second."""
    if record.maximize:
        return first - second
    return second - first
