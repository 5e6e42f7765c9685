"""Makes room: finds what no command needs any more, and removes it. Behind `pipeline clean`."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints import BEST, Folder, trial_folder
from pipeline.jobs.recorder import surplus_weights
from pipeline.report.scores import plural
from pipeline.stores import access, locks, relocation
from pipeline.stores.locations import Stores
from pipeline.system.console import format_size
from pipeline.system.errors import StorageFailure, StudyBusy, UsageFailure
from pipeline.system.files import (
    cache_folder,
    find_drafts,
    folder_size,
    remove_drafts,
    temporary_parent,
)
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.trial import TrialResult

_CACHED = re.compile(r"[0-9a-f]{32}\.safetensors|sweep-pipeline-[0-9a-f]{32}\.part")
_DAY = 24 * 3600.0  # seconds
_POLICY = re.compile(r"best|top:([1-9][0-9]{0,4})")


@dataclass(frozen=True)
class Removable:
    """Something that can go."""

    what: str
    size: int  # bytes
    remove: Callable[[], None]

    def describe(self) -> str:
        """Say what can go, and how much room it makes."""
        return f"{self.what}: {format_size(self.size)}"


def plan(stores: Stores, names: Sequence[str], *, days: float, keep: str | None) -> list[Removable]:
    """Find what can go, and remove nothing.

    Args:
        stores: the stores.
        names: the studies; all if there are none.
        days: for how many days a cached file must not have been used.
        keep: ``best`` or ``top:K``, whose weights alone the named studies keep; None for all.

    Raises:
        UsageFailure: if there is no such study, or `keep` is given without names.
        StudyBusy: if a process holds a named study.
        StorageFailure: if a store cannot be used.
    """
    if keep is not None and not names:
        raise UsageFailure("--keep-checkpoints drops the weights of studies: name them")
    kept = None if keep is None else _number_kept(keep)
    access.check_writable(stores)
    found: list[Removable] = []
    for record in _records(stores, names):
        found += _leftovers(stores, record)
        if record.finalists is not None:
            found += _leftovers(stores, record.finalists)
        if kept is not None:
            found += _weights(stores, record.name, kept)
    if not names:
        found += _drafts(stores)
        found += _cache(days)
    return found


def _records(stores: Stores, names: Sequence[str]) -> Iterator[StudyRecord]:
    """Read the named studies; else all that can be read and that no process holds."""
    for name in names:
        user = locks.holder(stores, name)
        if user is not None:
            raise StudyBusy(f"study {name!r} is in use by {user}")
        yield access.read_record(stores, name)
    if names or not access.read_all_names(stores):
        return
    for name in access.read_names(stores):
        if locks.holder(stores, name) is None:
            with contextlib.suppress(StorageFailure):
                yield access.read_record(stores, name)


def _number_kept(keep: str) -> int:
    """Read how many configurations keep their weights.

    Raises:
        UsageFailure: if the text does not say.
    """
    match = _POLICY.fullmatch(keep)
    if match is None:
        raise UsageFailure(f"--keep-checkpoints must be best or top:K, such as top:3: got {keep!r}")
    return int(match[1] or 1)


# -- checkpoints -----------------------------------------------------------------------------------


def _leftovers(stores: Stores, record: StudyRecord) -> Iterator[Removable]:
    """Yield the local checkpoints of trials that have ended and whose weights their runs hold."""
    folders = [
        folder
        for result in record.results
        if result.has_ended
        and (folder := trial_folder(stores.home, record.name, result.number)).is_dir()
        and _is_spare(stores, result, Folder(folder))
    ]
    if not folders:
        return

    def remove() -> None:
        with locks.lock(stores, record.name):
            for folder in folders:
                Folder(folder).clear()

    text = f"checkpoints of {plural(len(folders), 'ended trial')} of {record.name}"
    yield Removable(text, folder_size(*folders), remove)


def _is_spare(stores: Stores, result: TrialResult, folder: Folder) -> bool:
    """Whether a trial's folder holds nothing that its run lacks, or no weights at all."""
    if not folder.best.exists():
        return True
    if result.checkpoint is None:
        return result.state != "complete"
    place = relocation.local_path(relocation.find_checkpoint(result.checkpoint, stores.home))
    if place is None:
        return False
    sums = [Path(path).with_name(f"{BEST}.sha256") for path in (place / BEST, folder.best)]
    return all(path.is_file() for path in sums) and sums[0].read_bytes() == sums[1].read_bytes()


def _weights(stores: Stores, name: str, keep: int) -> Iterator[Removable]:
    """Yield the weights of all but the best configurations of a study."""
    with access.study_errors(), access.read_studies(stores) as storage:
        surplus = surplus_weights(stored.load(storage, name), keep)
    if not surplus:
        return
    size = 0
    for result in surplus:
        location = relocation.find_checkpoint(str(result.checkpoint), stores.home)
        place = relocation.local_path(location)
        size += 0 if place is None else folder_size(Path(place))
    text = f"weights of {plural(len(surplus), 'trial')} of {name}, all but those of the best {keep}"
    yield Removable(text, size, lambda: _drop_weights(stores, name, keep))


def _drop_weights(stores: Stores, name: str, keep: int) -> None:
    """Drop weights, one trial after the other: after a kill, the same command goes on."""
    access.prepare(stores)
    with (
        locks.lock(stores, name) as held,
        access.study_errors(),
        closing(Tracker(stores.tracking, takes_given_run=False)) as tracker,
    ):
        study = stored.load(access.open_studies(stores, held), name)
        for result in surplus_weights(study, keep):
            tracker.call(tracker.drop_checkpoint, str(result.run_id))
            study.keep_run(result.number, str(result.run_id), None)


# -- drafts and the cache --------------------------------------------------------------------------


def _drafts(stores: Stores) -> Iterator[Removable]:
    """Yield what killed processes have left of this project."""
    folders = [stores.home, temporary_parent()]
    for name in ("checkpoints", "reports"):
        folders += [stores.home / name, *_below(stores.home / name)]
    drafts = [draft for folder in folders for draft in find_drafts(folder)]
    if not drafts:
        return

    def remove() -> None:
        for folder in folders:
            remove_drafts(folder)

    text = f"{plural(len(drafts), 'draft')} of processes that were killed"
    yield Removable(text, _sizes(drafts), remove)


def _below(folder: Path) -> list[Path]:
    """The folders below one, and those below them."""
    if not folder.is_dir():
        return []
    return [path for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_dir()]


def _cache(days: float) -> Iterator[Removable]:
    """Yield the decoded images that no command has used for some days."""
    try:
        files = list(cache_folder().iterdir())
    except OSError:
        return
    now = time.time()
    old = []
    for file in files:
        if _CACHED.fullmatch(file.name) and file.is_file():
            found = file.stat()
            if now - max(found.st_atime, found.st_mtime) > days * _DAY:
                old.append(file)
    if not old:
        return

    def remove() -> None:
        for file in old:
            file.unlink(missing_ok=True)

    text = f"{plural(len(old), 'cached file')} of decoded images, not used for {days:g} days"
    yield Removable(text, _sizes(old), remove)


def _sizes(paths: Iterable[Path]) -> int:
    return sum(folder_size(path) if path.is_dir() else path.stat().st_size for path in paths)
