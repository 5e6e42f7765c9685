"""Keeps a lock file for each data set: the sizes and SHA-256 of its files when first read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.system.console import print_notice, progress_bar
from pipeline.system.errors import IntegrityFailure
from pipeline.system.files import atomic_write, cache_folder, may_never_end
from pipeline.system.text import clean, clip


@dataclass(frozen=True)
class DatasetFiles:
    """The present files of a data set."""

    name: str  # of the data set
    root: Path
    sizes: Mapping[str, int]  # bytes of each file, by its path from the root
    lock_path: Path  # of the lock file, if that can be written


@dataclass(frozen=True)
class _LockedFile:
    size: int  # bytes
    sha256: str


def check_sizes(files: DatasetFiles) -> None:
    """Check the sizes of the locked files. This is quick, and finds truncated files.

    A missing file is left to the reader of the data set.

    Raises:
        IntegrityFailure: naming the file.
    """
    lock_path, locked_files = _read(files)
    for file, locked in locked_files.items():
        size = files.sizes.get(file, locked.size)
        if size != locked.size:
            change = f"has {size:,} bytes instead of {locked.size:,}"
            raise _changed(files, file, change, lock_path)


def lock_new(files: DatasetFiles) -> None:
    """Add new files to the lock file. If it cannot be written, print a notice."""
    lock_path, locked_files = _read(files)
    new_sizes = {file: size for file, size in files.sizes.items() if file not in locked_files}
    if new_sizes:
        _write(lock_path, files, {**locked_files, **_hash_files(files, new_sizes)})


def verify(files: DatasetFiles) -> tuple[int, Path | None]:
    """Read every file and compare it with the lock file; write the lock file if there is none.

    Returns:
        The number of files compared, and the new lock file, if one was written.

    Raises:
        IntegrityFailure: naming the first file that is missing, changed or new.
    """
    lock_path, locked_files = _read(files)
    if not locked_files:
        return 0, _write(lock_path, files, _hash_files(files, files.sizes))
    for file in locked_files.keys() - files.sizes.keys():
        raise _changed(files, file, "is missing", lock_path)
    check_sizes(files)
    for file, present in _hash_files(files, files.sizes).items():
        if file not in locked_files:
            raise _changed(files, file, "is new", lock_path)
        if present.sha256 != locked_files[file].sha256:
            raise _changed(files, file, "has another SHA-256", lock_path)
    return len(locked_files), None


def _changed(files: DatasetFiles, file: str, change: str, lock_path: Path) -> IntegrityFailure:
    return IntegrityFailure(
        f"data set {files.name}: {clean(files.root / file)} {change}: put back what it was, "
        f"or remove {lock_path} to take what is there for right"
    )


def _hash_files(files: DatasetFiles, sizes: Mapping[str, int]) -> dict[str, _LockedFile]:
    """Read some of the files in threads.

    Args:
        files: of the data set.
        sizes: of the files to read.

    Raises:
        IntegrityFailure: naming a file that cannot be read.
    """

    def sha256(file: str) -> str:
        with (files.root / file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    pool = ThreadPoolExecutor(os.cpu_count())
    hashed = {}
    try:
        with progress_bar(f"reading {files.name}", len(sizes)) as advance:
            for file, digest in zip(sizes, pool.map(sha256, sizes), strict=True):
                hashed[file] = _LockedFile(sizes[file], digest)
                advance(1)
    except OSError as error:
        reason = f"{clean(error.filename)} cannot be read ({error.strerror})"
        raise IntegrityFailure(f"data set {files.name}: {reason}: restore it") from None
    finally:
        pool.shutdown(cancel_futures=True)
    return hashed


def _lock_paths(files: DatasetFiles) -> Iterator[Path]:
    """Yield the possible lock files: with the data or, if that is read-only, in the cache."""
    yield files.lock_path
    with suppress(OSError):
        identity = f"{files.name} {files.root}".encode("utf-8", "surrogateescape")
        key = hashlib.sha256(identity).hexdigest()[:32]
        yield cache_folder() / f"{key}.sha256.json"


def _read(files: DatasetFiles) -> tuple[Path, dict[str, _LockedFile]]:
    """Read the lock file.

    Returns:
        Its path and content; without a lock file, the first possible path and nothing.

    Raises:
        IntegrityFailure: if it is damaged.
    """
    for path in _lock_paths(files):
        if may_never_end(path):
            raise IntegrityFailure(f"lock file {path} is no regular file: remove it")
        try:
            entries = json.loads(path.read_bytes())["files"]
            locked_files = {}
            for file, (size, sha256) in entries.items():
                locked_files[str(file)] = _LockedFile(int(size), str(sha256))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            reason = clip(error, 100) or type(error).__name__
            raise IntegrityFailure(
                f"lock file {path} cannot be read ({reason}): remove it"
            ) from None
        return path, locked_files
    return files.lock_path, {}


def _write(
    lock_path: Path, files: DatasetFiles, locked_files: Mapping[str, _LockedFile]
) -> Path | None:
    """Write the lock file to the first possible path that can be written, or print a notice."""
    entries = {}
    for file, locked in sorted(locked_files.items()):
        entries[file] = (locked.size, locked.sha256)
    text = json.dumps({"data set": files.name, "files": entries}, indent=1)
    for path in dict.fromkeys((lock_path, *_lock_paths(files))):
        try:
            _write_shared(path, text)
        except OSError:
            continue
        return path
    print_notice(
        f"no lock file of data set {files.name} can be written in {files.lock_path.parent}, "
        "nor in the cache"
    )
    return None


def _write_shared(path: Path, text: str) -> None:
    """Write a file that all users may read. A whole file appears, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.stat().st_mode & 0o222:
        # Root could write here all the same.
        raise PermissionError(f"{path.parent} is read-only")
    with atomic_write(path, durable=True) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
