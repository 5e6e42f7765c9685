"""Renames a study in both stores, with its files: the job behind `pipeline rename`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from pipeline.jobs.keeping.renew import renew_record
from pipeline.jobs.keeping.whole import WholeStudy, find_whole
from pipeline.stores import access, locks, pending
from pipeline.stores.locations import Stores, check_name, sqlite_file
from pipeline.stores.similar_names import check_looks
from pipeline.system import failpoints
from pipeline.system.errors import StudyBusy, UsageFailure
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.search import rows


def rename(stores: Stores, former: str, new: str, say: Callable[[str], None]) -> None:
    """Give a study another name, and its finalists with it, wherever it is named.

    Args:
        stores: the stores.
        former: its name.
        new: the name to give.
        say: called with messages to the user.

    Raises:
        UsageFailure: if there is no such study, or the new name is taken or not allowed.
        StudyBusy: if a process holds it.
        StorageFailure: if a store cannot be used; what is left to do is done by the next command.
    """
    check_new_name(new)
    access.check_writable(stores)
    is_finished = any(
        change.what == "rename" and (change.study, change.new) == (former, new)
        for change in access.complete_changes(stores)
    )
    if is_finished:
        whole = find_whole(stores, new)
    else:
        whole = find_whole(stores, former)
        check_is_free(stores, whole.names_as(new), present=set(whole.names))
        access.prepare(stores)
        _rename(stores, whole, new)
    names = tuple(whole.names_as(new).values())
    renew_record(stores, reversed(names), say)
    say(f"study {former!r} is called {new!r} now")
    if whole.others:
        say(
            f"renamed in these as well, which began from it: {', '.join(whole.others)}; "
            f"write {new} into their study files"
        )


def check_new_name(name: str) -> None:
    """Check that a study may have a name.

    Raises:
        UsageFailure: if not.
    """
    check_name(name)
    if name.endswith(FINALISTS_SUFFIX):
        raise UsageFailure(
            f"a name that ends with {FINALISTS_SUFFIX} is of a study's finalists: got {name!r}"
        )


def check_is_free(
    stores: Stores, names: Mapping[str, str], present: Iterable[str] = (), *, held: bool = False
) -> None:
    """Check that no study, and no folder, has a name that studies are to have.

    Args:
        stores: the stores.
        names: the new names, as values.
        present: the studies that are to be renamed.
        held: whether this process holds the names already.

    Raises:
        UsageFailure: if one has, or one that looks the same.
        StudyBusy: if a process is about to make a study of that name.
    """
    others = access.read_all_names(stores) - set(present)
    for name in names.values():
        check_name(name)  # that of the finalists may be too long
        if name in others:
            remedy = "give another name" if present else "give another one with --name NEW"
            raise UsageFailure(f"there is a study {name!r} already: {remedy}")
        check_looks(name, others)
        for folder in (stores.home / "checkpoints" / name, stores.reports(name)):
            if _holds_anything(folder):
                raise UsageFailure(
                    f"there is a folder {folder}, which no study of the store has: "
                    "move it away, or give another name"
                )
        user = None if held else locks.holder(stores, name)
        if user is not None:
            raise StudyBusy(f"study {name!r} is in use by {user}")


def _holds_anything(folder: Path) -> bool:
    if not folder.is_dir() or folder.is_symlink():
        return os.path.lexists(folder)
    return any(folder.iterdir())


def _rename(stores: Stores, whole: WholeStudy, new: str) -> None:
    names = whole.names_as(new)
    with closing(Tracker(stores.tracking, takes_given_run=False)) as tracker:
        runs = tracker.call(tracker.study_runs, whole.names, whole.parents)
        experiment: str | None = None
        # A tracking server has an experiment for each study.
        if sqlite_file(stores.tracking) is None and tracker.call(
            tracker.experiment_called, whole.name
        ):
            experiment = tracker.experiment_id
    change = pending.Change(
        what="rename",
        names=names,
        runs=tuple(run.info.run_id for run in runs),
        views=whole.views,
        experiment=experiment,
    )
    with pending.hold(stores, names) as held, access.study_errors():
        begun = pending.begin(stores, change)
        rows.rename_studies(access.open_studies(stores, held[whole.name]), names)
        failpoints.reach("after_studies")
        pending.finish(stores, change)
        failpoints.reach("before_forgetting")
        begun.forget()
