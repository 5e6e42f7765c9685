"""Finds all that belongs to a study: the study of its finalists, its runs and its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.stores import access, locks, relocation
from pipeline.stores.locations import Stores, check_stored_name, sqlite_file
from pipeline.system.errors import StudyBusy, UsageFailure
from pipeline.system.files import folder_size
from pipeline.tracking.comparison_view import view_tag
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.search import rows

if TYPE_CHECKING:
    from pipeline.tracking.library import Run
    from pipeline.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class WholeStudy:
    """A study with the study of its finalists, if it has one."""

    names: tuple[str, ...]  # its own first
    parents: tuple[str, ...]  # the ids of the parent runs, as the store of studies has them
    others: tuple[str, ...]  # studies that began from it

    @property
    def name(self) -> str:
        """The study's own name."""
        return self.names[0]

    @property
    def views(self) -> tuple[str, ...]:
        """The tags of MLflow's experiment that hold the saved views."""
        return tuple(view_tag(name) for name in self.names)

    def names_as(self, new: str) -> dict[str, str]:
        """The new name of each of the studies, if the study itself is called so."""
        return {name: new + name.removeprefix(self.name) for name in self.names}


def find_whole(stores: Stores, name: str) -> WholeStudy:
    """Find a study and all that belongs to it, even if its trials are damaged.

    Raises:
        UsageFailure: if there is no such study, or it is one of finalists.
        StudyBusy: if a process holds it.
        IntegrityFailure: if no command could have given the study its name.
        StorageFailure: if the store cannot be read.
    """
    with access.study_errors(), access.read_studies(stores) as storage:
        present = rows.names(storage)
        if name not in present:
            known = ", ".join(access.read_names(stores)) or "none yet"
            raise UsageFailure(f"no study {name!r}; there are: {known}")
        check_stored_name(name)
        finalists = f"{name}{FINALISTS_SUFFIX}"
        names = (name, finalists) if finalists in present else (name,)
        attrs = [rows.attributes(storage, each) for each in names]
        others = rows.others_that_name(storage, name)
    facts = attrs[0].get("facts")
    chosen = facts.get("finalists") if isinstance(facts, dict) else None
    if isinstance(chosen, dict) and chosen.get("of") in present:
        raise UsageFailure(
            f"study {name!r} holds the finalists of {chosen['of']!r}, whose test scores it has "
            f"counted: name {chosen['of']!r}, and both go together"
        )
    for each in names:
        user = locks.holder(stores, each)
        if user is not None:
            raise StudyBusy(f"study {each!r} is in use by {user}")
    return WholeStudy(names=names, parents=tuple(_parents(attrs)), others=tuple(others))


def _parents(attrs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for each in attrs:
        parent = each.get("parent_run_id")
        if isinstance(parent, str):
            yield parent


def artifact_folders(stores: Stores, tracker: Tracker, runs: Sequence[Run]) -> tuple[Path, ...]:
    """Return the local folders of the artifacts that runs have to themselves.

    Those of a server, and those that a copied store shares with its original, are left out.
    """
    if sqlite_file(stores.tracking) is None:
        return ()
    folders = []
    for run in runs:
        path = relocation.local_path(str(run.info.artifact_uri))
        if path is None:
            continue
        is_below_home = path.is_relative_to(stores.home)
        if is_below_home or not tracker.call(tracker.shares_artifacts, run.info.run_id):
            folders.append(Path(path))
    return tuple(folders)


def disk_size(stores: Stores, whole: WholeStudy, artifacts: Iterable[Path]) -> int:
    """Return how many bytes the files of a study take, without its rows in databases."""
    folders = [stores.home / "checkpoints" / name for name in whole.names]
    folders += [stores.reports(name) for name in whole.names]
    return folder_size(*folders, *artifacts)
