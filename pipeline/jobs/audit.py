"""Compares a study's record in MLflow with its results, run by run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.inference import winner_weights
from pipeline.tracking.gaps import find_gaps, run_tags
from pipeline.tracking.run_contents import RANK
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.ranking import BestSoFar
from sweeps.analysis.record import StudyRecord
from sweeps.search.stored import StoredStudy
from sweeps.trial import PAUSED, RUNNING

if TYPE_CHECKING:
    from pipeline.tracking.library import Run


def trial_gaps(
    tracker: Tracker,
    record: StudyRecord,
    parent: str,
    numbers: Collection[int] | None = None,
    places: Mapping[int, int] | None = None,
) -> dict[int, list[str]]:
    """Return what the runs of ended trials lack, by number; complete runs are left out.

    Args:
        tracker: of the study's experiment.
        record: the study.
        parent: the id of its parent run.
        numbers: the trials to compare; None for all.
        places: those in the report which some of the runs should have; None not to compare them.
    """
    ended = [result for result in record.results if result.state not in (RUNNING, PAUSED)]
    runs = tracker.call(tracker.trial_runs, parent, record.name, ended)
    gaps = {}
    for result in ended:
        if numbers is not None and result.number not in numbers:
            continue
        tags = run_tags(parent, record.name, result.number)
        run = runs.get(result.number)
        found = tracker.call(find_gaps, tracker, run, tags, result, record.classes)
        place = (places or {}).get(result.number)
        if run is not None and place is not None and run.data.metrics.get(RANK) != place:
            found.append(f"metric {RANK}")
        if found:
            gaps[result.number] = found
    return gaps


def _files_of(tracker: Tracker, run_id: str, names: Iterable[str]) -> set[str]:
    """The artifacts of a run in the folders of some names, by their paths."""
    files: set[str] = set()
    for folder in {name.rpartition("/")[0] for name in names}:
        files |= tracker.call(tracker.artifact_sizes, run_id, folder or None).keys()
    return files


def parent_gaps(
    tracker: Tracker, study: StoredStudy, record: StudyRecord, run: Run, status: str
) -> list[str]:
    """Return what a study's parent run lacks.

    Args:
        tracker: of the study's experiment.
        study: the study.
        record: the same, as it was read.
        run: the parent run.
        status: MLflow's name of the status that it should have.
    """
    gaps = [] if run.info.status == status else [f"status {status}"]
    described = study.recall("described") or {"params": {}, "files": {}}
    gaps += [f"param {key}" for key in described["params"] if key not in run.data.params]
    run_id = run.info.run_id
    if not tracker.call(tracker.shares_artifacts, run_id):  # those are the original's
        files = _files_of(tracker, run_id, described["files"])
        gaps += [f"artifact {name}" for name in described["files"] if name not in files]
        if not tracker.call(tracker.artifact_sizes, run_id, "report"):
            gaps.append("artifact report")
        if status == "FINISHED" and tracker.call(winner_weights.are_lacking, tracker, record):
            gaps.append("the winner's weights")
    curve = f"sweep/best_{study.recall('spec')['objective']}"
    if not _curve_steps(study) <= tracker.call(tracker.steps, run_id, curve):
        gaps.append(f"metric {curve}")
    return gaps


def _curve_steps(study: StoredStudy) -> set[int]:
    """Return the steps of the parent's curve: the numbers of ended trials since one had a value."""
    results = {r.number: r for r in study.results() if r.state not in (RUNNING, PAUSED)}
    best_so_far = BestSoFar(study.ranking_rule)
    steps = set()
    for step, number in enumerate(study.in_order_of_ending(results), start=1):
        best = best_so_far.add(results[number])
        if best is not None and best.value is not None:
            steps.add(step)
    return steps
