"""Shares the weights of a study's best network with the study's own run in MLflow.

There people look for the result. On a local disk the weights get a second name (a hard link), which
takes no room; a tracking server gets a copy. The tag `WEIGHTS_OF` says whose they are. All
functions make calls to the store: call them in the tracker's thread.
"""

from __future__ import annotations

from pipeline import checkpoints
from pipeline.checkpoints import BEST
from pipeline.inference.find import best_of
from pipeline.system import failpoints
from pipeline.system.files import temporary_folder
from pipeline.tracking.run_tags import WEIGHTS_OF
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.record import StudyRecord

_FOLDER = "checkpoint"  # among a run's artifacts
_WEIGHTS = f"{_FOLDER}/{BEST}"
_SUM = f"{_WEIGHTS}.sha256"


def share(tracker: Tracker, record: StudyRecord) -> bool:
    """Put the weights of a study's best network among the artifacts of its run, once they are due.

    They take the place of an earlier winner's. A reader finds the earlier ones or the new ones,
    whole, at any moment. Weights that are lost take those of an earlier winner along. The run of
    finalists has none: their study's run has them. Nor has a run that shares its artifacts with the
    store from which it was copied.

    Args:
        tracker: of the study's experiment.
        record: the study, one trial of which is complete at least.

    Returns:
        Whether the study's run has the weights.
    """
    run_id = str(record.parent_run_id)
    if record.facts.finalists is not None or tracker.shares_artifacts(run_id):
        return False
    owner = str(best_of(record).run_id)
    former = tracker.read_tag(run_id, WEIGHTS_OF)
    is_present = _has_weights(tracker, run_id)
    if not _has_weights(tracker, owner):
        if former == owner:
            return is_present
        if is_present:
            tracker.drop_artifacts(run_id, _FOLDER)
        if former:
            tracker.tag(run_id, {WEIGHTS_OF: ""})
        return False
    if former not in (None, owner):
        tracker.tag(run_id, {WEIGHTS_OF: ""})  # until the new ones are in place
    source = tracker.artifacts_path(owner)
    target = tracker.artifacts_path(run_id)
    if source is not None and target is not None:
        checkpoints.link(source / _WEIGHTS, target / _WEIGHTS)
    elif former != owner or not is_present:
        _upload(tracker, owner, run_id)
    failpoints.reach("after_sharing")
    tracker.tag(run_id, {WEIGHTS_OF: owner})
    return True


def _upload(tracker: Tracker, owner: str, run_id: str) -> None:
    """Copy weights by way of this machine. The sum names both while they are replaced."""
    with temporary_folder() as folder:
        former_sum = b""
        if _SUM in tracker.artifact_names(run_id, _FOLDER):
            former_sum = tracker.fetch_artifact(run_id, _SUM, folder).read_bytes()
        weights = tracker.fetch_artifact(owner, _WEIGHTS, folder)
        checksum = tracker.fetch_artifact(owner, _SUM, folder)
        own_sum = checksum.read_bytes()
        checksum.write_bytes(own_sum + former_sum)
        tracker.put_artifact(run_id, checksum, _FOLDER)
        tracker.put_artifact(run_id, weights, _FOLDER)
        if former_sum:
            checksum.write_bytes(own_sum)
            tracker.put_artifact(run_id, checksum, _FOLDER)


def are_lacking(tracker: Tracker, record: StudyRecord) -> bool:
    """Whether the run of an ended study lacks the weights that `share` would put there.

    The run of a study that an earlier version ended lacks nothing: nobody has promised it any.
    """
    run_id = str(record.parent_run_id)
    former = tracker.read_tag(run_id, WEIGHTS_OF)
    if former is None:
        return False
    owner = str(best_of(record).run_id)
    if not _has_weights(tracker, owner):  # which is the trial's own gap
        return False
    return former != owner or not _has_weights(tracker, run_id)


def _has_weights(tracker: Tracker, run_id: str) -> bool:
    return tracker.artifact_names(run_id, _FOLDER) >= {_WEIGHTS, _SUM}
