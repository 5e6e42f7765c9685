"""Deletes studies from both stores, with their files: the job behind `pipeline delete`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from pipeline.jobs.keeping.whole import WholeStudy, artifact_folders, disk_size, find_whole
from pipeline.report.scores import plural
from pipeline.stores import access, pending
from pipeline.stores.locations import Stores, sqlite_file
from pipeline.system import failpoints
from pipeline.system.console import format_size
from pipeline.tracking.tracker import Tracker
from sweeps.search import rows


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What would go with a study."""

    whole: WholeStudy
    change: pending.Change
    size: int  # bytes of files
    models: tuple[str, ...]  # registered models made of its networks, which stay
    marks_only: bool  # whether its runs are only marked as deleted

    def describe(self) -> list[str]:
        """Say in lines what goes and what stays."""
        runs = plural(len(self.change.runs), "run")
        size = format_size(self.size)
        what = f"study {self.whole.name!r}: its trials, {runs}, {size} of files"
        if len(self.whole.names) > 1:
            what += ", and the finalists with their test scores"
        lines = [what]
        if self.marks_only:
            lines.append(
                "  its runs are marked as deleted on the tracking server; `mlflow gc` there "
                "removes them with their artifacts"
            )
        if self.whole.others:
            lines.append(f"  began from it, and goes on without: {', '.join(self.whole.others)}")
        if self.models:
            lines.append(f"  registered from it, and stays: {', '.join(self.models)}")
        return lines


def plan(stores: Stores, names: Sequence[str]) -> list[Deletion]:
    """Find what would go with some studies. Deletions that were cut off are finished before.

    Args:
        stores: the stores.
        names: the studies.

    Returns:
        A deletion for each study that is still there.

    Raises:
        UsageFailure: if there is no such study.
        StudyBusy: if a process holds one.
        StorageFailure: if a store cannot be used.
    """
    access.check_writable(stores)
    finished = {change.study for change in access.complete_changes(stores)}
    wanted = [name for name in dict.fromkeys(names) if name not in finished]
    wholes = [find_whole(stores, name) for name in wanted]
    if not wholes:
        return []
    access.prepare(stores)
    with closing(Tracker(stores.tracking, takes_given_run=False)) as tracker:
        return [_plan_one(stores, tracker, whole) for whole in wholes]


def _plan_one(stores: Stores, tracker: Tracker, whole: WholeStudy) -> Deletion:
    has_server = sqlite_file(stores.tracking) is None
    find_runs = partial(tracker.study_runs, whole.names, whole.parents, deleted=True)
    runs = tracker.call(find_runs)
    run_ids = tuple(run.info.run_id for run in runs)
    artifacts = artifact_folders(stores, tracker, runs)
    change = pending.Change(
        what="delete",
        names={name: name for name in whole.names},
        runs=run_ids,
        artifacts=tuple(map(str, artifacts)),
        views=whole.views,
    )
    return Deletion(
        whole=whole,
        change=change,
        size=disk_size(stores, whole, artifacts),
        models=tuple(tracker.call(tracker.models_of, run_ids)),
        marks_only=has_server,
    )


def delete(stores: Stores, deletion: Deletion, say: Callable[[str], None]) -> None:
    """Delete a study: all of it or, if that fails before it begins, nothing.

    Raises:
        StudyBusy: if a process holds the study by now.
        StorageFailure: if a store cannot be used; what is left to do is done by the next command.
    """
    change = deletion.change
    with pending.hold(stores, change.names) as held, access.study_errors():
        begun = pending.begin(stores, change)
        rows.delete_studies(access.open_studies(stores, held[change.study]), change.names)
        failpoints.reach("after_studies")
        pending.finish(stores, change)
        failpoints.reach("before_forgetting")
        begun.forget()
    say(f"deleted study {change.study!r}: {format_size(deletion.size)} freed")
