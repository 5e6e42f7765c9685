"""Changes of whole studies that were begun: each is finished, or taken back, after a kill.

A study is in two databases and in files. The transaction of Optuna's store, which is the truth
about which studies exist, decides whether a change has happened. A note beside the checkpoints
holds all that is left to do then. The next command that writes to the stores does it, or removes
the note of a change that had not happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.stores import locks, mlflow_runs
from pipeline.stores.locations import Stores, is_stored_name, sqlite_file
from pipeline.system import failpoints
from pipeline.system.console import print_notice
from pipeline.system.errors import StudyBusy
from pipeline.system.files import atomic_write
from pipeline.system.text import public_url
from sweeps.trial import AS_DECLARED

_SUFFIX = "@pending.json"  # no study's name has an @
_Id = Annotated[str, Field(pattern=r"^[0-9a-zA-Z_-]{1,64}$")]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a study and of the study of its finalists."""

    __pydantic_config__: ClassVar = AS_DECLARED

    what: Literal["delete", "rename", "restore"]
    # The names of the studies, each with its new one; if it is not renamed, with the same.
    names: Mapping[str, str]
    runs: tuple[_Id, ...]  # the ids of all their runs
    artifacts: tuple[str, ...] = ()  # the folders of these, to be removed; relative to the home
    views: tuple[str, ...] = ()  # tags of the experiment that are of the names before
    experiment: str | None = None  # the id of an experiment that has the name of the study
    # The stores that it is made in: a command on others leaves it alone.
    stores: tuple[str, ...] = ()

    @property
    def study(self) -> str:
        """The study, by its name before."""
        return next(iter(self.names))

    @property
    def new(self) -> str:
        """The study, by its name afterwards."""
        return self.names[self.study]

    def has_happened(self, present: Collection[str]) -> bool:
        """Whether the change was made in Optuna's store.

        Args:
            present: the names of the studies there.
        """
        if self.what == "restore":
            return self.study in present
        return self.study not in present


@dataclass(frozen=True)
class Begun:
    """A change, and the note of it."""

    change: Change
    file: Path = field(repr=False)

    def forget(self) -> None:
        """Remove the note: all is done, or taken back."""
        self.file.unlink(missing_ok=True)


def describe(stores: Stores, begun: Begun) -> str:
    """Say that a change is under way or was cut off, and what finishes it."""
    change = begun.change
    what = f"{change.what} of study {change.study!r}"
    for name in (*change.names, *change.names.values()):
        user = locks.holder(stores, name)
        if user is not None:
            return f"{what} is under way: {user}"
    if change.what == "restore":
        return f"{what} was cut off: run the same command again, which removes what it has left"
    names = [change.study] if change.what == "delete" else [change.study, change.new]
    return f"{what} was cut off: finish it with: {shlex.join(['pipeline', change.what, *names])}"


def begin(stores: Stores, change: Change) -> Begun:
    """Note a change that is about to be made. The caller holds its studies.

    Raises:
        OSError: if the note cannot be written.
    """
    change = dataclasses.replace(
        change,
        stores=_labels(stores),
        artifacts=tuple(_below_home(stores, path) for path in change.artifacts),
    )
    file = _file(stores, change.study)
    with atomic_write(file, durable=True) as draft:
        draft.write_bytes(TypeAdapter(Change).dump_json(change, indent=2))
    failpoints.reach("after_note")
    return Begun(change, file)


