"""Files that appear whole or not at all, however their writing ends. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """The draft of a file, which takes its place if the block ends well: a reader sees the old file or the new one.

    Folders that it needs are made, and go again if the block does not.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
        if not path.exists():
            _remove_empty(missing)


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):  # someone else has put something there
        for folder in folders:
            folder.rmdir()


def write_text_atomically(path: Path, text: str) -> Path:
    """Write text, with a line break at the end: that of a CSV's lines in a CSV."""
    with atomic_write(path) as draft:
        draft.write_text(
            text + ("\r\n" if path.suffix == ".csv" else "\n"), encoding="utf-8", newline=""
        )
    return path


def cache_folder() -> Path:
    """Where decoded images are kept: PIPELINE_CACHE_DIR, else ``sweep-pipeline`` in XDG_CACHE_HOME or ~/.cache.

    Raises:
        OSError: where there is no such folder.
    """
    if own := os.environ.get("PIPELINE_CACHE_DIR"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweep-pipeline"
    except RuntimeError as error:
        raise OSError(str(error)) from None
