"""Compares a run in MLflow with the result of its trial: what is lacking is a gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.system.files import temporary_folder
from pipeline.tracking import run_contents
from pipeline.tracking.run_tags import PARENT
from pipeline.tracking.tracker import Tracker
from sweeps.trial import FAILED, TrialResult, without_later_fields

if TYPE_CHECKING:
    from pipeline.tracking.library import Run

WEIGHTS = "weights"  # the gap that only another training may fill
NO_RUN = "its run"

_WEIGHTS_FILE = "best.safetensors"


def find_gaps(
    tracker: Tracker,
    run: Run | None,
    tags: Mapping[str, str],
    result: TrialResult,
    classes: Sequence[str],
) -> list[str]:
    """Return what the run of an ended trial lacks, each in a few words.

    Call it in the tracker's thread.

    Args:
        tracker: of the run's store.
        run: the run; None if it is gone.
        tags: those that say whose run it is.
        result: of the trial.
        classes: the true class names.
    """
    if run is None:
        return [NO_RUN]
    gaps = []
    status = "FAILED" if result.state == FAILED else "FINISHED"
    if run.info.status != status:
        gaps.append(f"status {status}")
    settings = without_later_fields(result.config.to_dict())
    params = {name: str(value) for name, value in settings.items()}
    gaps += [f"param {key}" for key in _differing(params, run.data.params)]
    tags = {**tags, **run_contents.result_tags(result, classes)}
    gaps += [f"tag {key}" for key in _differing(tags, run.data.tags)]
    gaps += [f"metric {key}" for key in _lacking_metrics(tracker, run, result)]
    gaps += _lacking_artifacts(tracker, run.info.run_id, result, classes)
    return gaps


def run_tags(parent: str, study: str, number: int) -> dict[str, str]:
    """Return the tags that say whose run the run of a trial is."""
    return {
        PARENT: parent,
        "sweep.study": study,
        "sweep.trial": str(number),
    }


def _differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [key for key, value in expected.items() if found.get(key) != value]


def _lacking_metrics(tracker: Tracker, run: Run, result: TrialResult) -> list[str]:
    """Return the metrics that lack a value at some step."""
    expected: dict[str, set[tuple[int, float]]] = {}
    for row in result.history:
        for key, step, value in run_contents.epoch_points(row):
            expected.setdefault(key, set()).add((step, value))
    for key, value in run_contents.final_metrics(result).items():
        expected.setdefault(key, set()).add((0, value))
    lacking = []
    for key, points in expected.items():
        finite = {(step, value) for step, value in points if math.isfinite(value)}
        is_shown = key in run.data.metrics
        if not is_shown or not finite <= tracker.points(run.info.run_id, key):
            lacking.append(key)
    return lacking


def _lacking_artifacts(
    tracker: Tracker, run_id: str, result: TrialResult, classes: Sequence[str]
) -> list[str]:
    """Return the files that are gone, or have not their size."""
    with temporary_folder() as folder:
        run_contents.write_artifacts(folder, result, classes)
        expected = {file.name: file.stat().st_size for file in folder.iterdir()}
    sizes = tracker.artifact_sizes(run_id)
    gaps = []
    for name, size in sorted(expected.items()):
        if name not in sizes or sizes[name] not in (None, size):  # a store may not know a size
            gaps.append(f"artifact {name}")
    has_weights = result.checkpoint is not None and result.duplicate_of is None
    if has_weights:
        files = tracker.artifact_sizes(run_id, "checkpoint")
        if f"checkpoint/{_WEIGHTS_FILE}" not in files:
            gaps.append(WEIGHTS)
    return gaps
