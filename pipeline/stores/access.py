"""Opens the tracking store and the store of studies, for writing and for reading."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.stores import (
    cached_tables,
    locks,
    mlflow_tables,
    pending,
    postgresql,
    relocation,
    sqlite,
)
from pipeline.stores.locations import (
    Stores,
    check_stored_name,
    display_name,
    is_stored_name,
    sqlite_file,
    sqlite_url,
)
from pipeline.stores.locks import Held
from pipeline.stores.pending import Change
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.files import temporary_folder, temporary_parent
from sweeps.analysis.facts import StudyFacts
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.search.decisions import DamagedStudyError
from sweeps.search.stored import ReadableStorage, RunningTrial, Storage, StudyChangedError
from sweeps.search.tables import TableStorage


@contextmanager
def _damage() -> Iterator[None]:
    """Turn the error for a damaged study into a `StorageFailure`."""
    try:
        yield
    except DamagedStudyError as error:
        raise StorageFailure(
            f"the study in the store is damaged: {error}; "
            "put back a copy of the store, or name another study with --name"
        ) from error


@contextmanager
def study_errors() -> Iterator[None]:
    """Turn an error of the store of studies into a `Failure` of one line.

    Raises:
        UsageFailure: if the study was made with other values than it is continued with.
        StorageFailure: if the store cannot be used, or the study in it is damaged.
    """
    try:
        with _damage():
            yield
    except StudyChangedError as error:
        raise UsageFailure(
            f"study {error.study!r} has another definition: give another --name, or go back to it "
            f"({error.differences})"
        ) from None
    except stored.store_errors() as error:
        raise StorageFailure(f"cannot use the store of studies: {stored.cause(error)}") from error


# -- for writing -----------------------------------------------------------------------------------


def prepare(stores: Stores) -> None:
    """Make both stores ready for writing, and create missing stores.

    SQLite files are put into WAL mode, in which readers do not block the writer. In this process
    MLflow then waits longer for another writer, see `sqlite.wait_longer`. Files that were moved
    since they were last written are made at home where they are, see `settle`.

    Raises:
        StudyBusy, IntegrityFailure: as of `settle`.
        StorageFailure: if a folder, file or database is damaged, of another version, or cannot be
            written; or if a tracking server does not answer. The server is tried first, before
            anything is created.
        UsageFailure: if there is no folder for temporary files.
    """
    temporary_parent()
    _check_server(stores)
    if sqlite_file(stores.studies) is None:
        postgresql.prepare(stores.studies, lambda: _open_storage(stores.studies))
    sqlite.remember_connections()
    sqlite.wait_longer()
    tracking_file = sqlite_file(stores.tracking)
    if tracking_file is not None:
        sqlite.prepare(
            tracking_file,
            stores.tracking,
            sqlite.TRACKING,
            lambda: _complete_tracking(stores.tracking),
            lambda draft: mlflow_tables.create_tables(draft, tracking_file.parent),
        )
    studies_file = sqlite_file(stores.studies)
    if studies_file is not None:
        sqlite.prepare(
            studies_file,
            stores.studies,
            sqlite.STUDIES,
            lambda: _complete_studies(stores.studies),
            lambda draft: cached_tables.create(draft, sqlite.STUDIES, _create_studies),
        )
    settle(stores)


def settle(stores: Stores) -> None:
    """Before a command writes to a tracking store, make its files at home where they are.

    See `relocation`. Nothing happens to a server, and to a store that cannot be written. Changes of
    whole studies that were cut off are finished, see `pending`.

    Raises:
        StudyBusy: if a process uses the folder under another name.
        IntegrityFailure: if the folder shares files with that from which it was copied.
        StorageFailure: if the store is damaged.
    """
    file = sqlite_file(stores.tracking)
    if file is not None and file.exists() and _is_writable(file):
        relocation.settle(file, lambda: _find_user(stores))
    complete_changes(stores)


def complete_changes(stores: Stores) -> list[Change]:
    """Finish the changes of whole studies that were cut off, unless a store cannot be written.

    Returns:
        The changes that were finished.

    Raises:
        StorageFailure: if a store cannot be used.
    """
    if not pending.find(stores) or read_only_store(stores) is not None:
        return []
    with study_errors():
        return pending.complete(stores, lambda: read_all_names(stores))


def read_all_names(stores: Stores) -> set[str]:
    """Read the names of all studies, those of other programs among them; none without a store."""
    from sweeps.search import rows

    with contextlib.suppress(UsageFailure), read_studies(stores) as storage:
        return rows.names(storage)
    return set()


def _find_user(stores: Stores) -> str | None:
    """Describe a process that trains in this folder; None if there is none."""
    training = locks.find_training(stores)
    if training is not None:
        return training
    if sqlite_file(stores.studies) is None:
        return None  # who holds a study in a database need not use this folder
    with contextlib.suppress(UsageFailure):  # there is no store of studies yet
        for name in read_names(stores):
            user = locks.holder(stores, name) if is_stored_name(name) else None
            if user is not None:
                return user
    return None


def _complete_tracking(uri: str) -> None:
    """Have MLflow create the missing tables of its store, and its first experiment."""
    from pipeline.tracking.tracker import Tracker

    tracker = Tracker(uri)
    try:
        tracker.call(tracker.open_store)
    finally:
        tracker.close()


def _create_studies(draft: Path) -> None:
    """Have Optuna create its tables in a new file."""
    stored.create_tables(sqlite_url(draft))


def _complete_studies(url: str) -> None:
    """Have Optuna create the missing tables of its store."""
    _open_storage(url)


def open_studies(stores: Stores, held: Held | None = None) -> Storage:
    """Open the store of studies for writing, after `prepare`.

    Args:
        stores: the stores.
        held: the study to write, from `locks.lock`. Each use of the store then checks first that
            the study is still held, see `Held.check`.
    """
    connection = None if held is None else held.connection
    file = sqlite_file(stores.studies)
    examined = connection is not None
    if file is not None:
        examined = sqlite.is_current(file, sqlite.STUDIES)
    storage = _open_storage(stores.studies, connection, examined=examined)
    if held is not None:
        stored.check_before_use(storage, held.check)
    return storage


def read_only_store(stores: Stores) -> str | None:
    """Return the first of the stores that cannot be written; None if both can.

    A server reports its own errors.
    """
    for url in (stores.tracking, stores.studies):
        file = sqlite_file(url)
        if file is not None and file.exists() and not _is_writable(file):
            return str(file)
    return None


def check_writable(stores: Stores) -> None:
    """Check that both stores can be written, before a command changes them.

    Raises:
        StorageFailure: naming the first that cannot.
    """
    read_only = read_only_store(stores)
    if read_only is not None:
        raise StorageFailure(f"cannot use {read_only}: it is read-only{sqlite.READ_ONLY}")


# -- for reading -----------------------------------------------------------------------------------


def check_tracking(stores: Stores) -> None:
    """Check that there is a tracking store to read: MLflow would create a missing one.

    Raises:
        UsageFailure: if there is none.
        StorageFailure: if the store is damaged or of another version, or its server does not
            answer.
    """
    sqlite.remember_connections()  # that MLflow will make
    file = sqlite_file(stores.tracking)
    if file is None:
        _check_server(stores)
        return
    if not file.exists():
        raise UsageFailure(f"no tracking store {file}: go to the folder where the run was begun")
    sqlite.examine(file, stores.tracking, sqlite.TRACKING)


@contextmanager
def read_tracking(stores: Stores, *, writes: bool = False) -> Iterator[str]:
    """Open the tracking store for reading, even in a read-only folder, and after it was moved.

    Args:
        stores: the stores.
        writes: whether the caller writes to the store as well, if it can be written.

    Yields:
        The URI of the store; or of a temporary copy, if the store is read-only, or was moved since
        it was last written. The copy has the present locations of artifacts. What is written to
        the copy is lost.

    Raises:
        UsageFailure: if there is no tracking store.
        StorageFailure: if the store cannot be read, as `check_tracking`.
        StudyBusy, IntegrityFailure: with `writes`, as of `settle`.
    """
    file = sqlite_file(stores.tracking)
    if file is None or not file.exists():
        check_tracking(stores)
        yield stores.tracking
        return
    if _is_writable(file):
        check_tracking(stores)
        if writes:
            settle(stores)
        if not relocation.is_due(file):
            yield stores.tracking
            return
    with _temporary_copy(file, stores.tracking, sqlite.TRACKING) as copy:
        relocation.settle_copy(copy, file)
        yield sqlite_url(copy)


@contextmanager
def read_studies(stores: Stores) -> Iterator[Storage]:
    """Open the store of studies by Optuna for reading, even in a read-only folder.

    Nothing is created. Where `look_into_studies` is enough, that is quicker.

    Raises:
        UsageFailure: if there is no store yet.
        StorageFailure: if the store cannot be reached, is damaged or of another version.
    """
    with _whole_studies(stores) as url, _damage():
        yield _open_storage(url, read_only=True, examined=True)


@contextmanager
def look_into_studies(stores: Stores) -> Iterator[ReadableStorage]:
    """Open the store of studies for the reading functions of `sweeps.search.stored`.

    A file is read without Optuna, which takes half a second to import.

    Raises:
        UsageFailure, StorageFailure: as of `read_studies`.
    """
    with _whole_studies(stores) as url, _damage():
        file = sqlite_file(url)
        if file is None:
            yield _open_storage(url, read_only=True, examined=True)
        else:
            with sqlite.connect_existing(file, "rw") as database:
                yield TableStorage(database)


@contextmanager
def _whole_studies(stores: Stores) -> Iterator[str]:
    """Check the store of studies, and yield its URL, or that of a copy which can be opened.

    Raises:
        UsageFailure, StorageFailure: as of `read_studies`.
    """
    file = sqlite_file(stores.studies)
    if file is None:
        exists = postgresql.examine(stores.studies)
    else:
        exists = file.exists()
    if not exists:
        raise UsageFailure(
            f"no studies in {display_name(stores.studies)}: "
            "run `pipeline sweep` first, or name the folder's --storage"
        )
    if file is None:
        yield stores.studies
    elif _is_writable(file):
        sqlite.examine(file, stores.studies, sqlite.STUDIES)
        yield stores.studies
    else:
        with _temporary_copy(file, stores.studies, sqlite.STUDIES) as copy:
            yield sqlite_url(copy)


def read_record(stores: Stores, name: str | None = None) -> StudyRecord:
    """Read a study with all its trials.

    A command that reads a large study should do so in `garbage.freeze_loaded`, which is faster.

    Args:
        stores: the stores.
        name: the study. The default is the study last opened; for a study of finalists, the study
            from which they were chosen.

    Raises:
        UsageFailure: if there is no such study.
        IntegrityFailure: if no command could have given the study its name.
        StorageFailure: if the store cannot be read.
    """
    with look_into_studies(stores) as storage:
        try:
            names = stored.study_names(storage)
            if not names:
                raise UsageFailure(
                    f"no study in {display_name(stores.studies)}: run `pipeline sweep` first"
                )
            wanted = names[-1].removesuffix(FINALISTS_SUFFIX) if name is None else name
            if wanted in names:
                check_stored_name(wanted)
            record = stored.read_record(storage, wanted)
            return relocation.find_checkpoints(record, stores.home)
        except stored.StudyNotFoundError as error:
            raise UsageFailure(str(error)) from None
        except stored.store_errors() as error:
            raise StorageFailure(
                f"cannot read {display_name(stores.studies)}: {stored.cause(error)}"
            ) from None


def read_running(stores: Stores, name: str) -> tuple[RunningTrial, ...]:
    """Read the progress of a study's running trials."""
    with look_into_studies(stores) as storage:
        return stored.running_trials(storage, name)


