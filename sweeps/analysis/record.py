"""A study read back from its store: what was searched, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.spec.dimension import Dimension
from sweeps.spec.reference import Reference
from sweeps.trial import TrialResult


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study read back: what was searched and what came of it. All that a report knows."""

    name: str  # in the stores
    study: str  # the study file's name
    dataset: str
    objective: str  # val_acc, ...
    maximize: bool
    trials: int  # the declared total
    dimensions: tuple[Dimension, ...]
    classes: tuple[str, ...]  # the true class names
    results: tuple[TrialResult, ...]  # by trial number; the running one included
    parent_run_id: str | None = None
    method: str = "tpe"
    keep_checkpoints: str = "each"
    deviations: str = ""  # what differs from the study file, whose published figures may then be of something else
    reference: tuple[Reference, ...] = ()  # published figures
    pictures: Mapping[int, str] = field(
        default_factory=dict
    )  # the best trial's mistakes: PNG in base64, by image
    spec: Mapping[str, Any] = field(default_factory=dict)  # what it was made with, as JSON data
    facts: Mapping[str, Any] = field(
        default_factory=dict
    )  # what was resolved then: digest, images, runtime, ...
    reason: str | None = (
        None  # why its last sweep ended, as `sweeps.search.loop.run` says it; None while it runs
    )
    command: str = ""  # that goes on with it
    finalists: StudyRecord | None = None  # its first configurations, trained again with fresh seeds
    refit: Mapping[str, Any] | None = (
        None  # of finalists: their winner, trained once on both splits of the search
    )

    @property
    def searched(self) -> tuple[str, ...]:
        """The searched fields, each once, in the study's order."""
        return tuple(dict.fromkeys(dimension.field for dimension in self.dimensions))
