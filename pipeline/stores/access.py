"""Opens the stores for writing, and reads from them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.stores import mlflow_tables, postgresql, sqlite
from pipeline.system.errors import StorageFailure, UsageFailure

if TYPE_CHECKING:
    from sweeps.analysis.record import StudyRecord
    from sweeps.search.stored import RunningTrial, Storage

from pipeline.stores.locations import Stores, display_name, sqlite_file, sqlite_url
from sweeps.analysis.facts import StudyFacts
from sweeps.analysis.record import StudyRecord
from sweeps.search import stored
from sweeps.search.stored import STORE_ERRORS
from sweeps.search.study import StudyChangedError


@contextmanager
def study_errors() -> Iterator[None]:
    """Turn what the store of studies raises into one line."""
    try:
        yield
    except StudyChangedError as error:
        raise UsageFailure(f"{error}: go back to those values, or give another --name") from None
    except STORE_ERRORS as error:
        raise StorageFailure(f"cannot use the store of studies: {stored.cause(error)}") from error


def prepare(stores: Stores) -> None:
    """Make the stores ready to be written: whole, and files in WAL mode, where readers do not block the writer.

    Raises:
        StorageFailure: for a folder, file or database that cannot be written, or is damaged or of another version;
            before anything is made, for a server that does not answer.
    """
    _reach(stores)
    if sqlite_file(stores.studies) is None:
        postgresql.prepare(stores.studies, lambda: _storage(stores.studies))
    sqlite.wait_longer()
    tracking = (stores.tracking, sqlite.TRACKING, mlflow_tables.create_tables)
    studies = (stores.studies, sqlite.STUDIES)
    for url, library, *fill in (tracking, studies):
        file = sqlite_file(url)
        if file is not None:
            sqlite.prepare(file, url, library, *fill)


def _reach(stores: Stores) -> None:
    if sqlite_file(stores.tracking) is None:
        from pipeline.tracking.server import check_reachable

        check_reachable(stores.tracking)


def check_tracking(stores: Stores) -> None:
    """See that there is a tracking store to read; opening one that is not there would make it.

    Raises:
        UsageFailure: if there is none.
        StorageFailure: if it is damaged or of another version.
    """
    file = sqlite_file(stores.tracking)
    if file is None:
        _reach(stores)
        return
    if not file.exists():
        raise UsageFailure(f"no tracking store {file}: go to the folder where the run was begun")
    sqlite.examine(file, stores.tracking, sqlite.TRACKING)


def tracking_is_writable(stores: Stores) -> bool:
    """Whether something can be added to the tracking store: a server will say so itself."""
    file = sqlite_file(stores.tracking)
    return file is None or _writable(file)


@contextmanager
def read_tracking(stores: Stores) -> Iterator[str]:
    """The URI of the tracking store for reading: a read-only folder will do, and what is written then is lost.

    Raises:
        UsageFailure: if there is none.
        StorageFailure: if it is damaged or of another version.
    """
    file = sqlite_file(stores.tracking)
    if file is None or not file.exists() or _writable(file):
        check_tracking(stores)
        yield stores.tracking
        return
    with _copied(file, stores.tracking, sqlite.TRACKING) as copy:
        yield copy


def open_studies(stores: Stores, held: postgresql.StudyConnection = None) -> Storage:
    """Open the store of studies for writing; `prepare` has made it ready, and `lock` holds the study."""
    return _storage(stores.studies, held)


@contextmanager
def read_studies(stores: Stores) -> Iterator[Storage]:
    """Open the store of studies for reading: nothing is made, and a read-only folder will do.

    Raises:
        UsageFailure: if there is none yet.
        StorageFailure: if it cannot be reached, is damaged or of another version.
    """
    file = sqlite_file(stores.studies)
    if not (file.exists() if file else postgresql.examine(stores.studies)):
        where = display_name(stores.studies)
        raise UsageFailure(
            f"no studies in {where}: run `pipeline sweep` first, or name the folder's --storage"
        )
    if file is None:
        yield _storage(stores.studies, read_only=True)
        return
    if _writable(file):
        sqlite.examine(file, stores.studies, sqlite.STUDIES)
        yield _storage(stores.studies)
        return
    with _copied(file, stores.studies, sqlite.STUDIES) as copy:
        yield _storage(copy)


def _writable(file: Path) -> bool:
    return os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)


@contextmanager
def _copied(file: Path, url: str, library: sqlite.Library) -> Iterator[str]:
    """The URL of a copy of a database: one in WAL mode cannot be opened where nothing can be written."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        for suffix in ("", "-wal"):
            if file.with_name(file.name + suffix).exists():
                shutil.copyfile(
                    file.with_name(file.name + suffix), copy.with_name(copy.name + suffix)
                )
        sqlite.examine(file, url, library, copy=copy)
        yield sqlite_url(copy)


def read_record(stores: Stores, name: str | None = None) -> StudyRecord:
    """Read a study; the one last opened, if none is named: that whose finalists were, rather than those.

    Raises:
        UsageFailure: if there is no such study.
        StorageFailure: if the store cannot be read.
    """
    from sweeps.analysis.finalists import FINALISTS_SUFFIX
    from sweeps.search import stored

    with read_studies(stores) as storage:
        try:
            known = stored.study_names(storage)
            if not known:
                raise UsageFailure(
                    f"no study in {display_name(stores.studies)}: run `pipeline sweep` first"
                )
            return stored.read_record(storage, name or known[-1].removesuffix(FINALISTS_SUFFIX))
        except stored.StudyNotFoundError as error:
            raise UsageFailure(str(error)) from None
        except stored.STORE_ERRORS as error:
            raise StorageFailure(
                f"cannot read {display_name(stores.studies)}: {stored.cause(error)}"
            ) from None


def read_running(stores: Stores, name: str) -> tuple[RunningTrial, ...]:
    """How far the trials of a study are that have not ended."""
    from sweeps.search import stored

    with read_studies(stores) as storage:
        return stored.running_trials(storage, name)


def read_names(stores: Stores) -> list[str]:
    """The names of the studies, the one last opened last."""
    from sweeps.search import stored

    with read_studies(stores) as storage:
        return stored.study_names(storage)


def read_facts(stores: Stores, name: str) -> StudyFacts | None:
    """Read what was resolved when a study was made; None if there is no such study."""
    from sweeps.search import stored

    try:
        with read_studies(stores) as storage:
            return stored.study_facts(storage, name)
    except UsageFailure:
        return None


def _storage(
    url: str, held: postgresql.StudyConnection = None, *, read_only: bool = False
) -> Storage:
    from sweeps.search.stored import StorageError, open_storage

    if sqlite_file(url):
        engine = None
    else:
        engine = postgresql.engine_options(url, held, read_only=read_only)
    try:
        return open_storage(
            url, timeout=sqlite.LOCK_TIMEOUT, engine=engine, examined=held is not None
        )
    except StorageError as error:
        raise StorageFailure(f"cannot open the studies in {display_name(url)}: {error}") from None