def read_names(stores: Stores) -> list[str]:
    """Read the names of all studies that a command could name, the one last opened at the end."""
    with look_into_studies(stores) as storage:
        return [name for name in stored.study_names(storage) if is_stored_name(name)]


def read_facts(stores: Stores, name: str) -> StudyFacts | None:
    """Read what was resolved when a study was made; None if there is no such study."""
    try:
        with look_into_studies(stores) as storage:
            return stored.study_facts(storage, name)
    except UsageFailure:
        return None


def read_identity(stores: Stores, name: str) -> Mapping[str, Any] | None:
    """Read the specification that a study was made from; None if there is no such study."""
    try:
        with look_into_studies(stores) as storage:
            return stored.study_identity(storage, name)
    except UsageFailure:
        return None


def read_place(stores: Stores, name: str) -> str | None:
    """Read where the images of a study are now; None if where it was begun, or without a study."""
    try:
        with look_into_studies(stores) as storage:
            return stored.study_place(storage, name)
    except UsageFailure:
        return None


def read_names_by_digest(stores: Stores, digest: str) -> list[str]:
    """Return the names of the studies begun with these images, the one last opened at the end."""
    try:
        with look_into_studies(stores) as storage:
            return [
                name for name in stored.names_by_digest(storage, digest) if is_stored_name(name)
            ]
    except UsageFailure:
        return []


