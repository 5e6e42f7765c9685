"""The lock file of a data set: sizes and SHA-256 of its files as they were first read. Knows nothing of images."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.system import files
from pipeline.system.console import print_notice, progress_bar
from pipeline.system.errors import IntegrityFailure
from pipeline.system.text import clean

_REMEDY = "put back what it was, or remove {lock} to take what is there for right"


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a data set as they are now."""

    name: str  # of the data set
    root: Path
    sizes: Mapping[str, int]  # bytes of each file, by its path from the root
    beside: Path  # where the lock file is kept, if that can be written


def check_sizes(found: DatasetFiles) -> None:
    """See that no locked file has another size than it had: quick, and enough for one that was cut short.

    Raises:
        IntegrityFailure: naming the file.
    """
    place, locked = _read(found)
    for file, (size, _) in locked.items():
        now = found.sizes.get(file, size)  # what is missing is the reader's to say
        if now != size:
            raise _differs(found, file, f"has {now:,} bytes instead of {size:,}", place)


def lock_new(found: DatasetFiles) -> None:
    """Lock the files that are not locked yet; where no lock file can be written a line says so."""
    place, locked = _read(found)
    new = {file: size for file, size in found.sizes.items() if file not in locked}
    if new:
        _write(place, found, {**locked, **_hashed(found, new)})


def verify(found: DatasetFiles) -> tuple[int, Path | None]:
    """Read every file and compare it with the lock file; where there is none yet, it is written.

    Returns:
        How many files were compared, and the new lock file, if one was written.

    Raises:
        IntegrityFailure: naming the first file that is missing, another, or one too many.
    """
    place, locked = _read(found)
    if not locked:
        return 0, _write(place, found, _hashed(found, found.sizes))
    for file in locked.keys() - found.sizes.keys():
        raise _differs(found, file, "is missing", place)
    check_sizes(found)
    for file, (_, digest) in _hashed(found, found.sizes).items():
        if file not in locked:
            raise _differs(found, file, "is new", place)
        if locked[file][1] != digest:
            raise _differs(found, file, "has another SHA-256", place)
    return len(locked), None


def _differs(found: DatasetFiles, file: str, how: str, lock: Path) -> IntegrityFailure:
    return IntegrityFailure(
        f"data set {found.name}: {clean(found.root / file)} {how}: {_REMEDY.format(lock=lock)}"
    )


def _hashed(found: DatasetFiles, sizes: Mapping[str, int]) -> dict[str, tuple[int, str]]:
    def digest(file: str) -> str:
        with (found.root / file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    pool = ThreadPoolExecutor(os.cpu_count())
    digests = {}
    try:
        with progress_bar(f"reading {found.name}", len(sizes)) as advance:
            for file, found_digest in zip(sizes, pool.map(digest, sizes), strict=True):
                digests[file] = (sizes[file], found_digest)
                advance(1)
    except OSError as error:
        why = f"{clean(error.filename)} cannot be read ({error.strerror})"
        raise IntegrityFailure(f"data set {found.name}: {why}: restore it") from None
    finally:
        pool.shutdown(cancel_futures=True)
    return digests


def _places(found: DatasetFiles) -> Iterator[Path]:
    """Where the lock file may be: beside the data, or in the cache where nothing can be written there."""
    yield found.beside
    with suppress(OSError):
        key = hashlib.sha256(
            f"{found.name} {found.root}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:32]
        yield files.cache_folder() / f"{key}.sha256.json"


def _read(found: DatasetFiles) -> tuple[Path, dict[str, tuple[int, str]]]:
    """The lock file, and what it holds; nothing where there is none yet."""
    for place in _places(found):
        try:
            files = json.loads(place.read_bytes())["files"]
            return place, {
                str(file): (int(size), str(digest)) for file, (size, digest) in files.items()
            }
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            why = clean(error, 100) or type(error).__name__
            raise IntegrityFailure(f"lock file {place} cannot be read ({why}): remove it") from None
    return found.beside, {}


def _write(first: Path, found: DatasetFiles, locked: Mapping[str, tuple[int, str]]) -> Path | None:
    text = json.dumps({"data set": found.name, "files": dict(sorted(locked.items()))}, indent=1)
    for place in dict.fromkeys((first, *_places(found))):
        try:
            _put(place, text)
        except OSError:
            continue
        return place
    print_notice(
        f"no lock file of data set {found.name} can be written in {found.beside.parent}, nor in the cache"
    )
    return None


def _put(place: Path, text: str) -> None:
    """Write a file so that it is there in whole or not at all, whoever else writes it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.parent.stat().st_mode & 0o222:
        raise PermissionError(
            f"{place.parent} is read-only"
        )  # to root, too, for whom nothing else is
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=".lock-", suffix=".tmp", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # others use the data, too
            os.fsync(file.fileno())
            Path(file.name).replace(place)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
