"""Files that appear whole or not at all, however their writing ends. Knows nothing of what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The draft of a file, which takes its place if the block ends well: a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def put(path: Path, text: str) -> Path:
    """Write text, with a line break at the end: that of a CSV's lines in a CSV."""
    with whole(path) as draft:
        draft.write_text(text + ("\r\n" if path.suffix == ".csv" else "\n"), encoding="utf-8", newline="")
    return path