# -- for both --------------------------------------------------------------------------------------


def _check_server(stores: Stores) -> None:
    if sqlite_file(stores.tracking) is None:
        from pipeline.tracking.server import check_reachable

        check_reachable(stores.tracking)


def _open_storage(
    url: str,
    connection: postgresql.StudyConnection = None,
    *,
    read_only: bool = False,
    examined: bool = False,
) -> Storage:
    """Open the store of studies.

    Args:
        url: the URL of the store.
        connection: the connection to write through, if it holds a study.
        read_only: whether new connections to a database refuse to write.
        examined: whether the version of the tables was checked. Otherwise Optuna checks it, which
            takes a while, and a second connection.
    """
    sqlite.remember_connections()
    if sqlite_file(url):
        options = None
    else:
        options = postgresql.engine_options(url, connection, read_only=read_only)
    try:
        return stored.open_storage(
            url, timeout=sqlite.LOCK_TIMEOUT, engine=options, examined=examined
        )
    except stored.StorageError as error:
        raise StorageFailure(f"cannot open the studies in {display_name(url)}: {error}") from None


def _is_writable(file: Path) -> bool:
    """Whether a file can be written, and the files that SQLite makes beside it."""
    others = [file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm")]
    files = [file, *(other for other in others if other.exists())]
    return all(os.access(path, os.W_OK) for path in (file.parent, *files))


@contextmanager
def _temporary_copy(file: Path, url: str, library: sqlite.Library) -> Iterator[Path]:
    """Copy a database, for one: SQLite cannot open it in WAL mode in a read-only folder.

    Yields:
        The copy.
    """
    with temporary_folder() as folder:
        copy = folder / file.name
        for suffix in ("", "-wal"):
            part = file.with_name(file.name + suffix)
            if part.exists():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
        sqlite.examine(file, url, library, copy=copy)
        yield copy
