"""Writes files that appear whole or not at all, and finds the folder of the cache.

A process that is killed leaves its drafts and temporary folders behind; the next one that writes
there removes them.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.system.errors import UsageFailure
from pipeline.system.left_behind import find_left_behind, in_use, remove_left_behind

# The names of what may be removed when its maker is dead: drafts, and temporary folders.
_DRAFT = re.compile(r"\..+\.\d{1,9}\.pipeline\.tmp")
_FOLDER = re.compile(r"sweep-pipeline-\w+\.tmp")


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file through a draft, so that readers see either the old file or the new one.

    The draft replaces the file if the block succeeds, and is deleted otherwise. Missing parent
    folders are created first, and removed again if the block fails. Drafts that killed processes
    have left in the folder are removed.

    Args:
        path: the file.
        durable: also wait until the file is on the disk under its name, so that a power failure
            leaves the old file or the new one, too.

    Yields:
        The path of the draft, in the same folder. It exists and is empty.
    """
    missing_folders = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        remove_left_behind(path.parent, _DRAFT)
        with _new_draft(path) as draft:
            yield draft
            if durable:
                fsync(draft)
            draft.replace(path)
        if durable:
            fsync(path.parent)
    finally:
        if not path.exists():
            _remove_empty(missing_folders)


@contextmanager
def _new_draft(path: Path) -> Iterator[Path]:
    """Make an empty draft of a file, locked until the end of the block, when it is removed."""
    with ExitStack() as uses:
        while True:
            draft = path.with_name(f".{path.name}.{secrets.randbelow(10**9)}.pipeline.tmp")
            draft.touch(exist_ok=False)
            if uses.enter_context(in_use(draft)):
                break
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def temporary_parent() -> Path:
    """Return the folder for temporary files: TMPDIR, or the first of the usual ones.

    Raises:
        UsageFailure: if none can be written.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise UsageFailure(
            "no folder for temporary files can be written: set TMPDIR to one, "
            f"got {os.environ.get('TMPDIR', 'none')!r}"
        ) from None


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder outside the project, which is removed at the end of the block.

    Those that killed processes of this user have left are removed, too.

    Args:
        parent: where to make it; None for `temporary_parent`.

    Raises:
        UsageFailure: as of `temporary_parent`.
        OSError: if there can be no such folder.
    """
    parent = parent or temporary_parent()
    remove_left_behind(parent, _FOLDER)
    with ExitStack() as uses:
        while True:
            folder = Path(tempfile.mkdtemp(prefix="sweep-pipeline-", suffix=".tmp", dir=parent))
            if uses.enter_context(in_use(folder)):
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find_drafts(folder: Path) -> list[Path]:
    """Find the drafts and temporary folders of killed processes in a folder; it may be missing."""
    return [*find_left_behind(folder, _DRAFT), *find_left_behind(folder, _FOLDER)]


def remove_drafts(folder: Path) -> None:
    """Remove what `find_drafts` finds."""
    for pattern in (_DRAFT, _FOLDER):
        remove_left_behind(folder, pattern)


def folder_size(*folders: Path) -> int:
    """Add up the sizes of the files below folders in bytes.

    Symbolic links are not followed, and a file with two names (hard links) counts once.
    """
    size = 0
    counted: set[tuple[int, int]] = set()
    for folder in folders:
        if folder.is_symlink():
            continue
        for parent, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):  # it has gone meanwhile
                    found = Path(parent, name).lstat()
                    file = (found.st_dev, found.st_ino)
                    if found.st_nlink > 1 and file in counted:
                        continue
                    counted.add(file)
                    size += found.st_size
    return size


def may_never_end(path: Path) -> bool:
    """Whether a path leads to a pipe, a device or a socket, of which reading may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # reading it fails at once, and says why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def fsync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk.

    Windows cannot wait for names.
    """
    flags = os.O_RDONLY
    if sys.platform == "win32":
        if path.is_dir():
            return
        flags = os.O_RDWR  # it writes nothing of a file that is open for reading
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):  # another process has put a file there
        for folder in folders:
            folder.rmdir()


def write_text_atomically(path: Path, text: str) -> Path:
    """Write text and a final line break, which in a CSV is the one of its format (CR LF)."""
    line_break = "\r\n" if path.suffix == ".csv" else "\n"
    with atomic_write(path) as draft:
        draft.write_text(text + line_break, encoding="utf-8", newline="")
    return path


def cache_folder() -> Path:
    """Return the folder for decoded images.

    This is PIPELINE_CACHE_DIR, else ``sweep-pipeline`` in XDG_CACHE_HOME or ~/.cache.

    Raises:
        OSError: if there is no home folder.
    """
    configured = os.environ.get("PIPELINE_CACHE_DIR")
    if configured:
        return Path(configured)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return Path(base) / "sweep-pipeline"