def find(stores: Stores) -> list[Begun]:
    """Find the changes that were begun, and of which something may be left to do."""
    found = []
    for file in sorted((stores.home / "checkpoints").glob(f"*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValidationError):
            change = TypeAdapter(Change).validate_json(file.read_bytes())
            if change.names and all(map(is_stored_name, (*change.names, *change.names.values()))):
                found.append(Begun(change, file))
    return found


def complete(stores: Stores, read_names: Callable[[], Collection[str]]) -> list[Change]:
    """Finish the changes that were cut off, and forget those that had not happened.

    Changes that another process is about to make are left to it.

    Args:
        stores: the stores.
        read_names: reads the names of the studies in Optuna's store.

    Returns:
        The changes that were finished.
    """
    completed = []
    for begun in find(stores):
        if begun.change.stores != _labels(stores):
            continue
        with contextlib.suppress(StudyBusy), hold(stores, begun.change.names):
            if not begun.file.exists():
                continue
            change = begun.change
            has_happened = change.has_happened(read_names())
            if has_happened and change.what != "restore":
                finish(stores, change)
                print_notice(f"finished what was cut off: {change.what} of study {change.study!r}")
                completed.append(change)
            elif change.what == "restore" and not has_happened:
                remove(stores, change)
                print_notice(
                    f"removed what a restore of study {change.study!r} had left that was cut off"
                )
            elif not has_happened and change.what == "rename":
                for new in change.names.values():
                    locks.remove_files(stores, new)
            begun.forget()
    return completed


@contextlib.contextmanager
def hold(stores: Stores, names: Mapping[str, str]) -> Iterator[Mapping[str, locks.Held]]:
    """Hold all studies of a change, by both their names.

    Yields:
        What each name is held by.

    Raises:
        StudyBusy: if another process holds one of them.
    """
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(locks.lock(stores, name))
            for name in dict.fromkeys((*names, *names.values()))
        }


def finish(stores: Stores, change: Change) -> None:
    """Do all that is left to do after the transaction of Optuna's store. May be repeated."""
    if change.what == "rename":
        _rename(stores, change)
    elif change.what == "delete":
        remove(stores, change)


# -- the record, and the files ---------------------------------------------------------------------


def remove(stores: Stores, change: Change) -> None:
    """Remove the runs and files of studies that are not in Optuna's store. May be repeated."""
    file = sqlite_file(stores.tracking)
    if file is None:
        from pipeline.tracking.tracker import Tracker

        with closing(Tracker(stores.tracking, takes_given_run=False)) as tracker:
            tracker.call(tracker.delete_runs, change.runs)
    else:
        mlflow_runs.delete_runs(file, change.runs, change.views)
    failpoints.reach("after_runs")
    for location in change.artifacts:
        _remove_artifacts(stores.home / location, change.runs)
    for name in change.names:
        _remove_checkpoints(stores.home / "checkpoints" / name)
        _remove_tree(stores.reports(name))
        locks.remove_files(stores, name)


def _remove_artifacts(folder: Path, runs: Collection[str]) -> None:
    """Remove the folder of a run's artifacts, and the one above it, which is named like the run."""
    if ".." in folder.parts or folder.parent.name not in runs:
        return
    _remove_tree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a study. What is not ours stays, and no link is followed."""
    from pipeline.checkpoints import Folder

    if folder.is_symlink() or not folder.is_dir():
        return
    for trial in folder.iterdir():
        if trial.is_dir():
            Folder(trial).clear()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_tree(folder: Path) -> None:
    """Remove a folder. Of a link, only the link goes."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _rename(stores: Stores, change: Change) -> None:
    """Rename the runs and folders of studies that have their new names in Optuna's store."""
    file = sqlite_file(stores.tracking)
    if file is None:
        from pipeline.tracking.tracker import Tracker

        with closing(Tracker(stores.tracking, takes_given_run=False)) as tracker:
            tracker.call(tracker.rename_runs, change.runs, change.names)
            if change.experiment is not None:
                tracker.call(tracker.rename_experiment, change.experiment, change.new)
    else:
        mlflow_runs.rename_runs(file, change.runs, change.names, change.views)
    failpoints.reach("after_runs")
    for former, new in change.names.items():
        for folder in ("checkpoints", "reports"):
            _move(stores.home / folder / former, stores.home / folder / new)
        locks.remove_files(stores, former)


def _move(source: Path, target: Path) -> None:
    """Rename a folder, unless that was done."""
    if os.path.lexists(source):
        with contextlib.suppress(OSError):  # an empty folder of the name
            target.rmdir()
        source.rename(target)


def _labels(stores: Stores) -> tuple[str, ...]:
    """The stores without passwords; files beside each other stay when their folder moves."""
    file = sqlite_file(stores.tracking)
    return stores.studies_label, public_url(stores.tracking) if file is None else file.name


def _below_home(stores: Stores, path: str) -> str:
    """The path of a folder, relative where a copy of the home has a folder of its own."""
    folder = Path(path)
    if folder.is_relative_to(stores.home):
        return folder.relative_to(stores.home).as_posix()
    return path


def _file(stores: Stores, study: str) -> Path:
    return stores.home / "checkpoints" / f"{study}{_SUFFIX}"
