"""Packs a study into one file: the job behind `pipeline archive`.

The file is a zip:

- ``manifest.json``: the version of the format, the names, and the size and SHA-256 of each file.
- ``studies/0.json`` (and ``1.json`` of its finalists): the rows of Optuna's store.
- ``runs.jsonl``: the runs in MLflow with all metrics, one a line.
- ``artifacts/RUN/...``, ``checkpoints/0/TRIAL/...`` and ``reports/0/...``: the files.

No path of this machine is in it but what the study itself names, such as the folder of its images.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import ConfigDict, TypeAdapter

from pipeline.jobs.keeping import portable
from pipeline.jobs.keeping.whole import WholeStudy, artifact_folders, find_whole
from pipeline.stores import access, mlflow_runs, pending
from pipeline.stores.locations import Stores, sqlite_file
from pipeline.system.console import format_size
from pipeline.system.errors import StorageFailure, UsageFailure
from pipeline.system.files import atomic_write
from pipeline.tracking.tracker import Tracker
from sweeps.search import rows

FORMAT = 1  # of the file; a file of a later one is refused
KIND = "study of sweep-pipeline"
MANIFEST = "manifest.json"
RUNS = "runs.jsonl"
_SUFFIX = ".study.zip"
_BLOCK = 1 << 20  # bytes
# Files that are not worth compressing.
_DENSE = (".safetensors", ".png", ".pt2", ".zip", ".gz", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive holds."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: str
    format: int
    version: str  # of the program that wrote it
    created: str  # UTC
    studies: tuple[str, ...]  # the names of the study and, if there is one, of its finalists' study
    files: dict[str, Member] = field(default_factory=dict)


def archive(stores: Stores, name: str, out: Path | None) -> str:
    """Pack a study with its finalists into a file, which appears whole or not at all.

    Nothing of the study is changed. The stores may be read-only.

    Args:
        stores: the stores.
        name: the study.
        out: the file; None for ``NAME.study.zip`` in the working folder.

    Returns:
        What was written, in words.

    Raises:
        UsageFailure: if there is no such study, the file exists, or a server holds the runs.
        StudyBusy: if a process holds the study.
        StorageFailure: if a store cannot be read, or the file cannot be written.
    """
    out = out or Path(f"{name}{_SUFFIX}")
    if os.path.lexists(out):
        raise UsageFailure(f"{out} is there already: name another file with --out")
    if sqlite_file(stores.tracking) is None:
        raise UsageFailure(
            "an archive takes runs from an SQLite file, and MLFLOW_TRACKING_URI is a server, which "
            "keeps them: back up the server instead"
        )
    is_read_only = access.read_only_store(stores) is not None
    if not is_read_only:
        access.settle(stores)
    whole = find_whole(stores, name)
    with contextlib.ExitStack() as stack:
        if not is_read_only:  # otherwise nobody here can change it
            stack.enter_context(pending.hold(stores, whole.names_as(name)))
        try:
            with atomic_write(out, durable=True) as draft:
                manifest = _write(stores, whole, draft)
                size = draft.stat().st_size
        except OSError as error:
            raise StorageFailure(f"cannot write {out}: {error.strerror or error}") from None
    return f"{out}: study {name!r}, {len(manifest.files)} files, {format_size(size)}"


def _write(stores: Stores, whole: WholeStudy, file: Path) -> Manifest:
    files: dict[str, Member] = {}
    with (
        access.study_errors(),
        access.read_studies(stores) as storage,
        access.read_tracking(stores) as uri,
        closing(Tracker(uri, takes_given_run=False)) as tracker,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed,
    ):
        for index, name in enumerate(whole.names):
            study = rows.read_rows(storage, name)
            if study is None:  # it was held, so that it was there
                raise StorageFailure(f"study {name!r} has gone from its store meanwhile")
            content = portable.made_portable(study).to_json()
            files[f"studies/{index}.json"] = _add(packed, f"studies/{index}.json", iter([content]))
        runs = tracker.call(tracker.study_runs, whole.names, whole.parents)
        run_ids = sorted(run.info.run_id for run in runs)
        tracking_file = sqlite_file(uri)
        if tracking_file is not None:
            lines = (run.to_json() + b"\n" for run in mlflow_runs.read_runs(tracking_file, run_ids))
            files[RUNS] = _add(packed, RUNS, lines)
        for path, member in _files(stores, whole, artifact_folders(stores, tracker, runs)):
            with path.open("rb") as source:
                files[member] = _add(packed, member, _blocks(source))
        manifest = Manifest(
            kind=KIND,
            format=FORMAT,
            version=importlib.metadata.version("sweep-pipeline"),
            created=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            studies=whole.names,
            files=files,
        )
        packed.writestr(MANIFEST, TypeAdapter(Manifest).dump_json(manifest, indent=1))
    return manifest


def _files(
    stores: Stores, whole: WholeStudy, artifacts: tuple[Path, ...]
) -> Iterator[tuple[Path, str]]:
    """Yield each file of a study with its name in the archive. Links are left out."""
    for folder in artifacts:  # RUN/artifacts
        yield from _below(folder, f"artifacts/{folder.parent.name}")
    for index, name in enumerate(whole.names):
        yield from _below(stores.home / "checkpoints" / name, f"checkpoints/{index}")
        yield from _below(stores.reports(name), f"reports/{index}")


def _below(folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    if folder.is_symlink():
        return
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            is_draft = name.endswith(".tmp")
            if path.is_file() and not path.is_symlink() and not is_draft:
                yield path, str(PurePosixPath(prefix, path.relative_to(folder).as_posix()))


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _add(packed: zipfile.ZipFile, name: str, blocks: Iterator[bytes]) -> Member:
    """Add a file to an archive block by block, and return its size and sum."""
    is_dense = name.endswith(_DENSE)
    info = zipfile.ZipInfo(name, time.gmtime()[:6])
    info.compress_type = zipfile.ZIP_STORED if is_dense else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    digest = hashlib.sha256()
    size = 0
    with packed.open(info, "w", force_zip64=True) as member:
        for block in blocks:
            member.write(block)
            digest.update(block)
            size += len(block)
    return Member(size=size, sha256=digest.hexdigest())
